//! What a stream watches, and how.

use std::{fmt::Debug, time::Duration};

use kube::{Resource, runtime::watcher};
use serde::de::DeserializeOwned;

use crate::runtime::health::Need;

/// The API server ends a watch after so long, and five seconds later we take the connection for dead. kube's
/// own 290 s hide a half-open connection for as long.
const TIMEOUT_SECONDS: u32 = 60;
/// Objects of a list that are in memory whole, before they are pruned. Lists of any version (kube's
/// `any_semantic`) come from the API server's cache without pages: 4,000 builds at once (tests/memory.rs).
const PAGE: u32 = 100;

/// What can be watched.
pub trait Watchable: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Watchable for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// What a stream watches, and how.
#[derive(Clone, Debug)]
pub struct Options<K> {
    /// Its name in metrics: one of a closed list.
    pub name: &'static str,
    /// Which objects.
    pub config: watcher::Config,
    /// Removes from each object what nobody reads, before it is kept.
    pub prune: fn(&mut K),
    /// The longest pause after errors.
    pub longest_pause: Duration,
    /// Whether the process is ready without it.
    pub need: Need,
}

impl<K: Resource> Options<K> {
    /// All objects, without their managed fields. The process is not ready without them.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let config = watcher::Config::default().page_size(PAGE).timeout(TIMEOUT_SECONDS);
        let longest_pause = Duration::from_secs(30);
        Self {
            name,
            config,
            prune: |object| object.meta_mut().managed_fields = None,
            longest_pause,
            need: Need::Always,
        }
    }

    /// Objects with these labels.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// The process is ready without it: it concerns some objects only.
    #[must_use]
    pub fn sometimes(mut self) -> Self {
        self.need = Need::Sometimes;
        self
    }

    /// The one object of that name. Only some objects of users need it, so that the process is ready without;
    /// pauses are short, since somebody waits for the role or for the object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.config = self.config.fields(&format!("metadata.name={name}"));
        (self.need, self.longest_pause) = (Need::Sometimes, Duration::from_secs(5));
        self
    }
}

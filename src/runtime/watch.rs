//! Copies of what is in the cluster, kept by watches, and what changed in them.
//!
//! Each stream pauses by itself after errors, so that one that is refused holds up no other (kube's
//! `Controller` pauses all of its streams together). Objects that cannot be read are counted and left out:
//! one bad object does not stop the others. What vanished while a stream was cut is told as deleted, though
//! the API server never said so.

mod alive;
mod group;
mod guarded;
mod pauses;

use std::{
    collections::HashSet,
    fmt::{self, Debug},
    sync::Arc,
    time::Duration,
};

use futures::{
    StreamExt, future,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        utils::ResetTimerBackoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{
    health::{self, Need, State},
    metrics::Metrics,
};

use pauses::Pauses;

pub use group::{Group, group};
pub use guarded::Guarded;

/// The API server ends a watch after so long, and five seconds later we take the connection for dead. kube's
/// own 290 s hide a half-open connection for as long.
const TIMEOUT_SECONDS: u32 = 60;
/// Objects of a list that are in memory whole, before they are pruned. Lists of any version (kube's
/// `any_semantic`) come from the API server's cache without pages: 4,000 builds at once (tests/memory.rs).
const PAGE: u32 = 100;
/// After so long without an error the next pause is the first again.
const CALM: Duration = Duration::from_mins(2);

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

/// What changed.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// An object is new, changed, or listed again.
    Applied(Arc<K>),
    /// An object is gone, or can no longer be read: as it was last known.
    Deleted(Arc<K>),
    /// The stream itself: its copy is complete, all objects of it having been told before; or it is refused.
    State(State),
}

/// Where streams get what they share.
#[derive(Clone)]
pub struct Source {
    /// To the API server.
    pub client: Client,
    /// Where failures are counted.
    pub metrics: Metrics,
    /// What `/readyz` reads.
    pub health: health::Health,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").finish_non_exhaustive()
    }
}

/// A copy that is kept as long as its stream is polled.
#[derive(Clone, Debug)]
pub struct Watched<K: Watchable> {
    /// The objects.
    pub store: Store<K>,
    /// How the stream is doing.
    pub health: health::Stream,
}

/// Watches what `api` makes of a client, such as `Api::all`. The stream never ends; it works only while it is
/// polled. `label` tells it from others of its name, such as by a namespace; it may be empty.
pub fn watch<K: Watchable>(
    source: &Source,
    options: &Options<K>,
    label: &str,
    api: impl FnOnce(Client) -> Api<Guarded<K>>,
) -> (Watched<K>, BoxStream<'static, Change<K>>) {
    let name = [options.name, label].join(" ").trim_end().to_owned();
    let health = source.health.stream(name, options.need);
    let (reader, writer) = store();
    let watched = Watched { store: reader.clone(), health: health.clone() };
    let metrics = source.metrics.clone();
    let stream_name = health.name().to_owned();
    let mut copy =
        Copy { store: reader, writer, metrics, name: options.name, stream: stream_name, prune: options.prune };
    let api = api(alive::client(source.client.clone(), health.clone()));
    let pauses = Pauses::new(options.longest_pause);
    let events = watcher(api, options.config.clone()).backoff(ResetTimerBackoff::new(pauses, CALM));
    let changes = events.flat_map(move |event| stream::iter(copy.take(event)));
    (watched, changes.filter_map(move |change| future::ready(note(&health, change))).boxed())
}

/// Notes a stream's state, when whoever polls has taken all that came before it: a copy is complete for others
/// only when its objects were heard of. A state that is no news is left out, others are logged.
fn note<K>(health: &health::Stream, change: Change<K>) -> Option<Change<K>> {
    let Change::State(state) = &change else { return Some(change) };
    if !health.set(state.clone()) {
        return None;
    }
    let stream = health.name();
    match state {
        State::Live | State::Starting => tracing::debug!(stream, "{state}"),
        _ => tracing::warn!(stream, "{state}"),
    }
    Some(change)
}

/// The writing side of a copy.
struct Copy<K: Watchable> {
    store: Store<K>,
    writer: kube::runtime::reflector::store::Writer<K>,
    metrics: Metrics,
    name: &'static str,
    /// With its label, for logs.
    stream: String,
    prune: fn(&mut K),
}

impl<K: Watchable> Copy<K> {
    fn take(&mut self, event: watcher::Result<Event<Guarded<K>>>) -> Vec<Change<K>> {
        match event {
            // It comes before any request: no sign of life.
            Ok(Event::Init) => self.write(&Event::Init),
            Ok(Event::InitApply(guarded)) => match self.read(guarded) {
                Ok(object) => self.write(&Event::InitApply(object)),
                Err(_) => Vec::new(),
            },
            Ok(Event::InitDone) => self.complete(),
            Ok(Event::Apply(guarded)) => match self.read(guarded) {
                Ok(object) => self.apply(object),
                Err(known) => known.into_iter().flat_map(|known| self.delete(known)).collect(),
            },
            Ok(Event::Delete(guarded)) => match guarded.0 {
                Ok(object) => self.delete(Arc::new(object)),
                Err(invalid) => {
                    self.known(&invalid.metadata).into_iter().flat_map(|known| self.delete(known)).collect()
                }
            },
            Err(error) => self.failed(&error),
        }
    }

    fn write(&mut self, event: &Event<K>) -> Vec<Change<K>> {
        self.writer.apply_watcher_event(event);
        Vec::new()
    }

    /// The pruned object; what was known of it before, if it cannot be read.
    fn read(&mut self, guarded: Guarded<K>) -> Result<K, Option<Arc<K>>> {
        match guarded.0 {
            Ok(mut object) => {
                (self.prune)(&mut object);
                Ok(object)
            }
            Err(invalid) => {
                self.metrics.undecodable(self.name);
                let name = invalid.metadata.name.as_deref().unwrap_or_default();
                let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
                tracing::warn!(stream = self.stream, namespace, name, error = invalid.error, "an object is left out");
                Err(self.known(&invalid.metadata))
            }
        }
    }

    fn known(&self, metadata: &kube::api::ObjectMeta) -> Option<Arc<K>> {
        let reference = ObjectRef::new(metadata.name.as_deref().unwrap_or_default());
        self.store.get(&match metadata.namespace.as_deref() {
            Some(namespace) => reference.within(namespace),
            None => reference,
        })
    }

    fn apply(&mut self, object: K) -> Vec<Change<K>> {
        let reference = ObjectRef::from_obj(&object);
        self.write(&Event::Apply(object));
        self.store.get(&reference).map(Change::Applied).into_iter().chain([Change::State(State::Live)]).collect()
    }

    fn delete(&mut self, object: Arc<K>) -> Vec<Change<K>> {
        self.write(&Event::Delete(object.as_ref().clone()));
        vec![Change::Deleted(object), Change::State(State::Live)]
    }

    /// The first list, or another one after a gap that events do not fill.
    fn complete(&mut self) -> Vec<Change<K>> {
        let before = self.store.state();
        self.write(&Event::InitDone);
        let after = self.store.state();
        let kept: HashSet<_> = after.iter().map(|object| object.uid()).collect();
        let gone = before.into_iter().filter(|object| !kept.contains(&object.uid())).map(Change::Deleted);
        gone.chain(after.into_iter().map(Change::Applied)).chain([Change::State(State::Live)]).collect()
    }

    fn failed(&self, error: &watcher::Error) -> Vec<Change<K>> {
        self.metrics.watch_failed(self.name);
        vec![Change::State(state(error))]
    }
}

/// What an error says of a stream.
fn state(error: &watcher::Error) -> State {
    let code = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        },
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::NoResourceVersion => 0,
    };
    match code {
        403 => State::Forbidden,
        404 => State::UnknownKind,
        // The API server no longer has what we missed: a new list follows, as it should.
        410 => State::Starting,
        _ => State::Failing(error.to_string()),
    }
}

#[cfg(test)]
mod tests;

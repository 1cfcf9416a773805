//! Watches that come and go while the process runs: of the namespaces that profiles name, of single objects
//! of tenants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    StreamExt,
    channel::mpsc::{self, UnboundedSender},
    stream::BoxStream,
};
use kube::{Api, Client};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    change::Change,
    guarded::Guarded,
    options::{Options, Watchable},
    source::{Source, Watched},
    stream::watch,
};

/// What one stream of a group watches: its options, its label, its objects. Called once per stream.
pub type Describe<Key, K> = fn(&Key) -> (Options<K>, String, Box<dyn FnOnce(Client) -> Api<Guarded<K>>>);

/// Watches by key; clones share them.
#[derive(Debug)]
pub struct Group<Key, K: Watchable>(Arc<Inner<Key, K>>);

impl<Key, K: Watchable> Clone for Group<Key, K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Changes with the key of their stream.
pub type Labelled<Key, K> = BoxStream<'static, (Key, Change<K>)>;
type Entries<Key, K> = BTreeMap<Key, (Watched<K>, DropGuard)>;

#[derive(Debug)]
struct Inner<Key, K: Watchable> {
    source: Source,
    describe: Describe<Key, K>,
    /// The guard ends the stream when its entry goes.
    entries: Mutex<Entries<Key, K>>,
    new: UnboundedSender<Labelled<Key, K>>,
}

/// A group without watches, and the changes of all that it will have. It works only while those are polled;
/// they end with the last clone of the group.
pub fn group<Key, K>(source: Source, describe: Describe<Key, K>) -> (Group<Key, K>, Labelled<Key, K>)
where
    Key: Ord + Clone + Send + 'static,
    K: Watchable,
{
    let (new, streams) = mpsc::unbounded();
    let group = Group(Arc::new(Inner { source, describe, entries: Mutex::default(), new }));
    (group, streams.flatten_unordered(None).boxed())
}

impl<Key: Ord + Clone + Send + 'static, K: Watchable> Group<Key, K> {
    /// Watches exactly these from now on: begins with the new ones, ends those that are not named.
    pub fn keep(&self, keys: &BTreeSet<Key>) {
        let mut entries = self.entries();
        entries.retain(|key, _| keys.contains(key));
        for key in keys {
            if !entries.contains_key(key) {
                entries.insert(key.clone(), self.begin(key));
            }
        }
    }

    /// The copy of that key, if it is watched.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Watched<K>> {
        self.entries().get(key).map(|(watched, _)| watched.clone())
    }

    /// All copies.
    #[must_use]
    pub fn all(&self) -> Vec<Watched<K>> {
        self.entries().values().map(|(watched, _)| watched.clone()).collect()
    }

    fn begin(&self, key: &Key) -> (Watched<K>, DropGuard) {
        let (options, label, api) = (self.0.describe)(key);
        let (watched, changes) = watch(&self.0.source, &options, &label, api);
        let end = CancellationToken::new();
        let labelled = {
            let key = key.clone();
            changes.map(move |change| (key.clone(), change))
        };
        let until = labelled.take_until(end.clone().cancelled_owned());
        // Without a receiver the process ends.
        let _ = self.0.new.unbounded_send(until.boxed());
        (watched, end.drop_guard())
    }

    fn entries(&self) -> MutexGuard<'_, Entries<Key, K>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

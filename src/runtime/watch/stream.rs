//! One stream: kube's watcher, the copy that it keeps, and what is told of it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{
    StreamExt, future,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        utils::ResetTimerBackoff,
        watcher::{self, Event, watcher},
    },
};

use super::{
    alive,
    change::Change,
    guarded::Guarded,
    options::{Options, Watchable},
    pauses::Pauses,
    source::{Source, Watched},
};
use crate::runtime::{
    health::{self, State},
    metrics::Metrics,
};

/// After so long without an error the next pause is the first again.
const CALM: Duration = Duration::from_mins(2);

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

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{Status, response::StatusSummary};
use proptest::prelude::*;

use super::*;

/// A copy, and what others see of its stream.
struct Played {
    copy: Copy<ConfigMap>,
    health: health::Stream,
}

impl Played {
    /// What is told after an event, as whoever polls hears it: one at a time.
    fn take(&mut self, event: watcher::Result<Event<Guarded<ConfigMap>>>) -> Vec<Change<ConfigMap>> {
        self.copy.take(event).into_iter().filter_map(|change| note(&self.health, change)).collect()
    }
}

fn played() -> Played {
    let (store, writer) = store();
    let prune = Options::<ConfigMap>::new("maps").prune;
    let metrics = Metrics::default();
    let copy = Copy { store, writer, metrics, name: "maps", stream: "maps".to_owned(), prune };
    Played { copy, health: health::Stream::new("maps".to_owned(), health::Need::Always) }
}

fn map(name: &str) -> serde_json::Value {
    serde_json::json!({"metadata": {"name": name, "namespace": "a", "uid": name, "managedFields": [{}]}})
}

fn guarded(object: serde_json::Value) -> Guarded<ConfigMap> {
    serde_json::from_value(object).unwrap()
}

fn good(name: &str) -> Guarded<ConfigMap> {
    guarded(map(name))
}

fn bad(name: &str) -> Guarded<ConfigMap> {
    let mut object = map(name);
    object["data"] = 1.into();
    guarded(object)
}

/// Changes as words.
fn words(changes: Vec<Change<ConfigMap>>) -> Vec<String> {
    let mut words: Vec<_> = changes
        .into_iter()
        .map(|change| match change {
            Change::Applied(object) => format!("+{}", object.name_any()),
            Change::Deleted(object) => format!("-{}", object.name_any()),
            Change::State(state) => state.to_string(),
        })
        .collect();
    words.sort();
    words
}

fn list(played: &mut Played, objects: Vec<Guarded<ConfigMap>>) -> Vec<String> {
    let silent = [Event::Init].into_iter().chain(objects.into_iter().map(Event::InitApply));
    for event in silent {
        assert!(played.take(Ok(event)).is_empty());
    }
    words(played.take(Ok(Event::InitDone)))
}

#[test]
fn a_list_tells_all_that_is_there_and_what_vanished_since_the_last() {
    let mut played = played();
    assert_eq!(list(&mut played, vec![good("one"), good("two")]), ["+one", "+two", "live"]);
    assert_eq!(list(&mut played, vec![good("two"), good("three")]), ["+three", "+two", "-one"]);
    assert!(played.copy.store.state().iter().all(|object| object.metadata.managed_fields.is_none()), "not pruned");
}

#[test]
fn what_cannot_be_read_is_left_out_and_counted_and_the_others_come() {
    let mut played = played();
    assert_eq!(list(&mut played, vec![good("one"), bad("two"), good("three")]), ["+one", "+three", "live"]);
    assert_eq!(words(played.take(Ok(Event::Apply(bad("four"))))), [""; 0]);
    assert_eq!(words(played.take(Ok(Event::Apply(bad("one"))))), ["-one"], "it is not acted upon as it was before");
    assert_eq!(words(played.take(Ok(Event::Apply(good("one"))))), ["+one"]);
    assert_eq!(words(played.take(Ok(Event::Delete(bad("one"))))), ["-one"]);
    assert!(played.copy.metrics.text().unwrap().contains("undecodable_objects_total{stream=\"maps\"} 3"));
}

/// Were it complete any sooner, chains would be decided on without builds that are there.
#[test]
fn a_copy_is_complete_when_its_last_object_was_heard_of() {
    let Played { mut copy, health } = played();
    for event in [Event::Init, Event::InitApply(good("one")), Event::InitApply(good("two"))] {
        assert!(copy.take(Ok(event)).is_empty());
    }
    let told = copy.take(Ok(Event::InitDone));
    let synced = told.into_iter().map(|change| {
        let before = health.is_synced();
        (words(note(&health, change).into_iter().collect()).join(""), before)
    });
    let mut synced: Vec<_> = synced.collect();
    synced[..2].sort();
    let expected = [("+one", false), ("+two", false), ("live", false)];
    assert_eq!(synced, expected.map(|(word, before)| (word.to_owned(), before)));
    assert!(health.is_synced());
}

fn refused(code: u16) -> watcher::Error {
    let status = Status { code, message: "no".to_owned(), status: Some(StatusSummary::Failure), ..Status::default() };
    watcher::Error::InitialListFailed(kube::Error::Api(status.boxed()))
}

#[test]
fn a_state_is_told_once() {
    let mut played = played();
    for (code, word) in [(403, "forbidden"), (404, "does not know the kind"), (500, "failing: ")] {
        let told = words(played.take(Err(refused(code))));
        assert!(told.len() == 1 && told[0].contains(word), "{code}: {told:?}");
        assert_eq!(words(played.take(Err(refused(code)))), [""; 0], "{code}");
    }
    assert!(played.copy.metrics.text().unwrap().contains("watch_failures_total{stream=\"maps\"} 6"));
    assert!(!played.health.is_synced());
    assert_eq!(list(&mut played, vec![]), ["live"]);
}

proptest! {
    /// However lists, events and bad objects mix: who adds what is told has what the store has.
    #[test]
    fn what_is_told_is_what_is_there(events in prop::collection::vec((0..5_u8, 0..4_u8), 0..60)) {
        let (mut played, mut told) = (played(), HashSet::new());
        for (kind, n) in events {
            let name = n.to_string();
            let batch: Vec<Event<_>> = match kind {
                0 => vec![Event::Apply(good(&name))],
                1 => vec![Event::Apply(bad(&name))],
                2 => vec![Event::Delete(good(&name))],
                3 => vec![Event::Init, Event::InitApply(good(&name)), Event::InitApply(bad("x")), Event::InitDone],
                // A list that breaks off.
                _ => vec![Event::Init, Event::InitApply(good(&name))],
            };
            for change in batch.into_iter().flat_map(|event| played.take(Ok(event))) {
                match change {
                    Change::Applied(object) => drop(told.insert(object.name_any())),
                    Change::Deleted(object) => drop(told.remove(&object.name_any())),
                    Change::State(_) => {}
                }
            }
        }
        let there: HashSet<_> = played.copy.store.state().iter().map(|object| object.name_any()).collect();
        prop_assert_eq!(told, there);
    }
}

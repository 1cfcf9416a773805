//! The places of profiles with `maxConcurrentBuilds`: who waits for one, and who was let in but has no pod
//! that shows yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{clock, store::Key};
use crate::plan::slots::{Contender, admitted};

/// After so long without a pod, who was let in has given up.
const RESERVED: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Guest {
    created: Timestamp,
    let_in: Option<Instant>,
}

impl Guest {
    fn holds(&self, now: Instant) -> bool {
        self.let_in.is_some_and(|since| now.saturating_duration_since(since) < RESERVED)
    }
}

/// Who waits, and who was let in, by profile.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<String, BTreeMap<Key, Guest>>>);

impl Places {
    /// Whether a build may make a pod now; if so, its place is taken. `running` are the builds whose pods run.
    pub fn admit(&self, profile: &str, limit: u32, build: (&Key, Timestamp), running: &BTreeSet<Key>) -> bool {
        let now = clock::monotonic();
        let mut all = self.lock();
        let guests = all.entry(profile.to_owned()).or_default();
        // Who was let in and never made a pod wants none any more; if it does, it asks again.
        guests
            .retain(|key, guest| key == build.0 || guest.let_in.is_none() || guest.holds(now) || running.contains(key));
        guests.entry(build.0.clone()).or_insert(Guest { created: build.1, let_in: None });
        let holders = running.iter().filter(|key| !guests.contains_key(*key));
        let mut contenders: Vec<(String, Timestamp, bool, bool)> =
            holders.map(|key| (title(key), Timestamp::MIN, true, false)).collect();
        contenders.extend(guests.iter().map(|(key, guest)| {
            let holds = key != build.0 && (running.contains(key) || guest.holds(now));
            (title(key), guest.created, holds, true)
        }));
        let contenders: Vec<_> = contenders
            .iter()
            .map(|(name, created, holds, wants)| Contender { created: *created, name, holds: *holds, wants: *wants })
            .collect();
        let is_admitted = admitted(limit, &contenders).contains(title(build.0).as_str());
        if let Some(guest) = guests.get_mut(build.0) {
            guest.let_in = is_admitted.then_some(now);
        }
        is_admitted
    }

    /// A build wants no place: it has its pod, or will have none.
    pub fn leave(&self, profile: &str, build: &Key) {
        if let Some(guests) = self.lock().get_mut(profile) {
            guests.remove(build);
        }
    }

    /// A build is gone.
    pub fn forget(&self, build: &Key) {
        for guests in self.lock().values_mut() {
            guests.remove(build);
        }
    }

    /// Those that wait for a place.
    #[must_use]
    pub fn waiting(&self, profile: &str) -> Vec<Key> {
        let all = self.lock();
        let guests = all.get(profile).into_iter().flatten();
        guests.filter(|(_, guest)| guest.let_in.is_none()).map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<Key, Guest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn title(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    fn admit(places: &Places, name: &str, running: &[&str]) -> bool {
        let running = running.iter().map(|name| key(name)).collect();
        places.admit("docker", 2, (&key(name), Timestamp::UNIX_EPOCH), &running)
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_holds_a_place_before_the_pod_shows() {
        let places = Places::default();
        assert!(admit(&places, "a", &[]));
        assert!(admit(&places, "a", &[]), "it asks again");
        assert!(admit(&places, "b", &["a"]), "the pod of a counts once");
        assert!(!admit(&places, "c", &["a"]));
        assert_eq!(places.waiting("docker"), [key("c")]);
        places.leave("docker", &key("a"));
        assert!(!admit(&places, "c", &["a"]), "its pod runs still");
        assert!(admit(&places, "c", &[]));
        places.forget(&key("c"));
        tokio::time::advance(RESERVED).await;
        assert!(admit(&places, "d", &["x"]), "b never made its pod");
    }
}

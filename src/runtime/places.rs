//! What the copies of builds and pods do not tell of the line that builds with a profile stand in ([`super::line`]): who
//! was let in but has no pod that shows yet, and who cannot be looked at.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{clock, store::Key};
use crate::plan::slots::{Contender, Standing, Wait, turn};

/// After so long without a pod, who was let in has given up.
const RESERVED: Duration = Duration::from_mins(1);
/// After so long in which it could not be looked at, a build keeps nobody waiting any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who was let in, as one that is about to make its pod.
#[derive(Debug)]
struct Guest {
    profile: String,
    contender: Contender,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    /// Who was let in: the pod may not show yet.
    let_in: HashMap<Key, Guest>,
    /// Who could not be looked at to the end, since when.
    unseen: HashMap<Key, Instant>,
}

/// What the copies of builds and pods do not tell of those that wait.
#[derive(Debug, Default)]
pub struct Places(Mutex<Inner>);

impl Places {
    /// Whether it is the turn of a build in the line of its profile; if so, its place is taken.
    ///
    /// # Errors
    /// It is not.
    pub fn admit(
        &self,
        profile: &str,
        (key, own): (Key, Contender),
        line: Vec<(Key, Contender)>,
        (limit, room): (Option<u32>, impl FnOnce() -> Option<usize>),
    ) -> Result<(), Wait> {
        let since = clock::monotonic();
        let mut inner = self.lock();
        inner.let_in.retain(|_, guest| since.saturating_duration_since(guest.since) < RESERVED);
        let turn = turn(&own, &inner.corrected(profile, line), limit, room);
        if turn.is_ok() {
            let contender = Contender { standing: Standing::Placing, ..own };
            inner.let_in.insert(key, Guest { profile: profile.to_owned(), contender, since });
        } else {
            inner.let_in.remove(&key);
        }
        turn
    }

    /// A build wants no place: it has its pod, or will have none.
    pub fn leave(&self, build: &Key) {
        self.lock().let_in.remove(build);
    }

    /// A build is gone.
    pub fn forget(&self, build: &Key) {
        let mut inner = self.lock();
        inner.let_in.remove(build);
        inner.unseen.remove(build);
    }

    /// Notes whether a build was looked at to the end. The answer is whether that lets others pass.
    pub fn note(&self, build: &Key, seen: bool) -> bool {
        let mut inner = self.lock();
        if seen {
            inner.unseen.remove(build);
            return false;
        }
        let since = *inner.unseen.entry(build.clone()).or_insert_with(clock::monotonic);
        clock::monotonic().saturating_duration_since(since) >= PATIENCE
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A line with what is known of it here.
    fn corrected(&self, profile: &str, line: Vec<(Key, Contender)>) -> Vec<Contender> {
        let now = clock::monotonic();
        let is_unseen = |since: &Instant| now.saturating_duration_since(*since) >= PATIENCE;
        let mut guests: HashMap<_, _> = self.let_in.iter().filter(|(_, guest)| guest.profile == profile).collect();
        let mut corrected = Vec::with_capacity(line.len());
        for (key, each) in line {
            match (each.standing, guests.remove(&key)) {
                (Standing::Wants, Some(guest)) => corrected.push(guest.contender.clone()),
                (Standing::Wants, None) if self.unseen.get(&key).is_some_and(is_unseen) => {}
                _ => corrected.push(each),
            }
        }
        corrected.extend(guests.into_values().map(|guest| guest.contender.clone()));
        corrected
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    fn contender(name: &str, standing: Standing) -> (Key, Contender) {
        (key(name), Contender { created: Timestamp::UNIX_EPOCH, name: format!("a/{name}"), standing })
    }

    /// Whether a build is let in beside those whose pods run and those that wait, of two at once.
    fn admit(places: &Places, name: &str, running: &[&str], waiting: &[&str]) -> bool {
        let running = running.iter().map(|name| contender(name, Standing::Runs));
        let line = running.chain(waiting.iter().map(|name| contender(name, Standing::Wants))).collect();
        places.admit("docker", contender(name, Standing::Wants), line, (Some(2), || None)).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_holds_a_place_before_the_pod_shows() {
        let places = Places::default();
        let all = ["a", "b", "c"];
        assert!(admit(&places, "a", &[], &all));
        assert!(admit(&places, "a", &[], &all), "it asks again");
        assert!(admit(&places, "b", &["a"], &["b", "c"]), "the pod of a counts once");
        assert!(!admit(&places, "c", &["a"], &["b", "c"]));
        places.leave(&key("a"));
        assert!(!admit(&places, "c", &["a"], &["b", "c"]), "its pod runs still");
        assert!(admit(&places, "c", &[], &["b", "c"]));
        places.forget(&key("c"));
        tokio::time::advance(RESERVED).await;
        assert!(admit(&places, "d", &["x"], &["d"]), "b never made its pod");
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_that_cannot_be_looked_at_keeps_nobody_waiting() {
        let places = Places::default();
        let asks = |places: &Places| admit(places, "b", &["x"], &["a", "b"]);
        assert!(!places.note(&key("a"), false) && !asks(&places), "it was not looked at once");
        tokio::time::advance(PATIENCE).await;
        assert!(places.note(&key("a"), false) && asks(&places));
        places.leave(&key("b"));
        assert!(!places.note(&key("a"), true) && !asks(&places), "it can be looked at again");
    }
}

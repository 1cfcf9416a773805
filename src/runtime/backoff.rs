//! How often each object failed in a row, and how long it waits before it is tried again.
//!
//! Only for failures of the API server and of the operator itself: those of builds are in their status, where
//! `plan` counts them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The most that the first pause is.
const FIRST: Duration = Duration::from_secs(1);
/// The most that any pause is.
const LONGEST: Duration = Duration::from_mins(5);

/// Failures in a row, by object. One for each kind, shared by all that reconcile it.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failures: Mutex::default() }
    }
}

impl<K: Eq + Hash> Backoff<K> {
    /// Counts a failure and returns the pause that follows: between nothing and one second, doubled with each
    /// failure in a row, up to five minutes. Anything between is equally likely, so that objects that failed
    /// together do not come back together.
    pub fn failed(&self, object: K) -> Duration {
        let mut all = self.lock();
        let failures = all.entry(object).or_default();
        *failures = failures.saturating_add(1);
        longest_pause(*failures).mul_f64(fastrand::f64())
    }

    /// Forgets the failures of an object: it succeeded, or is gone.
    pub fn clear(&self, object: &K) {
        self.lock().remove(object);
    }

    /// Forgets all objects that are no longer there.
    pub fn retain(&self, exists: impl Fn(&K) -> bool) {
        self.lock().retain(|object, _| exists(object));
    }

    /// How many objects failed the last time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no object failed the last time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that the pause after so many failures in a row is.
fn longest_pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_five_minutes() {
        let seconds: Vec<_> = (1..11).map(|failures| longest_pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(longest_pause(u32::MAX), LONGEST);
    }

    #[test]
    fn pauses_keep_the_bound_and_differ() {
        let backoff = Backoff::default();
        let pauses: Vec<_> = (1..40).map(|failures| (failures, backoff.failed("a"))).collect();
        assert!(pauses.iter().all(|(failures, pause)| *pause <= longest_pause(*failures)), "{pauses:?}");
        let late: std::collections::HashSet<_> = pauses.iter().skip(10).map(|(_, pause)| pause).collect();
        assert!(late.len() > 1, "no jitter: {pauses:?}");
    }

    #[test]
    fn success_and_deletion_forget() {
        let backoff = Backoff::default();
        for _ in 0..20 {
            backoff.failed("a");
        }
        backoff.failed("b");
        assert_eq!(backoff.len(), 2);
        backoff.clear(&"a");
        assert!(backoff.failed("a") <= FIRST, "counted on after a success");
        backoff.retain(|object| *object == "b");
        assert_eq!(backoff.len(), 1);
        backoff.clear(&"b");
        assert!(backoff.is_empty());
    }
}

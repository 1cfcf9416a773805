//! What is to be looked at, and when. Of one object at most one look is under way; what is asked for meanwhile
//! is one more look afterwards.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio::{sync::Notify, time::timeout};

use crate::runtime::clock;

/// As long as nothing is due.
const LONG: Duration = Duration::from_hours(1);

/// Objects with the time of their next look; the earlier wins.
#[derive(Debug)]
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<K> {
    times: HashMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
    /// Those under way, with the next look if one was asked for.
    running: HashMap<K, Option<Instant>>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let inner = Inner { times: HashMap::new(), order: BTreeSet::new(), running: HashMap::new() };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Asks for a look as soon as possible.
    pub fn add(&self, key: K) {
        self.add_at(key, clock::monotonic());
    }

    /// Asks for a look after a pause.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.add_at(key, clock::monotonic() + pause.min(LONG * 24 * 365));
    }

    fn add_at(&self, key: K, at: Instant) {
        self.lock().add(key, at);
        self.changed.notify_one();
    }

    /// The next object whose time has come. It is under way until [`Queue::done`]. For one task alone; what it
    /// waits for is not lost when it is dropped.
    pub async fn next(&self) -> K {
        loop {
            let now = clock::monotonic();
            let wait = match self.lock().pop(now) {
                Ok(key) => return key,
                Err(until) => until.map_or(LONG, |until| until.saturating_duration_since(now)),
            };
            // Either way it is looked again.
            let _ = timeout(wait, self.changed.notified()).await;
        }
    }

    /// The look at an object has ended.
    pub fn done(&self, key: &K) {
        let mut inner = self.lock();
        if let Some(Some(again)) = inner.running.remove(key) {
            inner.add(key.clone(), again);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// How many wait, those of a later time too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().times.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> Inner<K> {
    fn add(&mut self, key: K, at: Instant) {
        if let Some(again) = self.running.get_mut(&key) {
            *again = Some(again.map_or(at, |earlier| earlier.min(at)));
            return;
        }
        match self.times.get(&key).copied() {
            Some(earlier) if earlier <= at => return,
            Some(later) => drop(self.order.remove(&(later, key.clone()))),
            None => {}
        }
        self.times.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// The first that is due; else when the first will be.
    fn pop(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let first = self.order.first().map(|(at, _)| *at);
        if first.is_none_or(|at| at > now) {
            return Err(first);
        }
        let (_, key) = self.order.pop_first().ok_or(None)?;
        self.times.remove(&key);
        self.running.insert(key.clone(), None);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_earlier_time_wins_and_later_ones_are_waited_for() {
        let queue = Queue::default();
        queue.add_after("a", 5 * SECOND);
        queue.add_after("b", 2 * SECOND);
        queue.add_after("a", SECOND);
        queue.add_after("a", 9 * SECOND);
        let begin = Instant::now();
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert_eq!(begin.elapsed(), 2 * SECOND);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_at_a_time_and_one_more_for_all_that_was_asked_meanwhile() {
        let queue = Queue::default();
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        queue.add("a");
        assert!(timeout(SECOND, queue.next()).await.is_err(), "a second look beside the first");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(timeout(SECOND, queue.next()).await.is_err(), "a third look");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_what_is_new() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.next().await }
        });
        tokio::task::yield_now().await;
        queue.add("a");
        assert_eq!(timeout(SECOND, waiting).await.unwrap().unwrap(), "a");
    }
}

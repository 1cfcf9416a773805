//! The work queue of one kind: which objects are to be reconciled, and when. At most one reconcile of an object runs; all
//! that is enqueued meanwhile is one more afterwards. Of two objects that are due, one that is known to have changed comes
//! before one that is enqueued since this process has just begun: with thousands of objects that takes a while.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio::{sync::Notify, time::timeout};

use super::clock;

/// As long as nothing is due.
const LONG: Duration = Duration::from_hours(1);

/// Which of two objects that are due is reconciled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// There is something to be done, as far as is known.
    First,
    /// It seems to be at rest.
    Last,
}

/// Objects with the time of their next reconcile; the earlier wins.
#[derive(Debug)]
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<K> {
    times: HashMap<K, (Priority, Instant)>,
    order: BTreeMap<Priority, BTreeSet<(Instant, K)>>,
    /// Those that are being reconciled, with the next time if they were enqueued meanwhile.
    running: HashMap<K, Option<(Priority, Instant)>>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let inner = Inner { times: HashMap::new(), order: BTreeMap::new(), running: HashMap::new() };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Enqueues an object, as soon as possible.
    pub fn add(&self, key: K) {
        self.add_with_priority(key, Priority::First);
    }

    /// Enqueues an object, behind those of a higher priority.
    pub fn add_with_priority(&self, key: K, priority: Priority) {
        self.add_at(key, priority, clock::monotonic());
    }

    /// Enqueues an object after a pause.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.add_at(key, Priority::First, clock::monotonic() + pause.min(LONG * 24 * 365));
    }

    fn add_at(&self, key: K, priority: Priority, at: Instant) {
        self.lock().add(key, (priority, at));
        self.changed.notify_one();
    }

    /// The next object whose time has come. It is being reconciled until [`Queue::done`]. For one task alone; what it
    /// waits for is not lost when it is dropped.
    pub async fn next(&self) -> K {
        loop {
            let now = clock::monotonic();
            let wait = match self.lock().pop(now) {
                Ok(key) => return key,
                Err(until) => until.map_or(LONG, |until| until.saturating_duration_since(now)),
            };
            // Either way the queue is read again.
            let _ = timeout(wait, self.changed.notified()).await;
        }
    }

    /// The reconcile of an object has ended.
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
    /// The earlier time and the higher priority win.
    fn add(&mut self, key: K, (priority, at): (Priority, Instant)) {
        if let Some(again) = self.running.get_mut(&key) {
            *again = Some(again.map_or((priority, at), |(other, earlier)| (other.min(priority), earlier.min(at))));
            return;
        }
        let before = self.times.get(&key).copied();
        let (priority, at) = before.map_or((priority, at), |(other, earlier)| (other.min(priority), earlier.min(at)));
        if before == Some((priority, at)) {
            return;
        }
        if let Some((other, later)) = before {
            self.order.entry(other).or_default().remove(&(later, key.clone()));
        }
        self.times.insert(key.clone(), (priority, at));
        self.order.entry(priority).or_default().insert((at, key));
    }

    /// The first that is due; else when the first will be.
    fn pop(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let is_due = |(at, _): &(Instant, K)| *at <= now;
        let Some(due) = self.order.values_mut().find(|order| order.first().is_some_and(is_due)) else {
            return Err(self.order.values().filter_map(|order| Some(order.first()?.0)).min());
        };
        let (_, key) = due.pop_first().ok_or(None)?;
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
    async fn what_is_at_rest_lets_others_go_first() {
        let queue = Queue::default();
        for key in ["a", "b", "c"] {
            queue.add_with_priority(key, Priority::Last);
        }
        queue.add_after("d", SECOND);
        queue.add("c");
        let next = || timeout(Duration::ZERO, queue.next());
        assert_eq!(next().await, Ok("c"), "something of it has changed since");
        assert_eq!(next().await, Ok("a"), "what is not due does not count");
        tokio::time::advance(SECOND).await;
        assert_eq!((next().await, next().await), (Ok("d"), Ok("b")));
        queue.add_with_priority("b", Priority::Last);
        queue.add("b");
        queue.add_with_priority("e", Priority::Last);
        queue.done(&"b");
        assert_eq!((next().await, next().await), (Ok("b"), Ok("e")), "so does what is asked for meanwhile");
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

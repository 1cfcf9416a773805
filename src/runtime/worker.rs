//! The worker of each kind: takes what is due from the work queue, reconciles it, and enqueues it again if that is wanted.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    clock,
    execute::Error,
    lease::Claim,
    metrics::{Metrics, Outcome},
    queue::Queue,
    store::Key,
};

/// How soon an object is reconciled again that another has changed meanwhile.
const SOON: Duration = Duration::from_millis(200);

/// When to reconcile again, if no watch event comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Never.
    Idle,
    /// At this time.
    At(Timestamp),
    /// After this pause.
    After(Duration),
}

impl Requeue {
    /// At a time, if there is one.
    #[must_use]
    pub fn at(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Idle, Self::At)
    }

    /// In a moment: a cache lags behind what a live read has shown.
    #[must_use]
    pub const fn soon() -> Self {
        Self::After(SOON)
    }

    /// The same, but after that pause at the latest.
    #[must_use]
    pub fn within(self, pause: Duration) -> Self {
        Self::After(self.pause().map_or(pause, |own| own.min(pause)))
    }

    fn pause(self) -> Option<Duration> {
        match self {
            Self::Idle => None,
            Self::After(pause) => Some(pause),
            // What is over already is due now.
            Self::At(time) => Some(Duration::try_from(time.duration_since(clock::now())).unwrap_or_default()),
        }
    }
}

/// Reconciles the objects of one kind.
pub trait Reconcile: Send + Sync + 'static {
    /// The kind, for logs and metrics.
    const KIND: &'static str;

    /// Reconciles an object: gathers facts, decides, executes.
    ///
    /// # Errors
    /// The API server did not do what it was asked: the object is reconciled again, after a pause that grows.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Requeue, Error>> + Send;
}

/// The worker of one kind.
pub struct Worker<R> {
    /// What reconciles.
    pub reconciler: R,
    /// What is due.
    pub queue: Arc<Queue<Key>>,
    /// What failed the last time.
    pub backoff: Backoff<Key>,
    /// Without the right to write nothing is reconciled.
    pub claim: Claim,
    /// Where reconciles are counted.
    pub metrics: Metrics,
    /// How many objects are reconciled at once.
    pub most: usize,
}

impl<R: Reconcile> Worker<R> {
    /// Goes on until `end` comes; what is under way then is finished.
    ///
    /// # Errors
    /// A reconcile panicked.
    pub async fn run(self, end: CancellationToken) -> Result<(), JoinError> {
        let this = Arc::new(self);
        let mut reconciles = JoinSet::new();
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                Some(ended) = reconciles.join_next(), if !reconciles.is_empty() => ended?,
                key = this.queue.next(), if reconciles.len() < this.most => {
                    reconciles.spawn(Arc::clone(&this).reconcile(key));
                }
            }
        }
        while let Some(ended) = reconciles.join_next().await {
            ended?;
        }
        Ok(())
    }

    async fn reconcile(self: Arc<Self>, key: Key) {
        let begin = clock::monotonic();
        // When the claim is gained, everything is enqueued anyway.
        if self.claim.is_current() {
            let result = self.reconciler.reconcile(&key).await;
            self.metrics.reconciled(R::KIND, outcome(&result), begin.elapsed());
            self.requeue(&key, result);
        }
        self.queue.done(&key);
        self.metrics.queued(R::KIND, self.queue.len());
        self.metrics.backing_off(R::KIND, self.backoff.len());
    }

    fn requeue(&self, key: &Key, result: Result<Requeue, Error>) {
        let (kind, namespace, name) = (R::KIND, &key.namespace, &key.name);
        let pause = match result {
            Ok(next) => {
                tracing::debug!(kind, namespace, name, ?next, "looked at");
                self.backoff.clear(key);
                next.pause()
            }
            Err(Error::Conflict) => Some(SOON),
            Err(Error::NotLeader) => None,
            Err(error) => {
                let pause = self.backoff.failed(key.clone());
                tracing::warn!(kind, namespace, name, %error, "tried again in {pause:?}");
                Some(pause)
            }
        };
        if let Some(pause) = pause {
            self.queue.add_after(key.clone(), pause);
        }
    }
}

fn outcome(result: &Result<Requeue, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) => error.outcome(),
    }
}

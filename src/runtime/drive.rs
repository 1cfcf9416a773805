//! The one loop for all kinds: takes what is due, looks at it, and notes when to look again.

mod queue;

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use queue::{Queue, Rank};

use super::{
    backoff::Backoff,
    cache::Key,
    clock,
    execute::Error,
    lease::Claim,
    metrics::{Metrics, Outcome},
};

/// How soon it is looked again at what another has changed meanwhile.
const SOON: Duration = Duration::from_millis(200);

/// When to look again, if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Never.
    Idle,
    /// At this time.
    At(Timestamp),
    /// After this pause.
    After(Duration),
}

impl Next {
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

    fn pause(self) -> Option<Duration> {
        match self {
            Self::Idle => None,
            Self::After(pause) => Some(pause),
            // What is over already is due now.
            Self::At(time) => Some(Duration::try_from(time.duration_since(clock::now())).unwrap_or_default()),
        }
    }
}

/// What is driven: one look at one object.
pub trait Reconcile: Send + Sync + 'static {
    /// The kind, for logs and metrics.
    const KIND: &'static str;

    /// Looks at an object: gathers facts, decides, executes.
    ///
    /// # Errors
    /// The API server did not do what it was asked: the object is looked at again, after a pause that grows.
    fn reconcile(&self, key: &Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// What is due of one kind, and what failed the last time.
#[derive(Debug, Default)]
pub struct Work {
    /// What is due.
    pub queue: Queue<Key>,
    backoff: Backoff<Key>,
}

/// The loop of one kind.
pub struct Drive<R> {
    /// What looks.
    pub reconciler: Arc<R>,
    /// What is due.
    pub work: Arc<Work>,
    /// Nothing is looked at by whoever may not write.
    pub claim: Claim,
    /// Where looks are counted.
    pub metrics: Metrics,
    /// How many objects are looked at at once.
    pub workers: usize,
}

impl<R: Reconcile> Drive<R> {
    /// Goes on until `end` comes; what is under way then is finished.
    ///
    /// # Errors
    /// A look panicked.
    pub async fn run(self, end: CancellationToken) -> Result<(), JoinError> {
        let this = Arc::new(self);
        let mut looks = JoinSet::new();
        loop {
            tokio::select! {
                () = end.cancelled() => break,
                Some(ended) = looks.join_next(), if !looks.is_empty() => ended?,
                key = this.work.queue.next(), if looks.len() < this.workers => {
                    looks.spawn(Arc::clone(&this).look(key));
                }
            }
        }
        while let Some(ended) = looks.join_next().await {
            ended?;
        }
        Ok(())
    }

    async fn look(self: Arc<Self>, key: Key) {
        let begin = clock::monotonic();
        // When the claim is gained, everything is looked at anyway.
        if self.claim.is_current() {
            let result = self.reconciler.reconcile(&key).await;
            self.metrics.reconciled(R::KIND, outcome(&result), begin.elapsed());
            self.follow(&key, result);
        }
        self.work.queue.done(&key);
        self.metrics.queued(R::KIND, self.work.queue.len());
        self.metrics.backing_off(R::KIND, self.work.backoff.len());
    }

    fn follow(&self, key: &Key, result: Result<Next, Error>) {
        let (kind, namespace, name) = (R::KIND, &key.namespace, &key.name);
        let pause = match result {
            Ok(next) => {
                tracing::debug!(kind, namespace, name, ?next, "looked at");
                self.work.backoff.clear(key);
                next.pause()
            }
            Err(Error::Conflict) => Some(SOON),
            Err(Error::NotLeader) => None,
            Err(error) => {
                let pause = self.work.backoff.failed(key.clone());
                tracing::warn!(kind, namespace, name, %error, "tried again in {pause:?}");
                Some(pause)
            }
        };
        if let Some(pause) = pause {
            self.work.queue.add_after(key.clone(), pause);
        }
    }
}

fn outcome(result: &Result<Next, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(error) => error.outcome(),
    }
}

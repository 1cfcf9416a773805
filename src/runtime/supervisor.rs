//! Starts the tasks of the process and ends them in order.
//!
//! No task may end by itself: the first one that does, by an error or a panic, ends the process, so that it is
//! started anew as a whole rather than going on with a part missing. The order of the end is the same for a
//! signal: not ready, no new work, what runs is finished within a bound, the lease is released, the rest ends.

use std::{convert::Infallible, error::Error as StdError, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::health::Health;

/// How long the lease may take to be released.
const RELEASE: Duration = Duration::from_secs(3);

type Cause = Box<dyn StdError + Send + Sync>;

/// Why the process ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task ended by itself.
    #[error("{task} ended: {cause}")]
    Ended {
        /// Which.
        task: &'static str,
        /// Why.
        cause: Cause,
    },
    /// A task panicked.
    #[error("a task panicked: {0}")]
    Panicked(#[from] JoinError),
    /// Work was not finished within the bound; it was cut off.
    #[error("work was cut off: it was not finished within {0:?}")]
    CutOff(Duration),
}

/// What told the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Of the kubelet.
    Terminate,
    /// Of somebody at a terminal.
    Interrupt,
}

/// The next SIGTERM or SIGINT, from this call on.
///
/// # Errors
/// The system lets no handler be set.
pub fn next_signal() -> io::Result<impl Future<Output = Signal>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    })
}

type Tasks = JoinSet<(&'static str, Result<(), Cause>)>;

/// The tasks of the process.
#[derive(Debug)]
pub struct Supervisor {
    health: Health,
    work: CancellationToken,
    lease: CancellationToken,
    workers: Tasks,
    lease_tasks: Tasks,
    services: Tasks,
}

impl Supervisor {
    /// Without tasks. `health` says not ready from the moment that the end begins.
    #[must_use]
    pub fn new(health: Health) -> Self {
        let (work, lease) = (CancellationToken::new(), CancellationToken::new());
        let (workers, lease_tasks, services) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        Self { health, work, lease, workers, lease_tasks, services }
    }

    /// Starts a task that writes. When `end` comes it takes no more work, finishes what it has, and returns.
    pub fn worker<F, E>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Cause>,
    {
        let task = task(self.work.clone());
        self.workers.spawn(async move { (name, task.await.map_err(Into::into)) });
    }

    /// Starts the task that holds the lease. When `end` comes, after all work, it releases it and returns.
    pub fn lease<F>(&mut self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(self.lease.clone());
        self.lease_tasks.spawn(async move {
            task.await;
            ("the lease", Ok(()))
        });
    }

    /// Starts a task that goes on to the last moment, such as the endpoints.
    pub fn service<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<Infallible, E>> + Send + 'static,
    ) {
        self.services.spawn(async move { (name, task.await.map(|never| match never {}).map_err(Into::into)) });
    }

    /// Runs until `signal` comes or a task ends, then ends the rest in order. Work that is not finished within
    /// `bound` is cut off: the pod's grace period must be longer, by what the lease takes (3 s).
    ///
    /// # Errors
    /// The task that ended by itself; work that was cut off.
    pub async fn run(mut self, signal: impl Future<Output = Signal>, bound: Duration) -> Result<(), Error> {
        let reason = tokio::select! {
            signal = signal => {
                tracing::info!(?signal, "the process ends");
                Ok(())
            }
            Some(ended) = self.workers.join_next() => Err(failure(ended)),
            Some(ended) = self.lease_tasks.join_next() => Err(failure(ended)),
            Some(ended) = self.services.join_next() => Err(failure(ended)),
        };
        if let Err(error) = &reason {
            tracing::error!(%error, "the process ends");
        }
        let drained = self.end(bound).await;
        reason.and(drained)
    }

    async fn end(mut self, bound: Duration) -> Result<(), Error> {
        self.health.drain();
        self.work.cancel();
        let drained = timeout(bound, finish(&mut self.workers)).await.unwrap_or(Err(Error::CutOff(bound)));
        // What was cut off must not write when another leads.
        self.workers.shutdown().await;
        self.lease.cancel();
        if timeout(RELEASE, finish(&mut self.lease_tasks)).await.is_err() {
            tracing::warn!("the lease is not released: it expires by itself");
        }
        self.services.shutdown().await;
        drained
    }
}

/// Waits for all; the first error counts.
async fn finish(tasks: &mut Tasks) -> Result<(), Error> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if !matches!(ended, Ok((_, Ok(())))) {
            result = result.and(Err(failure(ended)));
        }
    }
    result
}

fn failure(ended: Result<(&'static str, Result<(), Cause>), JoinError>) -> Error {
    match ended {
        Ok((task, Err(cause))) => Error::Ended { task, cause },
        Ok((task, Ok(()))) => Error::Ended { task, cause: "it was to go on".into() },
        Err(panic) => Error::Panicked(panic),
    }
}

#[cfg(test)]
mod tests;

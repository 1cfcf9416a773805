//! Leader election: which of several replicas writes.
//!
//! The promise of exactly one build per key does not rest on this, but on names and guarded writes; the lease
//! keeps replicas from doing the same work twice. [`Claim`] is the right to write, a value that ends by itself:
//! a process that was frozen, cut off or slow finds it expired and needs nobody to tell it.
//!
//! [`election`] decides, [`Running`] asks and writes. Every write names the version that it was decided on, so of
//! two contenders the API server lets one through.

pub mod election;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{clock, metrics::Metrics};
use election::{Election, Look, Step};

/// How long one request may take: far less than a claim lasts, so that another can follow.
const REQUEST: Duration = Duration::from_secs(3);

/// The times of the lease. Each must be well below the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Whoever sees no renewal for so long takes over.
    pub duration: Duration,
    /// A leader that could not renew for so long stops to write. The rest of `duration` is for writes that are
    /// still on their way, and for clocks of different speed.
    pub valid: Duration,
    /// How often the leader renews and the others look.
    pub period: Duration,
}

impl Default for Times {
    /// Takeover within 15 s + 2 s of a kill, within 2 s of a shutdown.
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), valid: Duration::from_secs(10), period: Duration::from_secs(2) }
    }
}

/// Which lease, and who wants it.
#[derive(Clone, Debug)]
pub struct Contender {
    /// The namespace of the `Lease`.
    pub namespace: String,
    /// The name of the `Lease`.
    pub name: String,
    /// Who we are: another value for each process, also for the next one in the same pod.
    pub identity: String,
    /// The times; the same for all contenders.
    pub times: Times,
}

/// Until when this process may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    No,
    Until(Instant),
    Always,
}

/// The right to write; clones share it. Ask it right before each write.
#[derive(Clone, Debug)]
pub struct Claim(watch::Receiver<Right>);

impl Claim {
    /// That of a process without leader election.
    #[must_use]
    pub fn always() -> Self {
        Self(watch::channel(Right::Always).1)
    }

    /// Whether this process may write at this moment.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.remaining().is_some()
    }

    /// How long this process may write if it cannot renew: the longest that a write may take from now. None if
    /// it may not write.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        match *self.0.borrow() {
            Right::No => None,
            Right::Always => Some(Duration::MAX),
            Right::Until(end) => {
                end.checked_duration_since(clock::monotonic()).filter(|remaining| !remaining.is_zero())
            }
        }
    }

    /// Waits until this process becomes the leader, or is it already. False if it never will: it ends.
    pub async fn gained(&mut self) -> bool {
        loop {
            if self.is_current() {
                return true;
            }
            if self.0.changed().await.is_err() {
                return self.is_current();
            }
        }
    }

    /// Waits until this process may no longer write.
    pub async fn lost(&mut self) {
        while let Some(remaining) = self.remaining() {
            // Over at the end, or earlier if something changed: a renewal or a release.
            if let Ok(Err(_)) = timeout(remaining, self.0.changed()).await {
                // No renewal can come any more.
                let _ = timeout(remaining, std::future::pending::<()>()).await;
            }
        }
    }
}

/// A claim that is not current yet, and the election that makes it so once [`Running::run`] runs.
#[must_use]
pub fn claim(client: Client, contender: Contender, metrics: Metrics) -> (Claim, Running) {
    let (right, claim) = watch::channel(Right::No);
    let leases = Api::namespaced(client, &contender.namespace);
    let election = Election::new(contender.identity, contender.times);
    let running = Running { leases, name: contender.name, times: contender.times, election, right, metrics };
    (Claim(claim), running)
}

/// A contender at work.
#[derive(Debug)]
pub struct Running {
    leases: Api<Lease>,
    name: String,
    times: Times,
    election: Election,
    right: watch::Sender<Right>,
    metrics: Metrics,
}

impl Running {
    /// Contends until `end`, then lets go: the claim first, then the lease, so that another takes over at once.
    /// Errors of the API server are logged and tried again: they end the claim, not the process.
    pub async fn run(mut self, end: CancellationToken) {
        loop {
            self.turn().await;
            if timeout(self.times.period, end.cancelled()).await.is_ok() {
                break;
            }
        }
        self.right.send_replace(Right::No);
        self.metrics.leading(false);
        self.release().await;
    }

    /// Looks and does what follows, once.
    async fn turn(&mut self) {
        let was = self.current();
        if let Err(error) = self.step().await {
            tracing::warn!(%error, lease = self.name, "the lease: tried again in {:?}", self.times.period);
        }
        let until = self.election.claimed_until();
        self.right.send_replace(until.map_or(Right::No, Right::Until));
        let is = self.current();
        self.metrics.leading(is);
        match (was, is) {
            (false, true) => tracing::info!(lease = self.name, "leading"),
            (true, false) => tracing::warn!(lease = self.name, "no longer leading"),
            _ => {}
        }
    }

    fn current(&self) -> bool {
        Claim(self.right.subscribe()).is_current()
    }

    async fn step(&mut self) -> Result<(), Error> {
        let asked = clock::monotonic();
        let found = in_time(self.leases.get_opt(&self.name)).await?;
        let look = Look { asked, answered: clock::monotonic() };
        let (metadata, spec) = match self.election.step(found.as_ref(), look, clock::now()) {
            Step::Wait => return Ok(()),
            Step::Create(spec) => (ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, spec),
            Step::Update(spec) => (found.map(|lease| lease.metadata).unwrap_or_default(), spec),
        };
        let asked = clock::monotonic();
        let lease = Lease { metadata, spec: Some(spec) };
        if self.write(&lease).await? {
            self.election.written(lease.spec.as_ref(), asked);
        }
        Ok(())
    }

    /// Creates the lease, or replaces the version that its metadata name. False if another was faster: the next
    /// look tells who.
    #[expect(clippy::disallowed_methods, reason = "no object of a user: the lease is written here alone")]
    async fn write(&self, lease: &Lease) -> Result<bool, Error> {
        let parameters = PostParams::default();
        let written = if lease.metadata.resource_version.is_some() {
            in_time(self.leases.replace(&self.name, &parameters, lease)).await
        } else {
            in_time(self.leases.create(&parameters, lease)).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(Error::Api(kube::Error::Api(status))) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Empties the lease if it is ours. Whoever cannot be told waits until it expires.
    async fn release(&mut self) {
        let result = self.let_go().await;
        if let Err(error) = result {
            tracing::warn!(%error, lease = self.name, "the lease is not released: it expires by itself");
        }
    }

    async fn let_go(&mut self) -> Result<(), Error> {
        let Some(mut lease) = in_time(self.leases.get_opt(&self.name)).await? else { return Ok(()) };
        let Some(spec) = lease.spec.as_mut().and_then(|spec| self.election.release(spec)) else { return Ok(()) };
        lease.spec = Some(spec);
        if self.write(&lease).await? {
            tracing::info!(lease = self.name, "released");
        }
        Ok(())
    }
}

/// Why the lease could not be read or written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {REQUEST:?}")]
    Late,
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    Ok(timeout(REQUEST, request).await.map_err(|_| Error::Late)??)
}

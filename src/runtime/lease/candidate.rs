//! A process that wants the lease: it reads and writes it, as the election decides.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    claim::{Claim, Right},
    election::{Election, Look, Step},
    times::Times,
};
use crate::runtime::{clock, metrics::Metrics};

/// How long one request may take: far less than a claim lasts, so that another can follow.
const REQUEST: Duration = Duration::from_secs(3);

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

/// A claim that is not current yet, and the election that makes it so once [`Candidate::run`] runs.
#[must_use]
pub fn claim(client: Client, contender: Contender, metrics: Metrics) -> (Claim, Candidate) {
    let (right, claim) = watch::channel(Right::No);
    let leases = Api::namespaced(client, &contender.namespace);
    let election = Election::new(contender.identity, contender.times);
    let candidate = Candidate { leases, name: contender.name, times: contender.times, election, right, metrics };
    (Claim(claim), candidate)
}

/// A contender at work.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    times: Times,
    election: Election,
    right: watch::Sender<Right>,
    metrics: Metrics,
}

impl Candidate {
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

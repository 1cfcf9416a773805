//! What all reconcilers and events work with.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::{
    clock,
    execute::Executor,
    lookups::{LookupCache, Lookups},
    places::Places,
    queues::Queues,
    stores::Stores,
};
use crate::plan::{chain::Promotion, lookup::Subject};

/// What the controller knows and works with. It has parts and no logic: questions are for [`Stores`], and [`Queues`]
/// enqueues.
pub struct Context {
    /// For reads that no store can answer.
    pub client: Client,
    /// Copies of what is in the cluster.
    pub stores: Stores,
    /// What is due.
    pub queues: Queues,
    /// Registries and git servers.
    pub remote: Remote,
    /// The one that writes.
    pub writer: Executor,
    /// The places that profiles limit.
    pub places: Places,
    /// The operator's own image.
    pub operator_image: String,
    /// Since when this process reconciles.
    pub since: Timestamp,
}

/// Registries and git servers, and what they answered.
#[derive(Debug)]
pub struct Remote {
    /// The clients.
    pub lookups: Lookups,
    /// Answers to look-ups.
    pub answers: LookupCache<Subject>,
    /// What became of promotions.
    pub promotions: LookupCache<Promotion>,
}

impl Context {
    /// A context in which nothing was asked and nothing is due yet.
    #[must_use]
    pub fn new(client: Client, stores: Stores, lookups: Lookups, writer: Executor, operator_image: String) -> Self {
        Self {
            client,
            stores,
            queues: Queues::default(),
            remote: Remote { lookups, answers: LookupCache::default(), promotions: LookupCache::default() },
            writer,
            places: Places::default(),
            operator_image,
            since: clock::now(),
        }
    }

    /// The name of the operator, as the API server knows it.
    #[must_use]
    pub fn user(&self) -> &str {
        self.remote.lookups.reader.user()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}

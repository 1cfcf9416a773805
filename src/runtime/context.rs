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
use crate::{
    plan::{chain::Promotion, lookup::Subject},
    render::Operator,
};

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
    /// What the operator brings to build pods.
    pub brought: Brought,
    /// Since when this process reconciles.
    pub since: Timestamp,
}

/// What the operator brings to build pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its own image.
    pub image: String,
    /// The URL of the cache of files on each node.
    pub file_cache: Option<String>,
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
    pub fn new(client: Client, stores: Stores, lookups: Lookups, writer: Executor, brought: Brought) -> Self {
        Self {
            client,
            stores,
            queues: Queues::default(),
            remote: Remote { lookups, answers: LookupCache::default(), promotions: LookupCache::default() },
            writer,
            places: Places::default(),
            brought,
            since: clock::now(),
        }
    }

    /// What the operator brings to an attempt.
    #[must_use]
    pub fn operator(&self) -> Operator<'_> {
        Operator { image: &self.brought.image, file_cache: self.brought.file_cache.as_deref() }
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

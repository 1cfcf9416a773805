//! What streams need, and what is left of them: their copy and their health.

use std::fmt;

use kube::{Client, runtime::reflector::Store};

use super::options::Watchable;
use crate::runtime::{
    health::{Health, Stream},
    metrics::Metrics,
};

/// Where streams get what they share.
#[derive(Clone)]
pub struct Source {
    /// To the API server.
    pub client: Client,
    /// Where failures are counted.
    pub metrics: Metrics,
    /// What `/readyz` reads.
    pub health: Health,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").finish_non_exhaustive()
    }
}

/// A copy that is kept as long as its stream is polled.
#[derive(Clone, Debug)]
pub struct Watched<K: Watchable> {
    /// The objects.
    pub store: Store<K>,
    /// How the stream is doing.
    pub health: Stream,
}

//! How registries are reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::remote::network::Network;

/// How registries are reached; of a profile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Registries to ask first, by the registry that an image names; both as host or host:port. They are
    /// asked for base images alone.
    pub mirrors: BTreeMap<String, String>,
    /// Registries, as host or host:port, that are reached by plain HTTP.
    pub insecure: BTreeSet<String>,
    /// By which proxies, and trusted by whom.
    pub network: Network,
    /// The limit of one request, but for those that move a layer.
    pub request: Duration,
    /// The limit of a request that moves a layer.
    pub transfer: Duration,
    /// How much of a box one request sends, in bytes. It is in memory: it can be sent again.
    pub chunk: u64,
    /// The first pause before a transfer of a box that was cut goes on. Each further one without progress is twice as
    /// long.
    pub pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            network: Network::default(),
            request: Duration::from_secs(30),
            transfer: Duration::from_mins(30),
            chunk: 16 << 20,
            pause: Duration::from_secs(1),
        }
    }
}

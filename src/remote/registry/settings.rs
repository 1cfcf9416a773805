//! How registries are reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How registries are reached; of a profile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Registries to ask first, by the registry that an image names; both as host or host:port. They are
    /// asked for base images alone.
    pub mirrors: BTreeMap<String, String>,
    /// Registries, as host or host:port, that are reached by plain HTTP.
    pub insecure: BTreeSet<String>,
    /// Certificates, as PEM, that are trusted besides those of the system.
    pub certificates: Option<String>,
    /// The limit of one request, but for those that move a layer.
    pub request: Duration,
    /// The limit of a request that moves a layer.
    pub transfer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            insecure: BTreeSet::new(),
            certificates: None,
            request: Duration::from_secs(30),
            transfer: Duration::from_mins(30),
        }
    }
}

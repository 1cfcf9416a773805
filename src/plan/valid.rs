//! Chains and builds that cannot be wrong in themselves: [`super::validate`] alone makes them, and what
//! reads them needs to check nothing again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::Toleration;

use super::{
    image::{Reference, Repository},
    network::Proxy,
    recipe::Recipe,
};
use crate::api::{
    chain::{History, OnFailure},
    profile::{Engine, Hypervisor, Isolation},
};

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidChain {
    /// The name of its object.
    pub name: String,
    /// The profiles that it may use, the default first.
    pub profiles: Vec<String>,
    /// The build identity.
    pub service_account: String,
    /// How often revisions and digests are looked up; `None`: only on change and on request.
    pub interval: Option<Duration>,
    /// How many builds may run at once: at least 1.
    pub parallelism: u32,
    /// What a failed link means for the others.
    pub on_failure: OnFailure,
    /// How many finished builds are kept.
    pub history: History,
    /// Whether nothing is to be started.
    pub suspend: bool,
    /// The links, every parent before its children.
    pub links: Vec<ValidLink>,
}

/// A link.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidLink {
    /// Its name, unique in the chain.
    pub name: String,
    /// Its profile, one of the chain's.
    pub profile: String,
    /// How it is built, tested and published.
    pub recipe: Recipe,
}

/// A single build.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidBuild {
    /// Its profile.
    pub profile: String,
    /// The build identity.
    pub service_account: String,
    /// How it is built, tested and published.
    pub recipe: Recipe,
}

/// A profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidProfile {
    /// The image that the stages run in.
    pub builder: Reference,
    /// The image that the engine runs in.
    pub engine_image: Reference,
    /// What keeps a build from its node.
    pub isolation: Isolation,
    /// The container engine that runs beside a build.
    pub engine: Engine,
    /// The hypervisor that builds use; `None`: they make images.
    pub hypervisor: Option<Hypervisor>,
    /// The extended resource that gives a container `/dev/kvm`; `None`: machines are emulated.
    pub kvm: Option<String>,
    /// The namespace of the pods.
    pub execution_namespace: String,
    /// The platform of the images that are built, for example `linux/amd64`.
    pub platform: String,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that the pods bear.
    pub tolerations: Vec<Toleration>,
    /// Processor time of one build, in thousandths.
    pub milli_cpu: u64,
    /// Memory of one build.
    pub memory_bytes: u64,
    /// Disk of one build.
    pub storage_bytes: u64,
    /// What a node must have free for one build: no more than the three above.
    pub requests: Requested,
    /// How many builds may run at once; `None`: any number.
    pub max_concurrent: Option<u32>,
    /// Where builds push what they made; `None`: to the published repository itself.
    pub staging: Option<ValidStaging>,
    /// The registries to ask instead of others, both as host or host:port.
    pub mirrors: BTreeMap<String, String>,
    /// The registries that are reached by plain HTTP.
    pub insecure: BTreeSet<String>,
    /// The `ConfigMap` of the execution namespace with the certificates that registries alone are trusted by.
    pub certificate_authority: Option<String>,
    /// How all servers are reached.
    pub network: ValidNetwork,
    /// How long finished pods of good builds are kept.
    pub keep_succeeded: Duration,
    /// How long finished pods of failed builds are kept.
    pub keep_failed: Duration,
    /// How long a pod may live.
    pub deadline: Duration,
}

/// How servers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidNetwork {
    /// The `ConfigMap` of the execution namespace with the certificates that servers are trusted by.
    pub certificate_authority: Option<String>,
    /// By which proxies; `None`: as the operator reaches them, and from pods directly.
    pub proxy: Option<Proxy>,
}

/// What a node must have free for one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Processor time, in thousandths.
    pub milli_cpu: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Disk.
    pub storage_bytes: u64,
}

/// Where builds push what they made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidStaging {
    /// The repository.
    pub repository: Repository,
    /// The Secret of the execution namespace with the right to push there.
    pub secret: Option<String>,
}

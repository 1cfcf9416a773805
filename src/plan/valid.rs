//! Chains and builds that cannot be wrong in themselves: [`super::validate`] alone makes them, and what
//! reads them needs to check nothing again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::Toleration;

use super::{
    image::{Reference, Repository, Tag},
    path::SourcePath,
    placeholder::Template,
};
use crate::api::{
    chain::{History, OnFailure},
    recipe::{BuildStep, VerifyStep},
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
    /// What it is built on.
    pub parent: Option<ValidParent>,
    /// How it is built, tested and published.
    pub recipe: ValidRecipe,
}

/// A single build.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidBuild {
    /// Its profile.
    pub profile: String,
    /// The build identity.
    pub service_account: String,
    /// What it is built on.
    pub parent: Option<ValidParent>,
    /// How it is built, tested and published.
    pub recipe: ValidRecipe,
}

/// A profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidProfile {
    /// The image that the stages run in.
    pub builder: Reference,
    /// The image that the engine runs in.
    pub engine: Reference,
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
    /// How many builds may run at once; `None`: any number.
    pub max_concurrent: Option<u32>,
    /// Where builds push what they made; `None`: to the published repository itself.
    pub staging: Option<ValidStaging>,
    /// The registries to ask instead of others, both as host or host:port.
    pub mirrors: BTreeMap<String, String>,
    /// The registries that are reached by plain HTTP.
    pub insecure: BTreeSet<String>,
    /// The `ConfigMap` of the execution namespace with the certificates that registries are trusted by.
    pub certificate_authority: Option<String>,
    /// How long finished pods of good builds are kept.
    pub keep_succeeded: Duration,
    /// How long finished pods of failed builds are kept.
    pub keep_failed: Duration,
    /// How long a pod may live.
    pub deadline: Duration,
}

/// Where builds push what they made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidStaging {
    /// The repository.
    pub repository: Repository,
    /// The Secret of the execution namespace with the right to push there.
    pub secret: Option<String>,
}

/// What a link is built on, and the name under which the engine finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidParent {
    /// Where it comes from.
    pub origin: ParentOrigin,
    /// The name under which the build's engine finds it.
    pub local_name: String,
    /// The Secret for the pull.
    pub secret: Option<String>,
}

impl ValidParent {
    /// Whether another link has staged it: without a Secret of its own it is pulled with the credentials that its child
    /// is staged with.
    #[must_use]
    pub const fn is_staged(&self) -> bool {
        !matches!(self.origin, ParentOrigin::Image(_))
    }
}

/// Where a parent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentOrigin {
    /// An image of a registry.
    Image(Reference),
    /// An earlier link of the same chain, by its place in [`ValidChain::links`].
    Link(usize),
    /// Of a build: a link of the chain that it was made for. What it was is in the build's inputs.
    Sibling(String),
    /// A link of another chain of the same namespace.
    Chain {
        /// The chain's name.
        chain: String,
        /// The link's name.
        link: String,
    },
}

/// How a link, or a single build, is built, tested and published.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRecipe {
    /// Where its files come from.
    pub source: ValidSource,
    /// The files that decide its result; empty means all of the source.
    pub paths: BTreeSet<SourcePath>,
    /// The packer template and its settings.
    pub packer: ValidPacker,
    /// The tests, in order.
    pub verify: Vec<ValidVerify>,
    /// Where it is published.
    pub publish: Option<ValidPublish>,
    /// From the creation of a pod to the start of its first stage.
    pub pending_timeout: Duration,
    /// Of the build stage.
    pub build_timeout: Duration,
    /// Of the verify stage.
    pub verify_timeout: Duration,
    /// Further attempts after failures of the infrastructure.
    pub infrastructure_retries: u32,
    /// Further attempts after failures of the build or a test.
    pub build_retries: u32,
    /// The build as it is written: it goes into the key.
    pub written_build: BuildStep,
    /// The tests as they are written, likewise.
    pub written_verify: Vec<VerifyStep>,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidSource {
    /// A git repository.
    Git {
        /// Its URL.
        url: String,
        /// The revision as it is written.
        revision: String,
        /// The folder that paths are relative to; `None`: the root.
        directory: Option<SourcePath>,
        /// The Secret with the credentials.
        secret: Option<String>,
    },
    /// A `ConfigMap`, by name.
    ConfigMap(String),
    /// Files written into the object.
    Inline(BTreeMap<SourcePath, String>),
}

/// A call of packer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPacker {
    /// The template.
    pub template: SourcePath,
    /// The values of its variables.
    pub variables: Variables,
    /// Files with values of variables, in order.
    pub variable_files: Vec<SourcePath>,
    /// Packer's `-only`.
    pub only: Vec<String>,
    /// Packer's `-except`.
    pub except: Vec<String>,
}

/// Variables: names that occur once, with a value or with a place in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Written values.
    pub values: BTreeMap<String, Template>,
    /// Name and key of the Secret that holds the value.
    pub secrets: BTreeMap<String, (String, String)>,
}

/// One test step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidVerify {
    /// What runs.
    pub run: VerifyRun,
    /// Where it runs; `None`: the root of the source.
    pub directory: Option<SourcePath>,
    /// Its environment.
    pub environment: Variables,
}

/// What a test step runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyRun {
    /// A molecule scenario, by name.
    Molecule(String),
    /// pytest.
    Pytest,
    /// A program and its arguments: at least one.
    Command(Vec<Template>),
}

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPublish {
    /// The repository.
    pub repository: Repository,
    /// The tags: at least one.
    pub tags: BTreeSet<Tag>,
    /// The Secret with the right to push.
    pub secret: Option<String>,
}

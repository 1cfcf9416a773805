//! What one link does: its parent, how it is built, tested and published. An `ImageBuild` holds the same.

mod command;
mod environment;
mod molecule;
mod packer;
mod pytest;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Duration, ImageReference, Label, ObjectName, Repository, SecretReference, Tag};
pub use command::Command;
pub use environment::Environment;
pub use molecule::{Molecule, ScenarioName};
pub use packer::{BuildName, Packer};
pub use pytest::Pytest;

/// What a link is built on. Exactly one of `image`, `link` and `chain` must be set; leave all of it out
/// where the build brings its own base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.image), has(self.link), has(self.chain)].filter(x, x).size() == 1")
        .message("set exactly one of image, link, chain"),
    validation = Rule::new("!has(self.secretRef) || !has(self.link)")
        .message("secretRef belongs to image or chain: what another link has staged is pulled with the profile's credential")
)]
pub struct Parent {
    /// An image of a registry. A tag is looked up; the link is rebuilt when it leads to another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageReference>,
    /// An earlier link of this chain, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Label>,
    /// A link of another chain in the same namespace: its last verified image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainLink>,
    /// The name under which the build's engine finds the parent, for templates that name a local image.
    /// Default: `imagechain.local/<link>:parent`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub local_name: Option<ImageReference>,
    /// A Secret of type `kubernetes.io/dockerconfigjson` for the pull of `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// A link of another chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainLink {
    /// The name of the chain.
    pub name: ObjectName,
    /// The name of its link.
    pub link: Label,
}

/// How a link is built. Exactly one of its fields must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.packer)").message("set packer: it is the one way to build so far"))]
pub struct BuildStep {
    /// A packer template, in HCL2 or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packer: Option<Packer>,
}

/// One test of what was built. Exactly one of its fields must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.molecule), has(self.pytest), has(self.command)].filter(x, x).size() == 1")
        .message("set exactly one of molecule, pytest, command")
)]
pub struct VerifyStep {
    /// A molecule scenario, run with `molecule test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub molecule: Option<Molecule>,
    /// pytest-testinfra against a container that is started from the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pytest: Option<Pytest>,
    /// A command of the builder image; it passes if it ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
}

/// Where what was tested goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.image)").message("set image: it is the one way to publish so far"))]
pub struct Publish {
    /// Tags of a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PublishImage>,
}

/// Tags of a repository that are moved to the digest that was tested, and to no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishImage {
    /// The repository.
    pub repository: Repository,
    /// The tags; all of them lead to the same digest.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tags: Vec<Tag>,
    /// A Secret of type `kubernetes.io/dockerconfigjson` with the right to push. Where the profile has a
    /// staging repository, the operator alone reads it; without one, build pods get it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// How long a build may take, and how long it may lack something; each is counted for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// From the creation of the pod to the start of its first stage.
    pub pending: Duration,
    /// The build stage.
    pub build: Duration,
    /// The verify stage, all of its steps together.
    pub verify: Duration,
    /// How long something that it names (a Secret, a grant, a revision, a base image) may be missing before it
    /// is told as `Stalled`. Until then it is `Reconciling`; before and after, it goes on by itself once that is
    /// there.
    pub dependency: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            pending: Duration::from("10m"),
            build: Duration::from("2h"),
            verify: Duration::from("30m"),
            dependency: Duration::from("10m"),
        }
    }
}

/// How often a build is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// After a failure of the infrastructure (the node went away, a registry did not answer): so many
    /// further attempts.
    #[schemars(range(min = 0, max = 20))]
    pub infrastructure: i32,
    /// After a failure of the build or of a test: so many further attempts.
    #[schemars(range(min = 0, max = 5))]
    pub build: i32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { infrastructure: 6, build: 0 }
    }
}

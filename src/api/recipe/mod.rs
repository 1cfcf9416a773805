//! What one link does: its parent, how it is built, tested and published. An `ImageBuild` holds the same.

mod box_step;
mod command;
mod environment;
mod file;
mod gitea;
mod login;
mod molecule;
mod packer;
mod pytest;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Duration, ImageReference, Label, ObjectName, Repository, SecretReference, TagTemplate};
pub use box_step::BoxStep;
pub use command::Command;
pub use environment::Environment;
pub use file::{FileUrl, InputFile, ParentBox, Sha256};
pub use gitea::PublishGitea;
pub use login::Login;
pub use molecule::{Molecule, ScenarioName};
pub use packer::{BuildName, Packer};
pub use pytest::Pytest;

/// What a link is built on. Exactly one of `image`, `link`, `chain` and `box` must be set; leave all of it out
/// where the build brings its own base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.image), has(self.link), has(self.chain), has(self.box)].filter(x, x).size() == 1")
        .message("set exactly one of image, link, chain, box"),
    validation = Rule::new("!has(self.secretRef) || !has(self.link)")
        .message("secretRef belongs to image or chain: what another link has staged is pulled with the profile's credential"),
    validation = Rule::new("!has(self.secretRef) || !has(self.box) || has(self.box.reference)")
        .message("secretRef belongs to registries: box.url is fetched without credentials")
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
    /// A machine box that no link has made: a file by its URL, or one of a registry.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub machine_box: Option<ParentBox>,
    /// The name under which the build's engine finds the parent, for templates that name a local image.
    /// Default: `imagechain.local/<link>:parent`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub local_name: Option<ImageReference>,
    /// A Secret for the pull of `image` or of `box.reference`, of type `kubernetes.io/dockerconfigjson`, `kubernetes.io/dockercfg` or
    /// `kubernetes.io/basic-auth`. A key `ca.crt` holds the certificates that its registry is trusted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
    /// What the layers of the product have in common with those of the parent. Default: `Inherited`.
    #[serde(default, skip_serializing_if = "Layers::is_inherited")]
    pub layers: Layers,
}

/// What the layers of a product have in common with those of its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Layers {
    /// They begin with the parent's: whatever the template names as its base, it is the parent. Otherwise the build
    /// fails with `ImageMismatch`.
    #[default]
    Inherited,
    /// Nothing: the build squashes them (`export_path` and docker-import), or brings a base of its own. It is built
    /// again for another parent all the same.
    Any,
}

impl Layers {
    /// Whether they begin with the parent's.
    #[must_use]
    pub const fn is_inherited(&self) -> bool {
        matches!(self, Self::Inherited)
    }
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
#[x_kube(validation = Rule::new("has(self.packer) != has(self.box)").message("set exactly one of packer, box"))]
pub struct BuildStep {
    /// A packer template, in HCL2 or JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packer: Option<Packer>,
    /// A machine box of the parent, without packer.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub machine_box: Option<BoxStep>,
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
    /// pytest-testinfra against a container that is started from the image as `docker run` does it; one that boots
    /// systemd is privileged, with control groups of its own and an empty `/run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pytest: Option<Pytest>,
    /// A command of the builder image; it passes if it ends with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// How tests log in to a machine, where a box is tested: it is booted before the step and ended after it. Default:
    /// the user `vagrant` with the keys that Vagrant publishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// Where what was tested goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.image), has(self.box), has(self.gitea)].filter(x, x).size() == 1")
        .message("set exactly one of image, box, gitea")
)]
pub struct Publish {
    /// Tags of a repository, for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PublishTags>,
    /// Tags of a repository, for a box: it stands there as an OCI artifact, whose one layer is its file.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub machine_box: Option<PublishTags>,
    /// A version of a Vagrant box in the package registry of Gitea or Forgejo. The profile must have a staging
    /// repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitea: Option<PublishGitea>,
}

/// Tags of a repository that are moved to the digest that was tested, and to no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishTags {
    /// The repository.
    pub repository: Repository,
    /// The tags; all of them lead to the same digest. One with `{{timestamp}}` is another for each build: those of earlier
    /// builds stay where they lead.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub tags: Vec<TagTemplate>,
    /// A Secret with the right to push, of the types that `from.secretRef` has. Where the profile has a staging
    /// repository, the operator alone reads it; without one, build pods get it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// How long a build may take, and how long it may lack something; each is counted for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// From the moment in which the pod has its node to the start of its first stage. As long as nodes that are large
    /// enough have no room, it waits without limit; where none may take it for another reason, as long as this.
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

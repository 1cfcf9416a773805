//! What one link does: its parent, how it is built, tested and published. An `ImageBuild` holds the same.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    Duration, ImageReference, Label, ObjectName, RelativePath, Repository, SecretReference, SecretVariable, Tag, Text,
    VARIABLE_NAMES,
};

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

/// A call of `packer build`. The template must yield one image; where it yields several, `only` picks one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packer {
    /// The template: a file `*.pkr.hcl` or `*.json` (packer runs in its folder), or a folder of HCL2 (in the root).
    pub template: RelativePath,
    /// Values of the template's variables; they may hold placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub variables: BTreeMap<String, Text>,
    /// Variables whose values come from Secrets. Packer reads them from a file that only it can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
    /// Files with values of variables, in the order in which packer reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub variable_files: Vec<RelativePath>,
    /// Builds of the template to run: packer's `-only`. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub only: Vec<BuildName>,
    /// Builds and post-processors of the template not to run: packer's `-except`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub except: Vec<BuildName>,
}

/// The name of a build of a packer template, for example `docker.web`; `*` stands for any part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BuildName(
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[a-zA-Z0-9*_][a-zA-Z0-9*_.-]*$"))] pub String,
);

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

/// A molecule scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Molecule {
    /// The folder that holds `molecule/`. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// The name of the scenario.
    #[serde(default = "default_scenario")]
    pub scenario: ScenarioName,
    /// Variables of the environment; they may hold placeholders, of which `$(image.local)` is what the
    /// scenario's platform should start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub environment: BTreeMap<String, Text>,
    /// Variables of the environment whose values come from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
}

/// The name of a molecule scenario: a folder below `molecule/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScenarioName(
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$"))] pub String,
);

fn default_scenario() -> ScenarioName {
    ScenarioName("default".to_owned())
}

/// A call of pytest with testinfra.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pytest {
    /// The folder with the tests. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// Variables of the environment; they may hold placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub environment: BTreeMap<String, Text>,
    /// Variables of the environment whose values come from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
}

/// A command of the builder image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The program and its arguments. No shell reads them; they may hold placeholders.
    #[schemars(length(min = 1, max = 64))]
    pub arguments: Vec<Text>,
    /// The folder in which it runs. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// Variables of the environment; they may hold placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub environment: BTreeMap<String, Text>,
    /// Variables of the environment whose values come from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
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

/// How long a build may take; each is counted for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// From the creation of the pod to the start of its first stage.
    pub pending: Duration,
    /// The build stage.
    pub build: Duration,
    /// The verify stage, all of its steps together.
    pub verify: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { pending: Duration::from("10m"), build: Duration::from("2h"), verify: Duration::from("30m") }
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

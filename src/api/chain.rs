//! `ImageChain`: an ordered list of links, each of which makes one image on top of an earlier one.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::boxes::{ArtifactContent, BoxProvider};
use super::common::{
    Digest, Duration, ImageReference, Label, ObjectName, PATHS, PublishedPlace, RelativePath, Source, Tag,
    default_service_account, not_observed,
};
use super::condition::Reason;
use super::recipe::{BuildStep, InputFile, Parent, Publish, Retry, Timeouts, VerifyStep};

/// The most of a link's message, in bytes. A command that grants a right takes 350; 256 links with the longest
/// messages take 128 KiB.
pub const LONGEST_LINK_MESSAGE: usize = 512;

/// A chain of machine images: each link is built, tested and, only when its tests passed, published.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "imagechain.dev", version = "v1alpha1", kind = "ImageChain", namespaced,
    status = "ImageChainStatus", derive = "PartialEq",
    // The category is not named like the kind: `kubectl get imagechain NAME` would mean all kinds.
    shortname = "ic", category = "imagechain-all",
    doc = "A chain of machine images: each link is built, tested and, only when its tests passed, published.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Links", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "UpToDate", type_ = "string", json_path = ".status.conditions[?(@.type==\"UpToDate\")].status"),
    // Of a suspended chain that has something to build, nothing is said of `Ready`.
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Last image", type_ = "string", json_path = ".status.lastImage", priority = 1),
    validation = Rule::new("self.spec.links.all(l, size(self.metadata.name) + size(l.name) <= 50)")
        .message("the names of the chain and of each link may have 50 characters together: shorten one of them")
)]
#[x_kube(
    validation = Rule::new("has(self.source) || self.links.all(l, has(l.source))")
        .message("set spec.source, or a source in every link"),
    validation = Rule::new("self.links.all(l, !has(l.profile) || l.profile in self.profiles)")
        .message("a link's profile must be one of spec.profiles"),
    validation = Rule::new(
        "self.links.all(i, l, !has(l.from) || !has(l.from.link) || self.links.exists(j, p, j < i && p.name == l.from.link))"
    ).message("from.link must name an earlier link: move the parent before its children")
)]
pub struct ImageChainSpec {
    /// The `BuildProfile`s that this chain may use: the first is the default, a link may name another of
    /// them. A profile says with which privileges and where builds run.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub profiles: Vec<ObjectName>,
    /// The `ServiceAccount` of this namespace that must have the right to `use` the profiles. Build pods do
    /// not get its token.
    #[serde(default = "default_service_account")]
    pub service_account_name: ObjectName,
    /// The source of all links that name none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What, besides a change of this object, lets links be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggers: Option<Triggers>,
    /// How many builds of this chain may run at once.
    #[serde(default = "default_parallelism")]
    #[schemars(range(min = 1, max = 64))]
    pub parallelism: i32,
    /// What a link that fails means for the others.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How many finished builds of each link are kept. A build whose image is published, or is the last
    /// verified one of its link, is kept besides.
    #[serde(default)]
    pub history: History,
    /// What to do when a published tag is found to lead to another image than the one that was verified, or to
    /// be gone. It is looked for as often as revisions and base images are.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// While true, no build is started and nothing is published; what runs may finish.
    #[serde(default)]
    pub suspend: bool,
    /// The links, parents before their children. 1 to 256.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub links: Vec<Link>,
}

fn default_parallelism() -> i32 {
    4
}

/// What, besides a change of the object, lets links be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Triggers {
    /// How often revisions and the digests of base images are looked up; 30s at least. Without it, they
    /// are looked up when this object changes and on request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('30s')").message("the interval must be 30s or longer")
    )]
    pub interval: Option<Duration>,
}

/// What a link that fails means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Links that stand on it, directly or not, are not built; others are.
    #[default]
    StopDependents,
    /// No further link is built; what runs may finish.
    StopAll,
    /// Links that stand on it are built on its last verified image, if it has one.
    Continue,
}

/// What to do with a published tag that somebody else has moved or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is put back to the image that was verified, and an event says so. Nothing is built for it.
    #[default]
    Correct,
    /// The condition `Drifted` and an event tell of it, and it stays where it is.
    Report,
}

/// How many finished builds of each link are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Of those that were verified.
    #[schemars(range(min = 0, max = 20))]
    pub succeeded: i32,
    /// Of those that failed or were cancelled.
    #[schemars(range(min = 0, max = 20))]
    pub failed: i32,
}

impl Default for History {
    fn default() -> Self {
        Self { succeeded: 3, failed: 3 }
    }
}

/// One image of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The name of the link, unique in the chain.
    pub name: Label,
    /// One of `spec.profiles`. Default: the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ObjectName>,
    /// What it is built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Parent>,
    /// A source of its own, instead of `spec.source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What of the source decides this link's result: a change anywhere else does not rebuild it. The
    /// template, variable files and directories that the steps name always count. Default: all of it, as
    /// with a test step that names no directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = PATHS)]
    pub paths: Vec<RelativePath>,
    /// Files of other servers that the build or its tests need: the images of installers, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub files: Vec<InputFile>,
    /// How it is built.
    pub build: BuildStep,
    /// How it is tested, in this order; the first that fails ends it. Without any, what was built counts
    /// as verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub verify: Vec<VerifyStep>,
    /// Where it is published. Without it, it stays at its staging reference and can still be a parent. A
    /// change of it alone rebuilds nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
    /// How long its stages may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How often it is tried again.
    #[serde(default)]
    pub retry: Retry,
}

/// What is known of a chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageChainStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// `Ready`: every link has a published, verified image for this generation. `UpToDate`: nothing has
    /// to be rebuilt. `Reconciling` and `Stalled` are there only while they are true, never both;
    /// `Degraded` while a rebuild in the background has failed and the earlier images are kept; `Drifted` while
    /// published tags lead elsewhere. `Ready` is absent while nothing goes on but for `suspend`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many of the links are ready, for example `3/5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready: Option<String>,
    /// The image that was published last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub last_image: Option<String>,
    /// The last request, by annotation `imagechain.dev/requestedAt`, that was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_request: Option<String>,
    /// What the sources and base images were when they were last looked up, so that a restart looks
    /// nothing up again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 768))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub lookups: Vec<Lookup>,
    /// One entry per link, in the order of the links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub links: Vec<LinkStatus>,
}

/// What a source or a base image was when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// What was looked up: a repository with its revision, or an image.
    #[schemars(length(max = 1400))]
    pub of: String,
    /// What it was: a commit, or a digest.
    #[schemars(length(max = 128))]
    pub found: String,
    /// When it was first found so.
    pub at: Time,
}

/// One link's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// The name of the link.
    pub name: Label,
    /// Where it stands.
    pub state: LinkState,
    /// Why it stands there; absent where it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What holds it, or what went wrong and what to do, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_LINK_MESSAGE))]
    pub message: Option<String>,
    /// The build that runs, or the last that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<ObjectName>,
    /// Since when something that it names is missing, as far as no build of it waits for that; absent while
    /// nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking_since: Option<Time>,
    /// The hash of the files that decide its result, when its source was last looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub files: Option<String>,
    /// The image that was verified last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// What its published tags lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

/// The image of a link that was verified last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The key of the inputs that it was made from.
    #[schemars(length(max = 64))]
    pub key: String,
    /// The hash of what was written in the object, for this link and those that it stands on, when it was
    /// verified: while that is the same, it is the image of the present generation.
    #[schemars(length(max = 64))]
    pub recipe: String,
    /// Where it is staged, as repository@digest.
    pub reference: ImageReference,
    /// What was tested is known by it.
    #[serde(flatten)]
    pub content: ArtifactContent,
    /// The build that made it.
    pub build: ObjectName,
    /// When that build was made: `{{timestamp}}` in tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
}

/// What the published tags of a link lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// The repository; of a box in a package registry the address that `vagrant box add` takes.
    pub repository: PublishedPlace,
    /// The tags; of a box in a package registry its version.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tags: Vec<Tag>,
    /// The provider of a box in a package registry; absent for tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<BoxProvider>,
    /// The digest that they lead to; of a box in a package registry that under which it was staged.
    pub digest: Digest,
    /// The hash of what was written in the object when they were moved there, as in `verified`.
    #[schemars(length(max = 64))]
    pub recipe: String,
    /// The build that made it.
    pub build: ObjectName,
    /// When that build was made: `{{timestamp}}` in the tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// When they were moved there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Those of them that somebody else has moved or deleted since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub drifted: Vec<DriftedTag>,
}

impl Published {
    /// Where some of the tags are, as a sentence names it: a version of a box by its file.
    #[must_use]
    pub fn place(&self, tags: impl fmt::Display) -> String {
        match self.provider {
            None => format!("{}:{tags}", self.repository),
            Some(provider) => format!("{}/{tags}/{}", self.repository, provider.file()),
        }
    }
}

/// A published tag that leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftedTag {
    /// The tag.
    pub tag: Tag,
    /// The digest that it leads to now, or the SHA-256 of the file that is there; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<Digest>,
    /// When that was first seen.
    pub since: Time,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LinkState {
    /// Its source or base image is not known yet, or something that it names is missing.
    Pending,
    /// It waits for its parent.
    Blocked,
    /// It waits for a free place: the chain's parallelism or the profile's limit is reached.
    Queued,
    /// Its build runs.
    Building,
    /// Its image is verified and is being published.
    Publishing,
    /// Its image is verified and, if it is to be, published.
    Ready,
    /// Its build failed: correct it.
    Failed,
    /// It cannot be built or published until somebody acts, or has lacked something for longer than
    /// `timeouts.dependency`.
    Stalled,
}

//! `ImageBuild`: one run of one link for one set of inputs.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::boxes::{ArtifactContent, ArtifactKind};
use super::common::{
    Digest, ImageReference, Label, ObjectName, PATHS, RelativePath, Source, default_service_account, is_default,
    not_observed,
};
use super::condition::{Class, Reason};
use super::profile::{Engine, Hypervisor, Isolation};
use super::recipe::{BuildStep, InputFile, Parent, Retry, Timeouts, VerifyStep};

/// One run of one link for one set of inputs. The controller makes it for a chain; a user may make one for
/// a single run. What it asks for never changes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "imagechain.dev", version = "v1alpha1", kind = "ImageBuild", namespaced,
    status = "ImageBuildStatus", derive = "PartialEq",
    shortname = "ib", category = "imagechain-all",
    doc = "One run of one link for one set of inputs. The controller makes it for a chain; a user may make one for a single run. What it asks for never changes.",
    printcolumn(name = "Chain", type_ = "string", json_path = ".spec.chainRef.name"),
    printcolumn(name = "Link", type_ = "string", json_path = ".spec.chainRef.link"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.causes[0].type"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.artifact.shortDigest"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("the name becomes the value of a label on pods: 63 characters at most"),
    validation = Rule::new("self.spec == oldSelf.spec").message("a build never changes: make another one"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.finishedAt) || (has(self.status) && has(self.status.finishedAt) && self.status.finishedAt == oldSelf.status.finishedAt && has(self.status.artifact) == has(oldSelf.status.artifact) && (!has(self.status.artifact) || self.status.artifact == oldSelf.status.artifact) && has(self.status.failure) == has(oldSelf.status.failure) && (!has(self.status.failure) || self.status.failure == oldSelf.status.failure) && has(self.status.verification) == has(oldSelf.status.verification) && (!has(self.status.verification) || self.status.verification == oldSelf.status.verification) && has(self.status.attempts) == has(oldSelf.status.attempts) && (!has(self.status.attempts) || self.status.attempts == oldSelf.status.attempts))"
    ).message("the result of a finished build never changes"),
    validation = Rule::new(
        "!has(oldSelf.status) || !has(oldSelf.status.attempts) || (has(self.status) && has(self.status.attempts) && size(self.status.attempts) >= size(oldSelf.status.attempts))"
    ).message("attempts are never taken back")
)]
#[x_kube(
    validation = Rule::new("has(self.chainRef) == has(self.inputs)")
        .message("inputs are set by the controller, for the builds of a chain: leave them out"),
    validation = Rule::new("has(self.chainRef) || !has(self.from) || !has(self.from.link)")
        .message("a single build has no earlier links: use from.chain or from.image")
)]
pub struct ImageBuildSpec {
    /// The chain and the link that it was made for; absent in a build that a user made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_ref: Option<ChainReference>,
    /// The `BuildProfile` that says with which privileges and where it runs.
    pub profile: ObjectName,
    /// The `ServiceAccount` of this namespace that must have the right to `use` the profile.
    #[serde(default = "default_service_account")]
    pub service_account_name: ObjectName,
    /// What it is built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Parent>,
    /// Where templates, playbooks and tests come from.
    pub source: Source,
    /// What of the source decides the result. Default: all of it.
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
    /// How it is tested, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub verify: Vec<VerifyStep>,
    /// How long its stages may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How often it is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// What everything it names was resolved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Why it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub causes: Vec<Cause>,
}

impl ImageBuild {
    /// Whether it has ended: its result never changes.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.finished_at.is_some())
    }
}

/// The chain and the link that a build was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainReference {
    /// The name of the chain, in the same namespace.
    pub name: ObjectName,
    /// The UID of the chain: a chain that is made anew under the same name builds anew.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// The name of the link.
    pub link: Label,
}

/// What everything that a build names was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// The hash of all that decides the result. Same key, same result: nothing to do.
    #[schemars(length(min = 1, max = 64))]
    pub key: String,
    /// The parent as repository@digest; absent where the build brings its own base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ImageReference>,
    /// The commit of a git source, or the hash of another's content.
    #[schemars(length(min = 1, max = 128))]
    pub revision: String,
    /// The hash of the files that decide the result.
    #[schemars(length(min = 1, max = 64))]
    pub files: String,
    /// The platform of the image, as the profile names it, for example `linux/amd64`.
    #[schemars(length(min = 1, max = 64))]
    pub platform: String,
    /// The builder image, as repository@digest.
    pub builder: ImageReference,
    /// The image of the container engine, as repository@digest.
    pub engine: ImageReference,
    /// What keeps the build from its node; absent: `Privileged`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub isolation: Isolation,
    /// The container engine; absent: `Docker`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub container_engine: Engine,
    /// The hypervisor, where boxes are built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// The kind of the parent; absent: `Image`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parent_kind: ArtifactKind,
    /// The last request that was handled when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub request: Option<String>,
    /// The UID of an earlier build with the same inputs, whose image is no longer in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub replaces: Option<String>,
}

/// Why a build was made: what changed, from what to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What changed.
    #[serde(rename = "type")]
    pub kind: CauseKind,
    /// What it was, shortened; absent for the first build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub from: Option<String>,
    /// What it is, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub to: Option<String>,
}

/// What can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum CauseKind {
    /// The link has no verified image yet.
    FirstBuild,
    /// The chain's object: how the link is built or tested.
    SpecChanged,
    /// The files that decide the link's result.
    SourceChanged,
    /// The image of the link or chain that it stands on.
    ParentChanged,
    /// The base image: its tag leads to another digest.
    BaseImageChanged,
    /// The profile: other builder images or another isolation.
    ProfileChanged,
    /// Somebody asked for it by annotation.
    Requested,
    /// The image that these inputs once gave is no longer in the registry.
    ArtifactGone,
}

/// What is known of a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageBuildStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// `Built`, `Verified`, and `Ready` over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What everything it names was resolved to, in a build that a user made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// The attempts, each one pod, in order. A build has several only after failures of the infrastructure
    /// or where `retry.build` asks for it, and when something that it names was not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub attempts: Vec<Attempt>,
    /// The stages of the last attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub stages: Vec<StageStatus>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The results of the tests, in the order of `spec.verify`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub verification: Vec<Verification>,
    /// What went wrong, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Since when something that it names is missing; absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking_since: Option<Time>,
    /// When it ended, well or not. From then on its result does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How long its pods had a node, all attempts together, for people: for example `4m12s`. The queue before is not
    /// in it, nor are the pauses between attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub duration: Option<String>,
}

/// One pod of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1 for the first.
    #[schemars(range(min = 1, max = 64))]
    pub number: i32,
    /// The name of the pod, in the profile's execution namespace.
    pub pod: ObjectName,
    /// The UID of the pod, once it was seen: if it is gone then, it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub pod_uid: Option<String>,
    /// When it was decided on: before its pod was made.
    pub started_at: Time,
    /// When its pod got a node: what was before is the queue. Absent as long as it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Time>,
    /// A hash of the versions that everything it names had then: what changes while it runs is not missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub dependencies: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The class of the reason, which decides whether another attempt follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What happened, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<String>,
    /// What it lacked, where the class is Dependency: another attempt follows when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacked: Option<Lacked>,
}

/// What an attempt lacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lacked {
    /// The object or look-up, for example `secret/registry` or `git/https://git.example/web#main`; absent
    /// where nobody says: then a change of anything that the build names counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1300))]
    pub of: Option<String>,
    /// The version that the attempt found: the `resourceVersion` of an object, the answer of a look-up, or a
    /// hash over all where `of` is absent. Absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub version: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// All stages passed.
    Succeeded,
    /// A stage failed, or the attempt was lost.
    Failed,
}

/// A step of an attempt, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Fetches the source.
    Source,
    /// Builds.
    Build,
    /// Tests.
    Verify,
    /// Pushes to the staging reference.
    Publish,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 4] = [Self::Source, Self::Build, Self::Verify, Self::Publish];

    /// Its container.
    #[must_use]
    pub const fn container(self) -> Container {
        match self {
            Self::Source => Container::Source,
            Self::Build => Container::Build,
            Self::Verify => Container::Verify,
            Self::Publish => Container::Publish,
        }
    }
}

/// A container of the build pod, in the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Container {
    /// That of the stage that fetches the source.
    Source,
    /// The container engine beside the stages.
    Engine,
    /// That of the stage that builds.
    Build,
    /// That of the stage that tests.
    Verify,
    /// That of the stage that pushes to the staging reference.
    Publish,
}

impl Container {
    /// All containers, in order.
    pub const ALL: [Self; 5] = [Self::Source, Self::Engine, Self::Build, Self::Verify, Self::Publish];

    /// Its name in the pod.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Engine => "engine",
            Self::Build => "build",
            Self::Verify => "verify",
            Self::Publish => "publish",
        }
    }

    /// The stage that runs in it; `None` for the engine.
    #[must_use]
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::Source => Some(Stage::Source),
            Self::Engine => None,
            Self::Build => Some(Stage::Build),
            Self::Verify => Some(Stage::Verify),
            Self::Publish => Some(Stage::Publish),
        }
    }
}

impl From<Stage> for Container {
    fn from(stage: Stage) -> Self {
        stage.container()
    }
}

impl fmt::Display for Container {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// When a stage ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Which.
    pub name: Stage,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// What came out of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Where it is staged, as repository@digest.
    pub reference: ImageReference,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The first 12 characters of the digest, for people.
    #[schemars(length(max = 16))]
    pub short_digest: String,
    /// What was tested is known by it.
    #[serde(flatten)]
    pub content: ArtifactContent,
    /// The size of its layers as they are in the registry, in bytes.
    #[schemars(range(min = 0))]
    pub size: i64,
}

/// The result of one test step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Which step: its number, from 1, its kind, what it runs and where, for example `2 molecule default in roles/web`.
    #[schemars(length(max = 64))]
    pub step: String,
    /// Whether it passed.
    pub passed: bool,
    /// How many tests it ran, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub tests: Option<i32>,
    /// How many of them failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failures: Option<i32>,
    /// How long it took, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: i64,
    /// Whether a container of the image ran meanwhile, or of an image that stands on it; absent where that cannot be
    /// told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ran: Option<bool>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Where; absent where no stage had begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Container>,
    /// What, as one of a closed list.
    pub reason: Reason,
    /// What it means for further attempts.
    pub class: Class,
    /// What happened and what to do, in a sentence, with the command that shows more.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The task of a playbook, or the test, that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub task: Option<String>,
}

//! What users write: the custom resources of `imagechain.dev/v1alpha1`, their schema, their conditions.
//!
//! Types here mirror the objects field by field. They hold no decision: what a field means is decided in
//! the layers below, which read these types and nothing that is not in them.

pub mod boxes;
pub mod build;
pub mod chain;
pub mod common;
pub mod condition;
pub mod crd;
pub mod profile;
pub mod recipe;

/// The API group of all custom resources.
pub const GROUP: &str = "imagechain.dev";
/// The one version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Asks for a rebuild of every link: any value that differs from `status.lastHandledRequest`.
pub const REQUESTED_AT: &str = "imagechain.dev/requestedAt";
/// The same, as `flux reconcile` writes it; [`REQUESTED_AT`] wins where both are there.
pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// On an `ImageBuild`: ends it. The value is shown as the reason.
pub const CANCEL: &str = "imagechain.dev/cancel";

/// On an `ImageBuild` of a chain: ends it, since a newer change of the chain made it superfluous. The
/// controller sets it on builds that it made itself.
pub const SUPERSEDED: &str = "imagechain.dev/superseded";

/// On builds and pods: the name of the chain.
pub const CHAIN_LABEL: &str = "imagechain.dev/chain";
/// On builds and pods: the name of the link.
pub const LINK_LABEL: &str = "imagechain.dev/link";
/// On pods: the name of the build.
pub const BUILD_LABEL: &str = "imagechain.dev/build";
/// On pods: the profile whose shape the admission policy checks.
pub const PROFILE_LABEL: &str = "imagechain.dev/profile";
/// On pods: the namespace of the build.
pub const BUILD_NAMESPACE_LABEL: &str = "imagechain.dev/buildNamespace";
/// On pods: the UID of the build. A pod is that of a build only if it has this one.
pub const BUILD_UID_LABEL: &str = "imagechain.dev/buildUid";
/// On pods: which attempt of the build it is, from 1.
pub const ATTEMPT_LABEL: &str = "imagechain.dev/attempt";
/// On pods: [`MANAGED_BY`], as every tool finds what an operator has made.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "imagechain";
/// On pods: what the stages are to do, as JSON, which they read as a file.
pub const JOB_ANNOTATION: &str = "imagechain.dev/job";
/// On pods: the repository that the attempt pushes to. The operator reads it from running pods, which may be those of
/// an operator of another version: so it is no part of the job, whose format belongs to one version.
pub const STAGING_ANNOTATION: &str = "imagechain.dev/staging";

/// On namespaces: build pods run here, and nobody may enter them.
pub const EXECUTION_LABEL: &str = "imagechain.dev/execution";

/// The longest that the names of a chain and of a link may be together, in bytes: with the hash of the
/// inputs they make the name of a build, which is also the value of a label (63 bytes).
pub const MAX_CHAIN_AND_LINK: usize = 50;

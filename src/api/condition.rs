//! Conditions and reasons: closed lists, so that whoever reads a status can rely on every word of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The types of conditions. `Reconciling`, `Stalled`, `Degraded` and `Drifted` are there only while they are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// Of a chain: every link has a published, verified image for this generation. Of a build: it is
    /// verified. Of a profile: all that it names is there.
    Ready,
    /// Work towards `Ready` goes on.
    Reconciling,
    /// Nothing goes on until somebody acts; or something has been missing for longer than `timeouts.dependency`.
    Stalled,
    /// Of a chain: nothing has to be rebuilt.
    UpToDate,
    /// Of a chain: a rebuild in the background has failed; the earlier images are kept.
    Degraded,
    /// Of a chain: published tags lead to other images than those that were verified, or are gone.
    Drifted,
    /// Of a chain: build pods hold a credential that could write the published tags.
    StagingShared,
    /// Of a build: its image exists.
    Built,
    /// Of a build: its tests passed.
    Verified,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::UpToDate,
        Self::Degraded,
        Self::Drifted,
        Self::StagingShared,
        Self::Built,
        Self::Verified,
    ];

    /// Whether true is the bad value (kstatus calls it an abnormal-true condition). Such a condition is
    /// absent while it is not true.
    #[must_use]
    pub const fn is_abnormal_true(self) -> bool {
        matches!(self, Self::Reconciling | Self::Stalled | Self::Degraded | Self::Drifted | Self::StagingShared)
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// What a reason means for what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Class {
    /// It is as it should be.
    Success,
    /// It is under way, or waits for something that comes by itself.
    Progress,
    /// The platform failed, not the build: another attempt follows, a limited number of times.
    Infrastructure,
    /// A limit of memory or disk was reached: raise it, or need less.
    Resource,
    /// The build failed: correct it.
    Build,
    /// A test failed: correct the build or the test.
    Verification,
    /// The object, the profile or the cluster is not set up for this: correct it.
    Configuration,
    /// A time limit was reached: raise it, or need less.
    Deadline,
    /// Somebody, or a newer change, ended it.
    Cancelled,
    /// Something that it names is not there, or may not be read. It goes on by itself once that is there; after
    /// `timeouts.dependency` it is told as stalled.
    Dependency,
}

/// Declares the reasons with their classes, so that none can be without one.
macro_rules! reasons {
    ($($class:ident { $($(#[$doc:meta])+ $reason:ident,)+ })+) => {
        /// Why a condition is as it is, or why an attempt failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $($($(#[$doc])+ $reason,)+)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$($(Self::$reason,)+)+];

            /// What the reason means for what happens next.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $($(Self::$reason)|+ => Class::$class,)+
                }
            }
        }
    };
}

reasons! {
    Success {
        /// Every link has a published, verified image.
        LinksReady,
        /// Nothing has to be rebuilt.
        NothingToDo,
        /// The image exists.
        ImageBuilt,
        /// All tests passed.
        TestsPassed,
        /// There are no tests to pass.
        NothingToTest,
        /// The published tags lead to the verified digest.
        TagsMoved,
        /// Published tags that led elsewhere lead to the verified digest again.
        TagsPutBack,
        /// The profile's namespace, images and registry are there.
        ProfileValid,
    }
    Progress {
        /// Revisions and base images are being looked up.
        LookingUp,
        /// A parent is not verified yet.
        WaitingForParent,
        /// The chain's parallelism or the profile's limit is reached, or no node has room yet.
        WaitingForSlot,
        /// The pod waits for a node, or its images are being pulled.
        PodPending,
        /// The source is being fetched.
        FetchingSource,
        /// The build stage runs.
        Building,
        /// The tests run.
        Verifying,
        /// The image is being pushed to its staging reference.
        Staging,
        /// The published tags are being moved.
        Promoting,
        /// The next attempt waits for its time.
        BackingOff,
        /// The images are being rebuilt, while the earlier ones stay published.
        Rebuilding,
        /// `spec.suspend` is true.
        Suspended,
        /// Build pods push to the published repository, since the profile names no staging repository.
        NoStagingRepository,
    }
    Infrastructure {
        /// The pod was preempted, drained or evicted by its node.
        PodDisrupted,
        /// The pod is gone.
        PodLost,
        /// The node does not answer, or was restarted.
        NodeLost,
        /// A container was killed, nobody says by whom.
        ContainerKilled,
        /// The container engine was restarted in the middle.
        EngineRestarted,
        /// A stage was cut off in the middle.
        StageInterrupted,
        /// The registry does not answer, or says that it is overloaded.
        RegistryUnavailable,
        /// The git server, or that of a file, does not answer.
        SourceUnavailable,
        /// So many attempts were lost that the budget of `retry.infrastructure` is spent.
        InfrastructureRetriesExhausted,
    }
    Resource {
        /// A container needed more memory than it may have.
        OutOfMemory,
        /// The build needed more disk than it may have.
        StorageLimitExceeded,
        /// The node's disk is full.
        DiskFull,
    }
    Build {
        /// Packer says that the template is wrong.
        TemplateInvalid,
        /// A task of a playbook failed.
        TaskFailed,
        /// The build failed otherwise.
        BuildFailed,
        /// The build ended well but made no image.
        NoImage,
        /// The build made several images: `only` picks one.
        SeveralImages,
        /// The box that was built, or the one that it stands on, is empty, incomplete, damaged or not safe to use.
        BoxRefused,
        /// The image does not stand on its parent, or what was tested or pushed is not what was built.
        ImageMismatch,
        /// A path leads out of the source.
        PathEscapesSource,
        /// The source is too large, or holds what a source may not hold.
        SourceRejected,
    }
    Verification {
        /// A test failed.
        TestsFailed,
        /// A second run of the playbook changed something.
        NotIdempotent,
        /// A test step failed otherwise.
        VerificationFailed,
    }
    Configuration {
        /// The object asks for something impossible; the message names every field.
        SpecInvalid,
        /// Chains wait for each other in a circle.
        DependencyCycle,
        /// Another link publishes the same tag, or the version of a box that is to be published is another file
        /// already.
        OutputConflict,
        /// Somebody else has moved or deleted a published tag.
        TagsOverwritten,
        /// Staging and published repository are on different registries.
        StagingNotMountable,
        /// The profile names no staging repository, and the link publishes nothing, or not in a registry of images:
        /// what it makes has no place.
        StagingMissing,
        /// A stranger's object has the name of ours.
        NameCollision,
        /// The profile's execution namespace is missing, not labelled, or closed to the operator.
        ExecutionNamespaceNotReady,
        /// A base image is of a form that no present engine pulls, such as a manifest of schema 1.
        ImageUnsupported,
        /// An image of the profile cannot be pulled.
        ImagePullFailed,
        /// The kubelet cannot make a container as asked.
        ContainerConfigInvalid,
        /// No node is large enough for the pod, or none may take it.
        Unschedulable,
        /// The container engine does not start on this node.
        EngineUnavailable,
        /// The builder image lacks a tool, or has one that is too old.
        BuilderUnsuitable,
        /// A file of `files`, or the box of `from.box.url`, is not at its URL, or is another one.
        FileUnavailable,
        /// A file that the link uses is in Git LFS, whose content is not fetched.
        LfsNotFetched,
        /// A file that the link names is in a submodule, which is not fetched.
        SubmoduleNotFetched,
    }
    Deadline {
        /// The build stage took longer than `timeouts.build`.
        BuildTimeout,
        /// The tests took longer than `timeouts.verify`.
        VerifyTimeout,
        /// Fetching the source, or pushing the image, took too long.
        TransferTimeout,
        /// The pod lived longer than the profile's `deadline`.
        PodDeadlineExceeded,
    }
    Cancelled {
        /// Somebody cancelled it by annotation.
        CancelledByUser,
        /// A newer change of the chain made it superfluous.
        Superseded,
    }
    Dependency {
        /// The profile does not exist.
        ProfileNotFound,
        /// The namespace, or its `ServiceAccount`, may not use the profile.
        ProfileNotAllowed,
        /// A Secret does not exist.
        SecretNotFound,
        /// A Secret or `ConfigMap` lacks a key.
        KeyNotFound,
        /// A `ConfigMap` does not exist.
        ConfigMapNotFound,
        /// The operator may not read an object of this namespace; the message holds the command that allows it.
        AccessNotGranted,
        /// The repository, or the revision in it, does not exist.
        RevisionNotFound,
        /// The base image does not exist.
        BaseImageNotFound,
        /// The chain or link that a link stands on does not exist.
        ChainNotFound,
        /// A registry or git server refuses the credentials for reading.
        AccessDenied,
        /// The certificate of a registry, or of the server of a source or file, is not trusted.
        CertificateNotTrusted,
        /// The registry, or the server of packages, refuses the credentials for writing, or what is written.
        PushDenied,
        /// The link that it stands on has failed.
        ParentFailed,
        /// Another link has failed, and `onFailure` says that no further one is built.
        ChainStopped,
    }
}

impl Reason {
    /// Whether something is missing that may come: it goes on by itself once that is there. That another link has
    /// failed is not: somebody must act on that one.
    #[must_use]
    pub const fn is_lack(self) -> bool {
        matches!(self.class(), Class::Dependency) && !matches!(self, Self::ParentFailed | Self::ChainStopped)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_reason_is_written_as_it_is_named() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), serde_json::Value::String(reason.to_string()));
        }
        let names: BTreeSet<_> = Reason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn reasons_fit_into_a_condition() {
        // metav1.Condition: ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$, at most 1024 characters.
        for reason in Reason::ALL {
            assert!(reason.to_string().chars().all(|letter| letter.is_ascii_alphabetic()), "{reason}");
        }
    }
}

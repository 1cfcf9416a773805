//! Why a registry did not do what it was asked for.

use std::{fmt, io, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{
    api::condition::Reason,
    plan::{
        credentials::ConfigError,
        image::{Digest, Repository, Tag},
    },
    remote::{
        network::NetworkError,
        secret::SecretName,
        transfer::{Passing, file_trouble, is_full},
    },
};

/// An error, as a sentence for whoever must act. It never holds a credential, nor text of the registry
/// beyond an error code.
#[derive(Debug, Error)]
pub enum Error {
    /// It may not be read.
    #[error("{place} cannot be read: the registry refuses {identity}")]
    AccessDenied {
        /// The repository.
        place: String,
        /// Who was refused.
        identity: Identity,
    },
    /// It may not be written.
    #[error("{place} cannot be written: the registry refuses {identity}")]
    PushDenied {
        /// The repository.
        place: String,
        /// Who was refused.
        identity: Identity,
    },
    /// The registry does not take what is written, for another reason than who writes it: a full disk, a
    /// tag that may not move.
    #[error("{place} cannot be written: the registry answers {status}: its rules for this repository say why")]
    Rejected {
        /// The repository.
        place: String,
        /// Status and error code.
        status: String,
    },
    /// What the Secret holds for it is not what it should be.
    #[error("{place} cannot be reached: {secret} cannot be used: {why}")]
    Unusable {
        /// The repository.
        place: String,
        /// The Secret.
        secret: SecretName,
        /// What is wrong, without any value of it.
        why: ConfigError,
    },
    /// There is no such image.
    #[error("{0} does not exist: correct the name, or push it")]
    NotFound(String),
    /// It has no image for the platform.
    #[error(
        "{reference} has no image for {platform}, only for {present}: name another image, or a profile whose `platform` it has"
    )]
    NoPlatform {
        /// The name as it is written.
        reference: String,
        /// What was asked for.
        platform: String,
        /// What is there.
        present: String,
    },
    /// It is an image or a box, of a form that is never used.
    #[error("{place}: {wrong}: push it again with a present tool, or name another image")]
    Unsupported {
        /// The repository.
        place: String,
        /// What is wrong.
        wrong: &'static str,
    },
    /// What was staged is not there any more.
    #[error("{repository}@{digest} is gone: it must be built again")]
    Gone {
        /// The staging repository.
        repository: Repository,
        /// What was staged there.
        digest: Digest,
    },
    /// It is a machine box where an image is asked for.
    #[error("{0} is a machine box and no container image: name it in from.box.reference, or name an image")]
    IsBox(String),
    /// It is something else where a machine box is asked for.
    #[error("{0} is no machine box as links publish them: name a box, or, of an image, write from.image")]
    IsNoBox(String),
    /// It is something else than the artifact that is asked for.
    #[error("{place} is no artifact of the type {expected}: name one that is")]
    OtherType {
        /// Where it is, as repository@digest.
        place: String,
        /// The `artifactType` that was asked for.
        expected: String,
    },
    /// It is larger than what is taken.
    #[error("{place} is a file of {size} bytes, and at most {most} are taken: name a smaller one, or raise the limit")]
    TooLarge {
        /// Where it is, as repository@digest.
        place: String,
        /// The size of its file, in bytes.
        size: u64,
        /// The most that is taken, in bytes.
        most: u64,
    },
    /// A file of ours cannot be read or written.
    #[error("{}: {}", path.display(), file_trouble(why))]
    File {
        /// The file that is pushed, or that what is pulled is put into.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// What was staged is not what was tested.
    #[error("{repository}@{digest} is not promoted: it holds {found}, and {expected} was tested")]
    Mismatch {
        /// The staging repository.
        repository: Repository,
        /// What was staged there.
        digest: Digest,
        /// What was tested.
        expected: String,
        /// What is there instead.
        found: String,
    },
    /// Right after it was put there, the tag leads elsewhere.
    #[error("{repository}:{tag} leads to {found} right after it was moved to {expected}: something else writes it")]
    Moved {
        /// The published repository.
        repository: Repository,
        /// The tag.
        tag: Tag,
        /// Where it was put.
        expected: Digest,
        /// Where it leads.
        found: String,
    },
    /// Staging and published repository are on different registries.
    #[error("{from} is on another registry than {to}: staging must be on the registry of what is published from it")]
    NotMountable {
        /// The staging repository.
        from: Repository,
        /// The published one.
        to: Repository,
    },
    /// The registry does not answer, or says that it is overloaded.
    #[error("{place}: the registry {cause}")]
    Unavailable {
        /// The repository.
        place: String,
        /// What happened.
        cause: String,
        /// When it wants to be asked again; at most [`crate::remote::network::LONGEST_RETRY_AFTER`].
        retry_after: Option<Duration>,
    },
    /// It answers, but not as a registry does.
    #[error("{place}: the registry {cause}: is there a registry at this address?")]
    NoRegistry {
        /// The repository.
        place: String,
        /// What is wrong.
        cause: String,
    },
    /// What it gives is not what it says that it is.
    #[error("{place}: the registry gives {found} where {expected} was asked for")]
    WrongDigest {
        /// The repository.
        place: String,
        /// The digest that was asked for.
        expected: String,
        /// That of what came.
        found: Digest,
    },
    /// Its certificate is not trusted.
    #[error(
        "{place} cannot be reached: the certificate of its registry is not trusted: {why}: put the certificate of its \
         authority into `ca.crt` of the Secret, or have it put into the profile (network.certificateAuthority)"
    )]
    Untrusted {
        /// The repository.
        place: String,
        /// Why.
        why: String,
    },
    /// The settings of the profile cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No client can be made, such as on a system without certificates.
    #[error("registries cannot be reached: {0}")]
    Client(String),
}

impl Error {
    /// The reason for a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AccessDenied { .. } | Self::Unusable { .. } => Reason::AccessDenied,
            Self::PushDenied { .. } | Self::Rejected { .. } => Reason::PushDenied,
            Self::NotFound(_) | Self::NoPlatform { .. } => Reason::BaseImageNotFound,
            Self::Untrusted { .. } => Reason::CertificateNotTrusted,
            Self::Unsupported { .. } | Self::IsBox(_) | Self::IsNoBox(_) | Self::OtherType { .. } => {
                Reason::ImageUnsupported
            }
            Self::TooLarge { .. } => Reason::StorageLimitExceeded,
            Self::File { why, .. } if is_full(why) => Reason::DiskFull,
            Self::File { .. } => Reason::StageInterrupted,
            Self::Mismatch { .. } => Reason::ImageMismatch,
            Self::NotMountable { .. } => Reason::StagingNotMountable,
            Self::Network(_) | Self::Client(_) => Reason::SpecInvalid,
            Self::Gone { .. }
            | Self::Moved { .. }
            | Self::Unavailable { .. }
            | Self::NoRegistry { .. }
            | Self::WrongDigest { .. } => Reason::RegistryUnavailable,
        }
    }

    /// Whether it is about what is asked for, or about us: another registry that has the same changes nothing.
    pub(super) const fn is_of_the_artifact(&self) -> bool {
        matches!(self, Self::OtherType { .. } | Self::TooLarge { .. } | Self::Unsupported { .. } | Self::File { .. })
    }

    /// When the registry wants to be asked again, if it says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Passing for Error {
    fn passes(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            _ => None,
        }
    }
}

/// Who we were to a registry that refused us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No credentials were sent: there are none.
    Anonymous,
    /// None were sent: the entry of this Secret for the registry is empty.
    Empty(SecretName, String),
    /// None were sent: this Secret has no entry for this registry.
    Absent(SecretName, String),
    /// Who the credentials of this Secret are for.
    Credentials(SecretName),
}

/// With what to do.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => {
                formatter.write_str("whoever shows no credentials: name a Secret that holds some for it")
            }
            Self::Empty(secret, key) => write!(
                formatter,
                "whoever shows no credentials: the entry «{key}» of {secret} is empty, as `docker login` leaves it where a \
                 key store holds the rest: write its `auth`"
            ),
            Self::Absent(secret, registry) => {
                write!(formatter, "whoever shows no credentials: {secret} has no entry for {registry}: add it")
            }
            Self::Credentials(secret) => {
                write!(formatter, "the credentials: correct those of {secret}, or what they may do")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_secret_to_correct_if_its_name_is_known() {
        let place = "r.example/web".to_owned();
        for (identity, expected) in [
            (
                Identity::Credentials(SecretName::new(Some("push"))),
                "the credentials: correct those of the Secret «push», or what they may do",
            ),
            (
                Identity::Credentials(SecretName::default()),
                "the credentials: correct those of the Secret, or what they may do",
            ),
            (Identity::Anonymous, "whoever shows no credentials: name a Secret that holds some for it"),
            (
                Identity::Absent(SecretName::new(Some("push")), "r.example".to_owned()),
                "whoever shows no credentials: the Secret «push» has no entry for r.example: add it",
            ),
            (
                Identity::Empty(SecretName::new(Some("push")), "https://r.example".to_owned()),
                "whoever shows no credentials: the entry «https://r.example» of the Secret «push» is empty, as \
                 `docker login` leaves it where a key store holds the rest: write its `auth`",
            ),
        ] {
            let (read, written) = (
                Error::AccessDenied { place: place.clone(), identity: identity.clone() },
                Error::PushDenied { place: place.clone(), identity },
            );
            assert_eq!(read.to_string(), format!("r.example/web cannot be read: the registry refuses {expected}"));
            assert_eq!(
                written.to_string(),
                format!("r.example/web cannot be written: the registry refuses {expected}")
            );
        }
    }
}

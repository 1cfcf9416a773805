//! Why a registry did not do what it was asked for.

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::{
    api::condition::Reason,
    plan::{
        credentials::ConfigError,
        image::{Digest, Repository, Tag},
    },
    remote::{network::NetworkError, secret::SecretName},
};

/// The longest that a registry can make us wait: what it says beyond that is cut.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

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
    /// It is an image, of a form that is never used.
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
    /// What was staged is not the image that was tested.
    #[error("{repository}@{digest} is not promoted: it holds the image {found}, and {expected} was tested")]
    ImageMismatch {
        /// The staging repository.
        repository: Repository,
        /// What was staged there.
        digest: Digest,
        /// The image ID that was tested.
        expected: Digest,
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
        /// When it wants to be asked again; at most [`LONGEST_RETRY_AFTER`].
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
    pub const fn reason(&self) -> Reason {
        match self {
            Self::AccessDenied { .. } | Self::Unusable { .. } => Reason::AccessDenied,
            Self::PushDenied { .. } | Self::Rejected { .. } => Reason::PushDenied,
            Self::NotFound(_) | Self::NoPlatform { .. } => Reason::BaseImageNotFound,
            Self::Untrusted { .. } => Reason::CertificateNotTrusted,
            Self::Unsupported { .. } => Reason::ImageUnsupported,
            Self::ImageMismatch { .. } => Reason::ImageMismatch,
            Self::NotMountable { .. } => Reason::StagingNotMountable,
            Self::Network(_) | Self::Client(_) => Reason::SpecInvalid,
            Self::Gone { .. }
            | Self::Moved { .. }
            | Self::Unavailable { .. }
            | Self::NoRegistry { .. }
            | Self::WrongDigest { .. } => Reason::RegistryUnavailable,
        }
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

//! Why a box was not published in a package registry.

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::{
    api::condition::Reason,
    plan::image::Digest,
    remote::{network::NetworkError, registry, secret::SecretName},
};

/// An error, as a sentence for whoever must act. It never holds a credential, nor text of the server beyond its status.
#[derive(Debug, Error)]
pub enum Error {
    /// What is staged cannot be read, or is not what was tested.
    #[error(transparent)]
    Staging(Box<registry::Error>),
    /// What is staged is of another format, or for another provider.
    #[error("{file} is of a Vagrant box for {wanted}, and {staged} is {found}")]
    OtherBox {
        /// The file that was to be published.
        file: String,
        /// The provider that it is for.
        wanted: &'static str,
        /// Where it is staged, as repository@digest.
        staged: String,
        /// What it is, and what to do.
        found: String,
    },
    /// The version has another file already.
    #[error(
        "{file} is another file already: its SHA-256 is {found}, and that of the tested box {expected}: write another \
         version, such as 0.1.{{{{timestamp}}}}, or delete that one there"
    )]
    Conflict {
        /// The file.
        file: String,
        /// The SHA-256 that it has.
        found: Digest,
        /// That of the box.
        expected: Digest,
    },
    /// It may not be read or written.
    #[error("{file} cannot be {refusal}: the server refuses {secret} ({status}): {}", refusal.remedy())]
    Denied {
        /// The file.
        file: String,
        /// What was refused.
        refusal: Refusal,
        /// The Secret.
        secret: SecretName,
        /// The status of the answer.
        status: String,
    },
    /// The Secret holds something that is no credential.
    #[error("{secret} cannot be used: what it holds is no token, or no user name and password: correct it")]
    Unusable {
        /// The Secret.
        secret: SecretName,
    },
    /// Nothing can be uploaded there.
    #[error(
        "{file} cannot be uploaded: the server knows no such owner of packages, or not for {secret} (404): correct url, \
         tag or the rights of the user; packages may be switched off, too"
    )]
    NoOwner {
        /// The file.
        file: String,
        /// The Secret.
        secret: SecretName,
    },
    /// It does not take the name or the version.
    #[error("{file} cannot be uploaded: the server takes no such name or version (400): write another one")]
    BadVersion {
        /// The file.
        file: String,
    },
    /// It does not take as much.
    #[error(
        "{file} cannot be uploaded: the server does not take {size} bytes (413): raise its limit, that of the proxy before \
         it, or the quota of the owner"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The size of the box, in bytes.
        size: u64,
    },
    /// The address leads elsewhere.
    #[error("{file} is not there: the server leads elsewhere ({status}): write in url the address that answers itself")]
    Redirected {
        /// The file.
        file: String,
        /// The status of the answer.
        status: String,
    },
    /// It answers, but not as Gitea does.
    #[error("{file}: the server {cause}: is there a Gitea or Forgejo at this address?")]
    NoGitea {
        /// The file.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// It does not answer, or says that it is overloaded.
    #[error("{file}: the server {cause}")]
    Unavailable {
        /// The file.
        file: String,
        /// What happened.
        cause: String,
        /// When it wants to be asked again; at most [`crate::remote::network::LONGEST_RETRY_AFTER`].
        retry_after: Option<Duration>,
    },
    /// Its certificate is not trusted.
    #[error(
        "{file} cannot be reached: the certificate of the server is not trusted: {why}: put the certificate of its \
         authority into `ca.crt` of {secret}, or have it put into the profile (network.certificateAuthority)"
    )]
    Untrusted {
        /// The file.
        file: String,
        /// Why.
        why: String,
        /// The Secret.
        secret: SecretName,
    },
    /// The settings of the profile cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No client can be made, such as on a system without certificates.
    #[error("servers cannot be reached: {0}")]
    Client(String),
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A look at what is there.
    Read,
    /// An upload.
    Write,
}

impl Refusal {
    /// What the credentials need.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Read => "a token needs the right `write:package`, which includes `read:package`",
            Self::Write => {
                "a token needs the right `write:package`, its user that to write packages of this owner, and the owner \
                 what is left of a quota"
            }
        }
    }
}

/// As a participle.
impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Read => "looked at",
            Self::Write => "uploaded",
        })
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::Staging(Box::new(error))
    }
}

impl Error {
    /// Whether what was staged is no longer there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Staging(error) if matches!(**error, registry::Error::Gone { .. }))
    }

    /// The reason for a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Staging(error) => error.reason(),
            Self::OtherBox { .. }
            | Self::BadVersion { .. }
            | Self::Redirected { .. }
            | Self::Network(_)
            | Self::Client(_) => Reason::SpecInvalid,
            Self::Conflict { .. } => Reason::OutputConflict,
            Self::Denied { refusal: Refusal::Read, .. } | Self::Unusable { .. } => Reason::AccessDenied,
            Self::Denied { refusal: Refusal::Write, .. } | Self::NoOwner { .. } | Self::TooLarge { .. } => {
                Reason::PushDenied
            }
            Self::Untrusted { .. } => Reason::CertificateNotTrusted,
            Self::NoGitea { .. } | Self::Unavailable { .. } => Reason::RegistryUnavailable,
        }
    }

    /// When the server wants to be asked again, if it says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

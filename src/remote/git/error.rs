//! Why a revision could not be looked up.

use std::{fmt, io, time::Duration};

use thiserror::Error;

use crate::{api::condition::Reason, remote::secret::SecretName};

/// An error, as a sentence for whoever must act. It never holds a credential.
#[derive(Debug, Error)]
pub enum Error {
    /// The repository does not have it.
    #[error(
        "{url} has no revision «{revision}»: name a branch, a tag, a full ref name or a whole commit hash that it has"
    )]
    NoRevision {
        /// The repository.
        url: String,
        /// The revision as it is written.
        revision: String,
    },
    /// No revision is asked for, and the repository does not say which one is meant.
    #[error(
        "{url} has no default branch: its HEAD names a branch that is not there, or it is empty. Name a branch, a tag or a commit in source.git.revision, or correct the default branch of the repository"
    )]
    NoDefault {
        /// The repository.
        url: String,
    },
    /// There is no repository, or none for whoever shows no credentials.
    #[error("there is no git repository at {url}{}", if *.anonymous { ", or none without credentials" } else { "" })]
    NoRepository {
        /// The repository.
        url: String,
        /// Without credentials.
        anonymous: bool,
    },
    /// The server refuses us.
    #[error("{url} cannot be read: {cause}")]
    AccessDenied {
        /// The repository.
        url: String,
        /// What is refused, and what to do.
        cause: Denial,
    },
    /// The server does not answer, or does not serve.
    #[error("{url} cannot be read now: {cause}")]
    Unavailable {
        /// The repository.
        url: String,
        /// What happened.
        cause: String,
    },
    /// It took longer than the limit.
    #[error("{url} could not be read within {} s", limit.as_secs())]
    Slow {
        /// The repository.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// It is larger than the limit, and the server cannot leave files out.
    #[error(
        "{url} is larger than {limit} bytes: let its server serve partial clones (uploadpack.allowFilter), or make it smaller"
    )]
    TooLarge {
        /// The repository.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// Git cannot be run here.
    #[error("git cannot be run: {0}")]
    Local(#[from] io::Error),
}

impl Error {
    /// The reason for a condition.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoRevision { .. } | Self::NoDefault { .. } | Self::NoRepository { .. } => Reason::RevisionNotFound,
            Self::AccessDenied { .. } => Reason::AccessDenied,
            Self::TooLarge { .. } => Reason::SourceRejected,
            Self::Unavailable { .. } | Self::Slow { .. } | Self::Local(_) => Reason::SourceUnavailable,
        }
    }
}

/// Why a server, or we in its place, refuse to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It does not accept the credentials of this Secret.
    Credentials(SecretName),
    /// It has another key than the `known_hosts` of this Secret.
    UnknownHost(SecretName),
    /// It wants credentials, and none were sent.
    Anonymous,
    /// The URL is for ssh, and the credentials are none or of another kind.
    NoIdentity,
    /// The URL is for http or https, and the credentials are of another kind.
    NoPassword,
}

/// A sentence with what to do.
impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(secret) => {
                write!(formatter, "the server refuses the credentials: correct those of {secret}, or what they may do")
            }
            Self::UnknownHost(secret) => write!(
                formatter,
                "the server's key is not among the `known_hosts` of {secret}: correct them, or find out who answers in its place"
            ),
            Self::Anonymous => formatter
                .write_str("the server refuses whoever shows no credentials: name a Secret that holds some for it"),
            Self::NoIdentity => formatter.write_str("ssh needs a Secret with `identity` and `known_hosts`: name one"),
            Self::NoPassword => {
                formatter.write_str("http and https need a Secret with `username` and `password`: name one")
            }
        }
    }
}

/// What is known when git has failed, before anybody asks why.
#[derive(Debug)]
pub(super) enum Failure {
    /// It told us what the server has, and the revision is not among it.
    NoRevision,
    /// It ended with an error, and said so.
    Git(String),
    /// It wrote a file up to the limit, or told us more than we read.
    TooLarge,
    /// It could not be run.
    Local(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_secret_to_correct_if_its_name_is_known() {
        let (url, git) = ("https://git.example/a".to_owned(), || SecretName::new(Some("git")));
        let said = |cause| Error::AccessDenied { url: url.clone(), cause }.to_string();
        assert_eq!(
            said(Denial::Credentials(git())),
            "https://git.example/a cannot be read: the server refuses the credentials: correct those of the Secret «git», or what they may do"
        );
        assert_eq!(
            said(Denial::Credentials(SecretName::default())),
            "https://git.example/a cannot be read: the server refuses the credentials: correct those of the Secret, or what they may do"
        );
        assert_eq!(
            said(Denial::UnknownHost(git())),
            "https://git.example/a cannot be read: the server's key is not among the `known_hosts` of the Secret «git»: \
             correct them, or find out who answers in its place"
        );
        assert_eq!(
            said(Denial::UnknownHost(SecretName::default())),
            "https://git.example/a cannot be read: the server's key is not among the `known_hosts` of the Secret: \
             correct them, or find out who answers in its place"
        );
    }
}

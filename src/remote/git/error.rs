//! Why a revision could not be looked up.

use std::{io, time::Duration};

use thiserror::Error;

use crate::api::condition::Reason;

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
        cause: &'static str,
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
            Self::NoRevision { .. } | Self::NoRepository { .. } => Reason::RevisionNotFound,
            Self::AccessDenied { .. } => Reason::AccessDenied,
            Self::TooLarge { .. } => Reason::SourceRejected,
            Self::Unavailable { .. } | Self::Slow { .. } | Self::Local(_) => Reason::SourceUnavailable,
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

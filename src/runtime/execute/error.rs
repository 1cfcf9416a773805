//! Why something was not written.

use std::time::Duration;

use crate::runtime::metrics::Outcome;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process may not write.
    #[error("this process is not the leader")]
    NotLeader,
    /// What was decided on is not what is there.
    #[error("the object was changed meanwhile")]
    Conflict,
    /// No answer in time: it may have happened.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The API server said no, or cannot be reached.
    #[error(transparent)]
    Api(kube::Error),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.is_conflict() && !status.is_already_exists() => Self::Conflict,
            _ => Self::Api(error),
        }
    }
}

impl Error {
    /// As it is counted.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotLeader => Outcome::NotLeader,
            Self::Conflict => Outcome::Conflict,
            Self::Api(kube::Error::Api(_)) => Outcome::Refused,
            Self::Late(_) | Self::Api(_) => Outcome::Unknown,
        }
    }
}

//! What is wrong with a Secret.

use thiserror::Error;

use crate::api::condition::Reason;

/// What is wrong with a Secret, as the rest of a sentence that begins with its name. It never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum SecretError {
    /// Keys are not there.
    #[error("has no key {keys}: {remedy}")]
    Missing {
        /// The keys, each in quotes.
        keys: String,
        /// What to do.
        remedy: String,
    },
    /// A Docker config cannot be read.
    #[error("cannot be used: {0}")]
    Config(#[from] ConfigError),
}

impl SecretError {
    pub(super) fn missing(keys: &str, remedy: impl Into<String>) -> Self {
        Self::Missing { keys: keys.to_owned(), remedy: remedy.into() }
    }

    /// The reason for a condition.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } => Reason::KeyNotFound,
            Self::Config(_) => Reason::AccessDenied,
        }
    }
}

/// Why a configuration, or an entry of it, cannot be used. It never holds a value of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum ConfigError {
    /// It is not JSON.
    #[error("its configuration of Docker is not JSON: line {0}, column {1}")]
    Syntax(usize, usize),
    /// It has another form.
    #[error("its configuration of Docker must be an object whose `auths` is an object")]
    Form,
    /// An entry cannot be read.
    #[error("`auth` of «{0}» is not base64 of user name, colon and password")]
    Auth(String),
    /// An entry has a form that we do not know, such as an identity token.
    #[error("«{0}» needs `auth`, or `username` and `password`")]
    Incomplete(String),
}

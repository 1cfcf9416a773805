//! The Secret that credentials are from, as errors name it.

use std::fmt;

/// A Secret; its name where the caller knows it. A stage in a pod has files with credentials, and no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretName(Option<String>);

impl SecretName {
    /// The Secret of that name, or one whose name is not known.
    #[must_use]
    pub fn new(name: Option<&str>) -> Self {
        Self(name.map(ToOwned::to_owned))
    }
}

/// With its article, as part of a sentence.
impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(formatter, "the Secret «{name}»"),
            None => formatter.write_str("the Secret"),
        }
    }
}

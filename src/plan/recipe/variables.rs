//! Variables of a build tool or a test step, with values that are written or that come from Secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::Values;
use crate::plan::placeholder::Template;

/// A key of a Secret of the build's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The name of the Secret.
    pub secret: String,
    /// The key.
    pub key: String,
}

/// Variables by name; no name has both a value and a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variables<T> {
    /// Written values.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, T>,
    /// Values of Secrets. A stage finds them in files ([`super::SecretFile`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretKey>,
}

impl<T> Default for Variables<T> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), secrets: BTreeMap::new() }
    }
}

impl<T> Variables<T> {
    /// Whether there is one of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.secrets.contains_key(name)
    }
}

impl Variables<Template> {
    /// With values for their placeholders.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Variables<String> {
        let filled = self.values.iter().map(|(name, value)| (name.clone(), values.fill(value)));
        Variables { values: filled.collect(), secrets: self.secrets.clone() }
    }
}

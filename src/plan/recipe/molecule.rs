//! Testing with molecule.

use serde::{Deserialize, Serialize};

use crate::api::recipe as api;

/// A molecule scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Molecule {
    /// Its name: a folder below `molecule/`.
    pub scenario: String,
}

impl Molecule {
    /// As it is written: the schema has checked it.
    #[must_use]
    pub fn of(written: &api::Molecule) -> Self {
        Self { scenario: written.scenario.0.clone() }
    }
}

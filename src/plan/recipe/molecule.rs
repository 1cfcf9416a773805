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

    /// The folders of which one is the scenario's, where molecule runs in this folder of the source (`None`: its root):
    /// the usual one, and that in a collection.
    #[must_use]
    pub fn folders(&self, directory: Option<&str>) -> [String; 2] {
        let above = directory.map(|directory| format!("{directory}/")).unwrap_or_default();
        ["molecule", "extensions/molecule"].map(|folder| format!("{above}{folder}/{}", self.scenario))
    }
}

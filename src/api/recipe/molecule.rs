//! Testing with molecule.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::api::common::RelativePath;

/// A molecule scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Molecule {
    /// The folder that holds `molecule/`. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// The name of the scenario.
    #[serde(default = "default_scenario")]
    pub scenario: ScenarioName,
    /// Its environment.
    #[serde(flatten)]
    pub environment: Environment,
}

/// The name of a molecule scenario: a folder below `molecule/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScenarioName(
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$"))] pub String,
);

fn default_scenario() -> ScenarioName {
    ScenarioName("default".to_owned())
}

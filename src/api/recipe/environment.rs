//! What all test steps have in common.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{SecretVariable, Text, VARIABLE_NAMES};

/// The environment of a test step, in the fields of the step itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// Variables of the environment; they may hold placeholders, of which `$(image.local)` is the image to test.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = VARIABLE_NAMES)]
    pub environment: BTreeMap<String, Text>,
    /// Variables of the environment whose values come from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secret_variables: Vec<SecretVariable>,
}

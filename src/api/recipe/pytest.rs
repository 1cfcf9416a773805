//! Testing with pytest and testinfra.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::api::common::RelativePath;

/// A call of pytest with testinfra.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pytest {
    /// The folder with the tests. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// Its environment.
    #[serde(flatten)]
    pub environment: Environment,
}

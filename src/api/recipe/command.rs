//! Testing with a command.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::api::common::{RelativePath, Text};

/// A command of the builder image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The program and its arguments. No shell reads them; they may hold placeholders.
    #[schemars(length(min = 1, max = 64))]
    pub arguments: Vec<Text>,
    /// The folder in which it runs. Default: the root of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// Its environment.
    #[serde(flatten)]
    pub environment: Environment,
}

//! How tests log in to a machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::SecretKeyReference;

/// How tests log in to the machine that a box is booted as, by ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// The user.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][a-z0-9_.-]*$"))]
    pub user: String,
    /// A private key, or a password. Default: the keys that Vagrant publishes, which boxes trust until they are started
    /// by Vagrant for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyReference>,
}

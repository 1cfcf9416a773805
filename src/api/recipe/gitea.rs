//! Publication in the package registry of Gitea or Forgejo.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    boxes::BoxProvider,
    common::{BoxTag, BoxVersionTemplate, PackagesUrl, SecretReference},
};

/// A version of a Vagrant box in the package registry of Gitea or Forgejo. A file that is there is never replaced: the
/// server has no way to do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishGitea {
    /// The address of the server: `https://git.example`.
    pub url: PackagesUrl,
    /// The owner of the package, which is a user or an organization, and its name: `team-a/web`.
    pub tag: BoxTag,
    /// The version. One with `{{timestamp}}` is another for each build: those of earlier builds stay.
    pub version: BoxVersionTemplate,
    /// The provider of the box. Links with boxes for different providers may share a version.
    pub provider: BoxProvider,
    /// A Secret with `token`, or with `username` and `password` (`kubernetes.io/basic-auth`). A token needs the right
    /// `write:package`. A key `ca.crt` holds the certificates that the server is trusted by. The operator alone reads
    /// it, and sends it to this server and no other.
    pub secret_ref: SecretReference,
}

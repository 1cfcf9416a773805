//! Files of other servers, by URL and checksum.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::common::{ImageReference, Label};

/// A file that a link needs besides its source, such as the image of an installer. It is fetched by the pod, checked,
/// and given by the placeholder `$(files.NAME)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputFile {
    /// The name, unique in the link.
    pub name: Label,
    /// Where it is. Another place of the same file rebuilds nothing.
    pub url: FileUrl,
    /// The SHA-256 of its content.
    pub sha256: Sha256,
}

/// A machine box that no link has made. Either `url` and `sha256` must be set, or `reference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.reference) != has(self.url) && has(self.url) == has(self.sha256)")
        .message("set url and sha256, or reference")
)]
pub struct ParentBox {
    /// Where its file is: a Vagrant box, a qcow2 or a raw disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<FileUrl>,
    /// The SHA-256 of that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// A box in a registry, as links publish it. A tag is looked up; the link is rebuilt when it leads to another digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ImageReference>,
}

/// The URL of a file: `https://` or `http://`, a host and a path, without user or fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FileUrl(
    #[schemars(
        length(min = 10, max = 1024),
        regex(pattern = r"^https?://[a-zA-Z0-9\[][a-zA-Z0-9.:\[\]-]*/[a-zA-Z0-9._~!$&'()*+,;=:@%/?-]*$")
    )]
    pub String,
);

/// A SHA-256 in hexadecimal, as `sha256sum` prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sha256(#[schemars(length(min = 64, max = 64), regex(pattern = r"^[a-f0-9]{64}$"))] pub String);

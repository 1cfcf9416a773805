//! Machine boxes: what a product is that is no container image, and how it stands in a registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Digest, is_default};

/// The `artifactType` of the manifest of a box. Its one layer is the file as it was built, so that the digest of the
/// layer is the checksum that people compare.
pub const BOX_ARTIFACT: &str = "application/vnd.imagechain.box.v1";
/// The media type of the configuration of a box: a [`BoxConfig`] as JSON.
pub const BOX_CONFIG: &str = "application/vnd.imagechain.box.config.v1+json";

/// The kind of an artifact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ArtifactKind {
    /// A container image.
    #[default]
    Image,
    /// A machine box: a disk, alone or in a Vagrant box.
    Box,
}

impl ArtifactKind {
    /// Whether it is that of a container image.
    #[must_use]
    pub const fn is_image(&self) -> bool {
        matches!(self, Self::Image)
    }

    /// What it is called in a sentence.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Box => "box",
        }
    }
}

/// The content of an artifact, by its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactContent {
    /// The kind of the artifact; absent: `Image`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: ArtifactKind,
    /// Of an image: its ID, the digest of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Digest>,
    /// Of a box: the SHA-256 of its file, which `vagrant box add` compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<Digest>,
}

impl ArtifactContent {
    /// The content of that digest, of an artifact of that kind.
    #[must_use]
    pub fn new(kind: ArtifactKind, digest: &str) -> Self {
        let digest = Some(Digest(digest.to_owned()));
        match kind {
            ArtifactKind::Image => Self { kind, image_id: digest, content_digest: None },
            ArtifactKind::Box => Self { kind, image_id: None, content_digest: digest },
        }
    }

    /// The digest; empty where it is absent, which no digest equals.
    #[must_use]
    pub fn digest(&self) -> &str {
        let digest = match self.kind {
            ArtifactKind::Image => &self.image_id,
            ArtifactKind::Box => &self.content_digest,
        };
        digest.as_ref().map_or("", |digest| &digest.0)
    }
}

/// The format of the file of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum BoxFormat {
    /// A Vagrant box: a compressed archive of `metadata.json`, a disk and what its provider needs.
    Vagrant,
    /// A disk as qcow2.
    Qcow2,
    /// A disk as it is.
    Raw,
}

/// The provider of a Vagrant box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BoxProvider {
    /// libvirt, with a disk as qcow2.
    Libvirt,
    /// `VirtualBox`, with an OVF and disks.
    VirtualBox,
}

impl BoxFormat {
    /// The media type of the layer that holds the file.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Vagrant => "application/vnd.imagechain.box.layer.v1.vagrant",
            Self::Qcow2 => "application/vnd.imagechain.box.layer.v1.qcow2",
            Self::Raw => "application/vnd.imagechain.box.layer.v1.raw",
        }
    }
}

impl BoxProvider {
    /// Every provider.
    pub const ALL: [Self; 2] = [Self::Libvirt, Self::VirtualBox];

    /// Its name in `metadata.json`, and on Vagrant's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libvirt => "libvirt",
            Self::VirtualBox => "virtualbox",
        }
    }

    /// The name of the file of a version of a box, as servers of packages have it.
    #[must_use]
    pub fn file(self) -> String {
        format!("{}.box", self.name())
    }
}

/// The configuration of a box in a registry: what there is to know of it without its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BoxConfig {
    /// The format of the file.
    pub format: BoxFormat,
    /// The provider of a Vagrant box; absent for a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<BoxProvider>,
    /// The architecture, as OCI names it: `amd64`.
    pub architecture: String,
    /// The size of the first disk as the machine sees it, in bytes.
    pub virtual_size: u64,
}

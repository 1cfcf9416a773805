//! Making a machine box without packer.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    boxes::{BoxFormat, BoxProvider},
    profile::ResourceQuantity,
};

/// A box of the parent: of an image that holds a kernel, a disk that boots it; of a box, the same disk in another
/// format. The profile must have a hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.provider) || self.format == 'Vagrant'").message("provider goes with format: Vagrant"))]
pub struct BoxStep {
    /// The format of the box. Default: `Vagrant`.
    #[serde(default = "default_format")]
    pub format: BoxFormat,
    /// The provider of a Vagrant box. Default: `Libvirt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<BoxProvider>,
    /// The size of a disk that is made of an image, for example `8Gi`. Default: what the image needs, and a third more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<ResourceQuantity>,
}

const fn default_format() -> BoxFormat {
    BoxFormat::Vagrant
}

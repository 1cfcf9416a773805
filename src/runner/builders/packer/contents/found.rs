//! What is found in a file of a template.

use std::ops::Range;

/// The post-processors that push or upload, to registries, boxes to Vagrant's and machines to clouds: of packer's
/// documentation, 1.6 to 1.14.
const UPLOADS: [&str; 17] = [
    "alicloud-import",
    "amazon-import",
    "digitalocean-import",
    "docker-push",
    "exoscale-import",
    "googlecompute-export",
    "googlecompute-import",
    "huaweicloud-import",
    "ibmcloud-export-image",
    "tencentcloud-import",
    "ucloud-import",
    "vagrant-cloud",
    "vagrant-registry",
    "vsphere",
    "vsphere-template",
    "yandex-export",
    "yandex-import",
];

pub(super) fn is_upload(kind: &str) -> bool {
    UPLOADS.contains(&kind)
}

/// Parts of a template's text, by what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runner::builders::packer) struct Parts {
    /// What they name, in their order.
    pub(in crate::runner::builders::packer) names: Vec<String>,
    pub(in crate::runner::builders::packer) ranges: Vec<Range<usize>>,
}

/// What is in a file of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runner::builders::packer) struct Contents {
    /// The plugins that it asks for (`required_plugins`).
    pub(in crate::runner::builders::packer) plugins: Parts,
    /// The post-processors that publish.
    pub(in crate::runner::builders::packer) uploads: Parts,
    /// Whether there may be more of these than can be found.
    pub(in crate::runner::builders::packer) unclear: bool,
}

impl Contents {
    /// Whether packer may find post-processors that publish where none was found here.
    pub(in crate::runner::builders::packer) const fn may_hide_uploads(&self) -> bool {
        self.unclear
    }
}

pub(super) fn mentions_upload(text: &str) -> bool {
    let mentions = |kind: &str| text.contains(&format!("\"{kind}\"")) || text.contains(&format!(" {kind} "));
    UPLOADS.iter().any(|kind| mentions(kind))
}

//! What is in a template that packer must not see: plugins that it asks for and that this packer has built in, and
//! post-processors that publish what nobody has tested.

mod hcl;
mod json;

use std::ops::Range;

use super::template::Kind;

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

fn is_upload(kind: &str) -> bool {
    UPLOADS.contains(&kind)
}

/// Parts of a template's text, by what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// What they name, in their order.
    pub(super) names: Vec<String>,
    ranges: Vec<Range<usize>>,
}

/// What is in a file of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The plugins that it asks for (`required_plugins`).
    pub(super) plugins: Parts,
    /// The post-processors that publish.
    pub(super) uploads: Parts,
    /// Whether there may be more of these than can be found.
    unclear: bool,
}

/// Reads a file of a template. Packer says what is wrong with one that cannot be read.
pub(super) fn read(kind: Kind, text: &str) -> Contents {
    let found = match kind {
        Kind::Hcl => hcl::read(text),
        Kind::HclJson => json::read_hcl(text),
        Kind::Json => json::read_legacy(text),
    };
    found.unwrap_or_else(|| Contents { unclear: mentions_upload(text), ..Contents::default() })
}

fn mentions_upload(text: &str) -> bool {
    let mentions = |kind: &str| text.contains(&format!("\"{kind}\"")) || text.contains(&format!(" {kind} "));
    UPLOADS.iter().any(|kind| mentions(kind))
}

impl Contents {
    /// Whether packer may find post-processors that publish where none was found here.
    pub(super) const fn may_hide_uploads(&self) -> bool {
        self.unclear
    }
}

/// The text without these parts. Lines stay where they are: packer's messages name them.
pub(super) fn without(text: &str, parts: &[&Parts]) -> String {
    let is_left_out = |at: usize| parts.iter().flat_map(|parts| &parts.ranges).any(|range| range.contains(&at));
    text.char_indices().filter(|(at, letter)| *letter == '\n' || !is_left_out(*at)).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests;

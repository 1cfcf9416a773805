//! Templates: what packer gets of them, where it would not take them as they are. The user's file is never
//! changed; a copy beside it is.

use std::path::Path;

use hcl_edit::structure::Body;
use serde_json::Value;

/// Packer of this version cannot install plugins, and has those of its time built in.
pub(super) const FIRST_WITH_PLUGINS: (u32, u32) = (1, 7);

/// The plugins that packer 1.6 has built in, by their names in `required_plugins`, where containers and
/// machines are concerned.
const BUILT_IN: [&str; 16] = [
    "amazon",
    "ansible",
    "azure",
    "chef",
    "docker",
    "googlecompute",
    "hyperv",
    "inspec",
    "openstack",
    "parallels",
    "puppet",
    "qemu",
    "vagrant",
    "virtualbox",
    "vmware",
    "vsphere",
];

/// What kind of template a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HCL2, in HCL's own syntax.
    Hcl,
    /// HCL2, in JSON.
    HclJson,
    /// The older form.
    Json,
}

/// By its name, as packer does it.
pub(super) fn kind(name: &str) -> Kind {
    if name.ends_with(".pkr.json") {
        Kind::HclJson
    } else if Path::new(name).extension().is_some_and(|extension| extension == "json") {
        Kind::Json
    } else {
        Kind::Hcl
    }
}

/// The plugins that a template in HCL asks for, by name and source; empty where it has no such block. A text
/// that is no HCL asks for none: packer says what is wrong with it.
pub(super) fn required_plugins(text: &str) -> Vec<String> {
    let Ok(body) = text.parse::<Body>() else { return Vec::new() };
    let blocks = body.get_blocks("packer").flat_map(|block| block.body.get_blocks("required_plugins"));
    blocks.flat_map(|block| block.body.attributes()).map(|plugin| plugin.key.to_string().trim().to_owned()).collect()
}

/// The template without its `required_plugins`; `None` where it has none.
pub(super) fn without_required_plugins(text: &str) -> Option<String> {
    let mut body = text.parse::<Body>().ok()?;
    let mut found = false;
    for block in body.get_blocks_mut("packer") {
        found |= !block.body.remove_blocks("required_plugins").is_empty();
    }
    found.then(|| body.to_string())
}

/// The plugins that packer 1.6 does not have.
pub(super) fn not_built_in(plugins: &[String]) -> Vec<&str> {
    plugins.iter().map(String::as_str).filter(|plugin| !BUILT_IN.contains(plugin)).collect()
}

/// What `packer fix` changed in a template of the older form: the places, as paths. Empty where it said the
/// same in another order.
pub(super) fn fixes(before: &str, after: &str) -> Vec<String> {
    let (Ok(before), Ok(after)) = (serde_json::from_str(before), serde_json::from_str(after)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    differences("", &before, &after, &mut found);
    found
}

fn differences(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(other) => differences(&format!("{path}/{key}"), value, other, found),
                    None => found.push(format!("{path}/{key} removed")),
                }
            }
            found
                .extend(after.keys().filter(|key| !before.contains_key(*key)).map(|key| format!("{path}/{key} added")));
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (value, other)) in before.iter().zip(after).enumerate() {
                differences(&format!("{path}/{index}"), value, other, found);
            }
        }
        (before, after) if before == after => {}
        _ => found.push(format!("{path} changed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HCL: &str = r#"# A comment that stays.
packer {
  required_version = ">= 1.6"
  required_plugins {
    docker = {
      version = "~> 1"
      source  = "github.com/hashicorp/docker"
    }
    ansible = {
      version = "~> 1"
      source  = "github.com/hashicorp/ansible"
    }
  }
}

variable "base" {
  default = "required_plugins { }"
}
"#;

    #[test]
    fn required_plugins_are_found_and_left_out() {
        assert_eq!(required_plugins(HCL), ["docker", "ansible"]);
        let copy = without_required_plugins(HCL).unwrap();
        assert_eq!(required_plugins(&copy), [""; 0]);
        for kept in ["# A comment that stays.", "required_version = \">= 1.6\"", "default = \"required_plugins { }\""] {
            assert!(copy.contains(kept), "{copy}");
        }
        assert_eq!(without_required_plugins(&copy), None);
        assert_eq!(without_required_plugins("this is { no HCL"), None);
        assert_eq!(required_plugins("this is { no HCL"), [""; 0]);
    }

    #[test]
    fn a_plugin_is_built_in_or_not() {
        let plugins = ["docker", "hcloud", "ansible", "incus"].map(str::to_owned);
        assert_eq!(not_built_in(&plugins), ["hcloud", "incus"]);
    }

    #[test]
    fn a_template_is_known_by_its_name() {
        for (name, expected) in
            [("web.json", Kind::Json), ("web.pkr.json", Kind::HclJson), ("web.pkr.hcl", Kind::Hcl), ("web", Kind::Hcl)]
        {
            assert_eq!(kind(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_differs_is_a_fix() {
        // `packer fix` of 1.6.6, of a template in the manner of seed 002.
        let before = r#"{"builders": [{"type": "virtualbox-iso", "iso_checksum": "abc", "iso_checksum_type": "sha256",
            "ssh_wait_timeout": "10s"}], "variables": {"a": "1"}}"#;
        let after = r#"{"variables": {"a": "1"}, "builders": [{"iso_checksum": "sha256:abc", "ssh_timeout": "10s",
            "type": "virtualbox-iso"}]}"#;
        assert_eq!(
            fixes(before, after),
            [
                "/builders/0/iso_checksum changed",
                "/builders/0/iso_checksum_type removed",
                "/builders/0/ssh_wait_timeout removed",
                "/builders/0/ssh_timeout added",
            ]
        );
        assert_eq!(fixes(r#"{"a": [1, {"b": 2}]}"#, r#"{ "a": [1, { "b": 2 }] }"#), [""; 0]);
        assert_eq!(fixes("{", "{}"), [""; 0]);
    }
}

//! Templates: their kinds, the plugins that they may ask for, and what `packer fix` makes of them.

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
    } else if name.ends_with(".pkr.hcl") {
        Kind::Hcl
    } else {
        Kind::Json
    }
}

/// The plugins that packer 1.6 does not have.
pub(super) fn not_built_in(plugins: &[String]) -> Vec<&str> {
    plugins.iter().map(String::as_str).filter(|plugin| !BUILT_IN.contains(plugin)).collect()
}

/// What `packer fix` changed in a template of the older form: the places, as paths. Empty where it said the
/// same in another order, or only wrote down what is the default.
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
            let added = after.iter().filter(|(key, value)| !before.contains_key(*key) && !is_empty(value));
            found.extend(added.map(|(key, _)| format!("{path}/{key} added")));
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (value, other)) in before.iter().zip(after).enumerate() {
                differences(&format!("{path}/{index}"), value, other, found);
            }
        }
        (Value::Number(before), Value::Number(after)) if before.as_f64() == after.as_f64() => {}
        (before, after) if before == after => {}
        _ => found.push(format!("{path} changed")),
    }
}

/// Whether a value says what its absence says.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_built_in_or_not() {
        let plugins = ["docker", "hcloud", "ansible", "incus"].map(str::to_owned);
        assert_eq!(not_built_in(&plugins), ["hcloud", "incus"]);
    }

    #[test]
    fn a_template_is_known_by_its_name() {
        for (name, expected) in
            [("web.json", Kind::Json), ("web.pkr.json", Kind::HclJson), ("web.pkr.hcl", Kind::Hcl), ("web", Kind::Json)]
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

    #[test]
    fn what_says_nothing_is_no_fix() {
        // `packer fix` of 1.6.6.
        let before = r#"{"builders": [{"type": "docker", "n": 1.0}], "post-processors": [{"type": "docker-tag", "repository": "a"}]}"#;
        let after = r#"{"builders": [{"n": 1, "type": "docker"}], "post-processors": [{"repository": "a", "tags": [], "type": "docker-tag"}]}"#;
        assert_eq!(fixes(before, after), [""; 0]);
        let before = r#"{"post-processors": [{"type": "docker-tag", "tag": "x"}]}"#;
        let after = r#"{"post-processors": [{"tags": ["x"], "type": "docker-tag"}]}"#;
        assert_eq!(fixes(before, after), ["/post-processors/0/tag removed", "/post-processors/0/tags added"]);
    }
}

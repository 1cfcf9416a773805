//! The key of a link: a hash of all that decides its result. Same key, same result: nothing to do.

use std::{collections::BTreeMap, fmt};

use ring::digest::{Context, SHA256};
use serde::Serialize;

use crate::api::{
    profile::{Engine, Hypervisor, Isolation},
    recipe::{BuildStep, Layers, VerifyStep},
};

/// Changes when keys are computed in another way: every link is then built anew, so it changes seldom.
const FORMAT: u32 = 1;

/// The hash of all that decides a link's result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key as it stands in a status.
    #[must_use]
    pub const fn from_hash(hash: String) -> Self {
        Self(hash)
    }

    /// The hash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// All that decides a link's result, and nothing else: where it is published, how long it may take, how
/// often it is tried, what Secrets hold and which version of the operator runs are not here.
#[derive(Debug, Serialize)]
pub struct Ingredients<'a> {
    /// The digest of the parent; absent where the build brings its own base.
    pub parent: Option<&'a str>,
    /// The name under which the engine finds the parent.
    pub local_name: Option<&'a str>,
    /// How it is built, with placeholders as they are written.
    pub build: &'a BuildStep,
    /// How it is tested, likewise.
    pub verify: &'a [VerifyStep],
    /// The hash of the files that decide the result.
    pub files: &'a str,
    /// The revision, where a value names it by `$(source.revision)`.
    pub revision: Option<&'a str>,
    /// The platform of the image.
    pub platform: &'a str,
    /// The digest of the builder image.
    pub builder: &'a str,
    /// The digest of the engine image.
    pub engine_image: &'a str,
    /// What keeps the build from its node.
    pub isolation: Isolation,
    /// The container engine.
    pub engine: Engine,
    /// The hypervisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// The last request that was handled.
    pub request: Option<&'a str>,
    /// The UID of an earlier build with the same inputs, whose image is gone.
    pub replaces: Option<&'a str>,
    /// The SHA-256 of each file of another server, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<&'a str, &'a str>,
    /// What the product has in common with its parent: a build that failed for it is tried anew without.
    #[serde(skip_serializing_if = "Layers::is_inherited")]
    pub layers: Layers,
}

impl Ingredients<'_> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> Key {
        // Structures and ordered maps of strings: there is nothing in them that JSON could not write, and
        // always in the same order.
        let text = serde_json::to_string(self).unwrap_or_default();
        Key(fingerprint(&["key", &FORMAT.to_string(), &text]))
    }
}

/// The SHA-256 of some texts, in hexadecimal. The lengths are hashed too: no two lists of texts give the
/// same input.
pub(super) fn fingerprint(texts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(text.len().to_string().as_bytes());
        context.update(b":");
        context.update(text.as_bytes());
    }
    hexadecimal(context.finish().as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::api::{common::Text, recipe::Command};

    fn build(template: &str) -> BuildStep {
        serde_json::from_value(json!({"packer": {"template": template}})).unwrap()
    }

    fn ingredients(build: &BuildStep) -> Ingredients<'_> {
        Ingredients {
            parent: Some("sha256:0"),
            local_name: None,
            build,
            verify: &[],
            files: "f",
            revision: None,
            platform: "linux/amd64",
            builder: "sha256:b",
            engine_image: "sha256:e",
            isolation: Isolation::Privileged,
            engine: Engine::Docker,
            hypervisor: None,
            request: None,
            replaces: None,
            inputs: BTreeMap::new(),
            layers: Layers::Inherited,
        }
    }

    #[test]
    fn the_format_does_not_change_unseen() {
        // Another value here means that every user's every image is built anew after an upgrade.
        insta::assert_snapshot!(ingredients(&build("a.json")).key(), @"ce09f1b49531ff0f21f4b921edf7a1ca46d98a5e96c7a935444076f081f8c4c2");
    }

    /// Keys are hashes of the written steps as JSON, in the order of their fields: all of them must stay where they are.
    #[test]
    fn no_field_of_a_step_moves() {
        let secrets = json!([{"name": "token", "secretKeyRef": {"name": "vault", "key": "token"}}]);
        let build = json!({"packer": {
            "template": "packer/web.json", "variables": {"base": "$(parent.reference)", "a": "1"},
            "secretVariables": secrets, "variableFiles": ["packer/prod.json"], "only": ["web"], "except": ["push"],
        }});
        let verify = json!([
            {"molecule": {"directory": "ansible", "scenario": "image", "environment": {"A": "1"}, "secretVariables": secrets}},
            {"pytest": {"directory": "tests", "environment": {"A": "1"}, "secretVariables": secrets}},
            {"command": {"arguments": ["true", "x"], "directory": "tests", "environment": {"A": "1"}, "secretVariables": secrets}},
            {"molecule": {}}, {"pytest": {}}, {"command": {"arguments": ["true"]}},
        ]);
        let build: BuildStep = serde_json::from_value(build).unwrap();
        let verify: Vec<VerifyStep> = serde_json::from_value(verify).unwrap();
        insta::assert_snapshot!(Ingredients { verify: &verify, ..ingredients(&build) }.key(), @"f47524be259e9b5ab0d59cc2472f61cb1ab6d455e48992a286e906afeb8b2b53");
        let moved = serde_json::from_value(json!({"packer": {"template": "a.json", "directory": "."}})).unwrap();
        insta::assert_snapshot!(ingredients(&moved).key(), @"2f46f2434cd4dd9e6af6b3a7b7982a4190c489d2b62887a6d13f62403c1f3ae0");
    }

    #[test]
    fn every_ingredient_counts() {
        let (one, other) = (build("a.json"), build("b.json"));
        let command = Command { arguments: vec![Text::from("true")], ..Command::default() };
        let verify = [VerifyStep { command: Some(command), ..VerifyStep::default() }];
        let base = || ingredients(&one);
        let keys = [
            base().key(),
            ingredients(&other).key(),
            Ingredients { parent: None, ..base() }.key(),
            Ingredients { parent: Some("sha256:1"), ..base() }.key(),
            Ingredients { local_name: Some("a"), ..base() }.key(),
            Ingredients { verify: &verify, ..base() }.key(),
            Ingredients { files: "g", ..base() }.key(),
            Ingredients { revision: Some("r"), ..base() }.key(),
            Ingredients { platform: "linux/arm64", ..base() }.key(),
            Ingredients { builder: "sha256:c", ..base() }.key(),
            Ingredients { engine_image: "sha256:f", ..base() }.key(),
            Ingredients { request: Some("r"), ..base() }.key(),
            Ingredients { replaces: Some("r"), ..base() }.key(),
            Ingredients { layers: Layers::Any, ..base() }.key(),
            Ingredients { inputs: BTreeMap::from([("iso", "0")]), ..base() }.key(),
            Ingredients { inputs: BTreeMap::from([("iso", "1")]), ..base() }.key(),
            Ingredients { engine: Engine::None, ..base() }.key(),
            Ingredients { hypervisor: Some(Hypervisor::Qemu), ..base() }.key(),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(base().key(), base().key());
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_ne!(fingerprint(&["1:a"]), fingerprint(&["", "a"]));
        assert_eq!(fingerprint(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}

//! The key of a link: a hash of all that decides its result. Same key, same result: nothing to do.

use std::{collections::BTreeMap, fmt};

use ring::digest::{Context, SHA256};
use serde::Serialize;

use crate::api::{
    profile::{Engine, Isolation},
    recipe::{BuildStep, VerifyStep},
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
    /// What the files that decide the result hold: a path and its git object ID, or the hash of its content.
    pub objects: &'a BTreeMap<String, String>,
    /// The revision, where a value names it by `$(source.revision)`.
    pub revision: Option<&'a str>,
    /// The digest of the builder image.
    pub builder: &'a str,
    /// The digest of the engine image.
    pub engine_image: &'a str,
    /// What keeps the build from its node.
    pub isolation: Isolation,
    /// The container engine.
    pub engine: Engine,
    /// The last request that was handled.
    pub request: Option<&'a str>,
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
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::{
        common::{RelativePath, Text},
        recipe::{Command, Packer},
    };

    fn build(template: &str) -> BuildStep {
        BuildStep { packer: Some(Packer { template: RelativePath::from(template), ..Packer::default() }) }
    }

    fn ingredients<'a>(build: &'a BuildStep, objects: &'a BTreeMap<String, String>) -> Ingredients<'a> {
        Ingredients {
            parent: Some("sha256:0"),
            local_name: None,
            build,
            verify: &[],
            objects,
            revision: None,
            builder: "sha256:b",
            engine_image: "sha256:e",
            isolation: Isolation::Privileged,
            engine: Engine::Docker,
            request: None,
        }
    }

    #[test]
    fn the_format_does_not_change_unseen() {
        // Another value here means that every user's every image is built anew after an upgrade.
        let (build, objects) = (build("a.json"), BTreeMap::from([("a.json".to_owned(), "1".to_owned())]));
        insta::assert_snapshot!(ingredients(&build, &objects).key(), @"6ef80813d3d1961e4661111383aa2fdc34f31d5f66449052338e61256cd6ce22");
    }

    #[test]
    fn every_ingredient_counts() {
        let (one, other) = (build("a.json"), build("b.json"));
        let (empty, file) = (BTreeMap::new(), BTreeMap::from([("a".to_owned(), "1".to_owned())]));
        let command = Command { arguments: vec![Text::from("true")], ..Command::default() };
        let verify = [VerifyStep { command: Some(command), ..VerifyStep::default() }];
        let base = || ingredients(&one, &empty);
        let keys = [
            base().key(),
            ingredients(&other, &empty).key(),
            ingredients(&one, &file).key(),
            Ingredients { parent: None, ..base() }.key(),
            Ingredients { parent: Some("sha256:1"), ..base() }.key(),
            Ingredients { local_name: Some("a"), ..base() }.key(),
            Ingredients { verify: &verify, ..base() }.key(),
            Ingredients { revision: Some("r"), ..base() }.key(),
            Ingredients { builder: "sha256:c", ..base() }.key(),
            Ingredients { engine_image: "sha256:f", ..base() }.key(),
            Ingredients { request: Some("r"), ..base() }.key(),
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

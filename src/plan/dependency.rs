//! What a build names outside itself, and in which version it is there. An attempt that lacked something is
//! followed by another as soon as that version changes, also after a restart of the operator: what was
//! lacked stands in the attempt.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{
    image::Reference,
    key::fingerprint,
    object::{NamespaceRole, ObjectKind, ObjectRef},
};
use crate::api::build::Lacked;

/// What a build names outside itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// A Secret or `ConfigMap`; its version is the `resourceVersion`. Of the execution namespace it is the Secret with
    /// the right to push to the staging repository.
    Object(ObjectRef),
    /// An image of a registry; its version is the digest that it leads to.
    Image(Reference),
    /// A revision of a git repository; its version is the commit that it leads to.
    Git {
        /// The URL.
        url: String,
        /// The revision as it is written.
        revision: String,
    },
    /// A link of another chain; its version is the digest that was verified last.
    Link {
        /// The chain.
        chain: String,
        /// The link.
        link: String,
    },
}

/// Everything that a build names, with its present version; `None` where it is not there or may not be read.
pub type Versions = BTreeMap<Dependency, Option<String>>;

/// The longest text of a dependency, in characters: that of a git source with the longest URL and revision.
pub const LONGEST: usize = 1300;

/// The text in a status and in the report of a stage.
impl fmt::Display for Dependency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(object) => write!(formatter, "{}/{}", prefix(object), object.name),
            Self::Image(reference) => write!(formatter, "image/{reference}"),
            Self::Git { url, revision } => write!(formatter, "git/{url}#{revision}"),
            Self::Link { chain, link } => write!(formatter, "chain/{chain}/{link}"),
        }
    }
}

const fn prefix(object: &ObjectRef) -> &'static str {
    match (object.namespace, object.kind) {
        (NamespaceRole::Tenant, ObjectKind::Secret) => "secret",
        (NamespaceRole::Execution, ObjectKind::Secret) => "staging-secret",
        (_, ObjectKind::ConfigMap) => "configmap",
    }
}

/// The text is none of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be kind/name, as in secret/token, with neither spaces nor control characters")]
pub struct DependencyError;

/// What a stage reports is not believed unseen.
impl FromStr for Dependency {
    type Err = DependencyError;

    fn from_str(text: &str) -> Result<Self, DependencyError> {
        let (kind, rest) = text.split_once('/').ok_or(DependencyError)?;
        if text.chars().count() > LONGEST || rest.is_empty() || rest.contains(is_invisible) {
            return Err(DependencyError);
        }
        match kind {
            "secret" => Ok(Self::Object(ObjectRef::secret(rest))),
            "staging-secret" => Ok(Self::Object(ObjectRef::secret(rest).of_execution())),
            "configmap" => Ok(Self::Object(ObjectRef::config_map(rest))),
            "image" => rest.parse().map(Self::Image).map_err(|_| DependencyError),
            "git" => {
                // A branch may have one in its name, and no URL has.
                let (url, revision) = rest.split_once('#').ok_or(DependencyError)?;
                Ok(Self::Git { url: url.to_owned(), revision: revision.to_owned() })
            }
            "chain" => {
                let (chain, link) = rest.split_once('/').ok_or(DependencyError)?;
                Ok(Self::Link { chain: chain.to_owned(), link: link.to_owned() })
            }
            _ => Err(DependencyError),
        }
    }
}

fn is_invisible(letter: char) -> bool {
    letter == ' ' || letter.is_control()
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Dependency {
    /// Whether it is an object of the namespace of the pods.
    #[must_use]
    pub const fn is_of_execution(&self) -> bool {
        matches!(self, Self::Object(ObjectRef { namespace: NamespaceRole::Execution, .. }))
    }

    /// For people: an object of the namespace in which the pods run is named with that.
    #[must_use]
    pub fn shown(&self, execution_namespace: &str) -> String {
        match self {
            Self::Object(object) if self.is_of_execution() => {
                format!("the {} «{}» of {execution_namespace}", object.kind, object.name)
            }
            other => other.to_string(),
        }
    }
}

/// A hash of all versions: as long as it is the same, nothing has changed. It is stored, so it goes by the texts of the
/// dependencies, in their order.
#[must_use]
pub fn versions(now: &Versions) -> String {
    let now: BTreeMap<String, Option<&str>> =
        now.iter().map(|(dependency, version)| (dependency.to_string(), version.as_deref())).collect();
    let texts = now.iter().flat_map(|(name, version)| match version {
        Some(version) => [name.as_str(), "at", version],
        None => [name.as_str(), "absent", ""],
    });
    fingerprint(&texts.collect::<Vec<_>>())
}

/// What an attempt lacked that failed just now: what it names, in the version that it has. Where it names
/// nothing that we know, or something has changed while it ran (it may have seen the one or the other), any
/// change since `before` counts, the hash of the versions when the attempt was decided on.
#[must_use]
pub fn lacked(missing: Option<&Dependency>, before: Option<&str>, now: &Versions) -> Lacked {
    let all = versions(now);
    let before = before.unwrap_or(&all);
    match missing.and_then(|missing| now.get_key_value(missing)).filter(|_| before == all) {
        Some((of, version)) => Lacked { of: Some(of.to_string()), version: version.clone() },
        None => Lacked { of: None, version: Some(before.to_owned()) },
    }
}

/// Whether what was lacked is another now. What the build no longer names counts as changed.
#[must_use]
pub fn changed(lacked: &Lacked, now: &Versions) -> bool {
    match &lacked.of {
        Some(of) => of.parse().ok().and_then(|of| now.get(&of)) != Some(&lacked.version),
        None => lacked.version.as_ref() != Some(&versions(now)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now(all: &[(&str, Option<&str>)]) -> Versions {
        all.iter().map(|(name, version)| (name.parse().unwrap(), version.map(ToOwned::to_owned))).collect()
    }

    #[test]
    fn a_dependency_is_read_as_it_is_written() {
        let long = format!("secret/{}", "a".repeat(LONGEST));
        for other in ["", "secret/", "pod/a", "secret/a b", "image/\u{7f}", "git/a", "chain/a", &long] {
            assert_eq!(other.parse::<Dependency>(), Err(DependencyError), "{other:?}");
        }
        for revision in ["main", "feature/#42", "größe", "fix@login"] {
            let (url, revision) = ("https://git.example/a".to_owned(), revision.to_owned());
            let git = Dependency::Git { url, revision };
            assert_eq!(git.to_string().parse(), Ok(git));
        }
        let staging: Dependency = "staging-secret/push".parse().unwrap();
        assert_eq!(staging.shown("builds"), "the Secret «push» of builds");
        assert_eq!(Dependency::Object(ObjectRef::secret("a")).shown("builds"), "secret/a");
    }

    #[test]
    fn what_was_lacked_is_known_again() {
        let absent = now(&[("secret/a", None), ("secret/b", Some("1"))]);
        let appeared = now(&[("secret/a", Some("7")), ("secret/b", Some("1"))]);
        let other = now(&[("secret/a", None), ("secret/b", Some("2"))]);
        let unnamed = now(&[("secret/b", Some("1"))]);
        let before = versions(&absent);
        let [a, z] = ["a", "z"].map(|name| Dependency::Object(ObjectRef::secret(name)));
        let named = lacked(Some(&a), Some(&before), &absent);
        assert_eq!(named, Lacked { of: Some("secret/a".to_owned()), version: None });
        let unsaid = lacked(None, Some(&before), &absent);
        let unknown = lacked(Some(&z), Some(&before), &absent);
        assert_eq!(unsaid, unknown);
        // It appeared while the attempt ran: nobody knows what the attempt has seen.
        let meanwhile = lacked(Some(&a), Some(&before), &appeared);
        for (lacked, expected) in [
            (named, [false, true, false, true]),
            (unsaid, [false, true, true, true]),
            (meanwhile, [false, true, true, true]),
        ] {
            assert_eq!([&absent, &appeared, &other, &unnamed].map(|now| changed(&lacked, now)), expected, "{lacked:?}");
        }
    }

    proptest! {
        /// What was lacked just now has not changed yet, unless something did while the attempt ran.
        #[test]
        fn nothing_changes_by_itself(
            now in proptest::collection::btree_map("[a-c]", proptest::option::of("[0-2]"), 0..3),
            before in proptest::collection::btree_map("[a-c]", proptest::option::of("[0-2]"), 0..3),
            named in proptest::option::of("[a-c]"),
        ) {
            let secret = |name: &String| Dependency::Object(ObjectRef::secret(name));
            let all = |versions: BTreeMap<String, Option<String>>| -> Versions {
                versions.into_iter().map(|(name, version)| (secret(&name), version)).collect()
            };
            let (now, before) = (all(now), all(before));
            let found = lacked(named.as_ref().map(secret).as_ref(), Some(&versions(&before)), &now);
            prop_assert_eq!(changed(&found, &now), now != before);
        }
    }
}

//! What must be read of the cluster before a pod can be made, and what of it is missing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use thiserror::Error;

use super::{
    attempt::Attempt,
    content::{Found, LARGEST_SECRET, data, size_of},
    part::{self, Content, Part},
};
use crate::{
    api::condition::Reason,
    plan::{
        credentials::{SecretError, git::GitSecret, registry::RegistrySecret},
        object::{NamespaceRole, ObjectKind, ObjectRef},
    },
};

/// What of an object is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// All that it has.
    All,
    /// The values of these keys.
    These(BTreeSet<&'a str>),
}

/// What an attempt needs.
pub struct Needs<'a> {
    attempt: Attempt<'a>,
    parts: Vec<Part<'a>>,
}

/// Why an attempt cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Lack {
    /// An object is not there.
    #[error("there is no {kind} «{name}» in the namespace {namespace}: make it")]
    Object {
        /// Its kind.
        kind: ObjectKind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A key is not there.
    #[error("the {kind} «{name}» in the namespace {namespace} has no key «{key}»: add it")]
    Key {
        /// The kind of the object.
        kind: ObjectKind,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A Secret for git or a registry does not hold what it must.
    #[error("the Secret «{name}» in the namespace {namespace} {wrong}")]
    Credentials {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong with it.
        wrong: SecretError,
    },
    /// A value that packer is to read is not text.
    #[error(
        "the value of «{key}» in the Secret «{name}» of the namespace {namespace} is not text: packer's variables must be"
    )]
    NotText {
        /// The namespace of the Secret.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// All together is more than a Secret may hold.
    #[error(
        "what the build needs of Secrets and of its source has {0} bytes, and a pod can get {LARGEST_SECRET}: use a git source"
    )]
    TooLarge(usize),
}

impl Lack {
    /// The reason that it is in a condition. Where another content of an object is the remedy, it is of the
    /// class Dependency: the next attempt follows when the object changes.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Object { kind: ObjectKind::Secret, .. } => Reason::SecretNotFound,
            Self::Object { kind: ObjectKind::ConfigMap, .. } => Reason::ConfigMapNotFound,
            Self::Key { .. } | Self::NotText { .. } => Reason::KeyNotFound,
            Self::Credentials { wrong, .. } => wrong.reason(),
            Self::TooLarge(_) => Reason::SourceRejected,
        }
    }
}

impl<'a> Attempt<'a> {
    /// What must be read of the cluster before the pod can be made: that, and nothing else.
    #[must_use]
    pub fn needs(&self) -> Needs<'a> {
        Needs { attempt: *self, parts: part::all(self) }
    }
}

impl<'a> Needs<'a> {
    /// The objects to read, each once.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<ObjectRef, Keys<'a>> {
        let mut objects = BTreeMap::new();
        for (object, key) in self.parts.iter().flat_map(places) {
            let keys = objects.entry(object).or_insert_with(|| Keys::These(BTreeSet::new()));
            match (key, keys) {
                (Some(key), Keys::These(keys)) => drop(keys.insert(key)),
                (Some(_), Keys::All) => {}
                (None, keys) => *keys = Keys::All,
            }
        }
        objects
    }

    /// The name of the namespace that an object is in.
    #[must_use]
    pub fn namespace(&self, role: NamespaceRole) -> &'a str {
        match role {
            NamespaceRole::Tenant => self.attempt.namespace,
            NamespaceRole::Execution => &self.attempt.profile.execution_namespace,
        }
    }

    /// What is missing in what was read; nothing if the attempt may begin.
    #[must_use]
    pub fn lacks(&self, found: &Found) -> BTreeSet<Lack> {
        let places = self.parts.iter().flat_map(places);
        let mut lacks: BTreeSet<Lack> = places.filter_map(|(object, key)| self.lack(&object, key, found)).collect();
        lacks.extend(self.parts.iter().flat_map(|part| self.no_text(part, found)));
        lacks.extend(self.parts.iter().filter_map(|part| self.no_credentials(part, found)));
        let size = size_of(&data(&self.parts, found));
        if size > LARGEST_SECRET {
            lacks.insert(Lack::TooLarge(size));
        }
        lacks
    }

    fn lack(&self, object: &ObjectRef, key: Option<&str>, found: &Found) -> Option<Lack> {
        let (kind, namespace, name) = (object.kind, self.namespace(object.namespace).to_owned(), object.name.clone());
        match (found.0.get(object), key) {
            (None, _) => Some(Lack::Object { kind, namespace, name }),
            (Some(entries), Some(key)) if !entries.contains_key(key) => {
                Some(Lack::Key { kind, namespace, name, key: key.to_owned() })
            }
            (Some(_), _) => None,
        }
    }

    fn no_credentials(&self, part: &Part<'_>, found: &Found) -> Option<Lack> {
        let (object, wrong) = match &part.content {
            Content::Git(object, url, _) => (object, GitSecret::read(url, found.0.get(object)?).err()?),
            Content::Registry(object, repository, _) => {
                let secret = RegistrySecret::read(&repository.registry, found.0.get(object)?);
                let wrong = match &secret {
                    Ok(secret) => secret.config.of_repository(repository).err().cloned()?.into(),
                    Err(wrong) => wrong.clone(),
                };
                (object, wrong)
            }
            _ => return None,
        };
        Some(Lack::Credentials {
            namespace: self.namespace(object.namespace).to_owned(),
            name: object.name.clone(),
            wrong,
        })
    }

    fn no_text(&self, part: &Part<'_>, found: &Found) -> Vec<Lack> {
        let Content::Variables(_) = &part.content else { return Vec::new() };
        let is_text = |value: Option<&ByteString>| value.is_none_or(|value| std::str::from_utf8(&value.0).is_ok());
        let places = places(part).into_iter().filter_map(|(object, key)| Some((object, key?)));
        let wrong = places.filter(|(object, key)| !is_text(found.value(object, key)));
        let lack = |(object, key): (ObjectRef, &str)| Lack::NotText {
            namespace: self.namespace(object.namespace).to_owned(),
            name: object.name,
            key: key.to_owned(),
        };
        wrong.map(lack).collect()
    }
}

/// The objects of a part, with the keys where not all are needed.
fn places<'a>(part: &Part<'a>) -> Vec<(ObjectRef, Option<&'a str>)> {
    match &part.content {
        Content::Value(object, key) => vec![(object.clone(), Some(*key))],
        Content::Variables(variables) => {
            variables.values().map(|from| (ObjectRef::secret(&from.secret), Some(from.key.as_str()))).collect()
        }
        Content::Entries(object) | Content::Git(object, ..) | Content::Registry(object, ..) => {
            vec![(object.clone(), None)]
        }
        Content::Files(_) => Vec::new(),
    }
}

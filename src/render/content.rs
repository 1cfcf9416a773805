//! What was read for an attempt, and what of it goes into the attempt's Secret.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::ByteString;
use serde::Serialize;

use super::part::{Content, Part, RegistryFile};
use crate::plan::{
    credentials::{Values, git::GitSecret, registry::RegistrySecret},
    job::Files,
    network::Proxy,
    object::ObjectRef,
    recipe::SecretKey,
};

/// The most that the values of a Secret may have together, in bytes (`MaxSecretSize` of Kubernetes' API).
pub const LARGEST_SECRET: usize = 1 << 20;

/// What was read: of each object that is there its entries, those of `data` and `binaryData` alike. It has
/// no `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Found(pub BTreeMap<ObjectRef, Values>);

impl Found {
    pub(super) fn value(&self, object: &ObjectRef, key: &str) -> Option<&ByteString> {
        self.0.get(object)?.get(key)
    }
}

pub(super) fn size_of(data: &BTreeMap<String, ByteString>) -> usize {
    data.values().map(|value| value.0.len()).sum()
}

pub(super) fn data(parts: &[Part<'_>], found: &Found) -> BTreeMap<String, ByteString> {
    parts.iter().filter_map(|part| Some((part.key(), part.content.bytes(found)?))).collect()
}

impl Content<'_> {
    fn bytes(&self, found: &Found) -> Option<ByteString> {
        match self {
            Self::Value(object, key) => found.value(object, key).cloned(),
            Self::Git(object, url, file) => {
                let secret = GitSecret::read(url, found.0.get(object)?).ok()?;
                Some(ByteString(secret.file(file).into()))
            }
            Self::Registry(object, repository, file) => {
                let secret = RegistrySecret::read(&repository.registry, found.0.get(object)?).ok()?;
                Some(match file {
                    RegistryFile::Config(proxy) => {
                        let mut config = secret.config.for_docker(repository);
                        config.extend(proxy.and_then(Proxy::for_docker).map(|proxies| ("proxies".to_owned(), proxies)));
                        json(&config)
                    }
                    RegistryFile::Authority => ByteString(secret.authority.unwrap_or_default().into()),
                })
            }
            Self::Variables(variables) => Some(json(&texts(variables, found)?)),
            Self::Entries(object) => Some(json(found.0.get(object)?)),
            Self::Files(files) => {
                let content = |text: &String| ByteString(text.clone().into_bytes());
                Some(json(&files.iter().map(|(path, text)| (path.to_string(), content(text))).collect::<Files>()))
            }
        }
    }
}

fn texts<'f>(variables: &BTreeMap<String, SecretKey>, found: &'f Found) -> Option<BTreeMap<String, Cow<'f, str>>> {
    let text = |(name, from): (&String, &SecretKey)| {
        let value = found.value(&ObjectRef::secret(&from.secret), &from.key)?;
        Some((name.clone(), String::from_utf8_lossy(&value.0)))
    };
    variables.iter().map(text).collect()
}

fn json(value: &impl Serialize) -> ByteString {
    // Maps by text: there is nothing in them that JSON could not write.
    ByteString(serde_json::to_vec(value).unwrap_or_default())
}

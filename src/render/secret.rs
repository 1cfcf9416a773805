//! The attempt's Secret: copies of what its containers need, so that the pod depends on one object, which
//! goes with it.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::Serialize;

use super::{
    Attempt,
    needs::Found,
    part::{Content, Part},
    pod::labels,
};
use crate::plan::{job::Files, object::ObjectRef};

/// The most that the values of a Secret may have together, in bytes (`MaxSecretSize` of Kubernetes' API).
pub const LARGEST_SECRET: usize = 1 << 20;

/// The Secret of an attempt, for the pod with that UID, of what was read of the cluster; `None` where the
/// pod needs none. What is missing is left out, and the kubelet does not start the pod then: look at
/// [`super::Needs::lacks`] before.
#[must_use]
pub fn secret(attempt: &Attempt<'_>, pod_uid: &str, found: &Found) -> Option<Secret> {
    let parts = attempt.parts();
    if parts.is_empty() {
        return None;
    }
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: attempt.pod_name(),
        uid: pod_uid.to_owned(),
        ..OwnerReference::default()
    };
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(attempt.pod_name()),
            namespace: Some(attempt.profile.execution_namespace.clone()),
            labels: Some(labels(attempt)),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data(&parts, found)),
        // Nobody may change what an attempt works with, and the kubelet need not watch it.
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// How much of [`LARGEST_SECRET`] a Secret takes, in bytes.
#[must_use]
pub fn size(secret: &Secret) -> usize {
    secret.data.as_ref().map_or(0, size_of)
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
            Self::Variables(variables) => Some(json(&texts(variables, found)?)),
            Self::Entries(object) => Some(json(found.0.get(object)?)),
            Self::Files(files) => {
                let content = |text: &String| ByteString(text.clone().into_bytes());
                Some(json(&files.iter().map(|(path, text)| (path.to_string(), content(text))).collect::<Files>()))
            }
        }
    }
}

fn texts<'f>(
    variables: &BTreeMap<String, (String, String)>,
    found: &'f Found,
) -> Option<BTreeMap<String, Cow<'f, str>>> {
    let text = |(name, (secret, key)): (&String, &(String, String))| {
        let object = ObjectRef::secret(secret);
        Some((name.clone(), String::from_utf8_lossy(&found.value(&object, key)?.0)))
    };
    variables.iter().map(text).collect()
}

fn json(value: &impl Serialize) -> ByteString {
    // Maps by text: there is nothing in them that JSON could not write.
    ByteString(serde_json::to_vec(value).unwrap_or_default())
}

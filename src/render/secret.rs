//! The attempt's Secret: copies of what its containers need, so that the pod depends on one object, which
//! goes with it.

use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    attempt::Attempt,
    content::{Found, data, size_of},
    labels::labels,
    part,
};

/// The Secret of an attempt, for the pod with that UID, of what was read of the cluster; `None` where the
/// pod needs none. What is missing is left out, and the kubelet does not start the pod then: look at
/// [`super::Needs::lacks`] before.
#[must_use]
pub fn secret(attempt: &Attempt<'_>, pod_uid: &str, found: &Found) -> Option<Secret> {
    let parts = part::all(attempt);
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

/// How much of [`super::LARGEST_SECRET`] a Secret takes, in bytes.
#[must_use]
pub fn size(secret: &Secret) -> usize {
    secret.data.as_ref().map_or(0, size_of)
}

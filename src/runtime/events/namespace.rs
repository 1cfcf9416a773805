//! What follows from an event of a namespace: its labels decide what may run in it, and for it.

use k8s_openapi::api::core::v1::Namespace;
use kube::{ResourceExt, core::PartialObjectMeta};

use crate::runtime::{context::Context, store::Key, watch::Change};

pub(super) fn on_event(context: &Context, change: &Change<PartialObjectMeta<Namespace>>) {
    let Context { stores, queues, .. } = context;
    let old = stores.namespaces.take(change);
    let (Change::Applied(namespace) | Change::Deleted(namespace)) = change else { return };
    let same = |old: &PartialObjectMeta<Namespace>| old.labels() == namespace.labels();
    if matches!(change, Change::Applied(_)) && old.as_deref().is_some_and(same) {
        return;
    }
    stores.keep_pod_streams();
    let name = namespace.name_any();
    for profile in stores.profiles.all() {
        if profile.spec.execution_namespace.0 == name {
            queues.profiles.add(Key::of(profile.as_ref()));
            queues.enqueue_builds(stores, |build| build.spec.profile.0 == profile.name_any());
        }
    }
    queues.enqueue_builds(stores, |build| build.namespace().as_ref() == Some(&name));
}

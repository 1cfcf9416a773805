//! What follows from an event of a pod, or of the watch of its namespace.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::{
    api::{BUILD_LABEL, BUILD_NAMESPACE_LABEL, PROFILE_LABEL},
    outcome::pod::observe,
    runtime::{
        context::Context,
        queues::{PROGRESS, Queues},
        store::Key,
        watch::Change,
    },
};

pub(super) fn on_event(context: &Context, namespace: &str, change: &Change<Pod>) {
    let Context { stores, queues, places, .. } = context;
    let old = stores.pods.take(change);
    let (Change::Applied(pod) | Change::Deleted(pod)) = change else {
        return queues.enqueue_builds(stores, |build| {
            let profile = stores.profiles.get(&Key::new("", &build.spec.profile.0));
            profile.is_none_or(|profile| profile.spec.execution_namespace.0 == namespace)
        });
    };
    if change.is_echo(old.as_deref()) {
        return;
    }
    let is_progress = matches!(change, Change::Applied(_)) && observe(pod).is_progress();
    enqueue_build_of(queues, pod, if is_progress { PROGRESS } else { Duration::ZERO });
    for build in places.waiting(label(pod, PROFILE_LABEL)) {
        queues.builds.add(build);
    }
}

/// Enqueues the build of a pod after a pause.
pub(super) fn enqueue_build_of(queues: &Queues, pod: &Pod, pause: Duration) {
    let key = Key::new(label(pod, BUILD_NAMESPACE_LABEL), label(pod, BUILD_LABEL));
    queues.builds.add_after(key, pause);
}

fn label<'p>(pod: &'p Pod, name: &str) -> &'p str {
    pod.labels().get(name).map(String::as_str).unwrap_or_default()
}

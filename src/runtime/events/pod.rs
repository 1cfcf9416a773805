//! What follows from an event of a pod, or of the watch of its namespace.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::{
    api::PROFILE_LABEL,
    outcome::pod::{is_over, observe, placement},
    plan::observed::Placement,
    runtime::{
        context::Context,
        line::{build_of, label},
        queues::{PROGRESS, Queues},
        store::Key,
        stores::Stores,
        watch::Change,
    },
};

pub(super) fn on_event(context: &Context, namespace: &str, change: &Change<Pod>) {
    let Context { stores, queues, .. } = context;
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
    let now = matches!(change, Change::Applied(_)).then(|| standing(pod));
    if old.as_deref().map(standing) != now {
        queues.enqueue_line(stores, label(pod, PROFILE_LABEL));
        enqueue_unplaced(stores, queues);
    }
}

/// What of a pod others wait for: whether it has a node, and whether it is about to leave it.
fn standing(pod: &Pod) -> (Placement, bool, bool) {
    (placement(pod), is_over(pod), pod.metadata.deletion_timestamp.is_some())
}

/// Enqueues the builds whose pods find no node: there may be room now, or others may be in the way.
pub(super) fn enqueue_unplaced(stores: &Stores, queues: &Queues) {
    for pod in stores.pods.all().iter().filter(|pod| placement(pod) == Placement::Refused) {
        enqueue_build_of(queues, pod, Duration::ZERO);
    }
}

/// Enqueues the build of a pod after a pause.
pub(super) fn enqueue_build_of(queues: &Queues, pod: &Pod, pause: Duration) {
    queues.builds.add_after(build_of(pod), pause);
}

//! Garbage collection of pods that are left over: those of builds that are gone. Pods live in another namespace than
//! their build, so that no owner reference can take them along; their Secrets go with them.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{context::Context, execute::Error, health::State, store::Key};
use crate::api::{BUILD_LABEL, BUILD_NAMESPACE_LABEL, BUILD_UID_LABEL, build::ImageBuild};

/// How often all pods are checked.
const EVERY: Duration = Duration::from_mins(3);

/// Sweeps now and then until `end` comes. Everything else is enqueued too then: what no watch tells of, such
/// as a right that was granted, is noticed at last.
pub async fn run(context: Arc<Context>, end: CancellationToken) {
    while timeout(EVERY, end.cancelled()).await.is_err() {
        if context.writer.claim().is_current() {
            all(&context).await;
            context.queues.enqueue_all(&context.stores);
        }
    }
}

/// Whether all pods are known, but for those that the operator may not watch.
#[must_use]
pub fn sees_pods(context: &Context) -> bool {
    context.stores.profiles.all().iter().all(|profile| {
        let (state, synced) = context.stores.pods_in(&profile.spec.execution_namespace.0);
        synced || state == State::Forbidden
    })
}

/// Deletes every pod whose build is gone, as long as this process leads.
pub async fn all(context: &Context) {
    for pod in context.stores.pods.all() {
        if !context.writer.claim().is_current() {
            return;
        }
        sweep(context, &pod).await;
    }
}

/// Deletes the pods of a build that is gone.
pub async fn after(context: Arc<Context>, build: Arc<ImageBuild>) {
    if !context.writer.claim().is_current() {
        return;
    }
    for pod in context.stores.pods.members(&build.uid().unwrap_or_default()) {
        sweep(&context, &pod).await;
    }
}

/// Deletes a pod if its build is gone. What fails is tried again the next time.
async fn sweep(context: &Context, pod: &Pod) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    if let Err(error) = try_sweep(context, pod).await {
        tracing::warn!(namespace, name, %error, "a pod that is left over could not be deleted");
    }
}

async fn try_sweep(context: &Context, pod: &Pod) -> Result<(), Error> {
    let label = |name: &str| pod.labels().get(name).map(String::as_str).unwrap_or_default();
    let (build, uid) = (Key::new(label(BUILD_NAMESPACE_LABEL), label(BUILD_LABEL)), label(BUILD_UID_LABEL));
    let is_there = |build: &ImageBuild| build.uid().as_deref() == Some(uid);
    if pod.metadata.deletion_timestamp.is_some()
        || context.stores.builds.get(&build).is_some_and(|build| is_there(&build))
    {
        return Ok(());
    }
    // What the cache does not show may be there all the same.
    let builds: Api<ImageBuild> = Api::namespaced(context.client.clone(), &build.namespace);
    if builds.get_opt(&build.name).await?.is_some_and(|build| is_there(&build)) {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    tracing::info!(namespace = pod.namespace(), name = pod.name_any(), "deleted: its build is gone");
    context.writer.delete(&pods, &pod.name_any(), &pod.uid().unwrap_or_default(), false).await
}

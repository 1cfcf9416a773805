//! The build pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodSecurityContext, PodSpec, SeccompProfile},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{attempt::Attempt, container, labels::labels, resources, shape::Shape, volume};
use crate::api::{JOB_ANNOTATION, STAGING_ANNOTATION, build::Container};

/// How long containers have to end, in seconds: 30 for what the runner runs, the rest for the engine.
const GRACE: i64 = 60;

/// The same in every attempt: no build can come to depend on it.
const HOSTNAME: &str = "imagechain";

/// The pod of an attempt. Nothing that a tenant writes is in it but the names of chain and build and, as
/// data, [`crate::plan::job::Job`].
#[must_use]
pub fn pod(attempt: &Attempt<'_>) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(attempt.pod_name()),
            namespace: Some(attempt.profile.execution_namespace.clone()),
            labels: Some(labels(attempt)),
            annotations: Some(annotations(attempt)),
            ..ObjectMeta::default()
        },
        spec: Some(spec(attempt)),
        status: None,
    }
}

fn annotations(attempt: &Attempt<'_>) -> BTreeMap<String, String> {
    let build = Container::Build.name().to_owned();
    BTreeMap::from([
        (JOB_ANNOTATION.to_owned(), attempt.job().to_json()),
        (STAGING_ANNOTATION.to_owned(), attempt.target.repository.to_string()),
        // What `kubectl logs POD` shows.
        ("kubectl.kubernetes.io/default-container".to_owned(), build),
    ])
}

fn spec(attempt: &Attempt<'_>) -> PodSpec {
    let profile = attempt.profile;
    let shape = Shape::of(profile);
    // One after another: each has its own exit code, times, logs and credentials.
    let mut containers: Vec<_> = shape.containers.iter().map(|each| container::of(attempt, each)).collect();
    let main = containers.pop();
    PodSpec {
        init_containers: Some(containers),
        containers: main.into_iter().collect(),
        volumes: Some(volume::all(attempt, &shape)),
        resources: Some(resources::pod(profile)),
        restart_policy: Some("Never".to_owned()),
        active_deadline_seconds: i64::try_from(profile.deadline.as_secs()).ok(),
        termination_grace_period_seconds: Some(GRACE),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        hostname: Some(HOSTNAME.to_owned()),
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        node_selector: (!profile.node_selector.is_empty()).then(|| profile.node_selector.clone()),
        tolerations: (!profile.tolerations.is_empty()).then(|| profile.tolerations.clone()),
        ..PodSpec::default()
    }
}

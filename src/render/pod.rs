//! The build pod.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodSecurityContext, PodSpec, SeccompProfile},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Attempt, container, resources, volume};
use crate::api::{
    ATTEMPT_LABEL, BUILD_LABEL, BUILD_NAMESPACE_LABEL, BUILD_UID_LABEL, CHAIN_LABEL, JOB_ANNOTATION, LINK_LABEL,
    MANAGED_BY, MANAGED_BY_LABEL, PROFILE_LABEL, build::Container,
};

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

/// What tells whose a pod is, and its Secret.
pub(super) fn labels(attempt: &Attempt<'_>) -> BTreeMap<String, String> {
    let number = attempt.number.to_string();
    let mut labels = vec![
        (MANAGED_BY_LABEL, MANAGED_BY),
        (BUILD_NAMESPACE_LABEL, attempt.namespace),
        (BUILD_LABEL, attempt.name),
        (BUILD_UID_LABEL, attempt.uid),
        (ATTEMPT_LABEL, number.as_str()),
        (PROFILE_LABEL, attempt.profile_name),
    ];
    if let Some((chain, link)) = attempt.link {
        labels.extend([(CHAIN_LABEL, chain), (LINK_LABEL, link)]);
    }
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn annotations(attempt: &Attempt<'_>) -> BTreeMap<String, String> {
    let build = Container::Build.name().to_owned();
    BTreeMap::from([
        (JOB_ANNOTATION.to_owned(), attempt.job().to_json()),
        // What `kubectl logs POD` shows.
        ("kubectl.kubernetes.io/default-container".to_owned(), build),
    ])
}

fn spec(attempt: &Attempt<'_>) -> PodSpec {
    let profile = attempt.profile;
    // One after another: each has its own exit code, times, logs and credentials.
    let init = [Container::Source, Container::Engine, Container::Build, Container::Verify];
    PodSpec {
        init_containers: Some(init.map(|each| container::of(attempt, each)).into()),
        containers: vec![container::of(attempt, Container::Publish)],
        volumes: Some(volume::all(attempt)),
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

//! The pods of a build.

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde::Deserialize;

use crate::{
    api::{ATTEMPT_LABEL, JOB_ANNOTATION, STAGING_ANNOTATION},
    outcome::pod::observe,
    plan::{
        build::OwnPod,
        image::Repository,
        observed::{Observation, Room, State},
    },
};

/// What is read of a job, of whatever format it is.
#[derive(Deserialize)]
struct Job {
    staging: Staging,
}

#[derive(Deserialize)]
struct Staging {
    repository: String,
}

/// The repository that a pod was told to push to. A pod keeps running while the operator is upgraded, so this must not
/// depend on the format of its job. Pods of earlier versions have no annotation, and name the repository in their job.
fn staging(pod: &Pod) -> Option<String> {
    if let Some(repository) = pod.annotations().get(STAGING_ANNOTATION) {
        return Some(repository.clone());
    }
    let job: Job = serde_json::from_str(pod.annotations().get(JOB_ANNOTATION)?).ok()?;
    Some(job.staging.repository)
}

/// Removes from a pod all that is not read. Of its annotations only the staging repository stays.
pub fn prune(pod: &mut Pod) {
    let staging = staging(pod);
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = staging.map(|repository| [(STAGING_ANNOTATION.to_owned(), repository)].into());
    let Some(spec) = pod.spec.take() else { return };
    // What a container may have explains why it failed, and a container is large.
    let well = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
    let keep = |containers: Vec<Container>| -> Vec<Container> {
        let small = |Container { name, resources, restart_policy, .. }| Container {
            name,
            resources,
            restart_policy,
            ..Container::default()
        };
        let mut kept: Vec<_> = containers.into_iter().filter(|_| !well).map(small).collect();
        kept.shrink_to_fit();
        kept
    };
    // Which nodes it may be on counts as long as it has none.
    let waits = spec.node_name.is_none() && !well;
    pod.spec = Some(PodSpec {
        node_selector: spec.node_selector.filter(|_| waits),
        tolerations: spec.tolerations.filter(|_| waits),
        affinity: spec.affinity.filter(|_| waits),
        resources: spec.resources.filter(|_| !well),
        overhead: spec.overhead,
        node_name: spec.node_name,
        init_containers: spec.init_containers.map(keep),
        containers: keep(spec.containers),
        ..PodSpec::default()
    });
}

/// A pod with what can be seen of it.
#[derive(Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its version.
    pub version: Option<String>,
    uid: String,
    attempt: i32,
    created: Timestamp,
    staging: Option<Repository>,
    node_down: Option<Timestamp>,
    room: Room,
    observation: Observation,
}

impl Seen {
    /// Looks at a pod, of whose node nothing is known.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let attempt = pod.labels().get(ATTEMPT_LABEL).and_then(|number| number.parse().ok());
        Self {
            name: pod.name_any(),
            namespace: pod.namespace().unwrap_or_default(),
            version: pod.resource_version(),
            uid: pod.uid().unwrap_or_default(),
            attempt: attempt.unwrap_or_default(),
            created: pod.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
            staging: pod.annotations().get(STAGING_ANNOTATION).and_then(|text| text.parse().ok()),
            node_down: None,
            room: Room::default(),
            observation: observe(pod),
        }
    }

    /// The same pod, on a node that does not answer since then.
    #[must_use]
    pub fn on_node_down(self, since: Option<Timestamp>) -> Self {
        Self { node_down: since, ..self }
    }

    /// The same pod, which the scheduler finds no node for, for this reason.
    #[must_use]
    pub fn in_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// As the decision takes it.
    #[must_use]
    pub fn as_own(&self) -> OwnPod<'_> {
        OwnPod {
            attempt: self.attempt,
            uid: &self.uid,
            created: self.created,
            node_down: self.node_down,
            room: &self.room,
            seen: &self.observation,
        }
    }

    /// Where it was told to push.
    #[must_use]
    pub const fn staging(&self) -> Option<&Repository> {
        self.staging.as_ref()
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Which attempt it is of.
    #[must_use]
    pub const fn attempt(&self) -> i32 {
        self.attempt
    }

    /// Whether any of its containers may still run.
    #[must_use]
    pub const fn runs(&self) -> bool {
        !self.observation.over
    }

    /// Whether nothing of it has begun: as it is without its Secret.
    #[must_use]
    pub const fn has_not_begun(&self) -> bool {
        matches!(self.observation.state, State::Waiting { stage: None, .. }) && self.observation.deleting.is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::room::{Cluster, count, judge};

    #[test]
    fn a_pruned_pod_is_observed_as_the_whole_one() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "annotations": {"other": "x"}, "managedFields": [{"manager": "m"}]},
            "spec": {"volumes": [{"name": "v"}], "containers": [{
                "name": "publish", "image": "i", "env": [{"name": "e"}], "resources": {"limits": {"memory": "1Gi"}},
            }]},
            "status": {"phase": "Failed", "containerStatuses": [{
                "name": "publish", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }]},
        }))
        .unwrap();
        let whole = observe(&pod);
        prune(&mut pod);
        assert_eq!(observe(&pod), whole);
        let spec = pod.spec.unwrap();
        assert!(spec.volumes.is_none() && spec.containers[0].image.is_none() && spec.containers[0].env.is_none());
        assert!(pod.metadata.annotations.is_none() && pod.metadata.managed_fields.is_none());
    }

    #[test]
    fn a_pod_without_a_node_keeps_what_decides_where_there_is_room_for_it() {
        let pod = |status: serde_json::Value, node: Option<&str>| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "a", "labels": {"imagechain.dev/profile": "docker"}},
                "spec": {
                    "nodeName": node, "nodeSelector": {"pool": "builds"}, "tolerations": [{"operator": "Exists"}],
                    "resources": {"requests": {"cpu": "2", "memory": "4Gi"}}, "overhead": {"cpu": "100m"},
                    "initContainers": [{"name": "engine", "restartPolicy": "Always", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}],
                    "containers": [{"name": "publish", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}],
                },
                "status": status,
            }))
            .unwrap()
        };
        let node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"pool": "builds"}},
            "spec": {"taints": [{"key": "team", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "3Gi", "pods": "10"}},
        }));
        let refused = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]});
        let (mut waits, mut runs) = (pod(refused, None), pod(json!({"phase": "Running"}), Some("n")));
        let nodes = vec![std::sync::Arc::new(node.unwrap())];
        let seen = |waits: &Pod, runs: &Pod| {
            let cluster = Cluster { nodes: nodes.clone(), builds: vec![std::sync::Arc::new(runs.clone())] };
            (judge(waits, &cluster), count(waits, &cluster))
        };
        let whole = seen(&waits, &runs);
        assert!(
            matches!(&whole, (Room::Short(message), Some(0)) if message.contains("cpu is short by 200m")),
            "{whole:?}"
        );
        prune(&mut waits);
        prune(&mut runs);
        assert_eq!(seen(&waits, &runs), whole);
        assert!(runs.spec.unwrap().tolerations.is_none());
    }

    #[test]
    fn the_staging_repository_is_read_of_pods_of_every_version() {
        let earlier = json!({"format": 1, "build": "b", "staging": {"repository": "r.example/old", "tag": "t"}});
        let unknown = json!({"format": 77, "staging": {"repository": "r.example/new", "more": {}}, "unknown": []});
        let moved = json!({"format": 78, "pushTo": "r.example/elsewhere"});
        let (job, annotation) = (JOB_ANNOTATION, STAGING_ANNOTATION);
        for (annotations, expected) in [
            (json!({annotation: "r.example/a", job: moved.to_string()}), Some("r.example/a")),
            (json!({annotation: "r.example/a", job: earlier.to_string()}), Some("r.example/a")),
            (json!({job: earlier.to_string()}), Some("r.example/old")),
            (json!({job: unknown.to_string()}), Some("r.example/new")),
            (json!({job: moved.to_string()}), None),
            (json!({job: "no JSON"}), None),
            (json!({}), None),
        ] {
            let mut pod: Pod = serde_json::from_value(json!({"metadata": {"annotations": annotations}})).unwrap();
            prune(&mut pod);
            let once = pod.clone();
            prune(&mut pod);
            assert_eq!(pod, once, "{annotations}");
            let read = Seen::of(&pod).staging().map(ToString::to_string);
            assert_eq!(read.as_deref(), expected, "{annotations}");
        }
    }

    #[test]
    fn of_a_pod_that_ended_well_no_container_is_kept() {
        let ended = |name| {
            json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0}}})
        };
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "spec": {"initContainers": [{"name": "build"}], "containers": [{"name": "publish"}]},
            "status": {"phase": "Succeeded", "initContainerStatuses": [ended("build")], "containerStatuses": [ended("publish")]},
        }))
        .unwrap();
        let whole = observe(&pod);
        prune(&mut pod);
        assert_eq!(observe(&pod), whole);
        assert!(pod.spec.unwrap().containers.is_empty());
    }
}

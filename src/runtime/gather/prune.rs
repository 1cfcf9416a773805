//! What is left out of our copies of builds and chains: there may be thousands of them, most of them at rest.

use kube::Resource;

use crate::api::{CANCEL, FLUX_REQUESTED_AT, REQUESTED_AT, SUPERSEDED, build::ImageBuild, chain::ImageChain};

/// Removes from a build what nobody reads. Of one that has ended only the result counts, which never changes:
/// what people read of it, the API server has.
pub fn build(build: &mut ImageBuild) {
    keep_own(build, &[CANCEL, SUPERSEDED]);
    let spec = &mut build.spec;
    spec.causes = Vec::new();
    spec.verify.shrink_to_fit();
    spec.paths.shrink_to_fit();
    let Some(status) = &mut build.status else { return };
    if status.finished_at.is_some() {
        (status.conditions, status.stages, status.verification) = (Vec::new(), Vec::new(), Vec::new());
        for attempt in &mut status.attempts {
            (attempt.message, attempt.dependencies, attempt.lacked) = (None, None, None);
        }
    }
    // A list that is read from JSON has room for more, and an attempt is large.
    status.attempts.shrink_to_fit();
    status.conditions.shrink_to_fit();
}

/// Removes from a chain what nobody reads.
pub fn chain(chain: &mut ImageChain) {
    keep_own(chain, &[REQUESTED_AT, FLUX_REQUESTED_AT]);
    chain.spec.links.shrink_to_fit();
    if let Some(status) = &mut chain.status {
        status.links.shrink_to_fit();
        status.conditions.shrink_to_fit();
        status.lookups.shrink_to_fit();
    }
}

/// Keeps only these of an object's annotations, among which `kubectl apply` puts the whole object once more; and
/// nothing else that users and garbage collection read.
fn keep_own<K: Resource>(object: &mut K, annotations: &[&str]) {
    let metadata = object.meta_mut();
    (metadata.managed_fields, metadata.labels, metadata.owner_references) = (None, None, None);
    if let Some(all) = &mut metadata.annotations {
        all.retain(|key, _| annotations.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::chain::BuildFacts;

    fn of(end: &Value) -> ImageBuild {
        let mut status = json!({
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Building", "message": "m",
                "lastTransitionTime": "2026-11-21T08:00:00Z"}],
            "attempts": [{"number": 1, "pod": "p", "startedAt": "2026-11-21T08:00:00Z", "dependencies": "d"}],
            "stages": [{"name": "build"}],
        });
        status.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": {"name": "b", "uid": "u", "managedFields": [{"manager": "m"}], "labels": {"a": "b"},
                "annotations": {"imagechain.dev/superseded": "why", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {
                "chainRef": {"name": "c", "uid": "v", "link": "l"}, "profile": "p",
                "source": {"inline": {"files": {"a.json": "{}"}}}, "build": {"packer": {"template": "a.json"}},
                "inputs": {"key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "b", "engine": "e"},
            },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn nothing_that_a_chain_decides_by_is_lost() {
        let failure = json!({"stage": "build", "reason": "TaskFailed", "class": "Build", "message": "m"});
        let time = "2026-11-21T09:00:00Z";
        for end in [json!({}), json!({"finishedAt": time}), json!({"finishedAt": time, "failure": failure})] {
            let (whole, mut pruned) = (of(&end), of(&end));
            build(&mut pruned);
            assert_eq!(BuildFacts::of(&pruned), BuildFacts::of(&whole), "{end}");
            assert!(BuildFacts::of(&whole).is_some_and(|facts| facts.superseded));
            assert_eq!(pruned.metadata.annotations.as_ref().map_or(0, std::collections::BTreeMap::len), 1);
            assert!(pruned.metadata.managed_fields.is_none() && pruned.metadata.labels.is_none());
            let (before, after) = (whole.status.unwrap(), pruned.status.unwrap());
            if end == json!({}) {
                assert_eq!(after, before, "one that has not ended is written on the status that it has");
            } else {
                let kept = |status: &crate::api::build::ImageBuildStatus| {
                    let pods = status.attempts.iter().map(|each| (each.number, each.pod.clone(), each.outcome));
                    (status.finished_at.clone(), status.failure.clone(), pods.collect::<Vec<_>>())
                };
                assert_eq!(kept(&after), kept(&before), "{end}");
                assert!(after.conditions.is_empty() && after.stages.is_empty(), "{end}");
            }
        }
    }
}

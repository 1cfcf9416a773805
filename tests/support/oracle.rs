//! What must hold of everything that controllers have written: the invariants S1 to S14 of the design, told by
//! an observer of requests and objects that takes no word of the operator for it.

use std::collections::{BTreeMap, BTreeSet};

use imagechain::{
    api::{
        ATTEMPT_LABEL, BUILD_LABEL, BUILD_UID_LABEL, SUPERSEDED,
        boxes::{ArtifactContent, ArtifactKind, BOX_ARTIFACT},
        build::{ImageBuild, ImageBuildStatus, Outcome},
        chain::ImageChain,
    },
    plan::{image::Digest, invariant},
};
use k8s_openapi::{
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::crash::Write;

/// What has been seen, and what was wrong with it.
pub struct Oracle {
    /// How many builds of a chain, and pods, may be open at once; `None` where several controllers write.
    cap: Option<usize>,
    chains: BTreeMap<String, ImageChain>,
    builds: BTreeMap<String, ImageBuild>,
    /// The pods that were made, by name: UID of the build, attempt, UID.
    pods: BTreeMap<String, (String, i32, String)>,
    broken: Vec<String>,
}

/// Every invariant that the writes about one namespace break, with the write that did it.
pub fn broken(writes: &[Write], cap: Option<usize>) -> Vec<String> {
    let (chains, builds, pods) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut oracle = Oracle { cap, chains, builds, pods, broken: Vec::new() };
    let mut done: Vec<&Write> = writes.iter().filter(|write| write.is_done()).collect();
    // The API server numbers what it does. What goes to a registry brings what was known then.
    done.sort_by_key(|write| version(&write.object));
    for write in done {
        let before = oracle.broken.len();
        oracle.see(write);
        for text in oracle.broken.iter_mut().skip(before) {
            *text = format!("{} {}: {text}", write.number, write.title());
        }
    }
    oracle.broken
}

fn version(object: &Value) -> u64 {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

impl Oracle {
    fn must(&mut self, holds: bool, rule: impl Into<String>) {
        if !holds {
            self.broken.push(rule.into());
        }
    }

    fn see(&mut self, write: &Write) {
        match (write.verb.as_str(), write.resource.as_str()) {
            ("create", "imagebuilds") => self.build_made(&read(&write.object)),
            ("patch", "imagebuilds") => self.build_told(write),
            ("patch", "imagebuilds/status") => self.build_status(read(&write.object)),
            ("patch", "imagechains/status") => self.chain_status(read(&write.object)),
            ("create", "pods") => self.pod_made(&read(&write.object)),
            ("create", "secrets") => self.secret_made(&read(&write.object)),
            ("put", "registry/manifests") => self.tag_moved(write),
            ("create" | "patch", "events") | ("post" | "patch" | "put", "registry/blobs") => {}
            (verb, resource) => self.must(false, format!("S13: nobody asked it to {verb} {resource}")),
        }
    }

    fn build_made(&mut self, build: &ImageBuild) {
        let name = build.name_any();
        let (Some(chain), Some(inputs)) = (&build.spec.chain_ref, &build.spec.inputs) else {
            return self.must(false, "S3: a build of no chain");
        };
        self.must(!self.builds.contains_key(&name), "S1: two builds of one name");
        let same = |other: &ImageBuild| {
            other.spec.chain_ref.as_ref() == Some(chain)
                && other.spec.inputs.as_ref().is_some_and(|other| other.key == inputs.key)
        };
        let twins = self.builds.values().filter(|other| same(other)).count();
        self.must(twins == 0, "S1: two builds of one chain, link and key");
        let open = self.builds.values().filter(|other| is_open(other)).count();
        let most = self.cap.unwrap_or(usize::MAX);
        self.must(open < most, format!("S11: {open} builds are open, {most} may"));
        if let Some(below) = build.spec.from.as_ref().and_then(|from| from.link.as_ref()) {
            let verified = self.builds.values().filter(|other| {
                other.spec.chain_ref.as_ref().is_some_and(|of| of.uid == chain.uid && of.link.0 == below.0)
            });
            let mut references = verified.filter_map(|other| Some(&result(other)?.artifact.as_ref()?.reference));
            let known = references.any(|reference| Some(reference) == inputs.parent.as_ref());
            self.must(known, format!("S9: {:?} is not verified", inputs.parent));
        }
        let owned = build.owner_references().iter().any(|owner| owner.uid == chain.uid);
        self.must(owned, "a build that does not go with its chain");
        self.builds.insert(name, build.clone());
    }

    /// Only a mark that it is superfluous is put on a build.
    fn build_told(&mut self, write: &Write) {
        let annotations = write.sent.pointer("/metadata/annotations").and_then(Value::as_object);
        let only = annotations.is_some_and(|all| all.keys().all(|key| key == SUPERSEDED));
        self.must(only && write.sent.get("spec").is_none(), format!("S13: {}", write.sent));
    }

    fn build_status(&mut self, build: ImageBuild) {
        let name = build.name_any();
        let Some(before) = self.builds.get(&name).cloned() else {
            return self.must(false, "a status of a build that nobody made");
        };
        self.must(before.spec == build.spec, "S13: a specification changes");
        let (old, new) = (before.status.unwrap_or_default(), build.status.clone().unwrap_or_default());
        let generation = build.metadata.generation.unwrap_or_default();
        self.conditions(&new.conditions, (old.observed_generation, new.observed_generation, generation));
        let open = new.attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
        self.must(open <= 1, format!("S1: {open} attempts are open"));
        let numbers = new.attempts.iter().map(|attempt| attempt.number);
        self.must(numbers.clone().eq(1..=i32::try_from(new.attempts.len()).expect("few")), "S7: a number is skipped");
        self.must(new.attempts.len() >= old.attempts.len(), "S7: an attempt vanishes");
        for (old, new) in old.attempts.iter().zip(&new.attempts) {
            self.must(old.outcome.is_none() || old == new, "S7: the result of an attempt changes");
            self.must(old.pod_uid.is_none() || old.pod_uid == new.pod_uid, "S1: an attempt changes its pod");
        }
        if old.finished_at.is_some() {
            let result = |status: &ImageBuildStatus| {
                (status.finished_at.clone(), status.artifact.clone(), status.failure.clone(), status.attempts.clone())
            };
            self.must(result(&old) == result(&new), "S7: a result is written twice");
        }
        self.builds.insert(name, build);
    }

    fn chain_status(&mut self, chain: ImageChain) {
        let name = chain.name_any();
        let old = self.chains.get(&name).and_then(|chain| chain.status.clone()).unwrap_or_default();
        let new = chain.status.clone().unwrap_or_default();
        let generation = chain.metadata.generation.unwrap_or_default();
        self.conditions(&new.conditions, (old.observed_generation, new.observed_generation, generation));
        let ready = new.conditions.iter().any(|each| each.type_ == "Ready" && each.status == "True");
        for link in new.links.iter().filter(|_| ready) {
            let verified = link.verified.as_ref().is_some_and(|verified| {
                let of = self.builds.get(&verified.build.0).and_then(result);
                of.and_then(|status| status.artifact.as_ref()).is_some_and(|made| made.reference == verified.reference)
            });
            self.must(verified, format!("Ready, but {} is not verified", link.name));
        }
        self.chains.insert(name, chain);
    }

    /// S8 and the rules of kstatus.
    fn conditions(&mut self, conditions: &[Condition], (before, observed, generation): (i64, i64, i64)) {
        self.must(before <= observed && observed <= generation, format!("S8: {before}, {observed}, {generation}"));
        let broken = invariant::violations(conditions, observed, generation, Timestamp::now());
        self.must(broken.is_empty(), format!("{broken:?}"));
    }

    fn pod_made(&mut self, pod: &Pod) {
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let (uid, attempt) = (label(BUILD_UID_LABEL), label(ATTEMPT_LABEL).parse().unwrap_or_default());
        let twins = self.pods.values().filter(|(of, number, _)| *of == uid && *number == attempt).count();
        self.must(twins == 0, "S1: a second pod of an attempt");
        let build = self.builds.get(&label(BUILD_LABEL)).filter(|build| build.uid().as_ref() == Some(&uid)).cloned();
        let status = build.as_ref().and_then(|build| build.status.clone()).unwrap_or_default();
        let intent = status.attempts.last();
        let stands = intent.is_some_and(|intent| {
            intent.number == attempt && intent.pod.0 == pod.name_any() && intent.outcome.is_none()
        });
        self.must(stands, format!("S3: attempt {attempt} is not committed: {intent:?}"));
        let before = status.attempts.iter().filter(|each| each.number < attempt);
        self.must(before.clone().all(|each| each.outcome.is_some()), "S2: the attempt before has not ended");
        self.must(before.clone().all(|each| each.outcome != Some(Outcome::Succeeded)), "S6: it has succeeded before");
        self.must(status.finished_at.is_none(), "S6: its build has ended");
        let alive: BTreeSet<&String> = self
            .builds
            .values()
            .filter(|build| is_open(build))
            .filter_map(|build| build.metadata.uid.as_ref())
            .collect();
        let others = self.pods.values().filter(|(of, ..)| alive.contains(of) && *of != uid).count();
        let most = self.cap.unwrap_or(usize::MAX);
        self.must(others < most, format!("S11: pods of {others} other builds may run, {most} may"));
        self.must(build.is_some_and(|build| build.metadata.deletion_timestamp.is_none()), "S14: its build goes");
        self.pods.insert(pod.name_any(), (uid, attempt, pod.uid().unwrap_or_default()));
    }

    fn secret_made(&mut self, secret: &Secret) {
        let pod = self.pods.get(&secret.name_any()).map(|(_, _, uid)| uid.clone());
        let goes_along = secret.owner_references().iter().any(|each| Some(&each.uid) == pod.as_ref());
        self.must(goes_along, "a Secret that does not go with its pod");
    }

    /// S4: the tag goes to what a build of the link has verified, by its content.
    fn tag_moved(&mut self, write: &Write) {
        let digest = Digest::of(&write.bytes).to_string();
        let manifest: Value = serde_json::from_slice(&write.bytes).unwrap_or_default();
        let content = content_of(&manifest);
        let link = write.name.split('/').next().unwrap_or_default();
        let verified = write.builds.iter().any(|build| {
            let made = result(build).and_then(|status| status.artifact.as_ref());
            build.spec.chain_ref.as_ref().is_some_and(|of| of.link.0 == link)
                && made.is_some_and(|made| made.digest.0 == digest && made.content == content)
        });
        self.must(verified, format!("S4: {digest} was not verified before"));
    }
}

/// What a manifest is known by: an image by its configuration, a box by its one file.
pub fn content_of(manifest: &Value) -> ArtifactContent {
    let (kind, pointer) = match manifest.get("artifactType").and_then(Value::as_str) {
        Some(BOX_ARTIFACT) => (ArtifactKind::Box, "/layers/0/digest"),
        _ => (ArtifactKind::Image, "/config/digest"),
    };
    ArtifactContent::new(kind, manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default())
}

fn is_open(build: &ImageBuild) -> bool {
    build.status.as_ref().is_none_or(|status| status.finished_at.is_none())
}

/// The status of a build that ended well.
fn result(build: &ImageBuild) -> Option<&ImageBuildStatus> {
    build.status.as_ref().filter(|status| status.finished_at.is_some() && status.failure.is_none())
}

//! What must hold at every step, whatever happens: S1 to S11 of the design, as far as decisions can break
//! them. Each function panics with the invariant that was broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use imagechain::{
    api::{
        build::{ImageBuild, ImageBuildSpec, ImageBuildStatus, Inputs, Outcome},
        chain::{ImageChain, ImageChainStatus},
        condition::{ConditionType, Reason},
        crd,
    },
    plan::{
        chain::{BuildFacts, BuildState, Claim, Promotion, taken},
        invariant,
        recipe::Destination,
        resolve::of_reference,
        validate::{problem::Problems, schema},
    },
};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{Resource, ResourceExt};
use serde::Serialize;

use super::{World, operator::has_digest};

static DEFINITIONS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(crd::all);

/// Whatever is written must be accepted by the API server.
pub fn fits_schema<K: Resource<DynamicType = ()> + Serialize>(object: &K) {
    let kind = K::kind(&());
    let definition = DEFINITIONS.iter().find(|each| each.spec.names.kind == kind).unwrap();
    let mut problems = Problems::default();
    schema::check_object(definition, &serde_json::to_value(object).unwrap(), &mut problems);
    // What users write may be wrong; what operators write may not.
    let ours: Vec<_> = problems.into_vec().into_iter().filter(|each| each.path.starts_with("status")).collect();
    assert_eq!(ours, [], "{kind} {}", object.name_any());
}

/// S9: a link starts only when its parent's digest is recorded as verified.
pub fn may_build(world: &World, chain: &ImageChain, spec: &ImageBuildSpec) {
    let (inputs, link) = (spec.inputs.as_ref().unwrap(), &spec.chain_ref.as_ref().unwrap().link);
    assert!(chain.metadata.deletion_timestamp.is_none(), "S14: nothing is made for what is being deleted");
    assert!(inputs.parent.as_ref().is_none_or(|parent| has_digest(&parent.0)), "a parent is named by digest");
    let below = spec.from.as_ref().and_then(|from| from.link.as_ref());
    if let Some(below) = below {
        let parent = inputs.parent.as_ref().unwrap();
        let builds = world.builds_of(&chain.uid().unwrap());
        let known = builds
            .iter()
            .filter(|build| build.link == below.0)
            .any(|build| matches!(&build.state, BuildState::Verified { product, .. } if product.reference == parent.0));
        let recorded = world.status(&chain.name_any()).links.into_iter();
        let known = known || recorded.filter_map(|each| each.verified).any(|verified| verified.reference.0 == parent.0);
        assert!(known, "S9: {link} is made on {parent}, which nobody has verified");
    }
    if world.operators.len() == 1 && world.operators[0].sees.is_none() {
        let builds = world.builds_of(&chain.uid().unwrap());
        let running: Vec<_> = builds.iter().filter(|build| build.takes_a_slot()).collect();
        assert!(
            running.iter().all(|build| build.link != link.0),
            "two builds of {link} run: {:?}",
            running.iter().map(|build| &build.name).collect::<Vec<_>>()
        );
        let most = usize::try_from(chain.spec.parallelism).unwrap();
        assert!(running.len() < most, "S11: {} builds run, {most} may", running.len());
    }
}

/// S6: what is verified and still staged is not built again.
pub fn may_repeat(world: &World, chain: &ImageChain, spec: &ImageBuildSpec) {
    let (inputs, link) = (spec.inputs.as_ref().unwrap(), &spec.chain_ref.as_ref().unwrap().link);
    let of = |inputs: &Inputs| Inputs { key: String::new(), replaces: None, revision: String::new(), ..inputs.clone() };
    for build in world.builds_of(&chain.uid().unwrap()).iter().filter(|build| build.link == link.0) {
        let BuildState::Verified { product, .. } = &build.state else { continue };
        let reference = &product.reference;
        // Part of its key went with a build that a user deleted.
        if build
            .inputs
            .replaces
            .as_ref()
            .is_some_and(|uid| !world.builds.values().any(|each| each.uid().as_ref() == Some(uid)))
        {
            continue;
        }
        let live = &world.builds[&build.name].spec;
        let steps = |spec: &ImageBuildSpec| (spec.build.clone(), spec.verify.clone(), checksums(spec));
        let same = of(&build.inputs) == of(inputs) && steps(live) == steps(spec);
        let staged = world.staged.contains(of_reference(reference));
        assert!(!same || !staged, "S6: {} is verified and staged, and {link} is built again", build.name);
    }
}

/// Those of the files that a build's pod fetches: where they are decides nothing.
fn checksums(spec: &ImageBuildSpec) -> Vec<(String, String)> {
    let parent = spec.from.as_ref().and_then(|from| from.machine_box.as_ref()?.sha256.as_ref());
    let parent = parent.map(|sha256| (String::new(), sha256.0.clone()));
    let files = spec.files.iter().map(|file| (file.name.to_string(), file.sha256.0.clone()));
    parent.into_iter().chain(files).collect()
}

/// Counts the conditions that change.
pub fn count_changes(
    changes: &mut BTreeMap<(String, i64, String), usize>,
    (uid, generation): (String, i64),
    before: &[Condition],
    after: &[Condition],
) {
    let statuses = |all: &[Condition]| -> BTreeMap<String, String> {
        all.iter().map(|each| (each.type_.clone(), each.status.clone())).collect()
    };
    let (before, after) = (statuses(before), statuses(after));
    let kinds: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for kind in kinds.into_iter().filter(|kind| before.get(*kind) != after.get(*kind)) {
        *changes.entry((uid.clone(), generation, kind.clone())).or_default() += 1;
    }
}

/// S15, of a run without faults: one generation, one set of keys.
pub fn no_flapping(world: &World) {
    let flapping: Vec<_> = world.log.changes.iter().filter(|(_, changes)| **changes > 4).collect();
    assert!(flapping.is_empty(), "S15: {flapping:?}");
}

/// S1, S2, S3, S6: a pod is made for a committed, open attempt, when no other pod of the build lives.
pub fn may_start(world: &World, build: &ImageBuild, attempt: i32) {
    let uid = build.uid().unwrap();
    let live = world.builds.values().find(|each| each.uid().as_ref() == Some(&uid));
    let status = live.and_then(|live| live.status.as_ref()).expect("S3: a pod of a build that is not there");
    assert!(status.finished_at.is_none(), "S6: a pod of a finished build");
    let open: Vec<_> = status.attempts.iter().filter(|each| each.outcome.is_none()).collect();
    assert!(open.iter().any(|each| each.number == attempt), "S3: no intent of attempt {attempt} is committed");
    let alive = world.pods.iter().any(|pod| pod.build_uid == uid && pod.lives());
    assert!(!alive, "S1, S2: another pod of {} lives", build.name_any());
}

/// S4, S5, S10: a tag moves only to a digest that a build of this chain, with inputs that the chain wants,
/// has verified; and only if it is the chain's own.
pub fn may_promote(world: &World, operator: usize, chain: &ImageChain, promotion: &Promotion) {
    let builds = world.builds_of(&chain.uid().unwrap());
    let verified = builds.iter().filter(|build| build.link == promotion.link).any(|build| {
        matches!(&build.state, BuildState::Verified { product, .. }
            if product.reference == promotion.staged && product.content == promotion.content)
    });
    let recorded = world.status(&chain.name_any()).links.into_iter().filter(|link| link.name.0 == promotion.link);
    let recorded = recorded.filter_map(|link| link.verified).any(|each| each.reference.0 == promotion.staged);
    assert!(verified || recorded, "S4: {} was not verified", promotion.staged);
    let claims: Vec<_> = world.chains.values().map(|chain| Claim::of(chain)).collect();
    let taken = taken(&Claim::of(chain), &claims);
    if world.operators[operator].sees.is_none() {
        let link = chain.spec.links.iter().find(|link| link.name.0 == promotion.link).unwrap();
        let wanted = Destination::of(link.publish.as_ref().unwrap()).unwrap();
        let own = wanted.outputs().iter().all(|output| !taken.contains_key(output));
        assert!(own, "S10: a tag of another chain is moved");
        assert!(!chain.spec.suspend, "a suspended chain publishes nothing");
    }
}

/// S7: what is published or verified last is not pruned.
pub fn may_prune(world: &World, chain: &ImageChain, build: &str) {
    let live: BTreeSet<_> = chain.spec.links.iter().map(|link| link.name.0.as_str()).collect();
    for link in world.status(&chain.name_any()).links.iter().filter(|link| live.contains(link.name.0.as_str())) {
        let published = link.published.as_ref().map(|each| each.build.0.as_str());
        assert_ne!(published, Some(build), "S7: the build of a published image is pruned");
    }
    let facts = BuildFacts::of(&world.builds[build]).unwrap();
    assert!(facts.is_finished(), "S7: a build that runs is pruned");
}

/// S8 and the rules of kstatus, of a status and the object that it is written over.
pub fn chain_status(world: &World, stored: &ImageChain, next: &ImageChainStatus) {
    let generation = stored.metadata.generation.unwrap();
    check_conditions(&next.conditions, next.observed_generation, generation, world);
    let before = stored.status.as_ref().map_or(-1, |status| status.observed_generation);
    assert!(next.observed_generation >= before, "S8: the observed generation goes back");
    if is_true(&next.conditions, ConditionType::Ready) {
        for link in &stored.spec.links {
            let Some(publish) = link.publish.as_ref().filter(|publish| publish.image.is_some()) else { continue };
            let status = next.links.iter().find(|each| each.name == link.name).unwrap();
            let published = status.published.as_ref().expect("Ready, but a link is not published");
            let created = published.created.as_ref().map(|created| created.0);
            let image = Destination::of(publish).unwrap().filled(created).expect("a known time");
            for tag in image.names() {
                let tag = format!("{}:{tag}", image.address());
                if world.strayed.contains(&tag) {
                    continue;
                }
                let digest = world.tags[&tag].clone();
                let known = digest == published.digest.0 || world.unrecorded.contains(&(tag.clone(), digest.clone()));
                assert!(known, "Ready at {}, but {tag} leads to {digest}", published.digest);
            }
        }
    }
}

/// S7, S8 and the rules of kstatus, of a status and the object that it is written over.
pub fn build_status(world: &World, stored: &ImageBuild, next: &ImageBuildStatus) {
    check_conditions(&next.conditions, next.observed_generation, stored.metadata.generation.unwrap(), world);
    let open = next.attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
    assert!(open <= 1, "S1: {open} attempts are open");
    if let Some(artifact) = &next.artifact {
        assert!(world.pushed.contains(&artifact.digest.0), "an artifact that nobody has pushed");
        assert_eq!(of_reference(&artifact.reference.0), artifact.digest.0);
        assert_eq!(next.attempts.last().and_then(|attempt| attempt.outcome), Some(Outcome::Succeeded));
    }
    let mut lost = next.attempts.iter().filter(|attempt| attempt.reason == Some(Reason::PodLost));
    let there = lost.find(|lost| world.pods.iter().any(|pod| Some(&pod.uid) == lost.pod_uid.as_ref()));
    assert_eq!(there, None, "S2: its pod is there");
    let Some(before) = &stored.status else { return };
    assert!(next.attempts.len() >= before.attempts.len(), "S7: an attempt vanishes");
    for (old, new) in before.attempts.iter().zip(&next.attempts) {
        assert_eq!(old.number, new.number, "S7: an attempt changes its number");
        assert!(old.outcome.is_none() || old == new, "S7: the result of an attempt changes");
    }
    if before.finished_at.is_some() {
        let result =
            |status: &ImageBuildStatus| (status.finished_at.clone(), status.artifact.clone(), status.failure.clone());
        assert_eq!(result(before), result(next), "S7: a result changes");
    }
}

fn check_conditions(conditions: &[Condition], observed: i64, generation: i64, world: &World) {
    let broken = invariant::violations(conditions, observed, generation, world.now);
    assert!(broken.is_empty(), "{broken:?} in {conditions:?}");
}

fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    conditions.iter().any(|each| each.type_ == kind.to_string() && each.status == "True")
}

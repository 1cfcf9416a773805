//! An operator: it looks at the world, decides, and does what the plan says, one write after the other. It
//! may crash after any of them, and may see an older world than there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imagechain::{
    api::{
        CANCEL, REQUESTED_AT, SUPERSEDED,
        build::{ImageBuild, ImageBuildSpec},
        chain::ImageChain,
        condition::Reason,
    },
    plan::{
        access, build,
        chain::{self, BuildFacts, Claim, OtherChain, Promotion},
        dependency::Versions,
        failure::{Failure, Gate},
        image::{Digest, Reference, Tag},
        lookup::{Answer, Found, Stray, Subject},
        observed::Room,
        product,
        recipe::Destination,
        resolve::{ConfigMapFact, ProfileFact, content_hash, of_reference},
        validate,
    },
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    NAMESPACE, STAGING, World, digest, invariants,
    pods::{Loss, Pod},
};

/// What an operator keeps in memory. A crash loses all of it.
#[derive(Clone, Default)]
pub struct Operator {
    /// By chain and generation with request, as the answers are about these.
    answers: Arc<BTreeMap<(String, String), BTreeMap<Subject, Answer>>>,
    promotions: BTreeMap<Promotion, Answer>,
    /// Names of builds that are somebody else's.
    strangers: BTreeSet<String>,
    /// Since when it is there.
    since: Timestamp,
    /// What it sees, where that is not what there is.
    pub sees: Option<Arc<World>>,
}

impl Operator {
    /// All that it remembers, in a form that two equal memories share.
    pub fn memory(&self) -> impl std::fmt::Debug {
        (&self.answers, &self.promotions)
    }

    /// It loses its memory, and comes back at once.
    pub fn crash(&mut self, since: Timestamp) {
        let sees = self.sees.take();
        *self = Self { since, sees, ..Self::default() };
    }
}

/// How many writes an operator may still make before it crashes.
struct Steps(usize);

impl Steps {
    fn next(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

impl World {
    fn seen_by(&self, operator: usize) -> &Self {
        self.operators.get(operator).and_then(|operator| operator.sees.as_deref()).unwrap_or(self)
    }

    /// The plan for a chain, as an operator sees it.
    pub fn plan_chain(&self, operator: usize, name: &str) -> Option<chain::Plan> {
        let view = self.seen_by(operator);
        let object = view.chains.get(name)?;
        let memory = &self.operators[operator];
        Some(view.decide_chain(object, memory, self.now))
    }

    fn decide_chain(&self, object: &ImageChain, memory: &Operator, now: Timestamp) -> chain::Plan {
        let uid = object.uid().unwrap();
        let builds = self.builds_of(&uid).into_iter().map(|build| (build.name.clone(), build));
        let claims: Vec<_> = self.chains.values().map(|chain| Claim::of(chain)).collect();
        let facts = chain::Facts {
            generation: object.metadata.generation.unwrap(),
            previous: object.status.clone().unwrap_or_default(),
            builds: builds.collect(),
            profiles: self.profile_facts(),
            config_maps: self.config_map_facts(),
            chains: self.chains.iter().map(|(name, chain)| (name.clone(), OtherChain::of(chain))).collect(),
            answers: memory.answers.get(&about(object)).cloned().unwrap_or_default(),
            promotions: memory.promotions.clone(),
            strangers: memory.strangers.clone(),
            taken: chain::taken(&Claim::of(object), &claims),
            since: memory.since,
            now,
        };
        facts.decide(object)
    }

    pub fn builds_of(&self, chain_uid: &str) -> Vec<BuildFacts> {
        let owned = self
            .builds
            .values()
            .filter(|build| build.spec.chain_ref.as_ref().is_some_and(|chain| chain.uid == chain_uid));
        owned.filter_map(|build| BuildFacts::of(build)).collect()
    }

    fn profile_facts(&self) -> BTreeMap<String, ProfileFact> {
        let fact = |profile| access::profile_fact(Some(profile));
        self.profiles.iter().map(|(name, profile)| (name.clone(), fact(profile))).collect()
    }

    fn config_map_facts(&self) -> BTreeMap<String, ConfigMapFact> {
        let hashed = |entries: &BTreeMap<String, String>| {
            ConfigMapFact::Entries(entries.iter().map(|(key, text)| (key.clone(), content_hash(text))).collect())
        };
        let mut facts: BTreeMap<_, _> =
            self.config_maps.iter().map(|(name, entries)| (name.clone(), hashed(entries))).collect();
        facts.entry("absent".to_owned()).or_insert(ConfigMapFact::Missing);
        facts
    }

    /// One pass of an operator over a chain, which crashes after so many writes. The answer is whether it
    /// came to its end.
    pub fn reconcile_chain(&mut self, operator: usize, name: &str, writes: usize) -> bool {
        let mut steps = Steps(writes);
        let moved = self.log.promotions.len();
        let done = self.pass_over_chain(operator, name, &mut steps).is_some();
        if !done {
            self.unrecorded.extend(self.log.promotions[moved..].iter().cloned());
            let now = self.now;
            self.operators[operator].crash(now);
        }
        done
    }

    fn pass_over_chain(&mut self, operator: usize, name: &str, steps: &mut Steps) -> Option<()> {
        let Some(object) = self.seen_by(operator).chains.get(name).cloned() else { return Some(()) };
        let mut plan = self.look_up(operator, &object);
        let mut promoted = false;
        for action in std::mem::take(&mut plan.actions) {
            if !steps.next() {
                return None;
            }
            promoted |= is_promotion(&action);
            self.act_for_chain(operator, &object, action);
        }
        if promoted {
            plan = self.seen_by(operator).decide_chain(&object, &self.operators[operator], self.now);
            // A success is believed in the pass that it was made in, and in no other.
            self.operators[operator].promotions.retain(|_, answer| answer.result != Ok(Found::Presence(true)));
        }
        let before = object.status.clone();
        if before.as_ref() == Some(&plan.status) {
            return Some(());
        }
        if !steps.next() {
            return None;
        }
        self.write_chain_status(&object, plan.status);
        Some(())
    }

    /// Asks until the plan wants nothing more.
    fn look_up(&mut self, operator: usize, object: &ImageChain) -> chain::Plan {
        for _ in 0..4 {
            let plan = self.seen_by(operator).decide_chain(object, &self.operators[operator], self.now);
            if plan.lookups.is_empty() {
                return plan;
            }
            for subject in plan.lookups {
                self.answer(operator, object, subject);
            }
        }
        panic!("the same is looked up again and again");
    }

    fn answer(&mut self, operator: usize, object: &ImageChain, subject: Subject) {
        let result = self.find(&subject);
        let now = self.now;
        let answers = Arc::make_mut(&mut self.operators[operator].answers).entry(about(object)).or_default();
        let before = answers.get(&subject).map_or(0, |answer| answer.failures);
        let failures = if result.is_ok() { 0 } else { before + 1 };
        answers.insert(subject, Answer { at: now, result, failures });
    }

    fn find(&self, subject: &Subject) -> Result<Found, Failure> {
        let away = |reason| Err(Failure::new(reason, "it does not answer"));
        match subject {
            Subject::Git { .. } if self.outage.git => away(Reason::SourceUnavailable),
            Subject::Image { .. } | Subject::Artifact { .. } | Subject::Published { .. } if self.outage.registry => {
                away(Reason::RegistryUnavailable)
            }
            Subject::Git { paths, .. } => {
                let id = |path: &String| match path.as_str() {
                    "" => Some(self.commit()),
                    path => {
                        let folder = path.split('/').next().unwrap();
                        self.files.get(folder).map(|version| format!("{path}-{version}"))
                    }
                };
                let objects = paths.iter().filter_map(|path| Some((path.clone(), id(path)?))).collect();
                Ok(Found::Commit { commit: self.commit(), objects, obstacles: BTreeMap::new() })
            }
            Subject::Image { reference, .. } => self.bases.get(reference).map_or_else(
                || Err(Failure::new(Reason::BaseImageNotFound, format!("there is no {reference}"))),
                |version| Ok(Found::Digest(digest(&[reference, &version.to_string()]))),
            ),
            Subject::Artifact { reference, .. } => Ok(Found::Presence(self.staged.contains(of_reference(reference)))),
            Subject::Published { destination, shown, .. } => {
                let stray = |(tag, place): (String, String)| {
                    let leads_to = self.tags.get(&place).cloned();
                    (leads_to.as_ref() != Some(shown)).then_some(Stray { tag, leads_to })
                };
                Ok(Found::Strays(places(destination).into_iter().filter_map(stray).collect()))
            }
        }
    }

    fn act_for_chain(&mut self, operator: usize, object: &ImageChain, action: chain::Action) {
        // A promotion that is refused writes nothing.
        self.log_mut().writes += usize::from(!is_promotion(&action));
        match action {
            chain::Action::CreateBuild { name, spec } => self.create_build(operator, object, &name, *spec),
            chain::Action::Supersede { name, uid, message } => {
                if self.builds.get(&name).and_then(|object| object.uid()) == Some(uid) {
                    self.annotate_build(&name, SUPERSEDED, &message);
                }
            }
            chain::Action::Promote(promotion) => self.promote(operator, object, promotion),
            chain::Action::PutBack(correction) => {
                // The live read of the builds before that.
                if correction.stands_in(&self.builds_of(&object.uid().unwrap())) {
                    self.promote(operator, object, correction.promotion);
                }
            }
            chain::Action::DeleteBuild { name, uid } => {
                if self.builds.get(&name).and_then(|object| object.uid()) == Some(uid.clone()) {
                    invariants::may_prune(self, object, &name);
                    self.builds.remove(&name);
                    self.pods.retain(|pod| pod.build_uid != uid);
                }
            }
        }
    }

    fn create_build(&mut self, operator: usize, object: &ImageChain, name: &str, spec: ImageBuildSpec) {
        // The API server says AlreadyExists: a live read tells whose it is.
        if let Some(there) = self.builds.get(name) {
            if there.spec.chain_ref.as_ref().map(|chain| &chain.uid) != object.metadata.uid.as_ref() {
                self.operators[operator].strangers.insert(name.to_owned());
            }
            return;
        }
        // Owned by a chain that is gone: the garbage collector deletes it at once.
        if self.chains.get(&object.name_any()).and_then(|object| object.uid()) != object.uid() {
            return;
        }
        invariants::may_build(self, object, &spec);
        invariants::may_repeat(self, object, &spec);
        let link = spec.chain_ref.as_ref().unwrap().link.to_string();
        let causes = spec.causes.iter().map(|cause| format!("{:?}", cause.kind)).collect();
        self.log_mut().builds.push((link, causes));
        let version = self.version();
        let mut build = ImageBuild::new(name, spec);
        build.metadata.namespace = Some(NAMESPACE.to_owned());
        build.metadata.uid = Some(format!("uid-{version}"));
        build.metadata.generation = Some(1);
        build.metadata.resource_version = Some(version);
        build.metadata.creation_timestamp = Some(self.now.into());
        self.builds.insert(name.to_owned(), Arc::new(build));
    }

    fn promote(&mut self, operator: usize, object: &ImageChain, promotion: Promotion) {
        let result = if self.outage.registry {
            Err(Failure::new(Reason::RegistryUnavailable, "the registry does not answer"))
        } else if self.outage.push {
            Err(Failure::new(Reason::PushDenied, "the registry refuses"))
        } else {
            // The live read before the write: for a chain that is another than was decided on, or gone, nothing
            // is published, and there is no answer.
            let live = self.chains.get(&object.name_any());
            let same = |live: &Arc<ImageChain>| {
                live.uid() == object.uid() && live.resource_version() == object.resource_version()
            };
            if !live.is_some_and(same) {
                return;
            }
            self.publish(operator, object, &promotion).map(Found::Presence)
        };
        let promotions = &mut self.operators[operator].promotions;
        let failures = promotions.get(&promotion).map_or(0, |answer| answer.failures) + 1;
        promotions.insert(promotion, Answer { at: self.now, result, failures });
    }

    fn publish(&mut self, operator: usize, object: &ImageChain, promotion: &Promotion) -> Result<bool, Failure> {
        let digest = of_reference(&promotion.staged).to_owned();
        if !self.staged.contains(&digest) {
            return Ok(false);
        }
        invariants::may_promote(self, operator, object, promotion);
        let shown = promotion.destination.shown(&digest, Some(&promotion.content)).unwrap().to_owned();
        let places = places(&promotion.destination);
        // Tags are moved, and files are never replaced.
        let other = |place: &String| self.tags.get(place).is_some_and(|there| *there != shown);
        if promotion.destination.provider().is_some() && places.iter().any(|(_, place)| other(place)) {
            return Err(Failure::new(Reason::OutputConflict, "it is another file"));
        }
        self.log_mut().writes += 1;
        for (_, place) in places {
            self.log_mut().promotions.push((place.clone(), shown.clone()));
            self.strayed.remove(&place);
            self.tags.insert(place, shown.clone());
        }
        Ok(true)
    }

    fn write_chain_status(&mut self, seen: &ImageChain, status: imagechain::api::chain::ImageChainStatus) {
        self.log_mut().writes += 1;
        let live = self.chains.get(&seen.name_any()).cloned();
        let Some(live) = live.filter(|live| live.resource_version() == seen.resource_version()) else {
            return; // 409: what was decided on is not what there is.
        };
        invariants::chain_status(self, &live, &status);
        let before = live.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let object = (live.uid().unwrap(), live.metadata.generation.unwrap());
        invariants::count_changes(&mut self.log_mut().changes, object, before, &status.conditions);
        let version = self.version();
        let chain = self.chain_mut(&seen.name_any());
        chain.status = Some(status);
        chain.metadata.resource_version = Some(version);
    }
}

/// What a destination has, by name: tags as repository:tag, and the file of a version by its address.
fn places(destination: &Destination<Tag>) -> Vec<(String, String)> {
    let place = |name: String| match destination {
        Destination::Tags(tags) => (name.clone(), format!("{}:{name}", tags.repository)),
        Destination::Package(package) => (name, package.to_string()),
    };
    destination.names().into_iter().map(place).collect()
}

const fn is_promotion(action: &chain::Action) -> bool {
    matches!(action, chain::Action::Promote(_) | chain::Action::PutBack(_))
}

/// What the answers of look-ups are about: the chain, its generation and its request.
fn about(object: &ImageChain) -> (String, String) {
    let request = object.annotations().get(REQUESTED_AT).cloned().unwrap_or_default();
    (object.uid().unwrap(), format!("{} {request}", object.metadata.generation.unwrap()))
}

impl World {
    /// The plan for a build, as an operator sees it.
    pub fn plan_build(&self, operator: usize, name: &str) -> Option<build::Plan> {
        let view = self.seen_by(operator);
        let object = view.builds.get(name)?;
        Some(view.decide_build(object, self.now))
    }

    fn decide_build(&self, object: &ImageBuild, now: Timestamp) -> build::Plan {
        let valid = validate::build(object).unwrap();
        let uid = object.uid().unwrap();
        let own: Vec<_> = self.pods.iter().filter(|pod| pod.build_uid == uid).collect();
        let seen: Vec<_> = own.iter().map(|pod| pod.seen(self)).collect();
        let pods: Vec<_> = own
            .iter()
            .zip(&seen)
            .map(|(pod, seen)| build::OwnPod {
                attempt: pod.attempt,
                uid: &pod.uid,
                created: pod.created,
                node_down: None,
                room: &Room::Unknown,
                seen,
            })
            .collect();
        let superseded = object.annotations().get(SUPERSEDED).map(|why| (Reason::Superseded, why.as_str()));
        let cancelled = object.annotations().get(CANCEL).map(|why| (Reason::CancelledByUser, why.as_str()));
        build::decide(&build::Scene {
            name: &object.name_any(),
            uid: &uid,
            generation: 1,
            build: &valid,
            kind: product::kind(object.spec.inputs.as_ref().and_then(|inputs| inputs.hypervisor)),
            previous: &object.status.clone().unwrap_or_default(),
            permission: self.permission(object),
            pods: &pods,
            execution_namespace: "builds",
            staging: Some(&STAGING.parse().unwrap()),
            deadline: std::time::Duration::from_hours(6),
            pending: None,
            name_taken: false,
            dependencies: &Versions::new(),
            cancelled: cancelled.or(superseded),
            retention: (std::time::Duration::from_mins(10), std::time::Duration::from_hours(1)),
            now,
        })
    }

    fn permission(&self, object: &ImageBuild) -> Gate<()> {
        let chain = object.spec.chain_ref.as_ref().and_then(|chain| self.chains.get(&chain.name.0));
        if chain.is_some_and(|chain| chain.spec.suspend) {
            return Gate::Closed(Failure::new(Reason::Suspended, "spec.suspend is true"));
        }
        if self.denied {
            return Gate::Closed(Failure::new(Reason::ProfileNotAllowed, "may not use the BuildProfile «docker»"));
        }
        Gate::Open(())
    }

    /// One pass of an operator over a build, which crashes after so many writes.
    pub fn reconcile_build(&mut self, operator: usize, name: &str, writes: usize) -> bool {
        let mut steps = Steps(writes);
        let done = self.pass_over_build(operator, name, &mut steps).is_some();
        if !done {
            let now = self.now;
            self.operators[operator].crash(now);
        }
        done
    }

    fn pass_over_build(&mut self, operator: usize, name: &str, steps: &mut Steps) -> Option<()> {
        let Some(object) = self.seen_by(operator).builds.get(name).cloned() else { return Some(()) };
        let plan = self.seen_by(operator).decide_build(&object, self.now);
        if object.status.as_ref() != Some(&plan.status) {
            if !steps.next() {
                return None;
            }
            if plan.confirm.as_ref().is_some_and(|pod| !self.sees_as_it_is(operator, pod)) {
                return Some(());
            }
            self.log_mut().writes += 1;
            let live = self.builds.get(name).cloned();
            let Some(live) = live.filter(|live| live.resource_version() == object.resource_version()) else {
                return Some(()); // 409
            };
            invariants::build_status(self, &live, &plan.status);
            let before = live.status.as_ref().map_or(&[][..], |status| &status.conditions);
            let about = (live.uid().unwrap(), 1);
            invariants::count_changes(&mut self.log_mut().changes, about, before, &plan.status.conditions);
            let version = self.version();
            let build = self.build_mut(name);
            build.status = Some(plan.status);
            build.metadata.resource_version = Some(version);
        }
        for action in plan.actions {
            if !steps.next() {
                return None;
            }
            self.act_for_build(&object, action);
        }
        Some(())
    }

    fn act_for_build(&mut self, object: &ImageBuild, action: build::Action) {
        self.log_mut().writes += 1;
        match action {
            build::Action::CreatePod { attempt, name, only_if } => {
                if self.pods.iter().any(|pod| pod.name == name) || !self.stands(object, &only_if) {
                    return;
                }
                invariants::may_start(self, object, attempt);
                let loss = if self.losses.is_empty() { Loss::None } else { self.losses.remove(0) };
                let version = self.version();
                self.log_mut().pods.push((object.name_any(), attempt));
                self.pods.push(Pod {
                    name,
                    uid: format!("uid-{version}"),
                    build: object.name_any(),
                    build_uid: object.uid().unwrap(),
                    attempt,
                    created: self.now,
                    phase: 0,
                    loss,
                    broken: false,
                });
            }
            build::Action::DeletePod { uid, .. } => self.pods.retain(|pod| pod.uid != uid),
        }
    }

    /// The live read before a pod is made.
    fn stands(&self, object: &ImageBuild, intent: &build::Intent) -> bool {
        let before = intent.after.as_ref().and_then(|name| self.pods.iter().find(|pod| pod.name == *name));
        let before = before.map(|pod| pod.seen(self));
        let live = self.builds.get(&object.name_any());
        live.is_some_and(|live| intent.stands_in(live, before.as_ref()))
    }

    /// The live read before an attempt is declared over by the absence of its pod.
    fn sees_as_it_is(&self, operator: usize, pod: &str) -> bool {
        let find = |world: &Self| world.pods.iter().find(|each| each.name == pod).cloned();
        find(self) == find(self.seen_by(operator))
    }
}

/// Whether a text is a reference with a digest.
pub fn has_digest(reference: &str) -> bool {
    let parsed: Option<Reference> = reference.parse().ok();
    parsed.and_then(|reference| reference.digest).is_some_and(|digest| digest.to_string().parse::<Digest>().is_ok())
}

//! The facts that files hold, and assumptions in place of those that they do not.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
use kube::ResourceExt;
use serde_json::json;

use super::report::{ChainPlan, texts};
use crate::{
    api::{
        build::ImageBuild,
        chain::{ImageChain, ImageChainStatus},
        profile::BuildProfile,
    },
    cli::manifest::Object,
    plan::{
        access,
        chain::{self, BuildFacts, Claim, OtherChain},
        lookup::{Answer, Found, Subject},
        recipe::{Destination, Source},
        resolve::{ConfigMapFact, content_hash},
        valid::{ValidChain, ValidProfile},
        validate::{self, problem::Problem},
    },
    view::preview,
};

/// All objects that are known, from files or from a cluster.
#[derive(Default)]
pub(super) struct Inventory {
    /// The chains that are asked about.
    pub chains: Vec<ImageChain>,
    /// Chains beside them.
    pub others: Vec<ImageChain>,
    pub builds: Vec<ImageBuild>,
    pub profiles: BTreeMap<String, BuildProfile>,
    /// By namespace and name.
    pub config_maps: BTreeMap<(Option<String>, String), ConfigMapFact>,
}

/// Who is asked for what is not known.
pub(super) trait Ask {
    /// The answer to a look-up for a chain of a namespace; none where it is to be assumed.
    fn ask(&self, namespace: Option<&str>, subject: &Subject, profile: Option<&ValidProfile>) -> Option<Answer>;
    /// The present; none where nobody is asked, and what was found last is taken to hold still.
    fn now(&self) -> Option<Timestamp>;
}

/// Nobody is asked.
pub(super) struct Nobody;

impl Ask for Nobody {
    fn ask(&self, _: Option<&str>, _: &Subject, _: Option<&ValidProfile>) -> Option<Answer> {
        None
    }

    fn now(&self) -> Option<Timestamp> {
        None
    }
}

impl Inventory {
    pub fn of(objects: Vec<Object>) -> Self {
        let mut inventory = Self::default();
        for object in objects {
            match object {
                Object::Chain(chain) => inventory.chains.push(*chain),
                Object::Build(build) => inventory.builds.push(*build),
                Object::Profile(profile) => drop(inventory.profiles.insert(profile.name_any(), *profile)),
                Object::ConfigMap(map) => {
                    drop(inventory.config_maps.insert((map.namespace(), map.name_any()), entries(&map)));
                }
            }
        }
        inventory
    }

    /// The plans of all chains that are asked about. What one of them builds, links of another may stand on: they are
    /// gone through until nothing more follows, each time with what is known of the others.
    pub fn plans(&self, whom: &dyn Ask) -> Vec<ChainPlan> {
        let mut all: Vec<_> = self.chains.iter().map(|chain| (chain, self.guess(chain, whom))).collect();
        let mut plans: Vec<ChainPlan> = Vec::new();
        loop {
            let next = all.iter_mut().map(|(chain, guess)| plan(chain, guess, &plans, whom)).collect();
            if plans == next {
                return plans;
            }
            plans = next;
        }
    }

    fn guess(&self, object: &ImageChain, whom: &dyn Ask) -> Result<(ValidChain, Guess), Vec<Problem>> {
        let valid = validate::chain(object)?;
        let guess = Guess::new(self, object, &valid, whom);
        Ok((valid, guess))
    }
}

/// The plan of a chain, as far as the plans of the others are known.
fn plan(
    object: &ImageChain,
    guess: &mut Result<(ValidChain, Guess), Vec<Problem>>,
    known: &[ChainPlan],
    whom: &dyn Ask,
) -> ChainPlan {
    let (namespace, name) = (object.namespace(), object.name_any());
    match guess {
        Ok((valid, guess)) => {
            let others = known.iter().filter(|other| other.namespace == namespace && other.name != name);
            let others = others.flat_map(|other| {
                other.steps.iter().map(|step| ((other.name.clone(), step.link.clone()), step.verdict))
            });
            let steps = guess.steps(object, valid, &others.collect(), whom);
            ChainPlan { namespace, name, steps, problems: Vec::new(), assumed: guess.notes.clone() }
        }
        Err(problems) => {
            ChainPlan { namespace, name, steps: Vec::new(), problems: texts(problems), assumed: Vec::new() }
        }
    }
}

/// Facts about one chain, of which some are assumed.
struct Guess {
    facts: chain::Facts,
    /// What is assumed, in sentences.
    notes: Vec<String>,
}

impl Guess {
    fn new(inventory: &Inventory, object: &ImageChain, valid: &ValidChain, whom: &dyn Ask) -> Self {
        let (previous, generation, now) = moment(object, chain::request(object.annotations()), whom);
        let uid = object.uid().unwrap_or_default();
        let own = inventory.builds.iter().filter(|build| {
            build.namespace() == object.namespace()
                && build.spec.chain_ref.as_ref().is_some_and(|chain| chain.uid == uid)
        });
        let all = || inventory.chains.iter().chain(&inventory.others);
        let same = all().filter(|other| other.namespace() == object.namespace());
        let claims: Vec<_> = all().map(Claim::of).collect();
        let facts = chain::Facts {
            generation,
            previous,
            builds: own.filter_map(BuildFacts::of).map(|build| (build.name.clone(), build)).collect(),
            profiles: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            chains: same.map(|chain| (chain.name_any(), OtherChain::of(chain))).collect(),
            answers: BTreeMap::new(),
            promotions: BTreeMap::new(),
            strangers: BTreeSet::new(),
            taken: chain::taken(&Claim::of(object), &claims),
            since: Timestamp::MIN,
            now,
        };
        let mut guess = Self { facts, notes: Vec::new() };
        guess.find_profiles(inventory, valid);
        guess.find_config_maps(inventory, object, valid);
        guess
    }

    fn find_profiles(&mut self, inventory: &Inventory, valid: &ValidChain) {
        let named: BTreeSet<&String> = valid.links.iter().map(|link| &link.profile).collect();
        for name in named {
            let written = inventory.profiles.get(name).cloned();
            if written.is_none() {
                self.notes.push(format!("the BuildProfile «{name}» exists and may be used"));
            }
            let fact = access::profile_fact(written.or_else(|| assumed_profile(valid)).as_ref());
            self.facts.profiles.insert(name.clone(), fact);
        }
    }

    /// A `ConfigMap` that is not in the files is taken for one that has all that is asked of it.
    fn find_config_maps(&mut self, inventory: &Inventory, object: &ImageChain, valid: &ValidChain) {
        for link in &valid.links {
            let Source::ConfigMap(name) = &link.recipe.source else { continue };
            let place = (object.namespace(), name.clone());
            let found = inventory.config_maps.get(&place).cloned();
            let config_maps = &mut self.facts.config_maps;
            if found.is_none() && !config_maps.contains_key(name) {
                self.notes.push(format!("the ConfigMap «{name}» exists and has the files that links name"));
            }
            let needed = link.recipe.steps.needs().into_iter().map(|needed| needed.path);
            let paths = link.recipe.paths.named().map(ToString::to_string).chain(needed);
            let paths = paths.map(|path| (path, "assumed".to_owned()));
            let known = config_maps.entry(name.clone()).or_insert_with(|| ConfigMapFact::Entries(BTreeMap::new()));
            match (found, known) {
                (Some(found), known) => *known = found,
                (None, ConfigMapFact::Entries(entries)) => entries.extend(paths),
                (None, _) => {}
            }
        }
    }

    /// The steps of the chain, once all that they depend on was asked or assumed.
    fn steps(
        &mut self,
        object: &ImageChain,
        valid: &ValidChain,
        others: &preview::Others,
        whom: &dyn Ask,
    ) -> Vec<preview::Step> {
        loop {
            let (steps, plan) = preview::steps(&self.facts.scene(object, valid), others);
            let answers = &self.facts.answers;
            let wanted: Vec<_> = plan.lookups.into_iter().filter(|subject| !answers.contains_key(subject)).collect();
            if wanted.is_empty() {
                return steps;
            }
            for subject in wanted {
                match whom.ask(object.namespace().as_deref(), &subject, self.profile_of(&subject)) {
                    Some(answer) => drop(self.facts.answers.insert(subject, answer)),
                    None => self.assume(subject),
                }
            }
        }
    }

    fn profile_of(&self, subject: &Subject) -> Option<&ValidProfile> {
        access::usable(self.facts.profiles.get(subject.profile())?)
    }

    fn assume(&mut self, subject: Subject) {
        let (note, found) = match &subject {
            Subject::Git { url, revision, paths, .. } => {
                let objects = paths.iter().map(|path| (path.clone(), "assumed".to_owned())).collect();
                let note = format!("{url} has the revision {revision}, and in it the files that links name");
                (note, Found::Commit { commit: "0".repeat(40), objects, obstacles: BTreeMap::new() })
            }
            Subject::Image { kind, reference, .. } => {
                (format!("the {} {reference} exists", kind.noun()), Found::Digest(format!("sha256:{}", "0".repeat(64))))
            }
            Subject::Artifact { reference, .. } => (format!("{reference} is still there"), Found::Presence(true)),
            Subject::Published { destination, .. } => {
                (format!("{} has what was published there", destination.address()), Found::Strays(Vec::new()))
            }
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        self.facts.answers.insert(subject, Answer { at: self.facts.now, result: Ok(found), failures: 0 });
    }
}

/// The status, the generation and the present that are decided on. Where nobody is asked, what was looked up
/// last is taken to hold still, even where the file was changed or a new request would look again.
fn moment(object: &ImageChain, request: Option<&str>, whom: &dyn Ask) -> (ImageChainStatus, i64, Timestamp) {
    let mut previous = object.status.clone().unwrap_or_default();
    if let Some(now) = whom.now() {
        return (previous, object.metadata.generation.unwrap_or(1), now);
    }
    let now = previous.lookups.iter().map(|lookup| lookup.at.0).max().unwrap_or(Timestamp::UNIX_EPOCH);
    previous.last_handled_request = request.map(ToOwned::to_owned).or(previous.last_handled_request);
    let generation = previous.observed_generation.max(1);
    (previous, generation, now)
}

/// What a `ConfigMap` holds.
pub(super) fn entries(map: &ConfigMap) -> ConfigMapFact {
    let entries = map.data.iter().flatten().map(|(key, text)| (key.clone(), content_hash(text)));
    ConfigMapFact::Entries(entries.collect())
}

/// A profile that lets all links of a chain be built: its staging is where the chain publishes.
fn assumed_profile(valid: &ValidChain) -> Option<BuildProfile> {
    let published = valid.links.iter().filter_map(|link| link.recipe.publish.as_ref());
    let repositories = published.clone().filter_map(Destination::repository);
    let registries: BTreeSet<_> = repositories.clone().map(|repository| repository.registry.clone()).collect();
    let staging = match registries.first() {
        // Several registries cannot have one staging repository: then each link stages where it publishes.
        Some(_) if registries.len() > 1 && repositories.count() == valid.links.len() => json!({}),
        Some(registry) => json!({"staging": {"repository": format!("{registry}/staging")}}),
        None => json!({"staging": {"repository": "assumed.invalid/staging"}}),
    };
    let builder = format!("assumed.invalid/builder@sha256:{}", "0".repeat(64));
    serde_json::from_value(json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "assumed"},
        "spec": {"images": {"builder": builder}, "executionNamespace": "assumed", "registry": staging},
    }))
    .ok()
}

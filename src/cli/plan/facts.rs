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
        chain::{self, BuildFacts, Claim, OtherChain, Scene},
        lookup::{Answer, Found, Subject},
        resolve::{ConfigMapFact, ProfileFact, content_hash},
        valid::{ValidChain, ValidProfile, ValidSource},
        validate::{self, problem::Problem},
    },
    view::preview,
};

/// What is known, from files or from a cluster.
#[derive(Default)]
pub(super) struct Facts {
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

impl Facts {
    pub fn of(objects: Vec<Object>) -> Self {
        let mut facts = Self::default();
        for object in objects {
            match object {
                Object::Chain(chain) => facts.chains.push(*chain),
                Object::Build(build) => facts.builds.push(*build),
                Object::Profile(profile) => drop(facts.profiles.insert(profile.name_any(), *profile)),
                Object::ConfigMap(map) => {
                    drop(facts.config_maps.insert((map.namespace(), map.name_any()), entries(&map)));
                }
            }
        }
        facts
    }

    pub fn plans(&self, whom: &dyn Ask) -> impl Iterator<Item = ChainPlan> {
        self.chains.iter().map(|chain| self.plan(chain, whom))
    }

    fn plan(&self, object: &ImageChain, whom: &dyn Ask) -> ChainPlan {
        let blank = |problems: &[Problem]| ChainPlan {
            namespace: object.namespace(),
            name: object.name_any(),
            steps: Vec::new(),
            problems: texts(problems),
            assumed: Vec::new(),
        };
        match validate::chain(object) {
            Ok(valid) => {
                let mut guess = Guess::new(self, object, &valid);
                let steps = guess.steps(self, object, &valid, whom);
                ChainPlan { steps, assumed: guess.notes, ..blank(&[]) }
            }
            Err(problems) => blank(&problems),
        }
    }
}

/// Facts about one chain, of which some are assumed.
struct Guess {
    builds: BTreeMap<String, BuildFacts>,
    profiles: BTreeMap<String, ProfileFact>,
    config_maps: BTreeMap<String, ConfigMapFact>,
    answers: BTreeMap<Subject, Answer>,
    /// What is assumed, in sentences.
    notes: Vec<String>,
}

impl Guess {
    fn new(facts: &Facts, object: &ImageChain, valid: &ValidChain) -> Self {
        let uid = object.uid().unwrap_or_default();
        let own = facts.builds.iter().filter(|build| {
            build.namespace() == object.namespace()
                && build.spec.chain_ref.as_ref().is_some_and(|chain| chain.uid == uid)
        });
        let builds = own.filter_map(BuildFacts::of).map(|build| (build.name.clone(), build)).collect();
        let mut guess = Self {
            builds,
            profiles: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            answers: BTreeMap::new(),
            notes: Vec::new(),
        };
        guess.find_profiles(facts, valid);
        guess.find_config_maps(facts, object, valid);
        guess
    }

    fn find_profiles(&mut self, facts: &Facts, valid: &ValidChain) {
        let named: BTreeSet<&String> = valid.links.iter().map(|link| &link.profile).collect();
        for name in named {
            let written = facts.profiles.get(name).cloned();
            if written.is_none() {
                self.notes.push(format!("the BuildProfile «{name}» exists and may be used"));
            }
            let fact = match written.or_else(|| assumed_profile(valid)).map(|profile| validate::profile(&profile)) {
                Some(Ok(profile)) => ProfileFact::Usable(Box::new(profile)),
                Some(Err(problems)) => ProfileFact::Invalid(texts(&problems).join("; ")),
                None => ProfileFact::Missing,
            };
            self.profiles.insert(name.clone(), fact);
        }
    }

    /// A `ConfigMap` that is not in the files is taken for one that has all that is asked of it.
    fn find_config_maps(&mut self, facts: &Facts, object: &ImageChain, valid: &ValidChain) {
        for link in &valid.links {
            let ValidSource::ConfigMap(name) = &link.recipe.source else { continue };
            let place = (object.namespace(), name.clone());
            let found = facts.config_maps.get(&place).cloned();
            if found.is_none() && !self.config_maps.contains_key(name) {
                self.notes.push(format!("the ConfigMap «{name}» exists and has the files that links name"));
            }
            let paths = link.recipe.paths.iter().map(|path| (path.to_string(), "assumed".to_owned()));
            let known = self.config_maps.entry(name.clone()).or_insert_with(|| ConfigMapFact::Entries(BTreeMap::new()));
            match (found, known) {
                (Some(found), known) => *known = found,
                (None, ConfigMapFact::Entries(entries)) => entries.extend(paths),
                (None, _) => {}
            }
        }
    }

    fn steps(&mut self, facts: &Facts, object: &ImageChain, valid: &ValidChain, whom: &dyn Ask) -> Vec<preview::Step> {
        let request = chain::request(object.annotations());
        let (previous, generation, now) = moment(object, request, whom);
        let all = || facts.chains.iter().chain(&facts.others);
        let same = all().filter(|other| other.namespace() == object.namespace());
        let chains = same.map(|chain| (chain.name_any(), OtherChain::of(chain))).collect();
        let claims: Vec<_> = all().map(Claim::of).collect();
        loop {
            let (steps, plan) = preview::steps(&Scene {
                uid: &object.uid().unwrap_or_default(),
                generation,
                deleting: object.metadata.deletion_timestamp.is_some(),
                chain: valid,
                written: &object.spec,
                previous: &previous,
                request,
                builds: &self.builds,
                profiles: &self.profiles,
                config_maps: &self.config_maps,
                chains: &chains,
                answers: &self.answers,
                promotions: &BTreeMap::new(),
                strangers: &BTreeSet::new(),
                taken: &chain::taken(&Claim::of(object), &claims),
                since: Timestamp::MIN,
                now,
            });
            let wanted: Vec<_> =
                plan.lookups.into_iter().filter(|subject| !self.answers.contains_key(subject)).collect();
            if wanted.is_empty() {
                return steps;
            }
            for subject in wanted {
                match whom.ask(object.namespace().as_deref(), &subject, self.profile_of(&subject)) {
                    Some(answer) => drop(self.answers.insert(subject, answer)),
                    None => self.assume(subject, now),
                }
            }
        }
    }

    fn profile_of(&self, subject: &Subject) -> Option<&ValidProfile> {
        let name = match subject {
            Subject::Git { .. } => return None,
            Subject::Image { profile, .. } | Subject::Artifact { profile, .. } => profile,
        };
        match self.profiles.get(name)? {
            ProfileFact::Usable(profile) => Some(profile),
            ProfileFact::Invalid(_) | ProfileFact::Missing => None,
        }
    }

    fn assume(&mut self, subject: Subject, now: Timestamp) {
        let (note, found) = match &subject {
            Subject::Git { url, revision, paths, .. } => {
                let objects = paths.iter().map(|path| (path.clone(), "assumed".to_owned())).collect();
                let note = format!("{url} has the revision {revision}, and in it the files that links name");
                (note, Found::Commit { commit: "0".repeat(40), objects })
            }
            Subject::Image { reference, .. } => {
                (format!("the image {reference} exists"), Found::Digest(format!("sha256:{}", "0".repeat(64))))
            }
            Subject::Artifact { reference, .. } => (format!("{reference} is still there"), Found::Presence(true)),
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        self.answers.insert(subject, Answer { at: now, result: Ok(found), failures: 0 });
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
    let registries: BTreeSet<_> = published.clone().map(|publish| publish.repository.registry.clone()).collect();
    let staging = match registries.first() {
        // Several registries cannot have one staging repository: then each link stages where it publishes.
        Some(_) if registries.len() > 1 && published.count() == valid.links.len() => json!({}),
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

//! The facts about a chain.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        chain::{ImageChain, ImageChainStatus},
        common::Source,
        condition::Reason,
    },
    plan::{
        access,
        chain::{self, BuildFacts, OtherChain, Plan, Promotion, Scene},
        lookup::{Answer, Known, Subject},
        object::ObjectKind,
        recipe::OutputKey,
        resolve::{ConfigMapFact, ProfileFact},
        valid::ValidChain,
        validate,
    },
    runtime::{
        cache::Key,
        clock,
        lookups::About,
        named::{Object, User},
        world::World,
    },
};

/// What is known of a chain, and owned: a scene borrows it.
#[derive(Debug)]
pub struct Facts {
    previous: ImageChainStatus,
    builds: BTreeMap<String, BuildFacts>,
    profiles: BTreeMap<String, ProfileFact>,
    config_maps: BTreeMap<String, ConfigMapFact>,
    chains: BTreeMap<String, OtherChain>,
    answers: BTreeMap<Subject, Answer>,
    promotions: BTreeMap<Promotion, Answer>,
    strangers: BTreeSet<String>,
    taken: BTreeSet<OutputKey>,
    since: Timestamp,
    now: Timestamp,
}

/// What the answers of a chain are about.
#[must_use]
pub fn about(chain: &ImageChain) -> About {
    About {
        uid: chain.uid().unwrap_or_default(),
        generation: chain.metadata.generation.unwrap_or_default(),
        request: chain::request(chain.annotations()).unwrap_or_default().to_owned(),
    }
}

impl Facts {
    /// What is known of a chain.
    #[must_use]
    pub fn of(world: &World, chain: &ImageChain) -> Self {
        let about = about(chain);
        world.forget_mended(chain, &about);
        world.need_of_chain(chain, &about);
        let namespace = chain.namespace().unwrap_or_default();
        let others = chain.spec.links.iter().any(|link| link.from.as_ref().is_some_and(|from| from.chain.is_some()));
        let others = if others { world.chains.members(&namespace) } else { Vec::new() };
        let profiles = chain.spec.profiles.iter().map(|name| (name.to_string(), world.profile(&name.0)));
        Self {
            previous: chain.status.clone().unwrap_or_default(),
            builds: world.facts_of(&about.uid),
            profiles: profiles.collect(),
            config_maps: world.config_maps(chain),
            chains: others.iter().map(|other| (other.name_any(), OtherChain::of(other))).collect(),
            answers: world.answers.answers(&about),
            promotions: world.promotions.answers(&about),
            strangers: world.strangers(chain),
            taken: world.taken(chain),
            since: world.since,
            now: clock::now(),
        }
    }

    /// The plan that follows.
    #[must_use]
    pub fn decide(&self, chain: &ImageChain) -> Plan {
        let generation = chain.metadata.generation.unwrap_or_default();
        match validate::chain(chain) {
            Ok(valid) => chain::decide(&self.scene(chain, &valid, generation)),
            Err(problems) => chain::invalid(&self.previous, generation, self.now, &problems),
        }
    }

    fn scene<'a>(&'a self, chain: &'a ImageChain, valid: &'a ValidChain, generation: i64) -> Scene<'a> {
        Scene {
            uid: chain.metadata.uid.as_deref().unwrap_or_default(),
            generation,
            deleting: chain.metadata.deletion_timestamp.is_some(),
            chain: valid,
            written: &chain.spec,
            previous: &self.previous,
            request: chain::request(chain.annotations()),
            builds: &self.builds,
            profiles: &self.profiles,
            config_maps: &self.config_maps,
            chains: &self.chains,
            answers: &self.answers,
            promotions: &self.promotions,
            strangers: &self.strangers,
            taken: &self.taken,
            since: self.since,
            now: self.now,
        }
    }
}

impl World {
    /// The `ConfigMap`s that are sources of a chain.
    fn config_maps(&self, chain: &ImageChain) -> BTreeMap<String, ConfigMapFact> {
        let namespace = chain.namespace().unwrap_or_default();
        let fact = |name: String| {
            let user = self.lookups.reader.user();
            let what_to_do = || access::forbidden(user, &namespace, ObjectKind::ConfigMap, &name).message;
            let fact = self.named.config_map(&Key::new(&namespace, &name), what_to_do);
            (name, fact)
        };
        sources(chain).into_iter().map(fact).collect()
    }

    /// Watches what the chain needs: its `ConfigMap`s, and the Secrets for lack of which something failed.
    fn need_of_chain(&self, chain: &ImageChain, about: &About) {
        let namespace = chain.namespace().unwrap_or_default();
        let object = |kind, name: &str| Object { kind, key: Key::new(&namespace, name) };
        let maps = sources(chain).into_iter().map(|name| object(ObjectKind::ConfigMap, &name));
        let secrets = self.lacking_secrets(about).into_iter().map(|(secret, ..)| object(ObjectKind::Secret, &secret));
        self.named.need(User::Chain(Key::of(chain)), maps.chain(secrets).collect());
    }

    /// The Secrets that failed questions used, with the reasons, and the versions that they had.
    fn lacking_secrets(&self, about: &About) -> Vec<(String, Reason, Option<String>)> {
        let asked = self.answers.lacking(about).into_iter();
        let asked =
            asked.filter_map(|(subject, reason, version)| Some((secret_of(&subject)?.to_owned(), reason, version)));
        let promoted = self.promotions.lacking(about).into_iter();
        let promoted = promoted.filter_map(|(promotion, reason, version)| {
            Some((promotion.destination.secret()?.to_owned(), reason, version))
        });
        asked.chain(promoted).collect()
    }

    /// Forgets failures for lack of a Secret that is another now: it is asked again.
    fn forget_mended(&self, chain: &ImageChain, about: &About) {
        let namespace = chain.namespace().unwrap_or_default();
        for (secret, reason, used) in self.lacking_secrets(about) {
            let object = Object { kind: ObjectKind::Secret, key: Key::new(&namespace, &secret) };
            let Known::Value(now) = self.named.version(&object) else { continue };
            // To be allowed to see that there is none is news as well.
            let granted = reason == Reason::AccessNotGranted && !self.named.is_forbidden(&object);
            if granted || now != used {
                self.answers
                    .forget(about, |subject, answer| answer.result.is_err() && secret_of(subject) == Some(&secret));
                self.promotions.forget(about, |promotion, answer| {
                    answer.result.is_err() && promotion.destination.secret() == Some(&secret)
                });
            }
        }
    }
}

fn secret_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Git { secret, .. } | Subject::Image { secret, .. } => secret.as_deref(),
        Subject::Artifact { .. } => None,
    }
}

/// The names of the `ConfigMap`s that are sources of a chain.
fn sources(chain: &ImageChain) -> BTreeSet<String> {
    let all = chain.spec.links.iter().filter_map(|link| link.source.as_ref()).chain(&chain.spec.source);
    all.filter_map(|source: &Source| source.config_map.as_ref()).map(|map| map.name.to_string()).collect()
}

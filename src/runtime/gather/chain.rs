//! The facts about a chain.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::{
    api::chain::ImageChain,
    plan::{
        access,
        chain::{self, Facts, OtherChain},
        object::ObjectKind,
        resolve::ConfigMapFact,
    },
    runtime::{clock, context::Context, lookups::Scope, store::Key},
};

/// What the answers of a chain are about.
#[must_use]
pub fn scope(chain: &ImageChain) -> Scope {
    Scope {
        uid: chain.uid().unwrap_or_default(),
        generation: chain.metadata.generation.unwrap_or_default(),
        request: chain::request(chain.annotations()).unwrap_or_default().to_owned(),
    }
}

/// What is known of a chain at this moment.
#[must_use]
pub fn chain(context: &Context, chain: &ImageChain) -> Facts {
    let scope = scope(chain);
    let namespace = chain.namespace().unwrap_or_default();
    let others = chain.spec.links.iter().any(|link| link.from.as_ref().is_some_and(|from| from.chain.is_some()));
    let others = if others { context.stores.chains.members(&namespace) } else { Vec::new() };
    let profiles = chain.spec.profiles.iter().map(|name| (name.to_string(), context.stores.profile(&name.0)));
    Facts {
        generation: scope.generation,
        previous: chain.status.clone().unwrap_or_default(),
        builds: context.stores.facts_of(&scope.uid),
        profiles: profiles.collect(),
        config_maps: config_maps(context, chain),
        chains: others.iter().map(|other| (other.name_any(), OtherChain::of(other))).collect(),
        answers: context.remote.answers.answers(&scope),
        promotions: context.remote.promotions.answers(&scope),
        strangers: context.stores.strangers(chain),
        taken: context.stores.taken(chain),
        since: context.since,
        now: clock::now(),
    }
}

/// The `ConfigMap`s that are sources of a chain.
fn config_maps(context: &Context, chain: &ImageChain) -> BTreeMap<String, ConfigMapFact> {
    let namespace = chain.namespace().unwrap_or_default();
    let fact = |name: String| {
        let user = context.user();
        let what_to_do = || access::forbidden(user, &namespace, ObjectKind::ConfigMap, &name).message;
        let fact = context.stores.named.config_map(&Key::new(&namespace, &name), what_to_do);
        (name, fact)
    };
    chain::config_map_sources(&chain.spec).into_iter().map(fact).collect()
}

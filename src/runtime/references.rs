//! The objects of tenants that chains and builds name: which are watched for whom, and what follows for look-ups that
//! failed for lack of one.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::{
    context::Context,
    lookups::Scope,
    named::{Named, Object, User},
    store::Key,
};
use crate::{
    api::{build::ImageBuild, chain::ImageChain, condition::Reason},
    plan::{
        chain::config_map_sources,
        dependency::Dependency,
        lookup::{Known, Subject},
        object::{NamespaceRole, ObjectKind, ObjectRef},
        valid::ValidBuild,
    },
};

/// Watches what a build names, until it has ended.
pub fn subscribe_build(named: &Named, object: &ImageBuild, valid: &ValidBuild) {
    let namespace = object.namespace().unwrap_or_default();
    // The Secret of the staging repository is not the tenant's, and is not watched.
    let all = if object.is_finished() { BTreeSet::new() } else { valid.recipe.dependencies(None) };
    let objects = all.iter().filter_map(|each| watched(each, &namespace)).collect();
    named.need(User::Build(Key::of(object)), objects);
}

/// The object that a dependency is, if the operator may watch it.
#[must_use]
pub fn watched(dependency: &Dependency, namespace: &str) -> Option<Object> {
    match dependency {
        Dependency::Object(ObjectRef { namespace: NamespaceRole::Tenant, kind, name }) => {
            Some(Object { kind: *kind, key: Key::new(namespace, name) })
        }
        _ => None,
    }
}

/// Watches what a chain needs: its `ConfigMap`s, and the Secrets for lack of which something failed.
pub fn subscribe_chain(context: &Context, chain: &ImageChain, scope: &Scope) {
    let namespace = chain.namespace().unwrap_or_default();
    let object = |kind, name: &str| Object { kind, key: Key::new(&namespace, name) };
    let maps = config_map_sources(&chain.spec).into_iter().map(|name| object(ObjectKind::ConfigMap, &name));
    let secrets = lacking_secrets(context, scope).into_iter().map(|(secret, ..)| object(ObjectKind::Secret, &secret));
    context.stores.named.need(User::Chain(Key::of(chain)), maps.chain(secrets).collect());
}

/// Forgets failures for lack of a Secret that is another now: it is asked again.
pub fn forget_mended(context: &Context, chain: &ImageChain, scope: &Scope) {
    let namespace = chain.namespace().unwrap_or_default();
    for (secret, reason, used) in lacking_secrets(context, scope) {
        let object = Object { kind: ObjectKind::Secret, key: Key::new(&namespace, &secret) };
        let Known::Value(now) = context.stores.named.version(&object) else { continue };
        // To be allowed to see that there is none is news as well.
        let granted = reason == Reason::AccessNotGranted && !context.stores.named.is_forbidden(&object);
        if granted || now != used {
            let uses_it = |subject: &Subject| subject.secret() == Some(&secret);
            context.remote.answers.forget(scope, |subject, answer| answer.result.is_err() && uses_it(subject));
            context.remote.promotions.forget(scope, |promotion, answer| {
                answer.result.is_err() && promotion.destination.secret() == Some(&secret)
            });
        }
    }
}

/// The Secrets that failed questions used, with the reasons, and the versions that they had.
fn lacking_secrets(context: &Context, scope: &Scope) -> Vec<(String, Reason, Option<String>)> {
    let asked = context.remote.answers.lacking(scope).into_iter();
    let asked = asked.filter_map(|(subject, reason, version)| Some((subject.secret()?.to_owned(), reason, version)));
    let promoted = context.remote.promotions.lacking(scope).into_iter();
    let promoted = promoted
        .filter_map(|(promotion, reason, version)| Some((promotion.destination.secret()?.to_owned(), reason, version)));
    asked.chain(promoted).collect()
}

//! What follows from an event of a profile.

use kube::ResourceExt;

use crate::{
    api::profile::BuildProfile,
    runtime::{
        context::{Context, Remote},
        lookups::Scope,
        store::Key,
        watch::Change,
    },
};

pub(super) fn on_event(context: &Context, change: &Change<BuildProfile>) {
    let Context { stores, queues, .. } = context;
    let old = stores.profiles.take(change);
    let (Change::Applied(profile) | Change::Deleted(profile)) = change else { return };
    if change.is_echo(old.as_deref()) {
        return;
    }
    let name = profile.name_any();
    queues.profiles.add(Key::new("", &name));
    let is_status = |old: &BuildProfile| old.uid() == profile.uid() && old.spec == profile.spec;
    if matches!(change, Change::Applied(_)) && old.as_deref().is_some_and(is_status) {
        return;
    }
    stores.keep_pod_streams();
    for chain in stores.chains.all() {
        if chain.spec.profiles.iter().any(|each| each.0 == name) {
            forget_failures(context, chain.uid().unwrap_or_default(), &name);
            queues.enqueue_chain(&chain, old.is_some());
        }
    }
    queues.enqueue_builds(stores, |build| build.spec.profile.0 == name);
}

/// What failed in the way that the profile named may not fail in another.
fn forget_failures(context: &Context, uid: String, profile: &str) {
    let scope = Scope { uid, ..Scope::default() };
    let Remote { answers, promotions, .. } = &context.remote;
    answers.forget(&scope, |subject, answer| answer.result.is_err() && subject.profile() == profile);
    promotions.forget(&scope, |promotion, answer| answer.result.is_err() && promotion.profile == profile);
}

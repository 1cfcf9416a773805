//! What follows from an event of a profile.

use kube::ResourceExt;

use crate::{
    api::profile::BuildProfile,
    runtime::{context::Context, store::Key, watch::Change},
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
            queues.enqueue_chain(&chain, old.is_some());
        }
    }
    queues.enqueue_builds(stores, |build| build.spec.profile.0 == name);
}

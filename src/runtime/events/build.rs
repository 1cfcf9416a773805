//! What follows from an event of a build.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;

use crate::{
    api::build::ImageBuild,
    runtime::{context::Context, store::Key, sweep, watch::Change},
};

pub(super) fn on_event(context: &Arc<Context>, change: &Change<ImageBuild>) {
    let Context { stores, queues, places, .. } = context.as_ref();
    let old = stores.builds.take(change);
    let (Change::Applied(build) | Change::Deleted(build)) = change else { return };
    if change.is_echo(old.as_deref()) {
        return;
    }
    queues.enqueue_build(build, old.is_some());
    if matches!(change, Change::Deleted(_)) {
        queues.enqueue_chain_of(build, Duration::ZERO);
        places.forget(&Key::of(build.as_ref()));
        queues.enqueue_line(stores, &build.spec.profile.0);
        stores.forget_facts(&build.uid().unwrap_or_default());
        tokio::spawn(sweep::after(Arc::clone(context), Arc::clone(build)));
        return;
    }
    queues.notify_chain(stores, old.as_deref(), build);
    if let Some(old) = &old {
        queues.notify_line(stores, old, build);
    }
}

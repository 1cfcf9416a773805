//! What follows from an event of a chain.

use kube::ResourceExt;

use crate::{
    api::chain::ImageChain,
    plan::chain::OtherChain,
    runtime::{context::Context, store::Key, watch::Change},
};

pub(super) fn on_event(context: &Context, change: &Change<ImageChain>) {
    let Context { stores, queues, remote, .. } = context;
    let old = stores.chains.take(change);
    let (Change::Applied(chain) | Change::Deleted(chain)) = change else { return };
    if change.is_echo(old.as_deref()) {
        return;
    }
    queues.enqueue_rivals(stores, &Key::of(chain.as_ref()));
    queues.enqueue_chain(chain, old.is_some());
    let gone = matches!(change, Change::Deleted(_));
    if gone {
        let uid = chain.uid().unwrap_or_default();
        remote.answers.drop_all(&uid);
        remote.promotions.drop_all(&uid);
    }
    let generation = |chain: &ImageChain| (chain.uid(), chain.metadata.generation);
    if gone || old.as_deref().map(generation) != Some(generation(chain)) {
        queues.enqueue_unfinished(&stores.builds.members(&chain.uid().unwrap_or_default()));
    }
    if gone || old.as_deref().map(OtherChain::of) != Some(OtherChain::of(chain)) {
        queues.enqueue_dependents(stores, chain);
    }
}

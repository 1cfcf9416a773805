//! What follows from an event of a node. Nodes change all the time: what matters is whether they answer, and what they
//! have for whom.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

use super::pod::{enqueue_build_of, enqueue_unplaced};
use crate::{
    outcome::node,
    plan::slots,
    runtime::{context::Context, watch::Change},
};

pub(super) fn on_event(context: &Context, change: &Change<Node>) {
    let Context { stores, queues, .. } = context;
    let old = stores.nodes.take(change);
    let (Change::Applied(node) | Change::Deleted(node)) = change else { return };
    let gone = matches!(change, Change::Deleted(_));
    if gone || old.as_deref().map(offer) != Some(offer(node)) {
        queues.enqueue_builds(stores, slots::waits);
        enqueue_unplaced(stores, queues);
    }
    if !gone && node::down_since(old.as_deref()) == node::down_since(Some(node)) {
        return;
    }
    let name = node.name_any();
    let on_it = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
    let pods = stores.pods.all();
    pods.iter().filter(|pod| on_it(pod)).for_each(|pod| enqueue_build_of(queues, pod, Duration::ZERO));
}

/// What decides which pods find room on a node, beside those that are there.
type Offer<'n> = (Option<&'n BTreeMap<String, String>>, Option<&'n Vec<Taint>>, Option<&'n BTreeMap<String, Quantity>>);

fn offer(node: &Node) -> Offer<'_> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    (node.metadata.labels.as_ref(), taints, allocatable)
}

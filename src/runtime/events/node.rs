//! What follows from an event of a node. Nodes change all the time: what matters is whether they answer.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::pod::enqueue_build_of;
use crate::{
    outcome::node,
    runtime::{context::Context, watch::Change},
};

pub(super) fn on_event(context: &Context, change: &Change<Node>) {
    let Context { stores, queues, .. } = context;
    let old = stores.nodes.take(change);
    let (Change::Applied(node) | Change::Deleted(node)) = change else { return };
    let gone = matches!(change, Change::Deleted(_));
    if !gone && node::down_since(old.as_deref()) == node::down_since(Some(node)) {
        return;
    }
    let name = node.name_any();
    let on_it = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
    let pods = stores.pods.all();
    pods.iter().filter(|pod| on_it(pod)).for_each(|pod| enqueue_build_of(queues, pod, Duration::ZERO));
}

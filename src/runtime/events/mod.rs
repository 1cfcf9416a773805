//! Watch events: the stores take over what changed, and everything that depends on it is enqueued. Each kind has a file.

mod build;
mod chain;
mod named;
mod namespace;
mod node;
mod pod;
mod profile;

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::PartialObjectMeta;

use super::{context::Context, named::Object, watch::Change};
use crate::api::{build::ImageBuild, chain::ImageChain, profile::BuildProfile};

/// What a watch brought.
#[derive(Debug)]
pub enum Event {
    /// Of a chain.
    Chain(Change<ImageChain>),
    /// Of a build.
    Build(Change<ImageBuild>),
    /// Of a profile.
    Profile(Change<BuildProfile>),
    /// Of a namespace.
    Namespace(Change<PartialObjectMeta<Namespace>>),
    /// Of a node.
    Node(Change<Node>),
    /// Of a pod, in that namespace.
    Pod(String, Change<Pod>),
    /// Of an object that a chain or a build names.
    Named(Object),
}

/// Handles events until all watches have ended.
pub async fn follow(context: Arc<Context>, mut events: BoxStream<'static, Event>) {
    while let Some(event) = events.next().await {
        handle(&context, &event);
    }
}

fn handle(context: &Arc<Context>, event: &Event) {
    match event {
        Event::Chain(change) => chain::on_event(context, change),
        Event::Build(change) => build::on_event(context, change),
        Event::Profile(change) => profile::on_event(context, change),
        Event::Namespace(change) => namespace::on_event(context, change),
        Event::Node(change) => node::on_event(context, change),
        Event::Pod(namespace, change) => pod::on_event(context, namespace, change),
        Event::Named(object) => named::on_event(context, object),
    }
}

//! What a change of one object means for others: who is to be looked at.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{Resource, ResourceExt, core::PartialObjectMeta};

use super::{
    named::{Object, User},
    store::Key,
    sweep,
    watch::Change,
    world::{World, standing_on},
};
use crate::{
    api::{
        BUILD_LABEL, BUILD_NAMESPACE_LABEL, PROFILE_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile,
    },
    outcome::{node, pod::observe},
    plan::chain::OtherChain,
};

/// Progress of a pod is told so late to its build, and that of a build to its chain: several steps are one status
/// then. What decides anything is told at once.
const PROGRESS: Duration = Duration::from_secs(1);

/// What a watch brought.
#[derive(Debug)]
pub enum News {
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
    /// Of an object that somebody needs.
    Named(Object),
}

/// Follows the watches.
pub async fn follow(world: Arc<World>, mut news: BoxStream<'static, News>) {
    while let Some(news) = news.next().await {
        world.hear(&news);
    }
}

impl World {
    /// Notes what changed, and asks for looks at all that depends on it.
    fn hear(self: &Arc<Self>, news: &News) {
        match news {
            News::Chain(change) => self.hear_of_chain(change),
            News::Build(change) => self.hear_of_build(change),
            News::Profile(change) => self.hear_of_profile(change),
            News::Namespace(change) => self.hear_of_namespace(change),
            News::Node(change) => self.hear_of_node(change),
            News::Pod(namespace, change) => self.hear_of_pod(namespace, change),
            News::Named(object) => self.hear_of_named(object),
        }
    }

    fn hear_of_chain(&self, change: &Change<ImageChain>) {
        let old = self.chains.take(change);
        let (Change::Applied(chain) | Change::Deleted(chain)) = change else { return };
        if is_echo(change, old.as_deref()) {
            return;
        }
        self.claim(&Key::of(chain.as_ref()));
        self.works.look_at_chain(chain, old.is_some());
        let gone = matches!(change, Change::Deleted(_));
        if gone {
            let uid = chain.uid().unwrap_or_default();
            self.answers.drop_all(&uid);
            self.promotions.drop_all(&uid);
        }
        let generation = |chain: &ImageChain| (chain.uid(), chain.metadata.generation);
        if gone || old.as_deref().map(generation) != Some(generation(chain)) {
            self.look_at(&self.builds.members(&chain.uid().unwrap_or_default()));
        }
        if gone || old.as_deref().map(OtherChain::of) != Some(OtherChain::of(chain)) {
            self.look_at_dependents(chain);
        }
    }

    /// The chains that stand on links of this one.
    pub(super) fn look_at_dependents(&self, chain: &ImageChain) {
        let own = Key::of(chain);
        for other in self.chains.members(&standing_on(&own.namespace, &own.name)) {
            self.works.chains.add(Key::of(other.as_ref()));
        }
    }

    fn hear_of_build(self: &Arc<Self>, change: &Change<ImageBuild>) {
        let old = self.builds.take(change);
        let (Change::Applied(build) | Change::Deleted(build)) = change else { return };
        if is_echo(change, old.as_deref()) {
            return;
        }
        self.works.look_at_build(build, old.is_some());
        if matches!(change, Change::Deleted(_)) {
            self.look_at_chain_of(build, Duration::ZERO);
            self.places.forget(&Key::of(build.as_ref()));
            self.forget_facts(&build.uid().unwrap_or_default());
            tokio::spawn(sweep::after(Arc::clone(self), Arc::clone(build)));
            return;
        }
        self.tell_chain(old.as_deref(), build);
    }

    /// Asks for a look at the chain of a build, if the change matters to it: at once if the build has ended.
    pub fn tell_chain(&self, old: Option<&ImageBuild>, build: &ImageBuild) {
        let Some(now) = self.facts(build) else { return };
        let before = old.and_then(crate::plan::chain::BuildFacts::of);
        match &before {
            // The first that is heard of it: its chain knows the end of it, as far as its own status tells.
            None if now.is_finished() => {
                if let Some(chain) = self.chain_of(build) {
                    self.works.look_at_chain(&chain, false);
                }
            }
            None => self.look_at_chain_of(build, Duration::ZERO),
            Some(before) if before == now.as_ref() => {}
            Some(_) => self.look_at_chain_of(build, if now.is_finished() { Duration::ZERO } else { PROGRESS }),
        }
    }

    fn look_at_chain_of(&self, build: &ImageBuild, pause: Duration) {
        if let Some(chain) = &build.spec.chain_ref {
            let key = Key::new(&build.namespace().unwrap_or_default(), &chain.name.0);
            self.works.chains.add_after(key, pause);
        }
    }

    fn hear_of_profile(&self, change: &Change<BuildProfile>) {
        let old = self.profiles.take(change);
        let (Change::Applied(profile) | Change::Deleted(profile)) = change else { return };
        if is_echo(change, old.as_deref()) {
            return;
        }
        let name = profile.name_any();
        self.works.profiles.add(Key::new("", &name));
        let is_status = |old: &BuildProfile| old.uid() == profile.uid() && old.spec == profile.spec;
        if matches!(change, Change::Applied(_)) && old.as_deref().is_some_and(is_status) {
            return;
        }
        self.keep_pod_streams();
        for chain in self.chains.all() {
            if chain.spec.profiles.iter().any(|each| each.0 == name) {
                self.works.look_at_chain(&chain, old.is_some());
            }
        }
        self.look_at_builds(|build| build.spec.profile.0 == name);
    }

    fn hear_of_namespace(&self, change: &Change<PartialObjectMeta<Namespace>>) {
        let old = self.namespaces.take(change);
        let (Change::Applied(namespace) | Change::Deleted(namespace)) = change else { return };
        let same = |old: &PartialObjectMeta<Namespace>| old.labels() == namespace.labels();
        if matches!(change, Change::Applied(_)) && old.as_deref().is_some_and(same) {
            return;
        }
        self.keep_pod_streams();
        let name = namespace.name_any();
        for profile in self.profiles.all() {
            if profile.spec.execution_namespace.0 == name {
                self.works.profiles.add(Key::of(profile.as_ref()));
                self.look_at_builds(|build| build.spec.profile.0 == profile.name_any());
            }
        }
        self.look_at_builds(|build| build.namespace().as_ref() == Some(&name));
    }

    fn hear_of_pod(&self, namespace: &str, change: &Change<Pod>) {
        let old = self.pods.take(change);
        let (Change::Applied(pod) | Change::Deleted(pod)) = change else {
            return self.look_at_builds(|build| {
                let profile = self.profiles.get(&Key::new("", &build.spec.profile.0));
                profile.is_none_or(|profile| profile.spec.execution_namespace.0 == namespace)
            });
        };
        if is_echo(change, old.as_deref()) {
            return;
        }
        let is_progress = matches!(change, Change::Applied(_)) && observe(pod).is_progress();
        self.look_at_build_of(pod, if is_progress { PROGRESS } else { Duration::ZERO });
        let waiting = self.places.waiting(label(pod, PROFILE_LABEL));
        for build in waiting {
            self.works.builds.add(build);
        }
    }

    fn look_at_build_of(&self, pod: &Pod, pause: Duration) {
        let key = Key::new(label(pod, BUILD_NAMESPACE_LABEL), label(pod, BUILD_LABEL));
        self.works.builds.add_after(key, pause);
    }

    /// Nodes change all the time: what matters is whether they answer.
    fn hear_of_node(&self, change: &Change<Node>) {
        let old = self.nodes.take(change);
        let (Change::Applied(node) | Change::Deleted(node)) = change else { return };
        let gone = matches!(change, Change::Deleted(_));
        if !gone && node::down_since(old.as_deref()) == node::down_since(Some(node)) {
            return;
        }
        let name = node.name_any();
        let on_it = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
        self.pods.all().iter().filter(|pod| on_it(pod)).for_each(|pod| self.look_at_build_of(pod, Duration::ZERO));
    }

    fn hear_of_named(&self, object: &Object) {
        for user in self.named.users_of(object) {
            match user {
                User::Chain(key) => self.works.chains.add(key),
                User::Build(key) => self.works.builds.add(key),
            }
        }
    }

    /// Asks for a look at those builds of all that have not ended.
    fn look_at_builds(&self, is_meant: impl Fn(&ImageBuild) -> bool) {
        let mut builds = self.builds.all();
        builds.retain(|build| is_meant(build));
        self.look_at(&builds);
    }

    /// Asks for a look at those of some builds that have not ended.
    fn look_at(&self, builds: &[Arc<ImageBuild>]) {
        for build in builds.iter().filter(|build| !build.is_finished()) {
            self.works.builds.add(Key::of(build.as_ref()));
        }
    }
}

fn label<'p>(pod: &'p Pod, name: &str) -> &'p str {
    pod.labels().get(name).map(String::as_str).unwrap_or_default()
}

/// Whether a watch only repeats what is known: what we wrote ourselves, or a list after a gap.
fn is_echo<K: Resource>(change: &Change<K>, old: Option<&K>) -> bool {
    let (Change::Applied(object), Some(old)) = (change, old) else { return false };
    old.uid() == object.uid() && old.resource_version() == object.resource_version()
}

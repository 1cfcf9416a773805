//! Copies of what is in the cluster, and all that is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{ResourceExt, core::PartialObjectMeta};

use super::{
    claims::Claims,
    health::State,
    named::Named,
    store::{Key, Store},
    watch::Group,
};
use crate::{
    api::{BUILD_UID_LABEL, EXECUTION_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::{
        access::{self, Labels},
        chain::{BuildFacts, Claim, Owner},
        recipe::OutputKey,
        resolve::ProfileFact,
    },
};

/// The facts of a build, with the version that they are of.
type Known = (Option<String>, Arc<BuildFacts>);

/// The stores of all kinds, and what was found out from them.
#[derive(Debug)]
pub struct Stores {
    /// Chains, by namespace, and by the chains that they stand on.
    pub chains: Store<ImageChain>,
    /// Builds, by the UID of their chain.
    pub builds: Store<ImageBuild>,
    /// Profiles.
    pub profiles: Store<BuildProfile>,
    /// Namespaces: their labels.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Pods, by the UID of their build.
    pub pods: Store<Pod>,
    /// Nodes: whether they answer.
    pub nodes: Store<Node>,
    /// The watches of the namespaces that pods are in.
    pub pod_streams: Group<String, Pod>,
    /// Single objects of tenants.
    pub named: Named,
    /// Facts of builds by UID.
    facts: Mutex<HashMap<String, Known>>,
    /// The tags that chains claim.
    claims: Claims,
    /// Builds that have the name of a chain's, but are not the chain's.
    strangers: Mutex<BTreeSet<Key>>,
}

impl Stores {
    /// Stores that are empty.
    #[must_use]
    pub fn new(pod_streams: Group<String, Pod>, named: Named) -> Self {
        Self {
            chains: Store::new(groups),
            builds: Store::new(|build: &ImageBuild| {
                build.spec.chain_ref.iter().map(|owner| owner.uid.clone()).collect()
            }),
            profiles: Store::new(|_| BTreeSet::new()),
            namespaces: Store::new(|_| BTreeSet::new()),
            pods: Store::new(|pod: &Pod| pod.labels().get(BUILD_UID_LABEL).cloned().into_iter().collect()),
            nodes: Store::new(|_| BTreeSet::new()),
            pod_streams,
            named,
            facts: Mutex::default(),
            claims: Claims::default(),
            strangers: Mutex::default(),
        }
    }

    /// Notes that the name of a chain's build is taken by somebody else's.
    pub fn met_stranger(&self, build: Key) {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).insert(build);
    }

    /// The names of builds that a chain cannot make, since somebody else's are there still.
    #[must_use]
    pub fn strangers(&self, chain: &ImageChain) -> BTreeSet<String> {
        let mut all = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|key| self.builds.get(key).is_some());
        let namespace = chain.namespace().unwrap_or_default();
        all.iter().filter(|key| key.namespace == namespace).map(|key| key.name.clone()).collect()
    }

    /// The chain that a build was made for, if it is there still.
    #[must_use]
    pub fn chain_of(&self, build: &ImageBuild) -> Option<Arc<ImageChain>> {
        let reference = build.spec.chain_ref.as_ref()?;
        let chain = self.chains.get(&Key::new(&build.namespace()?, &reference.name.0))?;
        (chain.uid().as_ref() == Some(&reference.uid)).then_some(chain)
    }

    /// What is known of a profile.
    #[must_use]
    pub fn profile(&self, name: &str) -> ProfileFact {
        access::profile_fact(self.profiles.get(&Key::new("", name)).as_deref())
    }

    /// The labels of a namespace, if it is there.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> Option<Labels> {
        self.namespaces.get(&Key::new("", namespace)).map(|namespace| namespace.labels().clone())
    }

    /// How the watch of the pods in a namespace is doing, and whether its copy was complete once.
    #[must_use]
    pub fn pods_in(&self, namespace: &str) -> (State, bool) {
        let watched = self.pod_streams.get(&namespace.to_owned());
        watched.map_or((State::Starting, false), |watched| (watched.health.state(), watched.health.is_synced()))
    }

    /// The facts of the builds of a chain, by name.
    #[must_use]
    pub fn facts_of(&self, chain_uid: &str) -> BTreeMap<String, BuildFacts> {
        let builds = self.builds.members(chain_uid);
        let facts = builds.iter().filter_map(|build| self.facts(build));
        facts.map(|facts| (facts.name.clone(), facts.as_ref().clone())).collect()
    }

    /// The facts of a build of a chain; to find them out takes long enough to keep them.
    #[must_use]
    pub fn facts(&self, build: &ImageBuild) -> Option<Arc<BuildFacts>> {
        let (uid, version) = (build.uid()?, build.resource_version());
        if let Some((_, known)) = self.all_facts().get(&uid).filter(|(of, _)| *of == version) {
            return Some(Arc::clone(known));
        }
        let facts = Arc::new(BuildFacts::of(build)?);
        self.all_facts().insert(uid, (version, Arc::clone(&facts)));
        Some(facts)
    }

    /// Forgets the facts of a build that is gone.
    pub fn forget_facts(&self, uid: &str) {
        self.all_facts().remove(uid);
    }

    /// The chains that have links that stand on links of this one.
    #[must_use]
    pub fn dependents(&self, chain: &ImageChain) -> Vec<Arc<ImageChain>> {
        self.chains.members(&standing_on(&chain.namespace().unwrap_or_default(), &chain.name_any()))
    }

    /// Notes what a chain claims and holds, as its store has it. Where that is not what it was, the answer is which
    /// chains claim some of the same tags.
    #[must_use]
    pub fn claim(&self, key: &Key) -> BTreeSet<Key> {
        self.claims.note(key, || self.chains.get(key).map(|chain| Claim::of(&chain)))
    }

    /// The tags of a chain that belong to other chains, and to which.
    #[must_use]
    pub fn taken(&self, chain: &ImageChain) -> BTreeMap<OutputKey, Owner> {
        self.claims.taken(&Claim::of(chain))
    }

    /// Every namespace that pods may be in: those that profiles name, and those that are labelled so.
    pub fn keep_pod_streams(&self) {
        let named = self.profiles.all().into_iter().map(|profile| profile.spec.execution_namespace.to_string());
        let labelled = self
            .namespaces
            .all()
            .into_iter()
            .filter(|namespace| namespace.labels().get(EXECUTION_LABEL).is_some_and(|label| label == "true"));
        self.pod_streams.keep(&named.chain(labelled.map(|namespace| namespace.name_any())).collect());
    }

    fn all_facts(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The group of the chains that stand on links of one, by its namespace and name.
fn standing_on(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn groups(chain: &ImageChain) -> BTreeSet<String> {
    let namespace = chain.namespace().unwrap_or_default();
    let parents = chain.spec.links.iter().filter_map(|link| link.from.as_ref()?.chain.as_ref());
    parents.map(|parent| standing_on(&namespace, &parent.name.0)).chain([namespace.clone()]).collect()
}

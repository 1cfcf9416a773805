//! All that the controller knows and works with, shared by the looks at all kinds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::core::v1::{Namespace, Node, Pod},
    jiff::Timestamp,
};
use kube::{Client, ResourceExt, core::PartialObjectMeta};

use super::{
    claims::Claims,
    clock,
    execute::Executor,
    health::State,
    lookups::{LookupCache, Lookups},
    named::Named,
    places::Places,
    queue::{Priority, Queue},
    store::{Key, Store},
    watch::Group,
};
use crate::{
    api::{BUILD_UID_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::{
        access::{self, Labels},
        chain::{BuildFacts, Claim, Promotion, is_at_rest},
        lookup::Subject,
        recipe::OutputKey,
        resolve::ProfileFact,
    },
};

/// What is due, of each kind.
#[derive(Clone, Debug, Default)]
pub struct Works {
    /// Chains.
    pub chains: Arc<Queue<Key>>,
    /// Builds.
    pub builds: Arc<Queue<Key>>,
    /// Profiles.
    pub profiles: Arc<Queue<Key>>,
}

/// The facts of a build, with the version that they are of.
type Known = (Option<String>, Arc<BuildFacts>);

/// What the controller knows and works with.
pub struct World {
    /// Reads that no cache can answer.
    pub client: Client,
    /// Writes.
    pub execute: Executor,
    /// Asks registries and git servers.
    pub lookups: Lookups,
    /// What they said.
    pub answers: LookupCache<Subject>,
    /// What became of promotions.
    pub promotions: LookupCache<Promotion>,
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
    /// The places that profiles limit.
    pub places: Places,
    /// What is due.
    pub works: Works,
    /// The operator's own image.
    pub operator_image: String,
    /// Facts of builds by UID.
    facts: Mutex<HashMap<String, Known>>,
    /// The tags that chains claim.
    claims: Claims,
    /// Builds that have the name of a chain's, but are not the chain's.
    strangers: Mutex<BTreeSet<Key>>,
    /// Since when this process looks at the cluster.
    pub since: Timestamp,
}

impl Works {
    /// Asks for a look at a chain. One that is known already has changed; of another its status tells whether that
    /// is urgent.
    pub(super) fn look_at_chain(&self, chain: &ImageChain, is_known: bool) {
        self.chains.add_with_priority(Key::of(chain), priority(!is_known && is_at_rest(chain)));
    }

    /// The same of a build.
    pub(super) fn look_at_build(&self, build: &ImageBuild, is_known: bool) {
        self.builds.add_with_priority(Key::of(build), priority(!is_known && build.is_finished()));
    }
}

const fn priority(is_at_rest: bool) -> Priority {
    if is_at_rest { Priority::Last } else { Priority::First }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").finish_non_exhaustive()
    }
}

/// What a world is made with.
pub struct Parts {
    /// Reads that no cache can answer.
    pub client: Client,
    /// Writes.
    pub execute: Executor,
    /// Asks registries and git servers.
    pub lookups: Lookups,
    /// The watches of the namespaces that pods are in.
    pub pod_streams: Group<String, Pod>,
    /// Single objects of tenants.
    pub named: Named,
    /// The operator's own image.
    pub operator_image: String,
}

impl World {
    /// A world in which nothing is known yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { client, execute, lookups, pod_streams, named, operator_image } = parts;
        Self {
            client,
            execute,
            lookups,
            answers: LookupCache::default(),
            promotions: LookupCache::default(),
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
            places: Places::default(),
            works: Works::default(),
            operator_image,
            facts: Mutex::default(),
            claims: Claims::default(),
            strangers: Mutex::default(),
            since: clock::now(),
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

    /// Notes what a chain claims and holds, as the cache has it. Where that is not what it was, whoever claims some of
    /// the same tags looks again.
    pub fn claim(&self, key: &Key) {
        for rival in self.claims.note(key, || self.chains.get(key).map(|chain| Claim::of(&chain))) {
            self.works.chains.add(rival);
        }
    }

    /// The tags of a chain that belong to other chains.
    #[must_use]
    pub fn taken(&self, chain: &ImageChain) -> BTreeSet<OutputKey> {
        self.claims.taken(&Claim::of(chain))
    }

    /// Every namespace that pods may be in: those that profiles name, and those that are labelled so.
    pub fn keep_pod_streams(&self) {
        let named = self.profiles.all().into_iter().map(|profile| profile.spec.execution_namespace.to_string());
        let labelled = self.namespaces.all().into_iter().filter(|namespace| {
            namespace.labels().get(crate::api::EXECUTION_LABEL).is_some_and(|label| label == "true")
        });
        self.pod_streams.keep(&named.chain(labelled.map(|namespace| namespace.name_any())).collect());
    }

    /// Asks for a look at everything.
    pub fn look_at_all(&self) {
        self.chains.all().iter().for_each(|chain| self.works.look_at_chain(chain, false));
        self.builds.all().iter().for_each(|build| self.works.look_at_build(build, false));
        self.profiles.all().iter().for_each(|profile| self.works.profiles.add(Key::of(profile.as_ref())));
    }

    fn all_facts(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The group of the chains that stand on links of one, by its namespace and name.
pub(super) fn standing_on(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn groups(chain: &ImageChain) -> BTreeSet<String> {
    let namespace = chain.namespace().unwrap_or_default();
    let parents = chain.spec.links.iter().filter_map(|link| link.from.as_ref()?.chain.as_ref());
    parents.map(|parent| standing_on(&namespace, &parent.name.0)).chain([namespace.clone()]).collect()
}

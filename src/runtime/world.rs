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
    cache::{Kept, Key},
    clock,
    drive::Work,
    execute::Executor,
    health::State,
    lookups::{Asked, Lookups},
    named::Named,
    places::Places,
    watch::Group,
};
use crate::{
    api::{BUILD_UID_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::{
        access::Labels,
        chain::{BuildFacts, Claim, Promotion, taken},
        image::{Repository, Tag},
        lookup::Subject,
        resolve::ProfileFact,
        validate,
    },
};

/// What is due, of each kind.
#[derive(Clone, Debug, Default)]
pub struct Works {
    /// Chains.
    pub chains: Arc<Work>,
    /// Builds.
    pub builds: Arc<Work>,
    /// Profiles.
    pub profiles: Arc<Work>,
}

/// What the controller knows and works with.
pub struct World {
    /// Reads that no cache can answer.
    pub client: Client,
    /// Writes.
    pub execute: Executor,
    /// Asks registries and git servers.
    pub lookups: Lookups,
    /// What they said.
    pub answers: Asked<Subject>,
    /// What became of promotions.
    pub promotions: Asked<Promotion>,
    /// Chains, by namespace.
    pub chains: Kept<ImageChain>,
    /// Builds, by the UID of their chain.
    pub builds: Kept<ImageBuild>,
    /// Profiles.
    pub profiles: Kept<BuildProfile>,
    /// Namespaces: their labels.
    pub namespaces: Kept<PartialObjectMeta<Namespace>>,
    /// Pods, by the UID of their build.
    pub pods: Kept<Pod>,
    /// Nodes: whether they answer.
    pub nodes: Kept<Node>,
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
    /// Facts of builds by UID, with the version that they are of.
    facts: Mutex<HashMap<String, (Option<String>, BuildFacts)>>,
    /// The tags that chains claim.
    claims: Mutex<HashMap<Key, Claim>>,
    /// Builds that have the name of a chain's, but are not the chain's.
    strangers: Mutex<BTreeSet<Key>>,
    /// Since when this process looks at the cluster.
    pub since: Timestamp,
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
            answers: Asked::default(),
            promotions: Asked::default(),
            chains: Kept::new(|chain: &ImageChain| chain.namespace()),
            builds: Kept::new(|build: &ImageBuild| Some(build.spec.chain_ref.as_ref()?.uid.clone())),
            profiles: Kept::new(|_| None),
            namespaces: Kept::new(|_| None),
            pods: Kept::new(|pod: &Pod| pod.labels().get(BUILD_UID_LABEL).cloned()),
            nodes: Kept::new(|_| None),
            pod_streams,
            named,
            places: Places::default(),
            works: Works::default(),
            operator_image,
            facts: Mutex::default(),
            claims: Mutex::default(),
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
        let Some(profile) = self.profiles.get(&Key::new("", name)) else { return ProfileFact::Missing };
        match validate::profile(&profile) {
            Ok(valid) => ProfileFact::Usable(Box::new(valid)),
            Err(problems) => {
                let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
                ProfileFact::Invalid(all.join("; "))
            }
        }
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
        builds.iter().filter_map(|build| self.facts(build)).map(|facts| (facts.name.clone(), facts)).collect()
    }

    /// The facts of a build of a chain; to find them out takes long enough to keep them.
    #[must_use]
    pub fn facts(&self, build: &ImageBuild) -> Option<BuildFacts> {
        let (uid, version) = (build.uid()?, build.resource_version());
        if let Some((_, known)) = self.all_facts().get(&uid).filter(|(of, _)| *of == version) {
            return Some(known.clone());
        }
        let facts = BuildFacts::of(build)?;
        self.all_facts().insert(uid, (version, facts.clone()));
        Some(facts)
    }

    /// Forgets the facts of a build that is gone.
    pub fn forget_facts(&self, uid: &str) {
        self.all_facts().remove(uid);
    }

    /// Notes what a chain claims and holds, as the cache has it. Where that is not what it was, whoever claims some of
    /// the same tags looks again.
    pub fn claim(&self, key: &Key) {
        let mut claims = self.all_claims();
        // The cache is read under the lock: who comes last has seen the latest.
        let claim = self.chains.get(key).map(|chain| Claim::of(&chain));
        let before = match claim.clone() {
            Some(claim) => claims.insert(key.clone(), claim),
            None => claims.remove(key),
        };
        if before == claim {
            return;
        }
        let tags: BTreeSet<_> = [before, claim].into_iter().flatten().flat_map(|claim| claim.tags).collect();
        let rivals = claims.iter().filter(|(other, claim)| *other != key && !claim.tags.is_disjoint(&tags));
        rivals.for_each(|(rival, _)| self.works.chains.queue.add(rival.clone()));
    }

    /// The tags of a chain that belong to other chains.
    #[must_use]
    pub fn taken(&self, chain: &ImageChain) -> BTreeSet<(Repository, Tag)> {
        taken(&Claim::of(chain), self.all_claims().values())
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
        self.chains.all().iter().for_each(|chain| self.works.chains.queue.add(Key::of(chain.as_ref())));
        self.builds.all().iter().for_each(|build| self.works.builds.queue.add(Key::of(build.as_ref())));
        self.profiles.all().iter().for_each(|profile| self.works.profiles.queue.add(Key::of(profile.as_ref())));
    }

    fn all_facts(&self) -> MutexGuard<'_, HashMap<String, (Option<String>, BuildFacts)>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_claims(&self) -> MutexGuard<'_, HashMap<Key, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A small world in which the decisions are carried out: an API server, git, a registry, pods and operators
//! that crash, see old things and get no answers. At every step it holds the operators to the invariants
//! S1 to S11 of the design, and every status to the rules of kstatus and to its schema.

// Each test program uses a part of it; and a world that cannot go on is a failed test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod invariants;
pub mod operator;
pub mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imagechain::{
    api::{
        build::{ImageBuild, Inputs},
        chain::{ImageChain, ImageChainStatus, LinkState},
        profile::BuildProfile,
    },
    plan::resolve::{content_hash, of_reference},
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use operator::Operator;
use pods::Pod;

/// The namespace of all that users make.
pub const NAMESPACE: &str = "team-a";
/// The repository in which builds stage.
pub const STAGING: &str = "r.example/staging/builds";

/// Everything there is.
#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    /// What the API server stores. Worlds share what is the same in them: the model keeps hundreds of thousands.
    pub chains: BTreeMap<String, Arc<ImageChain>>,
    pub builds: BTreeMap<String, Arc<ImageBuild>>,
    pub profiles: BTreeMap<String, Arc<BuildProfile>>,
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    pub pods: Vec<Pod>,
    /// The files of the git repository by path; a push changes some.
    pub files: BTreeMap<String, u32>,
    /// What base tags lead to.
    pub bases: BTreeMap<String, u32>,
    /// Published tags, as repository:tag, with the digest that they lead to, and files of boxes, by their address, with
    /// their own.
    pub tags: BTreeMap<String, String>,
    /// Staged digests: those that are there, and all that were ever pushed.
    pub staged: BTreeSet<String>,
    pub pushed: BTreeSet<String>,
    /// What cannot be reached.
    pub outage: Outage,
    /// Whether nobody may use the profile.
    pub denied: bool,
    /// The files of each commit.
    pub commits: Arc<BTreeMap<String, BTreeMap<String, u32>>>,
    /// The links, with the version of their files, that cannot be built.
    pub broken: BTreeSet<(String, u32)>,
    /// How pods are lost, in the order in which pods are made.
    pub losses: Vec<pods::Loss>,
    /// The operators that may act.
    pub operators: Vec<Operator>,
    /// Tags and the digests that they were moved to by operators that crashed before they could write so: registry
    /// and API server have no common transaction.
    pub unrecorded: BTreeSet<(String, String)>,
    /// Tags that somebody else has moved or deleted, and that no operator has moved since.
    pub strayed: BTreeSet<String>,
    /// What happened, for tests to look at.
    pub log: Arc<Log>,
    versions: u64,
}

/// What cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    pub git: bool,
    pub registry: bool,
    /// Pushes are refused for lack of rights.
    pub push: bool,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The builds that were made: name and causes.
    pub builds: Vec<(String, Vec<String>)>,
    /// The pods that were made: build and attempt.
    pub pods: Vec<(String, i32)>,
    /// Every write of a tag: repository:tag and digest.
    pub promotions: Vec<(String, String)>,
    /// Writes of operators.
    pub writes: usize,
    /// How often each type of condition has changed, by object and generation.
    pub changes: BTreeMap<(String, i64, String), usize>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            now: "2026-11-21T08:00:00Z".parse().unwrap(),
            chains: BTreeMap::new(),
            builds: BTreeMap::new(),
            profiles: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            pods: Vec::new(),
            files: BTreeMap::new(),
            bases: BTreeMap::from([("r.example/debian:13".to_owned(), 1)]),
            tags: BTreeMap::new(),
            staged: BTreeSet::new(),
            pushed: BTreeSet::new(),
            outage: Outage::default(),
            denied: false,
            commits: Arc::default(),
            broken: BTreeSet::new(),
            losses: Vec::new(),
            operators: vec![Operator::default()],
            unrecorded: BTreeSet::new(),
            strayed: BTreeSet::new(),
            log: Arc::default(),
            versions: 0,
        };
        world.put_profile(json!({}));
        world
    }

    /// A new version of an object, as the API server counts them.
    pub fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// To change what happened.
    pub fn log_mut(&mut self) -> &mut Log {
        Arc::make_mut(&mut self.log)
    }

    /// To change a chain; without a new version, nobody will see it.
    pub fn chain_mut(&mut self, name: &str) -> &mut ImageChain {
        Arc::make_mut(self.chains.get_mut(name).unwrap())
    }

    /// To change a build; without a new version, nobody will see it.
    pub fn build_mut(&mut self, name: &str) -> &mut ImageBuild {
        Arc::make_mut(self.builds.get_mut(name).unwrap())
    }

    /// Makes or changes the profile `docker`.
    pub fn put_profile(&mut self, changes: Value) {
        self.put_profile_named("docker", changes);
    }

    /// Makes or changes a profile.
    pub fn put_profile_named(&mut self, name: &str, changes: Value) {
        let mut spec = json!({
            "images": {"builder": format!("r.example/builder@{}", digest(&["builder"]))},
            "executionNamespace": "builds",
            "registry": {"staging": {"repository": STAGING}},
        });
        merge(&mut spec, changes);
        let profile = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": name},
            "spec": spec,
        });
        self.profiles.insert(name.to_owned(), Arc::new(serde_json::from_value(profile).unwrap()));
    }

    /// Makes a chain or changes its spec, as `kubectl apply` does.
    pub fn apply(&mut self, name: &str, spec: Value) {
        let version = self.version();
        let spec = serde_json::from_value(spec).unwrap();
        match self.chains.get_mut(name) {
            Some(chain) if chain.spec == spec => {}
            Some(chain) => {
                let chain = Arc::make_mut(chain);
                chain.spec = spec;
                chain.metadata.generation = chain.metadata.generation.map(|generation| generation + 1);
                chain.metadata.resource_version = Some(version);
            }
            None => {
                let mut chain = ImageChain::new(name, spec);
                chain.metadata.namespace = Some(NAMESPACE.to_owned());
                chain.metadata.uid = Some(format!("uid-{version}"));
                chain.metadata.generation = Some(1);
                chain.metadata.resource_version = Some(version);
                chain.metadata.creation_timestamp = Some(self.now.into());
                self.chains.insert(name.to_owned(), Arc::new(chain));
            }
        }
    }

    /// Changes a part of a chain's spec.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut spec = serde_json::to_value(&self.chains[name].spec).unwrap();
        change(&mut spec);
        self.apply(name, spec);
    }

    pub fn annotate(&mut self, name: &str, key: &str, value: &str) {
        let version = self.version();
        let chain = self.chain_mut(name);
        chain.annotations_mut().insert(key.to_owned(), value.to_owned());
        chain.metadata.resource_version = Some(version);
    }

    pub fn annotate_build(&mut self, name: &str, key: &str, value: &str) {
        let version = self.version();
        let build = self.build_mut(name);
        build.annotations_mut().insert(key.to_owned(), value.to_owned());
        build.metadata.resource_version = Some(version);
    }

    /// Deletes a chain; the garbage collector deletes its builds, and the sweep their pods.
    pub fn delete_chain(&mut self, name: &str) {
        let Some(chain) = self.chains.remove(name) else { return };
        let uid = chain.uid().unwrap();
        self.builds.retain(|_, build| build.spec.chain_ref.as_ref().is_none_or(|chain| chain.uid != uid));
        let builds: BTreeSet<_> = self.builds.values().filter_map(|build| build.uid()).collect();
        self.pods.retain(|pod| builds.contains(&pod.build_uid));
    }

    /// A push that changes some files.
    pub fn push(&mut self, paths: &[&str]) {
        for path in paths {
            *self.files.entry((*path).to_owned()).or_default() += 1;
        }
        let commit = self.commit();
        Arc::make_mut(&mut self.commits).insert(commit, self.files.clone());
    }

    /// Takes the repository back to earlier files.
    pub fn reset(&mut self, files: BTreeMap<String, u32>) {
        self.files = files;
    }

    /// Somebody with rights on the registry moves a tag to another image, or deletes it.
    pub fn move_tag(&mut self, tag: &str, to: Option<&str>) {
        match to {
            Some(image) => drop(self.tags.insert(tag.to_owned(), digest(&[image]))),
            None => drop(self.tags.remove(tag)),
        }
        self.strayed.insert(tag.to_owned());
    }

    /// The hash of the repository's present commit.
    pub fn commit(&self) -> String {
        let all: Vec<String> = self.files.iter().map(|(path, version)| format!("{path}={version}")).collect();
        hex(&all.iter().map(String::as_str).collect::<Vec<_>>()).chars().take(40).collect()
    }

    /// Time goes on, and with it the pods.
    pub fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
        pods::progress(self);
    }

    /// Lets everything run until nothing happens any more, however far time goes on; fails where that takes
    /// too long.
    pub fn settle(&mut self) {
        let mut idle = 0;
        for round in 0..1000 {
            // The clock does not stand still for those who are busy.
            if round > 100 {
                self.now = Timestamp::from_second(self.now.as_second() + 1).unwrap();
            }
            let before = self.fingerprint();
            self.round();
            pods::progress(self);
            idle = if self.fingerprint() == before { idle + 1 } else { 0 };
            let Some(wake) = self.next_wake().filter(|_| idle < 40) else {
                if idle > 0 {
                    return self.check_rest();
                }
                continue;
            };
            if idle > 0 {
                self.now = wake;
            }
        }
        panic!("no rest: {:#?}", self.chains.values().map(|chain| &chain.status).collect::<Vec<_>>());
    }

    /// Every operator looks at everything once.
    pub fn round(&mut self) {
        for operator in 0..self.operators.len() {
            let chains: Vec<_> = self.chains.keys().cloned().collect();
            for chain in chains {
                self.reconcile_chain(operator, &chain, usize::MAX);
            }
            let builds: Vec<_> = self.builds.keys().cloned().collect();
            for build in builds {
                self.reconcile_build(operator, &build, usize::MAX);
            }
        }
    }

    /// The earliest wake of any plan, of the present facts. Who has something to do left looks again soon.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let soon = Timestamp::from_second(self.now.as_second() + 1).unwrap();
        let chains = self.chains.keys().filter_map(|chain| {
            let plan = self.plan_chain(0, chain)?;
            if plan.actions.is_empty() { plan.wake } else { Some(soon) }
        });
        let builds = self.builds.keys().filter_map(|build| self.plan_build(0, build)?.wake);
        chains.chain(builds).filter(|wake| *wake > self.now).min()
    }

    /// At rest, a plan holds no action and no other status.
    fn check_rest(&self) {
        for name in self.chains.keys() {
            let Some(plan) = self.plan_chain(0, name) else { continue };
            assert_eq!(plan.actions, vec![], "{name} is at rest");
            assert_eq!(Some(&plan.status), self.chains[name].status.as_ref(), "{name} is at rest");
            invariants::fits_schema(self.chains[name].as_ref());
        }
        // To compile the patterns of the schema takes long: the newest build stands for all.
        if let Some(build) = self.builds.values().max_by_key(|build| build.metadata.creation_timestamp.clone()) {
            invariants::fits_schema(build.as_ref());
        }
    }

    /// Changes with everything that operators and pods do.
    fn fingerprint(&self) -> (u64, usize, Vec<(String, u8)>) {
        let pods = self.pods.iter().map(|pod| (pod.uid.clone(), pod.phase)).collect();
        (self.versions, self.log.writes, pods)
    }

    pub fn status(&self, chain: &str) -> ImageChainStatus {
        self.chains[chain].status.clone().unwrap_or_default()
    }

    /// Status and reason of a condition of a chain; empty where it is absent.
    pub fn condition(&self, chain: &str, kind: &str) -> (String, String) {
        let found = self.status(chain).conditions.into_iter().find(|each| each.type_ == kind);
        found.map_or_else(Default::default, |each| (each.status, each.reason))
    }

    pub fn states(&self, chain: &str) -> Vec<(String, LinkState)> {
        self.status(chain).links.into_iter().map(|link| (link.name.0, link.state)).collect()
    }

    /// The builds that were made since a moment of the log, as `link: cause, cause`.
    pub fn made_since(&self, moment: usize) -> Vec<String> {
        let made = &self.log.builds[moment..];
        made.iter().map(|(link, causes)| format!("{link}: {}", causes.join(", "))).collect()
    }
}

/// What a build makes is a function of what it is made from.
pub fn content(link: &str, inputs: &Inputs, build: &str) -> String {
    let parent = inputs.parent.as_ref().map_or("", |parent| of_reference(&parent.0));
    digest(&[link, &inputs.files, parent, &inputs.builder.0, inputs.request.as_deref().unwrap_or(""), build])
}

/// A digest of some texts.
pub fn digest(texts: &[&str]) -> String {
    format!("sha256:{}", hex(texts))
}

/// Sixty-four hexadecimal digits for some texts, other ones for other texts.
fn hex(texts: &[&str]) -> String {
    content_hash(&texts.join("\n"))
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes,
    }
}

/// A link whose files are the folder of its name.
pub fn link(name: &str, parent: Option<&str>) -> Value {
    let from = parent.map_or_else(|| json!({"image": "r.example/debian:13"}), |parent| json!({"link": parent}));
    json!({
        "name": name,
        "from": from,
        "paths": [name],
        "build": {"packer": {"template": format!("{name}/a.json")}},
        "publish": {"image": {"repository": format!("r.example/shop/{name}"), "tags": ["1"]}},
    })
}

/// A chain over the git repository.
pub fn chain(links: &[Value]) -> Value {
    json!({
        "profiles": ["docker"],
        "source": {"git": {"url": "https://git.example/shop.git", "revision": "main"}},
        "links": links,
    })
}

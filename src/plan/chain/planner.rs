//! What must happen next with one chain, and what is collected on the way to it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{self, BuildFacts},
    scene::{Correction, Promotion, Scene},
    view::View,
};
use crate::{
    api::{build::ImageBuildSpec, chain::ImageChainStatus},
    plan::{
        key::fingerprint,
        lookup::{Knowledge, Subject},
        resolve::GitSubjects,
    },
};
use k8s_openapi::jiff::Timestamp;

/// What must happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What must be looked up; the answers belong into the next scene.
    pub lookups: Vec<Subject>,
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// The status, after that.
    pub status: ImageChainStatus,
    /// When time alone changes the plan.
    pub wake: Option<Timestamp>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make a build, in the namespace of the chain and owned by it.
    CreateBuild {
        /// Its name.
        name: String,
        /// What it asks for.
        spec: Box<ImageBuildSpec>,
    },
    /// Tell a build that a newer change made it superfluous.
    Supersede {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Why, in a sentence.
        message: String,
    },
    /// Let tags lead to a verified image; the answer belongs into the next scene.
    Promote(Promotion),
    /// Put tags that somebody else has moved back to a verified image; the answer belongs into the next scene.
    PutBack(Correction),
    /// Delete a finished build, and what it left at its staging reference.
    DeleteBuild {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// A plan in the making.
pub(super) struct Planner<'s, 'a> {
    pub scene: &'s Scene<'a>,
    /// The last request that is not empty: to remove the annotation changes nothing.
    pub token: Option<String>,
    /// Whether what the status remembers is about the same object and request.
    pub remembers: bool,
    pub git: GitSubjects<'a>,
    pub knowledge: Knowledge<'a>,
    /// The builds of each link.
    pub builds: BTreeMap<&'a str, Vec<&'a BuildFacts>>,
    /// The UIDs of builds that another one replaces.
    pub replaced: BTreeSet<&'a str>,
    /// The hash of the chain's own source.
    pub source: String,
    pub views: Vec<View<'a>>,
    pub actions: Vec<Action>,
    /// When a promotion is tried again, or what is missing is somebody's matter.
    pub wake: Option<Timestamp>,
}

impl<'s, 'a> Planner<'s, 'a> {
    /// Begins, with what the status remembers.
    pub fn new(scene: &'s Scene<'a>) -> Self {
        let token = token(scene);
        // What was looked up for another generation or request does not count.
        let remembers =
            scene.previous.observed_generation == scene.generation && scene.previous.last_handled_request == token;
        let remembered = if remembers { scene.previous.lookups.as_slice() } else { &[] };
        let mut builds: BTreeMap<&str, Vec<&BuildFacts>> = BTreeMap::new();
        for build in scene.builds.values() {
            builds.entry(&build.link).or_default().push(build);
        }
        let genuine = scene.builds.values().filter(|build| build.genuine);
        let interval = scene.chain.interval.map(|interval| interval.mul_f64(1.0 + jitter(scene.uid)));
        Self {
            scene,
            token,
            git: GitSubjects::of(scene.chain.links.iter().map(|link| &link.recipe)),
            knowledge: Knowledge::new(remembered, scene.answers, interval, scene.since, scene.now),
            remembers,
            builds,
            replaced: genuine.filter_map(|build| build.inputs.replaces.as_deref()).collect(),
            source: facts::source_hash(scene.written.source.as_ref()),
            views: Vec::new(),
            actions: Vec::new(),
            wake: None,
        }
    }

    pub fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }
}

/// The last request that is not empty. A wiped status is made up for by the builds.
fn token(scene: &Scene<'_>) -> Option<String> {
    let newest = || scene.builds.values().max_by_key(|build| (build.created, &build.name));
    scene
        .request
        .or(scene.previous.last_handled_request.as_deref())
        .or_else(|| newest()?.inputs.request.as_deref())
        .map(ToOwned::to_owned)
}

/// Up to a tenth, different for each chain: not all of them ask a server at the same moment.
fn jitter(uid: &str) -> f64 {
    let hash = fingerprint(&["jitter", uid]);
    let number = hash.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or_default();
    f64::from(number) / f64::from(u16::MAX) / 10.0
}

//! What must happen next with one chain: what to look up, which builds to make or to end, what to publish,
//! what to forget, and a status that is true.
//!
//! ```text
//!          inputs known?      key built?          image verified?      published?
//!  link ──► look up ─────────► make its build ────► (build decides) ───► promote ──► ready
//!             │                   │ a slot is free, no other build of the link runs
//!             └ parent verified?  └ else it waits
//! ```
//!
//! Links are looked at in their order, parents before children; nothing is remembered but in the status and
//! in the builds, and each can be wiped without harm: what is lost is looked up, or built, once more.

mod causes;
mod facts;
mod history;
mod inputs;
mod link;
mod outputs;
mod report;
mod scene;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

pub use facts::{BuildFacts, BuildState, OtherChain, OtherLink, circle, config_map_sources, is_at_rest, request};
pub use outputs::{Claim, taken};
pub use report::invalid;
pub use scene::{Facts, Promotion, Scene};

use super::{
    key::fingerprint,
    lookup::{Knowledge, Subject},
    resolve::GitSubjects,
    validate,
};
use crate::api::{
    build::ImageBuildSpec,
    chain::{ImageChain, ImageChainStatus, LinkState, OnFailure},
    condition::Reason,
};
use view::{Hold, View};

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
    /// Delete a finished build, and what it left at its staging reference.
    DeleteBuild {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

impl Facts {
    /// What must happen next with a chain as it is written, be that valid or not.
    #[must_use]
    pub fn decide(&self, chain: &ImageChain) -> Plan {
        match validate::chain(chain) {
            Ok(valid) => decide(&self.scene(chain, &valid)),
            Err(problems) => invalid(&self.previous, self.generation, self.now, &problems),
        }
    }
}

/// What must happen next. Total and deterministic: the same scene, the same plan.
#[must_use]
pub fn decide(scene: &Scene<'_>) -> Plan {
    if scene.deleting {
        // Its builds go with it, and its pods with them.
        let status = scene.previous.clone();
        return Plan { lookups: Vec::new(), actions: Vec::new(), status, wake: None };
    }
    let mut next = Next::new(scene);
    for index in 0..scene.chain.links.len() {
        next.look(index);
    }
    next.end_superfluous();
    next.begin();
    next.stop_children();
    next.promote();
    next.finish()
}

/// A plan in the making.
struct Next<'s, 'a> {
    scene: &'s Scene<'a>,
    /// The last request that is not empty: to remove the annotation changes nothing.
    token: Option<String>,
    /// Whether what the status remembers is about the same object and request.
    remembers: bool,
    git: GitSubjects<'a>,
    knowledge: Knowledge<'a>,
    /// The builds of each link.
    builds: BTreeMap<&'a str, Vec<&'a BuildFacts>>,
    /// The UIDs of builds that another one replaces.
    replaced: BTreeSet<&'a str>,
    /// The hash of the chain's own source.
    source: String,
    views: Vec<View<'a>>,
    actions: Vec<Action>,
    /// When a promotion is tried again.
    wake: Option<Timestamp>,
}

impl<'s, 'a> Next<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
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

    /// Ends builds that a change of the object made superfluous. A build of earlier files or of an earlier
    /// base runs to its end instead: who pushes often would never see one end.
    fn end_superfluous(&mut self) {
        for build in self.scene.builds.values().filter(|build| !build.is_finished() && !build.superseded) {
            let why = match self.views.iter().find(|view| view.link.name == build.link) {
                None => "the link is no longer in the chain",
                Some(view) if view.wants(build) && build.takes_a_slot() => continue,
                Some(view) if view.wants(build) && self.stands_on_a_newer_image(view, build) => {
                    "what it stands on was made anew"
                }
                Some(view) if view.wants(build) && view.written == build.written => continue,
                Some(view) if view.written != build.written => "the chain's object was changed",
                Some(_) if self.token.as_deref() != build.inputs.request.as_deref() => "a rebuild was requested",
                // It would wait for somebody for ever, and keep the newer one from being made.
                Some(view) if !build.takes_a_slot() && view.name().is_some() => "its inputs have changed",
                Some(_) => continue,
            };
            let (name, uid) = (build.name.clone(), build.uid.clone());
            self.actions.push(Action::Supersede { name, uid, message: why.to_owned() });
        }
    }

    /// Whether a build could not find its parent, which has been made anew since.
    fn stands_on_a_newer_image(&self, view: &View<'_>, build: &BuildFacts) -> bool {
        let parent = view.link.recipe.parent_link().and_then(|below| self.views.get(below)?.current.as_ref());
        let made = parent.and_then(|parent| self.scene.builds.get(&parent.build.0)?.verified_at());
        build.lacks_its_parent() && made.is_some_and(|made| build.created <= made)
    }

    /// What stands on a link that is stopped is stopped with it.
    fn stop_children(&mut self) {
        for index in 0..self.views.len() {
            let Some(view) = self.views.get(index) else { continue };
            let below = view.link.recipe.parent_link().and_then(|below| self.views.get(below));
            let stopped = below.filter(|below| below.fails() && view.reason == Some(Reason::WaitingForParent));
            let Some(hold) = stopped.map(|below| Hold::of_parent(&below.link.name)) else { continue };
            if let Some(view) = self.views.get_mut(index) {
                view.hold(hold);
            }
        }
    }

    /// Makes the builds that are due, as far as places are free.
    fn begin(&mut self) {
        let running = self.scene.builds.values().filter(|build| build.takes_a_slot()).count();
        let parallelism = usize::try_from(self.scene.chain.parallelism).unwrap_or(usize::MAX);
        let mut free = parallelism.saturating_sub(running);
        let stopped = self.stopped_by();
        for view in &mut self.views {
            if !view.due {
                continue;
            }
            if self.scene.chain.suspend {
                view.hold(Hold::new(LinkState::Queued, Reason::Suspended, "spec.suspend is true"));
            } else if let Some(failed) = &stopped {
                let message = format!("the link «{failed}» has failed, and onFailure is StopAll");
                view.hold(Hold::new(LinkState::Blocked, Reason::ChainStopped, message));
            } else if free == 0 {
                let message = format!("{parallelism} builds of the chain run already");
                view.hold(Hold::new(LinkState::Queued, Reason::WaitingForSlot, message));
            } else if let Some(action) = view.create(self.scene) {
                free -= 1;
                self.actions.push(action);
            }
        }
    }

    /// The link whose failure lets no other be built.
    fn stopped_by(&self) -> Option<String> {
        let failed = self.views.iter().find(|view| view.state == LinkState::Failed)?;
        (self.scene.chain.on_failure == OnFailure::StopAll).then(|| failed.link.name.clone())
    }

    /// Publishes what is verified.
    fn promote(&mut self) {
        for view in &mut self.views {
            if view.state == LinkState::Publishing && self.scene.chain.suspend {
                view.hold(Hold::new(LinkState::Publishing, Reason::Suspended, "spec.suspend is true"));
                continue;
            }
            let (action, retry) = view.promotion(self.scene.now);
            self.actions.extend(action.map(Action::Promote));
            self.wake = [self.wake, retry].into_iter().flatten().min();
        }
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

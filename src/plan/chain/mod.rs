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
mod drift;
mod facts;
mod history;
mod inputs;
mod link;
mod outputs;
mod planner;
mod report;
mod scene;
mod view;

pub use drift::is_past;
pub(in crate::plan) use drift::sentence;
pub use facts::{BuildFacts, BuildState, OtherChain, OtherLink, circle, config_map_sources, is_at_rest, request};
pub use outputs::{Claim, Owner, taken};
pub use planner::{Action, Plan};
pub use report::invalid;
pub use scene::{Correction, Facts, Promotion, Scene};

use super::validate;
use crate::api::{
    chain::{ImageChain, LinkState, OnFailure},
    condition::Reason,
};
use planner::Planner;
use view::{Hold, View};

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
    let mut next = Planner::new(scene);
    for index in 0..scene.chain.links.len() {
        next.look(index);
    }
    next.end_superfluous();
    next.begin();
    next.stop_children();
    next.promote();
    next.finish()
}

impl Planner<'_, '_> {
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
            self.actions.extend(view.correction.take().map(Action::PutBack));
            self.wake = [self.wake, retry].into_iter().flatten().min();
        }
    }
}

//! What must happen next with one build. A build is a line of attempts, each one pod:
//!
//! ```text
//!  intent ──► pod ──► stages ──► artifact, verified            finished
//!    ▲                  │
//!    │                  ├─ infrastructure: pause, next intent ─┐
//!    └──────────────────┼─ build or test, with retry.build ────┤
//!                       ├─ dependency: wait until it changes ──┘
//!                       └─ else                                finished, failed
//! ```
//!
//! The failure of an attempt and the intent of the next are one write, before the next pod is made: whoever
//! comes after a crash finds either both or neither, and the facts tell the rest: nothing is kept in memory.

mod attempts;
mod message;
mod pods;
mod result;
mod terms;
mod verdict;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use terms::{POD_PENDING, PUBLISH_TIMEOUT, source_timeout};

use super::{
    dependency::Versions,
    failure::{Failure, Gate},
    image::Repository,
    observed::{Observation, Room},
    recipe::Recipe,
    valid::ValidBuild,
};
use crate::api::{
    boxes::ArtifactKind,
    build::{Attempt, ImageBuild, ImageBuildStatus},
    condition::Reason,
};

/// Everything known about a build at one moment.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The name of the build.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// What it asks for.
    pub build: &'a ValidBuild,
    /// The kind of product that it makes.
    pub kind: ArtifactKind,
    /// The status as it stands in the API server.
    pub previous: &'a ImageBuildStatus,
    /// Whether an attempt may begin now: profile, namespace, slot, inputs and `suspend` are looked at elsewhere.
    pub permission: Gate<()>,
    /// The namespace in which its pods are made.
    pub execution_namespace: &'a str,
    /// Where its pods are told to push. If the build has a pod, what that pod was told, whatever the profile
    /// says by now. `None`: nobody can tell, as the profile is gone.
    pub staging: Option<&'a Repository>,
    /// The profile's `deadline`: how long a pod may live.
    pub deadline: Duration,
    /// The `timeouts.pending` that the chain asks for by now; `None`: that of the build counts, which never changes.
    pub pending: Option<Duration>,
    /// How long a finished pod is kept: after a good end, after a bad one.
    pub retention: (Duration, Duration),
    /// The pods of the build that are there, of all its attempts.
    pub pods: &'a [OwnPod<'a>],
    /// Whether a stranger's object has the name of the pod that is wanted next.
    pub name_taken: bool,
    /// All that the build names ([`super::recipe::Recipe::dependencies`]), with its present version. It must be whole
    /// whenever an attempt may begin: a version that was not looked up yet would seem to change.
    pub dependencies: &'a Versions,
    /// What somebody, or a newer change, says who ends it.
    pub cancelled: Option<(Reason, &'a str)>,
    /// The present. What is below a second is dropped, as the API server does not keep it.
    pub now: Timestamp,
}

/// A pod of the build.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnPod<'a> {
    /// The attempt that it is of.
    pub attempt: i32,
    /// Its UID.
    pub uid: &'a str,
    /// When it was made.
    pub created: Timestamp,
    /// Since when its node does not answer ([`crate::outcome::node::down_since`]); `None`: it does.
    pub node_down: Option<Timestamp>,
    /// Why it has none, as far as that is a matter of room ([`crate::outcome::room::judge`]).
    pub room: &'a Room,
    /// What can be seen of it.
    pub seen: &'a Observation,
}

/// What must happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to do, in this order, after the status is written.
    pub actions: Vec<Action>,
    /// The status, as it must be written first unless it stands so already. The write carries the
    /// `resourceVersion` of the status that was decided on; if it is refused, none of the actions is done.
    pub status: ImageBuildStatus,
    /// The name of the pod by whose absence or silence an attempt ends. Caches may lag behind, and what they
    /// still show must not end a pod that does well: before the status is written, a live read of the pod
    /// must give what the scene has (the same `resourceVersion`, or none), else it is decided again on that.
    pub confirm: Option<String>,
    /// When time alone changes the plan.
    pub wake: Option<Timestamp>,
}

/// What to do with pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the pod of an attempt.
    CreatePod {
        /// The attempt, from 1.
        attempt: i32,
        /// The name of the pod.
        name: String,
        /// What must hold before it is made.
        only_if: Intent,
    },
    /// Delete a pod, if it is still this one.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID: the precondition of the deletion.
        uid: String,
        /// Whether to remove it without waiting for its node (grace period 0), which is known to be dead.
        force: bool,
    },
}

/// That an attempt is wanted still, and that no pod of the build runs. The plan may rest on what is stale,
/// and where the status needs no write, nothing else would refuse it: another replica may have made the pod,
/// ended the attempt, and deleted the pod long ago. So whoever makes a pod reads from the API server right
/// before (a `get` without `resourceVersion`, no cache), and makes it only if [`Intent::stands_in`] that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The UID of the build.
    pub build_uid: String,
    /// The attempt that must be open, and without a pod so far.
    pub attempt: i32,
    /// The name of the pod of the attempt before, which must be gone or over.
    pub after: Option<String>,
}

impl Intent {
    /// Whether the build, as it is at this moment, wants the pod of the attempt, and the pod of the attempt
    /// before (`None`: there is none of that name) is in nobody's way.
    #[must_use]
    pub fn stands_in(&self, live: &ImageBuild, before: Option<&Observation>) -> bool {
        let wanted = |attempt: &Attempt| {
            attempt.number == self.attempt && attempt.outcome.is_none() && attempt.pod_uid.is_none()
        };
        let status = live.status.as_ref().filter(|status| status.finished_at.is_none());
        live.metadata.uid.as_ref() == Some(&self.build_uid)
            && live.metadata.deletion_timestamp.is_none()
            && status.and_then(|status| status.attempts.last()).is_some_and(wanted)
            && before.is_none_or(|before| before.over)
    }
}

/// What must happen next. Total and deterministic: the same scene, the same plan.
#[must_use]
pub fn decide(scene: &Scene<'_>) -> Plan {
    let now = Timestamp::from_second(scene.now.as_second()).unwrap_or(scene.now);
    let scene = Scene { now, ..scene.clone() };
    let mut next = Planner::new(&scene);
    next.tidy();
    if scene.previous.finished_at.is_some() {
        return next.plan();
    }
    if let Some((reason, message)) = scene.cancelled {
        return next.cancel(&Failure::new(reason, message));
    }
    match scene.previous.attempts.last() {
        None if scene.pods.is_empty() => next.start(1),
        // The intent of the first attempt is the build itself: its pod may be there before the status is.
        None => {
            next.intend(1);
            next.follow()
        }
        Some(attempt) if attempt.outcome.is_some() => next.resume(),
        Some(_) => next.follow(),
    }
}

/// Whether a build would make a pod now if it were allowed to: whether it competes for a slot.
#[must_use]
pub fn wants_pod(scene: &Scene<'_>) -> bool {
    let allowed = Scene { permission: Gate::Open(()), ..scene.clone() };
    decide(&allowed).actions.iter().any(|action| matches!(action, Action::CreatePod { .. }))
}

/// A status in the making, with the actions that go with it.
struct Planner<'s, 'a> {
    scene: &'s Scene<'a>,
    status: ImageBuildStatus,
    actions: Vec<Action>,
    confirm: Option<String>,
    wake: Option<Timestamp>,
}

impl<'s, 'a> Planner<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
        let status = ImageBuildStatus { observed_generation: scene.generation, ..scene.previous.clone() };
        Self { scene, status, actions: Vec::new(), confirm: None, wake: None }
    }

    fn recipe(&self) -> &'a Recipe {
        &self.scene.build.recipe
    }

    fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }

    fn plan(self) -> Plan {
        Plan { actions: self.actions, status: self.status, confirm: self.confirm, wake: self.wake }
    }
}

/// A time so much later, or the end of all times.
fn later(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;

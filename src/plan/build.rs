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

mod verdict;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    name,
    observed::{Observation, PodFailure, State},
    retry,
    status::{Conditions, Truth},
    valid::{ValidBuild, ValidRecipe},
};
use crate::api::{
    build::{Attempt, Failure, ImageBuildStatus, Outcome, Stage, StageStatus},
    condition::{Class, ConditionType, Reason},
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
    /// The status as it stands in the API server.
    pub previous: &'a ImageBuildStatus,
    /// Whether an attempt may begin now.
    pub permission: Permission,
    /// The pods of the build that are there, of all its attempts.
    pub pods: &'a [OwnPod<'a>],
    /// Whether a stranger's object has the name of the pod that is wanted next.
    pub name_taken: bool,
    /// Whether what the last attempt lacked has changed since.
    pub dependency_changed: bool,
    /// What somebody, or a newer change, says who ends it.
    pub cancelled: Option<(Reason, &'a str)>,
    /// How long a finished pod is kept: after a good end, after a bad one.
    pub retention: (Duration, Duration),
    /// The present.
    pub now: Timestamp,
}

/// Whether an attempt may begin: profile, namespace, slot, inputs and `suspend` are looked at elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// It must wait, for this reason.
    Held(Reason, String),
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
    /// What can be seen of it.
    pub seen: &'a Observation,
}

impl OwnPod<'_> {
    /// Whether any of its containers may still run, whatever is known of its success.
    const fn lives(&self) -> bool {
        !self.seen.over
    }
}

/// What must happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to do, in this order, after the status is written.
    pub actions: Vec<Action>,
    /// The status, as it must be written first unless it stands so already.
    pub status: ImageBuildStatus,
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
    },
    /// Delete a pod, if it is still this one.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

/// How long the operator waits for the runner, which ends a stage in time by itself.
const GRACE: Duration = Duration::from_mins(1);
/// How long fetching the source, and pushing the image, may take.
const SOURCE_TIMEOUT: Duration = Duration::from_mins(10);
const PUBLISH_TIMEOUT: Duration = Duration::from_mins(30);

/// What must happen next. Total and deterministic: the same scene, the same plan.
#[must_use]
pub fn decide(scene: &Scene<'_>) -> Plan {
    let mut next = Next::new(scene);
    next.tidy();
    if scene.previous.finished_at.is_some() {
        return next.plan();
    }
    if let Some((reason, message)) = scene.cancelled {
        return next.cancel(failure(None, reason, message));
    }
    match scene.previous.attempts.last() {
        None if scene.pods.is_empty() => next.begin(1),
        // The intent of the first attempt is the build itself: its pod may be there before the status is.
        None => {
            next.intend(1);
            next.follow()
        }
        Some(attempt) if attempt.outcome.is_some() => next.resume(attempt.number),
        Some(_) => next.follow(),
    }
}

/// A status in the making, with the actions that go with it.
struct Next<'s, 'a> {
    scene: &'s Scene<'a>,
    status: ImageBuildStatus,
    actions: Vec<Action>,
    wake: Option<Timestamp>,
}

impl<'s, 'a> Next<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
        let status = ImageBuildStatus { observed_generation: scene.generation, ..scene.previous.clone() };
        Self { scene, status, actions: Vec::new(), wake: None }
    }

    fn recipe(&self) -> &'a ValidRecipe {
        &self.scene.build.recipe
    }

    fn pod_name(&self, attempt: i32) -> String {
        name::pod(self.scene.name, self.scene.uid, attempt.unsigned_abs())
    }

    /// The pod of the attempt that is open.
    fn open_pod(&self) -> Option<&'a OwnPod<'a>> {
        let number = self.status.attempts.last().map_or(1, |attempt| attempt.number);
        self.scene.pods.iter().find(|pod| pod.attempt == number)
    }

    fn delete(&mut self, pod: &OwnPod<'_>) {
        self.actions.push(Action::DeletePod { name: self.pod_name(pod.attempt), uid: pod.uid.to_owned() });
    }

    fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |earlier| earlier.min(time)));
    }

    /// Deletes the pods of attempts that are over: at once where one still runs, as after a timeout whose
    /// deletion was lost in a crash, else when its logs are no longer wanted.
    fn tidy(&mut self) {
        let over = self.scene.previous.finished_at.as_ref();
        for pod in self.scene.pods {
            let record = self.scene.previous.attempts.iter().find(|attempt| attempt.number == pod.attempt);
            // Of a finished build no attempt is open, not even one whose pod was made behind its back.
            let ended = record.and_then(|each| Some((each.outcome?, each.finished_at.as_ref()?)));
            let Some((outcome, finished)) = ended.or_else(|| Some((Outcome::Failed, over?))) else { continue };
            let kept = if outcome == Outcome::Succeeded { self.scene.retention.0 } else { self.scene.retention.1 };
            let until = finished.0.checked_add(kept).unwrap_or(Timestamp::MAX);
            if pod.lives() || self.scene.now >= until {
                self.delete(pod);
            } else {
                self.wake_at(until);
            }
        }
    }

    /// Records that an attempt is to be made.
    fn intend(&mut self, number: i32) {
        self.status.attempts.push(Attempt {
            number,
            pod: self.pod_name(number).as_str().into(),
            pod_uid: None,
            started_at: Time(self.scene.now),
            finished_at: None,
            outcome: None,
            reason: None,
            class: None,
        });
    }

    /// Begins an attempt, if it may.
    fn begin(mut self, number: i32) -> Plan {
        if let Permission::Held(reason, message) = &self.scene.permission {
            return self.wait(*reason, message);
        }
        if self.status.attempts.last().is_none_or(|attempt| attempt.number != number) {
            self.intend(number);
        }
        self.actions.push(Action::CreatePod { attempt: number, name: self.pod_name(number) });
        self.wait(Reason::PodPending, "the pod is being made")
    }

    /// Follows the attempt that is open.
    fn follow(mut self) -> Plan {
        let Some(pod) = self.open_pod() else { return self.without_pod() };
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.pod_uid.get_or_insert_with(|| pod.uid.to_owned());
        }
        self.status.stages.clone_from(&pod.seen.stages);
        self.with_pod(pod.created, pod.seen)
    }

    /// An open attempt without a pod: either it is not made yet, or it was seen and is lost.
    fn without_pod(self) -> Plan {
        let Some(attempt) = self.status.attempts.last() else { return self.begin(1) };
        if attempt.pod_uid.is_some() {
            let lost = failure(None, Reason::PodLost, "the pod is gone, and nobody recorded its end");
            return self.fail(lost);
        }
        let number = attempt.number;
        if self.scene.name_taken {
            let message = format!("the pod {} is not ours: rename or delete it", attempt.pod);
            return self.wait(Reason::NameCollision, &message);
        }
        if self.scene.pods.iter().any(OwnPod::lives) {
            return self.wait(Reason::BackingOff, "the pod of the attempt before has not ended yet");
        }
        match self.not_before() {
            Some(time) if time > self.scene.now => self.pause(time),
            _ => self.begin(number),
        }
    }

    /// When the open attempt may begin: some time after the last, the longer the more have failed.
    fn not_before(&self) -> Option<Timestamp> {
        let ended = self.status.attempts.iter().rev().find_map(|attempt| attempt.finished_at.as_ref())?;
        ended.0.checked_add(retry::pause(self.failures(Class::Infrastructure))).ok()
    }

    fn pause(mut self, until: Timestamp) -> Plan {
        let reason = self.status.attempts.iter().rev().find_map(|attempt| attempt.reason);
        let reason = reason.map_or_else(String::new, |reason| format!(" after {reason}"));
        self.wake_at(until);
        self.wait(Reason::BackingOff, &format!("the next attempt{reason} begins at {until}"))
    }

    /// How many attempts have failed with a class.
    fn failures(&self, class: Class) -> u32 {
        let failed = self.status.attempts.iter().filter(|attempt| attempt.class == Some(class)).count();
        u32::try_from(failed).unwrap_or(u32::MAX)
    }

    fn with_pod(mut self, created: Timestamp, seen: &Observation) -> Plan {
        match &seen.state {
            _ if seen.deleting && !seen.over => {
                self.fail(failure(None, Reason::PodLost, "somebody deletes the pod while it runs"))
            }
            State::Waiting { stage, since, held } => self.pending(*stage, since.unwrap_or(created), held.as_ref()),
            State::Running(stage) => self.running(*stage, seen),
            State::Failed(found) => self.fail(from_pod(found)),
            State::Succeeded => match verdict::artifact(&seen.reports, self.recipe().verify.len()) {
                Ok(made) => {
                    self.status.artifact = Some(made.artifact);
                    self.status.verification = made.verification;
                    self.succeed()
                }
                Err(message) => self.fail(failure(Some(Stage::Publish), Reason::ImageMismatch, &message)),
            },
        }
    }

    fn pending(mut self, stage: Option<Stage>, since: Timestamp, held: Option<&PodFailure>) -> Plan {
        // Without the kubelet's or the scheduler's word, nothing tells why: some node, some other time, may do.
        let unknown = (Reason::PodLost, "the pod waits for its node and images");
        let (reason, message) = held.map_or(unknown, |held| (held.reason, held.message.as_str()));
        let deadline = since.checked_add(self.recipe().pending_timeout).unwrap_or(Timestamp::MAX);
        if self.scene.now >= deadline {
            return self.fail(failure(stage, reason, message));
        }
        self.wake_at(deadline);
        // It may still pass by itself: until the time is up, it is no failure.
        self.wait(Reason::PodPending, message)
    }

    fn running(mut self, stage: Stage, seen: &Observation) -> Plan {
        let (limit, late, waiting, message) = self.stage_rules(stage);
        let begun = seen.stages.iter().find(|each| each.name == stage).and_then(begun);
        let deadline = begun.and_then(|begun| begun.checked_add(limit + GRACE).ok());
        if deadline.is_some_and(|deadline| self.scene.now >= deadline) {
            let message = format!("the stage {} took longer than {} s", stage.container(), limit.as_secs());
            return self.fail(failure(Some(stage), late, &message));
        }
        if let Some(deadline) = deadline {
            self.wake_at(deadline);
        }
        self.wait(waiting, message)
    }

    /// How long a stage may take, what it is when it takes longer, and what it is called while it runs.
    fn stage_rules(&self, stage: Stage) -> (Duration, Reason, Reason, &'static str) {
        let recipe = self.recipe();
        match stage {
            Stage::Source | Stage::Engine => {
                (SOURCE_TIMEOUT, Reason::TransferTimeout, Reason::FetchingSource, "the source is being fetched")
            }
            Stage::Build => (recipe.build_timeout, Reason::BuildTimeout, Reason::Building, "the image is being built"),
            Stage::Verify => (recipe.verify_timeout, Reason::VerifyTimeout, Reason::Verifying, "the tests run"),
            Stage::Publish => (PUBLISH_TIMEOUT, Reason::TransferTimeout, Reason::Staging, "the image is being staged"),
        }
    }

    /// Ends the open attempt with a failure, and in the same status begins the next where one is due.
    fn fail(mut self, failure: Failure) -> Plan {
        self.close(&failure);
        let number = self.status.attempts.last().map_or(1, |attempt| attempt.number);
        match failure.class {
            Class::Infrastructure if self.failures(Class::Infrastructure) <= self.recipe().infrastructure_retries => {
                self.again(number, &failure)
            }
            Class::Infrastructure => {
                let lost = self.failures(Class::Infrastructure);
                let message =
                    format!("{lost} attempts were lost, the last one by {}: {}", failure.reason, failure.message);
                self.finish(self::failure(failure.stage, Reason::InfrastructureRetriesExhausted, &message))
            }
            Class::Build | Class::Verification if self.spent() <= self.recipe().build_retries => {
                self.again(number, &failure)
            }
            Class::Dependency => self.wait(failure.reason, &failure.message),
            _ => self.finish(failure),
        }
    }

    /// Records the end of the open attempt. Its pod goes at once unless all of it has ended: a privileged
    /// container must not run beside that of the next attempt.
    fn close(&mut self, failure: &Failure) {
        if let Some(pod) = self.open_pod().filter(|pod| pod.lives()) {
            self.delete(pod);
        }
        let now = Time(self.scene.now);
        if let Some(attempt) = self.status.attempts.last_mut().filter(|attempt| attempt.outcome.is_none()) {
            attempt.finished_at = Some(now);
            attempt.outcome = Some(Outcome::Failed);
            attempt.reason = Some(failure.reason);
            attempt.class = Some(failure.class);
        }
    }

    fn cancel(mut self, failure: Failure) -> Plan {
        self.close(&failure);
        self.finish(failure)
    }

    /// How many attempts have failed for the build's own reasons.
    fn spent(&self) -> u32 {
        self.failures(Class::Build).saturating_add(self.failures(Class::Verification))
    }

    fn again(mut self, number: i32, failure: &Failure) -> Plan {
        self.intend(number.saturating_add(1));
        if let Some(time) = self.not_before() {
            self.wake_at(time);
        }
        self.wait(Reason::BackingOff, &format!("attempt {number} ended with {}: {}", failure.reason, failure.message))
    }

    /// The last attempt has ended, and nothing follows but when what it lacked is there.
    fn resume(mut self, number: i32) -> Plan {
        if !self.scene.dependency_changed {
            let reason = self.status.attempts.last().and_then(|attempt| attempt.reason).unwrap_or(Reason::PodLost);
            let before =
                self.scene.previous.conditions.iter().find(|each| each.type_ == ConditionType::Ready.to_string());
            let message = before.map_or_else(|| reason.to_string(), |ready| ready.message.clone());
            return self.wait(reason, &message);
        }
        self.intend(number.saturating_add(1));
        self.wait(Reason::BackingOff, "what the last attempt lacked has changed: another one follows")
    }

    /// Not finished yet: at work, or in need of somebody, by the reason's class.
    fn wait(mut self, reason: Reason, message: &str) -> Plan {
        let built = self.scene_shows_image();
        let mut conditions = Conditions::new(&self.scene.previous.conditions, self.scene.generation, self.scene.now);
        if built {
            conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, "the image exists");
        } else {
            conditions.set(ConditionType::Built, Truth::Unknown, reason, message);
        }
        conditions.set(ConditionType::Verified, Truth::Unknown, reason, message);
        conditions.ready(reason, message);
        self.status.conditions = conditions.finish();
        self.plan()
    }

    /// Whether the present attempt has built its image already.
    fn scene_shows_image(&self) -> bool {
        self.open_pod().is_some_and(|pod| {
            matches!(pod.seen.state, State::Running(Stage::Verify | Stage::Publish))
                && pod.seen.reports.iter().any(|report| report.stage == Stage::Build && report.failure.is_none())
        })
    }

    fn succeed(mut self) -> Plan {
        let now = Time(self.scene.now);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.finished_at = Some(now);
            attempt.outcome = Some(Outcome::Succeeded);
        }
        let (reason, message) = match self.recipe().verify.len() {
            0 => (Reason::NothingToTest, "the image is built; there are no tests".to_owned()),
            1 => (Reason::TestsPassed, "the image is built and its test passed".to_owned()),
            steps => (Reason::TestsPassed, format!("the image is built and its {steps} test steps passed")),
        };
        let mut conditions = Conditions::new(&self.scene.previous.conditions, self.scene.generation, self.scene.now);
        conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, "the image exists");
        conditions.set(ConditionType::Verified, Truth::True, reason, &message);
        conditions.ready(reason, &message);
        self.status.conditions = conditions.finish();
        self.end()
    }

    fn finish(mut self, failure: Failure) -> Plan {
        let built = matches!(failure.stage, Some(Stage::Verify | Stage::Publish));
        let mut conditions = Conditions::new(&self.scene.previous.conditions, self.scene.generation, self.scene.now);
        if built {
            conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, "the image was built");
        } else {
            conditions.set(ConditionType::Built, Truth::False, failure.reason, &failure.message);
        }
        conditions.set(ConditionType::Verified, Truth::False, failure.reason, &failure.message);
        conditions.ready(failure.reason, &failure.message);
        self.status.conditions = conditions.finish();
        self.status.failure = Some(failure);
        self.end()
    }

    /// Closes the status: from now on its result does not change.
    fn end(mut self) -> Plan {
        self.status.finished_at = Some(Time(self.scene.now));
        let first = self.status.attempts.first().map_or(self.scene.now, |attempt| attempt.started_at.0);
        self.status.duration = Some(verdict::span(first, self.scene.now));
        self.plan()
    }

    fn plan(self) -> Plan {
        Plan { actions: self.actions, status: self.status, wake: self.wake }
    }
}

fn begun(stage: &StageStatus) -> Option<Timestamp> {
    stage.started_at.as_ref().map(|time| time.0)
}

/// The most of a message that a status holds, in bytes (the schema's bound of `failure.message`).
const LONGEST_MESSAGE: usize = 1024;

fn failure(stage: Option<Stage>, reason: Reason, message: &str) -> Failure {
    let message = match message.trim() {
        "" => reason.to_string(),
        text => text.get(..text.floor_char_boundary(LONGEST_MESSAGE)).unwrap_or(text).to_owned(),
    };
    Failure { stage, reason, class: reason.class(), message, task: None }
}

fn from_pod(found: &PodFailure) -> Failure {
    Failure { task: found.task.clone(), ..failure(found.stage, found.reason, &found.message) }
}

#[cfg(test)]
mod tests;

//! The pods of a build: what the open attempt's is doing, and when the others go.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    Action, OwnPod, Plan, Planner, later,
    terms::{POD_PENDING, PUBLISH_TIMEOUT, source_timeout},
    verdict,
};
use crate::{
    api::{
        build::{Attempt, Container, ImageBuildStatus, Outcome, Stage, StageStatus},
        condition::{Class, Reason},
    },
    plan::{
        failure::Failure,
        observed::{Placement, Room, State},
    },
};

/// How long the operator waits for the runner, which ends a stage in time by itself, and for the kubelet,
/// which ends a pod at its deadline.
const GRACE: Duration = Duration::from_mins(1);
/// After so long without an answer, a node is taken for dead, and what ran on it for lost. As long as
/// Kubernetes itself waits before it evicts (`tolerationSeconds` of the taint `unreachable`).
const NODE_PATIENCE: Duration = Duration::from_mins(5);
/// After so long beyond its grace period, a pod that does not go away needs somebody.
const END_PATIENCE: Duration = Duration::from_mins(5);

impl OwnPod<'_> {
    /// Whether any of its containers may still run, whatever is known of its success.
    pub(super) const fn lives(&self) -> bool {
        !self.seen.over
    }

    /// Whether it is the one pod of an attempt: another one of its name, with another UID, was made too late.
    pub(super) fn is_of(&self, attempt: &Attempt) -> bool {
        self.attempt == attempt.number && attempt.pod_uid.as_deref().is_none_or(|uid| uid == self.uid)
    }

    /// Since when it has a node; `None`: it has none.
    pub(super) fn placed_since(&self) -> Option<Timestamp> {
        match self.seen.placement {
            Placement::Placed { since } => Some(since.unwrap_or(self.created)),
            Placement::Open | Placement::Refused => None,
        }
    }

    /// From when on it is taken for lost, as its node is taken for dead.
    fn lost_at(&self) -> Option<Timestamp> {
        self.node_down.map(|since| later(since, NODE_PATIENCE))
    }
}

impl<'a> Planner<'_, 'a> {
    /// The pod of the attempt that is open.
    pub(super) fn open_pod(&self) -> Option<&'a OwnPod<'a>> {
        let attempt = self.status.attempts.last()?;
        self.scene.pods.iter().find(|pod| pod.is_of(attempt))
    }

    /// Deletes a pod. That its node confirms the end is waited for, unless the node is dead: then nothing
    /// runs there that could be harmed, and what runs on behind a torn cable can push to no other place than
    /// that of its own attempt.
    pub(super) fn delete(&mut self, pod: &OwnPod<'_>) {
        let force = pod.lost_at().is_some_and(|time| time <= self.scene.now);
        if let Some(time) = pod.lost_at().filter(|_| !force) {
            self.wake_at(time);
        }
        if pod.seen.deleting.is_some() && !force {
            return;
        }
        let action = Action::DeletePod { name: self.pod_name(pod.attempt), uid: pod.uid.to_owned(), force };
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    /// Deletes the pods of attempts that are over: when their logs are no longer wanted, and those that do not end
    /// by themselves, as after a timeout whose deletion was lost in a crash.
    pub(super) fn tidy(&mut self) {
        for pod in self.scene.pods {
            let Some((ended, kept)) = self.end_of(pod, self.scene.previous) else { continue };
            let until = later(ended, if pod.lives() { kept.min(GRACE) } else { kept });
            if until <= self.scene.now || pod.seen.deleting.is_some() {
                self.delete(pod);
            } else {
                self.wake_at(until);
            }
        }
    }

    /// Until when a pod is kept, by a status; `None` as long as its attempt is open, or not known of yet.
    pub(super) fn kept_until(&self, pod: &OwnPod<'_>, status: &ImageBuildStatus) -> Option<Timestamp> {
        self.end_of(pod, status).map(|(ended, kept)| later(ended, kept))
    }

    /// When the attempt of a pod ended, by a status, and how long its pod is kept.
    fn end_of(&self, pod: &OwnPod<'_>, status: &ImageBuildStatus) -> Option<(Timestamp, Duration)> {
        let (good, bad) = self.scene.retention;
        let (kept, finished) = match status.attempts.iter().find(|attempt| attempt.number == pod.attempt) {
            // The attempt has had its pod: whoever made this one acted on an old status.
            Some(attempt) if !pod.is_of(attempt) => return Some((Timestamp::MIN, Duration::ZERO)),
            Some(Attempt { outcome: Some(Outcome::Succeeded), finished_at: Some(time), .. }) => (good, time),
            Some(Attempt { outcome: Some(Outcome::Failed), finished_at: Some(time), .. }) => (bad, time),
            // Of a finished build no attempt is open, not even one whose pod was made behind its back.
            _ => (bad, status.finished_at.as_ref()?),
        };
        Some((finished.0, kept))
    }

    /// Waits for the end of a pod of another attempt, which is being deleted: none is made beside it.
    pub(super) fn wait_for_end(mut self, pod: &OwnPod<'_>) -> Plan {
        let (name, namespace) = (self.pod_name(pod.attempt), self.scene.execution_namespace);
        let hangs_from = pod.seen.deleting.map(|time| later(time, END_PATIENCE));
        if hangs_from.is_some_and(|time| time <= self.scene.now) {
            let message = format!(
                "the pod {name} of attempt {} does not go away, and nothing is made beside it: see its node, or \
                 kubectl delete pod -n {namespace} {name} --grace-period=0 --force",
                pod.attempt
            );
            return self.wait(Reason::BackingOff, &message);
        }
        if let Some(time) = hangs_from {
            self.wake_at(time);
        }
        let message = format!("the pod {name} of attempt {} has not ended yet", pod.attempt);
        self.wait(Reason::BackingOff, &message)
    }

    /// Follows the attempt that is open.
    pub(super) fn follow(mut self) -> Plan {
        let Some(pod) = self.open_pod() else { return self.without_pod() };
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.pod_uid.get_or_insert_with(|| pod.uid.to_owned());
            attempt.scheduled_at = attempt.scheduled_at.take().or_else(|| pod.placed_since().map(Time));
        }
        self.status.stages.clone_from(&pod.seen.stages);
        self.with_pod(pod)
    }

    /// An open attempt without a pod: either it is not made yet, or it was seen and is lost.
    fn without_pod(self) -> Plan {
        match self.status.attempts.last().map(|attempt| (attempt.number, attempt.pod_uid.is_some())) {
            None => self.start(1),
            Some((number, false)) => self.start(number),
            Some((_, true)) => {
                self.give_up(Failure::new(Reason::PodLost, "the pod is gone, and nobody recorded its end"))
            }
        }
    }

    /// Ends the open attempt for what its pod does not do.
    fn give_up(mut self, failure: Failure) -> Plan {
        self.confirm = self.status.attempts.last().map(|attempt| attempt.pod.to_string());
        self.fail(failure)
    }

    fn with_pod(mut self, pod: &OwnPod<'_>) -> Plan {
        if let Some(failure) = self.cut_short(pod) {
            return self.give_up(failure);
        }
        match &pod.seen.state {
            State::Waiting { stage, since, held } => match pod.room {
                Room::Short(message) => self.wait(Reason::WaitingForSlot, message),
                Room::Never(message) => self.give_up(Failure::new(Reason::Unschedulable, message)),
                Room::Unknown => {
                    let since = since.or_else(|| pod.placed_since()).unwrap_or(pod.created);
                    self.pending(*stage, since, held.as_ref())
                }
            },
            State::Running(stage) => self.running(*stage, pod),
            State::Failed(found) => match self.ends_by_itself(pod, found.container) {
                Some((stage, until)) => self.let_end(stage, until),
                None => self.fail(found.clone()),
            },
            State::Succeeded => self.judge(pod),
        }
    }

    /// What ends a pod that has not ended by itself: somebody's deletion, its node, or its time.
    fn cut_short(&mut self, pod: &OwnPod<'_>) -> Option<Failure> {
        let running = match &pod.seen.state {
            // It was disrupted, or lost otherwise: that explains its deletion.
            State::Failed(found) if found.reason.class() == Class::Infrastructure => return None,
            State::Failed(_) | State::Succeeded if !pod.lives() || pod.seen.deleting.is_none() => return None,
            State::Running(stage) => Some(stage.container()),
            _ => None,
        };
        let failure = |reason, message: String| Some(Failure { container: running, ..Failure::new(reason, message) });
        if pod.seen.deleting.is_some() {
            return failure(Reason::PodLost, "somebody deletes the pod while it runs".to_owned());
        }
        let lost_at = pod.lost_at();
        if lost_at.is_some_and(|time| time <= self.scene.now) {
            let since = pod.node_down.filter(|since| *since > Timestamp::MIN);
            let since = since.map_or_else(String::new, |since| format!(", since {since}"));
            return failure(Reason::NodeLost, format!("the node of the pod does not answer{since}"));
        }
        // The kubelet counts from when it has heard of the pod: what was before is the queue.
        let placed = pod.placed_since()?;
        let deadline = later(later(placed, self.scene.deadline), GRACE);
        if deadline <= self.scene.now {
            let seconds = self.scene.deadline.as_secs();
            let message = format!("the pod lived longer than the profile's deadline of {seconds} s");
            return failure(Reason::PodDeadlineExceeded, message);
        }
        self.wake_at(lost_at.map_or(deadline, |time| time.min(deadline)));
        None
    }

    /// Until when a pod may end by itself of which a stage has failed: the kubelet ends the engine after the stages.
    /// Whoever deletes it before loses the logs.
    fn ends_by_itself(&self, pod: &OwnPod<'_>, container: Option<Container>) -> Option<(Stage, Timestamp)> {
        let stage = container
            .and_then(Container::stage)
            .filter(|_| pod.lives() && pod.seen.deleting.is_none() && pod.lost_at().is_none())?;
        let ended = pod.seen.stages.iter().find(|each| each.name == stage)?.finished_at.as_ref()?;
        let until = later(ended.0, GRACE);
        (self.scene.now < until).then_some((stage, until))
    }

    fn let_end(mut self, stage: Stage, until: Timestamp) -> Plan {
        self.wake_at(until);
        let (_, _, reason, _) = self.stage_rules(stage);
        self.wait(reason, &format!("the stage {} has failed, and its pod ends", stage.container()))
    }

    fn pending(mut self, stage: Option<Stage>, since: Timestamp, held: Option<&Failure>) -> Plan {
        // Without the kubelet's or the scheduler's word, nothing tells why: some node, some other time, may do.
        let unknown = (Reason::PodLost, POD_PENDING);
        let (reason, message) = held.map_or(unknown, |held| (held.reason, held.message.as_str()));
        let deadline = later(since, self.scene.pending.unwrap_or(self.recipe().limits.pending));
        if self.scene.now >= deadline {
            let container = stage.map(Stage::container);
            return self.give_up(Failure { container, ..Failure::new(reason, message) });
        }
        self.wake_at(deadline);
        match stage.filter(|_| held.is_none()) {
            // Between two stages lies a moment, in which nothing is worth a word of its own: the next one is told.
            Some(next) => {
                let (_, _, reason, message) = self.stage_rules(next);
                self.wait(reason, &message)
            }
            // It may still pass by itself: until the time is up, it is no failure.
            None => self.wait(Reason::PodPending, message),
        }
    }

    fn running(mut self, stage: Stage, pod: &OwnPod<'_>) -> Plan {
        let (limit, late, waiting, message) = self.stage_rules(stage);
        let begun = pod.seen.stages.iter().find(|each| each.name == stage).and_then(begun);
        let deadline = begun.map(|begun| later(begun, limit.saturating_add(GRACE)));
        if deadline.is_some_and(|deadline| self.scene.now >= deadline) {
            let message = format!("the stage {} took longer than {} s", stage.container(), limit.as_secs());
            return self.give_up(Failure::new(late, message).of(stage));
        }
        if let Some(deadline) = deadline {
            self.wake_at(deadline);
        }
        self.wait(waiting, &message)
    }

    /// How long a stage may take, what it is when it takes longer, and what it is called while it runs.
    fn stage_rules(&self, stage: Stage) -> (Duration, Reason, Reason, String) {
        let (recipe, noun) = (self.recipe(), self.scene.kind.noun());
        match stage {
            Stage::Source => {
                let message = "the source is being fetched".to_owned();
                (source_timeout(recipe), Reason::TransferTimeout, Reason::FetchingSource, message)
            }
            Stage::Build => {
                let message = format!("the {noun} is being built");
                (recipe.limits.build, Reason::BuildTimeout, Reason::Building, message)
            }
            Stage::Verify => {
                (recipe.limits.verify, Reason::VerifyTimeout, Reason::Verifying, "the tests run".to_owned())
            }
            Stage::Publish => {
                let message = format!("the {noun} is being staged");
                (PUBLISH_TIMEOUT, Reason::TransferTimeout, Reason::Staging, message)
            }
        }
    }

    /// A pod that ended well: its image is taken if all that it says of it fits together.
    fn judge(mut self, pod: &OwnPod<'_>) -> Plan {
        let Some(staging) = self.scene.staging else {
            let noun = self.scene.kind.noun();
            let message =
                format!("the {noun} is built, but nobody can tell whether it is in its place: make the profile again");
            return self.wait(Reason::ProfileNotFound, &message);
        };
        match verdict::product(self.scene.kind, &pod.seen.reports, self.recipe().steps.verify.len(), staging) {
            Ok(made) => {
                self.status.artifact = Some(made.product.artifact());
                self.status.verification = made.verification;
                self.succeed(&made.left_out)
            }
            Err(message) => self.fail(Failure::new(Reason::ImageMismatch, message).of(Stage::Publish)),
        }
    }
}

fn begun(stage: &StageStatus) -> Option<Timestamp> {
    stage.started_at.as_ref().map(|time| time.0)
}

//! What people are told: what happened, and the line that shows more.

use super::{Next, OwnPod};
use crate::{
    api::{
        build::{Attempt, Failure, Stage},
        condition::Reason,
    },
    plan::observed::{PodFailure, State},
};

/// The most of a message that a status holds, in bytes (the schema's bound of `failure.message`).
const LONGEST: usize = 1024;
/// The most that an attempt holds of it (the schema's bound of `attempts[].message`).
pub(super) const LONGEST_OF_ATTEMPT: usize = 256;

pub(super) fn failure(stage: Option<Stage>, reason: Reason, message: &str) -> Failure {
    let message = match message.trim() {
        "" => reason.to_string(),
        text => bounded(text, LONGEST),
    };
    Failure { stage, reason, class: reason.class(), message, task: None }
}

pub(super) fn from_pod(found: &PodFailure) -> Failure {
    Failure { task: found.task.clone(), ..failure(found.stage, found.reason, &found.message) }
}

/// As much of a text as so many bytes hold, never cut inside a character.
pub(super) fn bounded(text: &str, longest: usize) -> String {
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text).to_owned()
}

impl Next<'_, '_> {
    /// Why an attempt failed, as long as it is known, with the line that shows more while its pod is there.
    pub(super) fn told(&self, attempt: &Attempt) -> String {
        let message = attempt.message.as_deref().unwrap_or("nobody says why");
        let pod = self.scene.pods.iter().find(|pod| pod.is_of(attempt));
        let stage = pod.and_then(|pod| match &pod.seen.state {
            State::Failed(found) => found.stage,
            _ => None,
        });
        self.with_logs(message, attempt, stage)
    }

    /// A message with the line that shows more, if the logs of that stage outlive the attempt.
    pub(super) fn with_logs(&self, message: &str, attempt: &Attempt, stage: Option<Stage>) -> String {
        let logs = self.logs(attempt, stage).unwrap_or_default();
        format!("{}{logs}", bounded(message, LONGEST.saturating_sub(logs.len())))
    }

    fn logs(&self, attempt: &Attempt, stage: Option<Stage>) -> Option<String> {
        let pod = self.scene.pods.iter().find(|pod| pod.is_of(attempt) && !pod.lives())?;
        let stage = stage.filter(|stage| has_logs(pod, *stage))?;
        let until = self.kept_until(pod, &self.status).filter(|until| *until > self.scene.now)?;
        let (namespace, name) = (self.scene.execution_namespace, &attempt.pod);
        Some(format!("; until {until}: kubectl logs -n {namespace} {name} -c {}", stage.container()))
    }
}

/// Whether a stage has begun, so that there is something to show.
fn has_logs(pod: &OwnPod<'_>, stage: Stage) -> bool {
    // The times of the engine are not recorded: it begins before the stages that need it.
    stage == Stage::Engine || pod.seen.stages.iter().any(|each| each.name == stage && each.started_at.is_some())
}

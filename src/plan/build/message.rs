//! What people are told: what happened, and the line that shows more.

use super::{OwnPod, Planner};
use crate::{
    api::build::{Attempt, Container},
    plan::{
        observed::State,
        text::{LONGEST_MESSAGE, truncate_end},
    },
};

impl Planner<'_, '_> {
    /// Why an attempt failed, as long as it is known, with the line that shows more while its pod is there.
    pub(super) fn told(&self, attempt: &Attempt) -> String {
        let message = attempt.message.as_deref().unwrap_or("nobody says why");
        let pod = self.scene.pods.iter().find(|pod| pod.is_of(attempt));
        let container = pod.and_then(|pod| match &pod.seen.state {
            State::Failed(found) => found.container,
            _ => None,
        });
        self.with_logs(message, attempt, container)
    }

    /// A message with the line that shows more, if the logs of that container outlive the attempt.
    pub(super) fn with_logs(&self, message: &str, attempt: &Attempt, container: Option<Container>) -> String {
        let logs = self.logs(attempt, container).unwrap_or_default();
        format!("{}{logs}", truncate_end(message, LONGEST_MESSAGE.saturating_sub(logs.len())))
    }

    fn logs(&self, attempt: &Attempt, container: Option<Container>) -> Option<String> {
        let pod = self.scene.pods.iter().find(|pod| pod.is_of(attempt) && !pod.lives())?;
        let container = container.filter(|container| has_logs(pod, *container))?;
        let until = self.kept_until(pod, &self.status).filter(|until| *until > self.scene.now)?;
        let (namespace, name) = (self.scene.execution_namespace, &attempt.pod);
        Some(format!("; until {until}: kubectl logs -n {namespace} {name} -c {container}"))
    }
}

/// Whether a container has begun, so that there is something to show.
fn has_logs(pod: &OwnPod<'_>, container: Container) -> bool {
    // The times of the engine are not recorded: it begins before the stages that need it.
    let has_begun = |stage| pod.seen.stages.iter().any(|each| each.name == stage && each.started_at.is_some());
    container.stage().is_none_or(has_begun)
}

//! What a status says: of a build that is at work, and of one that has ended.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Plan, Planner, verdict};
use crate::{
    api::{
        boxes::ArtifactKind,
        build::{Container, Outcome, Stage},
        condition::{ConditionType, Reason},
    },
    plan::{
        failure::Failure,
        lack::Lack,
        observed::State,
        status::{Conditions, Truth},
    },
};

impl<'s> Planner<'s, '_> {
    fn conditions(&self) -> Conditions<'s> {
        Conditions::new(&self.scene.previous.conditions, self.scene.generation, self.scene.now)
    }

    /// Not finished yet: at work, or in need of somebody, by the reason's class. What is missing may come for a time.
    pub(super) fn wait(mut self, reason: Reason, message: &str) -> Plan {
        let mut conditions = self.conditions();
        if self.has_image() {
            conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, &built(self.scene.kind, &[]));
        } else {
            conditions.set(ConditionType::Built, Truth::Unknown, reason, message);
        }
        conditions.set(ConditionType::Verified, Truth::Unknown, reason, message);
        let (since, patience) = (self.scene.previous.lacking_since.as_ref(), self.recipe().limits.dependency);
        let lack = Lack::of(reason, since, patience, self.scene.now);
        self.status.lacking_since = lack.map(|lack| Time(lack.since));
        match lack.filter(|lack| self.scene.now < lack.until) {
            Some(lack) => {
                self.wake_at(lack.until);
                conditions.at_work(reason, message);
            }
            None => conditions.ready(reason, message),
        }
        self.status.conditions = conditions.finish();
        self.plan()
    }

    /// Whether the present attempt has built its image already.
    fn has_image(&self) -> bool {
        self.open_pod().is_some_and(|pod| {
            matches!(pod.seen.state, State::Running(Stage::Verify | Stage::Publish))
                && pod.seen.reports.iter().any(|report| report.stage == Stage::Build && report.failure.is_none())
        })
    }

    /// Ends it well. `left_out` is what of the recipe would have published by itself.
    pub(super) fn succeed(mut self, left_out: &[String]) -> Plan {
        let now = Time(self.scene.now);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.finished_at = Some(now);
            attempt.outcome = Some(Outcome::Succeeded);
        }
        let (reason, message) = verdict::passed(self.scene.kind, &self.status.verification);
        let mut conditions = self.conditions();
        conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, &built(self.scene.kind, left_out));
        conditions.set(ConditionType::Verified, Truth::True, reason, &message);
        conditions.ready(reason, &message);
        self.status.conditions = conditions.finish();
        self.end()
    }

    /// Ends it with a failure. The pod of the last attempt may outlive it: the message says how to look.
    pub(super) fn finish(mut self, failure: &Failure) -> Plan {
        let mut failure = failure.to_status();
        if let Some(attempt) = self.status.attempts.last() {
            failure.message = self.with_logs(&failure.message, attempt, failure.stage);
        }
        let built = matches!(failure.stage, Some(Container::Verify | Container::Publish));
        let mut conditions = self.conditions();
        if built {
            let message = format!("the {} was built", self.scene.kind.noun());
            conditions.set(ConditionType::Built, Truth::True, Reason::ImageBuilt, &message);
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
        self.status.lacking_since = None;
        self.status.duration = Some(verdict::span(self.run_time()));
        self.plan()
    }

    /// How many seconds its pods had a node, all attempts together: without the queue, and without the pauses.
    fn run_time(&self) -> i64 {
        let runs = self.status.attempts.iter().filter_map(|attempt| {
            let (begun, ended) = (attempt.scheduled_at.as_ref()?, attempt.finished_at.as_ref()?);
            Some(ended.0.as_second().saturating_sub(begun.0.as_second()).max(0))
        });
        runs.fold(0, i64::saturating_add)
    }
}

/// That a product exists, and what was left out when it was made.
fn built(kind: ArtifactKind, left_out: &[String]) -> String {
    let noun = kind.noun();
    if left_out.is_empty() {
        return format!("the {noun} exists");
    }
    format!(
        "the {noun} exists; left out of the build, since nothing is published before the tests: {}. Write under \
         publish.{noun} where the {noun} goes",
        left_out.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said() {
        assert_eq!(built(ArtifactKind::Image, &[]), "the image exists");
        let told = built(ArtifactKind::Image, &["docker-push".to_owned()]);
        assert!(told.contains("before the tests: docker-push. Write under publish.image"), "{told}");
    }
}

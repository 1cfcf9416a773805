//! The line of attempts: when one begins, how it ends, whether another follows.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{Action, Intent, Plan, Planner, later, terms::POD_PENDING};
use crate::{
    api::{
        build::{Attempt, Lacked, Outcome, Stage},
        condition::{Class, Reason},
    },
    plan::{
        dependency::{self, Dependency},
        failure::{Failure, Gate},
        name,
        observed::State,
        retry,
        text::{LONGEST_OF_ATTEMPT, truncate_end},
    },
};

/// So many attempts may lack something; with those that the largest budgets allow (1 + 20 + 5) they fit into
/// the 40 that a status holds.
const MOST_LACKING: u32 = 10;

impl Planner<'_, '_> {
    pub(super) fn pod_name(&self, attempt: i32) -> String {
        name::pod(self.scene.name, self.scene.uid, attempt.unsigned_abs())
    }

    /// Records that an attempt is to be made.
    pub(super) fn intend(&mut self, number: i32) {
        self.status.attempts.push(Attempt {
            number,
            pod: self.pod_name(number).as_str().into(),
            pod_uid: None,
            started_at: Time(self.scene.now),
            scheduled_at: None,
            dependencies: Some(dependency::versions(self.scene.dependencies)),
            finished_at: None,
            outcome: None,
            reason: None,
            class: None,
            message: None,
            lacked: None,
        });
    }

    /// Begins an attempt, recorded already or not, as soon as nothing is in its way.
    pub(super) fn start(mut self, number: i32) -> Plan {
        if self.scene.name_taken {
            let (name, namespace) = (self.pod_name(number), self.scene.execution_namespace);
            let message = format!("the pod {name} in the namespace {namespace} is not ours: rename or delete it");
            return self.wait(Reason::NameCollision, &message);
        }
        if let Some(pod) = self.scene.pods.iter().find(|pod| pod.lives()) {
            return self.wait_for_end(pod);
        }
        if let Some(time) = self.not_before().filter(|time| *time > self.scene.now) {
            return self.pause(time);
        }
        if let Gate::Closed(why) = &self.scene.permission {
            return self.wait(why.reason, &why.message);
        }
        if self.status.attempts.last().is_none_or(|attempt| attempt.number != number) {
            self.intend(number);
        }
        let after = (number > 1).then(|| self.pod_name(number.saturating_sub(1)));
        let only_if = Intent { build_uid: self.scene.uid.to_owned(), attempt: number, after };
        self.actions.push(Action::CreatePod { attempt: number, name: self.pod_name(number), only_if });
        self.wait(Reason::PodPending, POD_PENDING)
    }

    /// When the next attempt may begin: some time after the last, the longer the more have failed.
    fn not_before(&self) -> Option<Timestamp> {
        let last = self.ended().next()?;
        let pause = match last.class {
            Some(Class::Dependency) => retry::dependency_pause(self.lacking_in_a_row()),
            _ => retry::pause(self.failures(Class::Infrastructure)),
        };
        last.finished_at.as_ref().map(|ended| later(ended.0, pause))
    }

    fn pause(mut self, until: Timestamp) -> Plan {
        self.wake_at(until);
        let before = self.ended().next().map_or_else(String::new, |attempt| {
            let reason = attempt.reason.unwrap_or(Reason::PodLost);
            format!(": attempt {} ended with {reason}: {}", attempt.number, self.told(attempt))
        });
        self.wait(Reason::BackingOff, &format!("the next attempt begins at {until}{before}"))
    }

    /// The attempts that have ended, the last first.
    fn ended(&self) -> impl Iterator<Item = &Attempt> {
        self.status.attempts.iter().rev().filter(|attempt| attempt.outcome.is_some())
    }

    /// How many attempts have failed with a class.
    fn failures(&self, class: Class) -> u32 {
        count(self.ended().filter(|attempt| attempt.class == Some(class)))
    }

    /// How many attempts have failed for the build's own reasons.
    fn spent(&self) -> u32 {
        self.failures(Class::Build).saturating_add(self.failures(Class::Verification))
    }

    fn lacking_in_a_row(&self) -> u32 {
        count(self.ended().take_while(|attempt| attempt.class == Some(Class::Dependency)))
    }

    /// Ends the open attempt with a failure, and in the same status begins the next where one is due.
    pub(super) fn fail(mut self, failure: Failure) -> Plan {
        self.close(&failure);
        let told = failure.to_status().message;
        match failure.reason.class() {
            Class::Infrastructure
                if self.failures(Class::Infrastructure) <= self.recipe().limits.infrastructure_retries =>
            {
                self.again()
            }
            Class::Build | Class::Verification if self.spent() <= self.recipe().limits.build_retries => self.again(),
            Class::Dependency if self.failures(Class::Dependency) < MOST_LACKING => self.resume(),
            Class::Infrastructure => {
                let lost = self.failures(Class::Infrastructure);
                let message = format!("{lost} attempts were lost, the last one by {}: {told}", failure.reason);
                self.finish(&Failure { reason: Reason::InfrastructureRetriesExhausted, message, task: None, ..failure })
            }
            Class::Dependency => {
                let message = format!(
                    "{MOST_LACKING} attempts lacked something, and no further one follows; the last one: {told}"
                );
                self.finish(&Failure { message, task: None, ..failure })
            }
            _ => self.finish(&failure),
        }
    }

    /// Records the end of the open attempt. Its pod goes at once unless all of it has ended: a privileged
    /// container must not run beside that of the next attempt.
    fn close(&mut self, failure: &Failure) {
        if let Some(pod) = self.open_pod().filter(|pod| pod.lives()) {
            self.delete(pod);
        }
        let of_steps =
            self.open_pod().and_then(|pod| pod.seen.reports.iter().find(|report| report.stage == Stage::Verify));
        self.status.verification = of_steps.map(|report| report.verification.clone()).unwrap_or_default();
        let class = failure.reason.class();
        let lacked = (class == Class::Dependency).then(|| self.lacked());
        let message = failure.to_status().message;
        let now = Time(self.scene.now);
        if let Some(attempt) = self.status.attempts.last_mut().filter(|attempt| attempt.outcome.is_none()) {
            attempt.finished_at = Some(now);
            attempt.outcome = Some(Outcome::Failed);
            attempt.reason = Some(failure.reason);
            attempt.class = Some(class);
            attempt.message = Some(truncate_end(&message, LONGEST_OF_ATTEMPT).to_owned());
            attempt.lacked = lacked;
        }
    }

    /// What the open attempt lacked.
    fn lacked(&self) -> Lacked {
        let now = self.scene.dependencies;
        let failure = self.open_pod().and_then(|pod| match &pod.seen.state {
            State::Failed(found) => Some(found),
            _ => None,
        });
        let missing = failure.and_then(|found| {
            let refused = || self.scene.build.recipe.refused(found, now);
            found.missing.as_deref().cloned().or_else(refused)
        });
        let before = self.status.attempts.last().and_then(|attempt| attempt.dependencies.as_deref());
        dependency::lacked(missing.as_ref(), before, now)
    }

    /// Ends it in the name of somebody.
    pub(super) fn cancel(mut self, failure: &Failure) -> Plan {
        for pod in self.scene.pods.iter().filter(|pod| pod.lives()) {
            self.delete(pod);
        }
        self.close(failure);
        self.finish(failure)
    }

    /// Records that another attempt follows, and when.
    fn again(mut self) -> Plan {
        let number = self.next_number();
        self.intend(number);
        match self.not_before() {
            Some(time) => self.pause(time),
            None => self.start(number),
        }
    }

    fn next_number(&self) -> i32 {
        self.status.attempts.last().map_or(1, |attempt| attempt.number.saturating_add(1))
    }

    /// The last attempt has ended, and another follows only when what it lacked is another.
    pub(super) fn resume(self) -> Plan {
        let Some(attempt) = self.status.attempts.last() else { return self.start(1) };
        let lacked = attempt.lacked.as_ref();
        if lacked.is_none_or(|lacked| dependency::changed(lacked, self.scene.dependencies)) {
            let number = self.next_number();
            return self.start(number);
        }
        let of = lacked.and_then(|lacked| lacked.of.as_deref());
        let what = of.map_or("something that the build names".to_owned(), |of| {
            let known = of.parse::<Dependency>();
            known.map_or_else(|_| of.to_owned(), |known| known.shown(self.scene.execution_namespace))
        });
        let message = format!("it goes on when {what} changes: {}", self.told(attempt));
        let reason = attempt.reason.unwrap_or(Reason::PodLost);
        self.wait(reason, &message)
    }
}

fn count<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> u32 {
    u32::try_from(attempts.count()).unwrap_or(u32::MAX)
}

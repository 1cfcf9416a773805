//! Why a run of `packer build` failed.

use super::program::{LINES, Ran};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
    runner::{ansible::FailedTask, engine::explained, process::ending},
};

/// What is known of a run of packer that failed.
pub(super) struct Known<'k> {
    pub(super) ran: &'k Ran,
    /// The task of a playbook that ended it.
    pub(super) task: Option<FailedTask>,
    /// Which of its containers ended by themselves, and how.
    pub(super) ended: Option<String>,
    /// What the machine shows that it worked with, as sentences; empty where there was none.
    pub(super) shown: String,
    /// Why its containers cannot start on this node.
    pub(super) groups: Option<&'static str>,
    /// The parent's name in the engine.
    pub(super) local: Option<&'k str>,
    /// How often it ran.
    pub(super) tries: usize,
    /// Where, for people.
    pub(super) place: String,
    /// What to do about what packer said.
    pub(super) advice: Option<String>,
}

impl Known<'_> {
    /// Why it failed, by the best that is known.
    pub(super) fn failure(mut self) -> Failure {
        let ended = self.ended.take();
        if let Some(advice) = self.groups {
            let said = truncate_middle(&self.ran.complaint(), 400);
            let packer = Failure::new(Reason::BuildFailed, format!("Packer said: {said}"));
            let failure = explained(packer, ended);
            return Failure { message: format!("{advice} {}", failure.message), ..failure };
        }
        explained(self.packers(), ended)
    }

    /// Why it failed, by what packer and ansible say.
    fn packers(self) -> Failure {
        let Ran { outcome, tail, status, .. } = self.ran;
        let said = truncate_middle(&self.ran.complaint(), 400);
        if let Some(local) = self.local.filter(|local| outcome.has_not_pulled(local)) {
            let message = format!(
                "the template pulls {local}, which is only in the engine: name $(parent.reference), or set pull = false"
            );
            return Failure::new(Reason::BuildFailed, message);
        }
        if let Some(task) = self.task.filter(|_| !self.ran.ended_by_script()) {
            return task.failure(Reason::TaskFailed);
        }
        if let Some(lack) = self.ran.lost_for() {
            return Failure::new(Reason::BuildFailed, lack.sentence());
        }
        if self.tries > 1 {
            let message = format!(
                "in {} tries a script was gone before it could run: let the template wait until systemd has booted, or \
                 set remote_folder. Packer said: {said}",
                self.tries
            );
            return Failure::new(Reason::BuildFailed, message);
        }
        let (ending, last) = (ending(*status), tail.last(LINES));
        let said = self.advice.map_or_else(|| said.clone(), |advice| format!("{said} ({advice})"));
        let place = self.place;
        let message = format!("packer build in {place} ended with {ending}: {said}\nIts last lines: {last}");
        let message = [message, self.shown].join("\n").trim_end().to_owned();
        Failure::new(Reason::BuildFailed, message)
    }
}

#[cfg(test)]
mod tests;

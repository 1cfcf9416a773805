//! Molecule as a test step, and what it prints: which action failed, and what was not idempotent.

use std::path::Path;

use super::tool::Tool;
use crate::{api::condition::Reason, plan::failure::Failure, runner::ansible::FailedTask};

const FAILED: &str = "An error occurred during the test sequence action: '";
const NOT_IDEMPOTENT: &str = "Idempotence test failed because of the following tasks:";
/// As many tasks as a message shows.
const MOST: usize = 6;

/// The step that runs a scenario.
pub(super) fn tool(scenario: &str) -> Tool {
    let call = ["molecule", "test", "--scenario-name", scenario].map(str::to_owned);
    let containers = Path::new("molecule").join(scenario).join("molecule.yml");
    Tool { runs: scenario.to_owned(), containers: Some(containers), ..Tool::new("molecule", call.into()) }
}

/// Whether a task asked a registry for an image that is only in the engine, as that of a platform which has no
/// `pre_build_image`: molecule builds its own on it first, and pulls.
pub(super) fn pulls(task: &FailedTask, image: &str) -> bool {
    image.split_once('/').is_some_and(|(host, _)| task.says(&[host, "no such host"]))
}

/// That failure with what to do.
pub(super) fn not_pulled(failure: Failure) -> Failure {
    let message = format!(
        "molecule asks a registry for an image that is only in the engine: set pre_build_image: true for its platform. {}",
        failure.message
    );
    Failure { message, ..failure }
}

/// What was seen of molecule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// The action that failed.
    failed: Option<String>,
    /// The tasks that changed something the second time; empty until molecule says so.
    changed: Option<Vec<String>>,
}

impl Output {
    /// Takes a line into account.
    pub(super) fn add(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once(FAILED) {
            self.failed = rest.split('\'').next().map(str::to_owned);
        }
        if line.contains(NOT_IDEMPOTENT) {
            self.changed = Some(Vec::new());
        } else if let (Some(changed), Some(task)) = (&mut self.changed, line.trim_start().strip_prefix("* "))
            && changed.len() < MOST
        {
            changed.push(task.trim().trim_start_matches("=> ").to_owned());
        }
    }

    /// The failure where a second run of the playbook changed something.
    pub(super) fn idempotence(&self) -> Option<Failure> {
        let changed = self.changed.as_ref()?;
        let message = format!("a second run of the playbook changed something: {}", changed.join("; "));
        Some(Failure { task: changed.first().cloned(), ..Failure::new(Reason::NotIdempotent, message) })
    }

    /// What a task that failed means: in the action `verify` it is a test.
    pub(super) fn reason(&self) -> Reason {
        if self.failed.as_deref() == Some("verify") { Reason::TestsFailed } else { Reason::VerificationFailed }
    }
}

#[cfg(test)]
mod tests;

//! Molecule as a test step, and what it prints: which action failed, and what was not idempotent.

use std::path::Path;

use super::tool::Tool;
use crate::{api::condition::Reason, plan::failure::Failure};

const FAILED: &str = "An error occurred during the test sequence action: '";
const NOT_IDEMPOTENT: &str = "Idempotence test failed because of the following tasks:";
/// As many tasks as a message shows.
const MOST: usize = 6;

/// The step that runs a scenario.
pub(super) fn tool(scenario: &str) -> Tool {
    let call = ["molecule", "test", "--scenario-name", scenario].map(str::to_owned);
    let containers = Path::new("molecule").join(scenario).join("molecule.yml");
    Tool { containers: Some(containers), ..Tool::new("molecule", call.into()) }
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

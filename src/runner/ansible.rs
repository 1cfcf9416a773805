//! What ansible did: told by a callback plugin of ours, which works under packer and molecule alike.

use std::{fs, io, path::PathBuf};

use serde::Deserialize;

use super::{context::Context, report::read_bounded};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
};

/// By this variable the plugin knows where to write.
pub(super) const REPORT_VARIABLE: &str = "IMAGECHAIN_ANSIBLE_REPORT";
const PLUGIN: &str = include_str!("ansible_callback.py");

/// Where the plugin writes.
pub(super) fn report_file(context: &Context) -> PathBuf {
    context.places.state().join("ansible.jsonl")
}

/// Puts the plugin where ansible finds it without being told: settings of a user's `ansible.cfg` stay as they
/// are. Where it cannot be put, failures are told by packer's and molecule's last lines.
pub(super) fn install(context: &Context) {
    let folder = &context.places.callbacks;
    let put = || {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("imagechain.py"), PLUGIN)?;
        // What an earlier step left.
        match fs::remove_file(report_file(context)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    if let Err(error) = put() {
        context
            .log
            .say(format_args!("the callback plugin cannot be written ({error}): failures of tasks have no details"));
    }
}

/// A task that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct FailedTask {
    kind: String,
    task: String,
    action: String,
    path: String,
    host: String,
    #[serde(rename = "msg")]
    message: String,
    stdout: String,
    stderr: String,
    rc: Option<i64>,
}

/// The task that ended the last run: those before it were rescued.
pub(super) fn failed_task(context: &Context) -> Option<FailedTask> {
    let text = read_bounded(&report_file(context))?;
    last(&text, &context.places.workspace.to_string_lossy())
}

fn last(text: &str, workspace: &str) -> Option<FailedTask> {
    let mut task: FailedTask = text.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
    let inside = task.path.strip_prefix(&format!("{workspace}/source/")).map(str::to_owned);
    task.path = inside.unwrap_or(task.path);
    Some(task)
}

impl FailedTask {
    /// As a failure of that reason.
    pub(super) fn failure(&self, reason: Reason) -> Failure {
        Failure { task: Some(self.task.clone()), ..Failure::new(reason, self.sentence()) }
    }

    fn sentence(&self) -> String {
        let verb = if self.kind == "unreachable" { "did not reach" } else { "failed on" };
        let place = if self.path.is_empty() { String::new() } else { format!(" ({})", self.path) };
        let mut parts =
            vec![format!("{} {verb} {}{place}: {}", self.action, self.host, truncate_middle(&self.message, 500))];
        parts.extend(self.rc.filter(|rc| *rc != 0).map(|rc| format!("return code {rc}")));
        for (name, output) in [("stderr", &self.stderr), ("stdout", &self.stdout)] {
            // Modules often say the same twice.
            if !output.trim().is_empty() && !self.message.contains(output.trim()) {
                parts.push(format!("{name}: {}", truncate_middle(output, 300)));
            }
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests;

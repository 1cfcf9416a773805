//! What ansible did: told by a callback plugin of ours, which works under packer and molecule alike.

use std::{fs, io, path::PathBuf};

use serde::Deserialize;

use super::{
    report::{failure, shortened},
    stage::Context,
};
use crate::{api::condition::Reason, plan::observed::ReportedFailure};

/// By this variable the plugin knows where to write.
pub(super) const REPORT_VARIABLE: &str = "IMAGECHAIN_ANSIBLE_REPORT";
const PLUGIN: &str = include_str!("ansible_callback.py");
/// The most of a file of ours that others could have written, in bytes.
const LONGEST: u64 = 1 << 20;

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
    let file = fs::File::open(report_file(context)).ok()?;
    let text = io::read_to_string(io::Read::take(file, LONGEST)).ok()?;
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
    pub(super) fn failure(&self, reason: Reason) -> ReportedFailure {
        ReportedFailure { task: Some(self.task.clone()), ..failure(reason, self.sentence()) }
    }

    fn sentence(&self) -> String {
        let verb = if self.kind == "unreachable" { "did not reach" } else { "failed on" };
        let place = if self.path.is_empty() { String::new() } else { format!(" ({})", self.path) };
        let mut text = format!("{} {verb} {}{place}: {}", self.action, self.host, shortened(&self.message, 500));
        if let Some(rc) = self.rc.filter(|rc| *rc != 0) {
            text.push_str(&format!("; return code {rc}"));
        }
        for (name, output) in [("stderr", &self.stderr), ("stdout", &self.stdout)] {
            // Modules often say the same twice.
            if !output.trim().is_empty() && !self.message.contains(output.trim()) {
                text.push_str(&format!("; {name}: {}", shortened(output, 300)));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;

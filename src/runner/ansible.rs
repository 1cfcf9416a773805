//! What ansible did: told by a callback plugin of ours, which works under packer and molecule alike.

mod complaint;
mod plugin;

use std::collections::BTreeMap;

use serde::Deserialize;

pub(super) use self::{
    complaint::Complaint,
    plugin::{REPORT_VARIABLE, install, report_file},
};
use super::{context::Context, report::read_bounded};
use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        text::{truncate_end, truncate_middle},
    },
};

/// The most of a task's name, file or host in a message, in bytes.
const LONGEST_NAME: usize = 300;

/// A line of the plugin.
#[derive(Deserialize)]
struct Line {
    /// Which run of ansible: its process.
    run: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum What {
    /// A task failed. It may be rescued yet.
    Failed(FailedTask),
    /// A host was not reached for a task. That may be ignored.
    Unreachable(FailedTask),
    /// The run has come to its end, without these hosts: none where all went well.
    Ended { hosts: Vec<String> },
}

/// A task that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct FailedTask {
    #[serde(skip)]
    unreachable: bool,
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

/// The task that ended the last run that failed.
pub(super) fn failed_task(context: &Context) -> Option<FailedTask> {
    let text = read_bounded(&report_file(context))?;
    let mut task = last(&text)?;
    task.redact(context);
    let source = format!("{}/", context.places.source().display());
    let path = task.path.strip_prefix(&source).unwrap_or(&task.path).to_owned();
    Some(FailedTask { path, ..task })
}

/// Of each run, the last task that failed on each host; a run that ended without a host was ended by that one.
fn last(text: &str) -> Option<FailedTask> {
    let mut open: BTreeMap<(i64, String), FailedTask> = BTreeMap::new();
    let mut found = None;
    for Line { run, what } in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match what {
            What::Failed(task) => drop(open.insert((run, task.host.clone()), task)),
            What::Unreachable(task) => {
                drop(open.insert((run, task.host.clone()), FailedTask { unreachable: true, ..task }));
            }
            What::Ended { hosts } => {
                found = hosts.into_iter().find_map(|host| open.remove(&(run, host))).or(found);
            }
        }
    }
    found
}

impl FailedTask {
    /// As a failure of that reason.
    pub(super) fn failure(&self, reason: Reason) -> Failure {
        let task = truncate_end(&self.task, LONGEST_NAME).to_owned();
        Failure { task: Some(task), ..Failure::new(reason, self.sentence()) }
    }

    /// Whether what it says holds all of these words.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| [&self.message, &self.stderr, &self.stdout].iter().any(|text| text.contains(word)))
    }

    fn redact(&mut self, context: &Context) {
        let Self { task, action, path, host, message, stdout, stderr, unreachable: _, rc: _ } = self;
        for text in [task, action, path, host, message, stdout, stderr] {
            *text = context.log.redacted(text);
        }
    }

    fn sentence(&self) -> String {
        let verb = if self.unreachable { "did not reach" } else { "failed on" };
        let [action, host, path] = [&self.action, &self.host, &self.path].map(|name| truncate_end(name, LONGEST_NAME));
        let place = if path.is_empty() { String::new() } else { format!(" ({path})") };
        let mut parts = vec![format!("{action} {verb} {host}{place}: {}", truncate_middle(&self.message, 500))];
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

//! What a kind of test step says of itself; the rest is the same for all kinds.

use std::path::PathBuf;

/// The program of a test step.
pub(super) struct Tool {
    /// The kind of the step, for people.
    pub(super) kind: &'static str,
    /// What of that kind it runs, for people; may be empty.
    pub(super) runs: String,
    /// The program and its arguments.
    pub(super) call: Vec<String>,
    /// The option that tells the program where a container of the image runs; without it, none is started.
    pub(super) target_option: Option<&'static str>,
    /// The file, in the folder of the step, that says how the program starts containers.
    pub(super) containers: Option<PathBuf>,
    /// An exit code that is no failed test, and what it means.
    pub(super) exit_code: Option<(i32, &'static str)>,
}

impl Tool {
    /// A program of which nothing more is known.
    pub(super) const fn new(kind: &'static str, call: Vec<String>) -> Self {
        Self { kind, runs: String::new(), call, target_option: None, containers: None, exit_code: None }
    }
}

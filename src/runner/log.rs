//! What people read while a stage runs: the lines of its programs, and one at the start and the end of each
//! step. What is secret is taken out of them.

use std::{
    fmt,
    io::{self, Write},
};

use tokio::time::Instant;

use super::redact::Redaction;

/// The log of a stage.
#[derive(Debug, Default)]
pub(super) struct Log {
    secrets: Redaction,
}

impl Log {
    /// A log that hides these values.
    pub(super) fn hiding(values: impl IntoIterator<Item = String>) -> Self {
        let mut secrets = Redaction::default();
        values.into_iter().for_each(|value| secrets.hide(&value));
        Self { secrets }
    }

    /// A text without what is secret. What is told of a program goes through this before it is cut: of a secret that is
    /// cut in two, neither half would be found.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.secrets.redacted(text)
    }

    /// A line of a program.
    pub(super) fn line(&self, text: &str) {
        // Who reads the log may have gone away: the stage goes on.
        let _ = writeln!(io::stdout().lock(), "{}", self.redacted(text));
    }

    /// A line of ours.
    pub(super) fn say(&self, text: impl fmt::Display) {
        self.line(&format!("imagechain: {text}"));
    }

    /// Begins a step.
    pub(super) fn step(&self, name: impl Into<String>) -> Step<'_> {
        let name = name.into();
        self.say(format_args!("{name} …"));
        Step { log: self, name, began: Instant::now() }
    }
}

/// A step that goes on until it is dropped.
pub(super) struct Step<'l> {
    log: &'l Log,
    name: String,
    began: Instant,
}

impl Step<'_> {
    /// Since when it goes on.
    pub(super) const fn began(&self) -> Instant {
        self.began
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.log.say(format_args!("{}: {:.1} s", self.name, self.began.elapsed().as_secs_f64()));
    }
}

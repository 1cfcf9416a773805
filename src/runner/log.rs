//! What people read while a stage runs: the lines of its programs, and one at the start and the end of each
//! step. What is secret is taken out of them.

use std::{
    fmt,
    io::{self, Write},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::time::Instant;

/// Shorter values would blacken half of a log, and protect nothing.
const SHORTEST_SECRET: usize = 4;

/// The log of a stage.
#[derive(Debug, Default)]
pub(super) struct Log {
    secrets: Vec<String>,
}

impl Log {
    /// Takes these values out of all lines from now on, as they are and in base 64.
    pub(super) fn hide(&mut self, values: impl IntoIterator<Item = String>) {
        for value in values {
            let lines = value.lines().map(str::trim).map(str::to_owned);
            let forms = lines.chain([STANDARD.encode(value.trim_end()), STANDARD.encode(&value)]);
            self.secrets.extend(forms.filter(|form| form.len() >= SHORTEST_SECRET));
        }
        // The longest first: one may be part of another.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// A text without what is secret.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_in_all_their_forms() {
        let mut log = Log::default();
        log.hide(["canary".to_owned(), "canary-two\nsecond line\n".to_owned(), "abc".to_owned()]);
        for (text, expected) in [
            ("the canary sings", "the *** sings"),
            ("canary-two", "***"),
            ("second line", "***"),
            ("Y2FuYXJ5", "***"),
            (&STANDARD.encode("canary-two\nsecond line"), "***"),
            ("abc", "abc"),
        ] {
            assert_eq!(log.redacted(text), expected, "{text}");
        }
    }
}

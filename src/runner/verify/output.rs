//! What a test step printed and left. Each step is read for signs of molecule and of pytest: a command may call
//! either, and molecule calls pytest.

use std::path::Path;

use super::{
    junit::{self, Tests},
    molecule, pytest,
};
use crate::{
    plan::{failure::Failure, text::plain},
    runner::{ansible::FailedTask, process::Tail, report::read_bounded},
};

/// What ansible, docker and its library for Python say of a container that does not run.
const LOST_CONTACT: [&str; 4] =
    ["UNREACHABLE!", "Failed to create temporary directory", "is not running", "No such container"];

/// What a step printed.
#[derive(Default)]
pub(super) struct Output {
    pub(super) tail: Tail,
    /// It says that a container was not reached.
    pub(super) lost_contact: bool,
    molecule: molecule::Output,
    pytest: pytest::Summary,
}

impl Output {
    /// Takes a line into account.
    pub(super) fn add(&mut self, line: &str) {
        let line = plain(line);
        self.tail.push(&line);
        self.lost_contact |= LOST_CONTACT.iter().any(|sign| line.contains(sign));
        self.molecule.add(&line);
        self.pytest.add(&line);
    }

    /// The results of tests, by the file that they left, or else by what pytest printed.
    pub(super) fn tests(&self, file: &Path) -> Option<Tests> {
        let text = read_bounded(file);
        text.and_then(|text| junit::parse(&text)).or_else(|| self.pytest.tests())
    }

    /// Why the step failed, by the best that is known: a test, a change by the second run of a playbook, or a task.
    pub(super) fn failure(&self, tests: Option<&Tests>, task: Option<FailedTask>) -> Option<Failure> {
        let of_tests = tests.and_then(Tests::failure);
        of_tests
            .or_else(|| self.molecule.idempotence())
            .or_else(|| task.map(|task| task.failure(self.molecule.reason())))
    }
}

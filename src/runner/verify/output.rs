//! What a test step printed and left. Each step is read for signs of molecule and of pytest: a command may call
//! either, and molecule calls pytest.

use super::{
    junit::{self, Tests},
    molecule, pytest,
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::plain},
    runner::{
        ansible::{Complaint, FailedTask},
        process::Tail,
    },
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
    complaint: Complaint,
}

impl Output {
    /// Takes a line into account.
    pub(super) fn add(&mut self, line: &str) {
        let line = plain(line);
        self.tail.push(&line);
        self.lost_contact |= LOST_CONTACT.iter().any(|sign| line.contains(sign));
        self.molecule.add(&line);
        self.pytest.add(&line);
        self.complaint.add(&line);
    }

    /// The results of tests, by what is in the file that they left, or else by what pytest printed.
    pub(super) fn tests(&self, left: Option<&str>) -> Option<Tests> {
        left.and_then(junit::parse).or_else(|| self.pytest.tests())
    }

    /// Why the step failed, by the best that is known: a test, a change by the second run of a playbook, a task, or what
    /// ansible said before its first task. The last argument is the folder that people know places by.
    pub(super) fn failure(&self, tests: Option<&Tests>, task: Option<FailedTask>, source: &str) -> Option<Failure> {
        let of_tests = tests.and_then(Tests::failure);
        of_tests
            .or_else(|| self.molecule.idempotence())
            .or_else(|| task.map(|task| task.failure(self.molecule.reason())))
            .or_else(|| Some(Failure::new(Reason::VerificationFailed, self.complaint.sentence(source)?)))
    }
}

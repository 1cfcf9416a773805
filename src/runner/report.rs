//! The report of a stage: what the operator reads of it, in so few bytes that nothing is cut.

use std::{fs, io, path::Path};

use crate::{
    api::{build::Stage, condition::Reason},
    outcome::report::LONGEST,
    plan::{
        failure::Failure,
        observed::Report,
        text::{LONGEST_REPORTED, LONGEST_TASK, plain, truncate_middle},
    },
};

/// The most of a file of results that is read, in bytes.
const LONGEST_FILE: u64 = 16 << 20;

/// A report that says nothing yet.
pub(super) const fn empty(stage: Stage) -> Report {
    Report {
        stage,
        failure: None,
        content: None,
        repository: None,
        digest: None,
        size: None,
        verification: Vec::new(),
        left_out: Vec::new(),
    }
}

/// A failure of this container's own files or programs: another attempt may be luckier.
pub(super) fn local(what: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(Reason::DiskFull, format!("{what}: the disk is full: free some, or need less"))
        }
        _ => Failure::new(Reason::StageInterrupted, format!("{what}: {error}")),
    }
}

/// The report as JSON that the kubelet does not cut.
pub(super) fn to_json(report: &Report) -> String {
    let mut report = report.clone();
    if let Some(failure) = &mut report.failure {
        failure.message = truncate_middle(&plain(&failure.message), LONGEST_REPORTED);
        failure.task = failure.task.as_ref().map(|task| truncate_middle(&plain(task), LONGEST_TASK));
    }
    loop {
        let json = serde_json::to_string(&report).unwrap_or_default();
        if json.len() <= LONGEST || !shrink(&mut report) {
            return json;
        }
    }
}

/// Makes the longest of its texts shorter. The answer is whether there was something to shorten.
fn shrink(report: &mut Report) -> bool {
    let Some(failure) = &mut report.failure else { return report.verification.pop().is_some() };
    let text = match &mut failure.task {
        Some(task) if task.len() > failure.message.len() => task,
        _ => &mut failure.message,
    };
    if text.len() < 100 {
        return failure.missing.take().is_some() || report.verification.pop().is_some();
    }
    *text = truncate_middle(text, text.len() * 3 / 4);
    true
}

/// The beginning of a file that the user's programs write; `None` where there is none, or no text.
pub(super) fn read_bounded(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    io::read_to_string(io::Read::take(file, LONGEST_FILE)).ok()
}

/// Leaves the report where the kubelet reads it.
pub(super) fn write(report: &str, path: &Path) -> io::Result<()> {
    fs::write(path, report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{api::build::Verification, outcome::report::parse};

    fn full(message: String, task: String, steps: usize) -> Report {
        let missing = format!("secret/{}", "a".repeat(200)).parse().ok().map(Box::new);
        let failure = Failure { task: Some(task), missing, ..Failure::new(Reason::TestsFailed, message) };
        let step = Verification {
            step: "1 molecule".to_owned(),
            passed: false,
            tests: Some(i32::MAX),
            failures: Some(i32::MAX),
            seconds: i64::MAX,
            image_ran: Some(false),
        };
        let verification = vec![step; steps];
        let digest = Some(format!("sha256:{}", "0".repeat(64)));
        Report { failure: Some(failure), content: digest, verification, ..empty(Stage::Verify) }
    }

    proptest! {
        #[test]
        fn whatever_it_says_the_operator_reads_it(
            message in "(?s).{0,3000}", task in "(?s).{0,2000}", steps in 0_usize..8,
        ) {
            let json = to_json(&full(message, task, steps));
            prop_assert!(json.len() <= LONGEST, "{} bytes", json.len());
            let read = parse(Stage::Verify, &json);
            prop_assert!(read.is_ok(), "{read:?}: {json}");
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(local("x", &full).reason, Reason::DiskFull);
        assert_eq!(local("x", &io::Error::other("y")).reason, Reason::StageInterrupted);
    }
}

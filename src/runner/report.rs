//! The report of a stage: what the operator reads of it, in so few bytes that nothing is cut.

use std::{fs, io, path::Path};

use crate::{
    api::{build::Stage, condition::Reason},
    outcome::report::LONGEST,
    plan::observed::{Report, ReportedFailure},
};

/// The most of a sentence that the operator keeps, in bytes.
const LONGEST_MESSAGE: usize = 1000;
/// The most of the name of a task or test that it keeps, in bytes.
const LONGEST_TASK: usize = 512;

/// A report that says nothing yet.
pub(super) const fn empty(stage: Stage) -> Report {
    Report {
        stage,
        failure: None,
        image_id: None,
        repository: None,
        digest: None,
        size: None,
        verification: Vec::new(),
    }
}

/// A failure.
pub(super) fn failure(reason: Reason, message: impl Into<String>) -> ReportedFailure {
    ReportedFailure { reason, message: message.into(), task: None, lacked: None }
}

/// A failure of this container's own files or programs: another attempt may be luckier.
pub(super) fn local(what: &str, error: &io::Error) -> ReportedFailure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure(Reason::DiskFull, format!("{what}: the disk is full: free some, or need less"))
        }
        _ => failure(Reason::StageInterrupted, format!("{what}: {error}")),
    }
}

/// The report as JSON that the kubelet does not cut.
pub(super) fn to_json(report: &Report) -> String {
    let mut report = report.clone();
    if let Some(failure) = &mut report.failure {
        failure.message = shortened(&plain(&failure.message), LONGEST_MESSAGE);
        failure.task = failure.task.as_ref().map(|task| shortened(&plain(task), LONGEST_TASK));
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
        return failure.lacked.take().is_some() || report.verification.pop().is_some();
    }
    *text = shortened(text, text.len() * 3 / 4);
    true
}

/// A text of one form: no escape sequences of terminals, no control characters but the ends of lines.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // CSI: up to its final letter.
            '\u{1b}' => {
                if letters.next() == Some('[') {
                    letters.by_ref().find(|letter| ('@'..='~').contains(letter));
                }
            }
            '\n' | '\t' => plain.push(letter),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// The beginning and the end of a text that is too long: at its end stands what went wrong, at its beginning
/// where.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    const MARK: &str = " … ";
    let text = text.trim();
    if text.len() <= longest {
        return text.to_owned();
    }
    let room = longest.saturating_sub(MARK.len());
    let head = text.floor_char_boundary(room / 2);
    let tail = text.ceil_char_boundary(text.len() - (room - head));
    let (head, tail) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{head}{MARK}{tail}")
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
        let failure = ReportedFailure {
            reason: Reason::TestsFailed,
            message,
            task: Some(task),
            lacked: Some(format!("secret/{}", "a".repeat(200))),
        };
        let step = Verification {
            step: "1 molecule".to_owned(),
            passed: false,
            tests: Some(i32::MAX),
            failures: Some(i32::MAX),
            seconds: i64::MAX,
        };
        let verification = vec![step; steps];
        let digest = Some(format!("sha256:{}", "0".repeat(64)));
        Report { failure: Some(failure), image_id: digest, verification, ..empty(Stage::Verify) }
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
    fn a_long_text_keeps_beginning_and_end() {
        assert_eq!(shortened("short", 10), "short");
        let long = shortened(&format!("begin{}end", "ü".repeat(600)), 100);
        assert!(long.len() <= 100 && long.starts_with("beginü") && long.ends_with("üend"), "{long}");
    }

    #[test]
    fn a_plain_text_has_no_escapes() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m\r\n\u{7}x\ty\u{1b}"), "red\nx\ty");
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(local("x", &full).reason, Reason::DiskFull);
        assert_eq!(local("x", &io::Error::other("y")).reason, Reason::StageInterrupted);
    }
}

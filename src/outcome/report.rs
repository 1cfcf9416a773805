//! What a stage says of itself at its end, as JSON in its container's termination message.

use thiserror::Error;

use crate::{
    api::{
        build::Stage,
        condition::{Class, Reason},
    },
    plan::{
        image::{Digest, Repository},
        observed::Report,
        text::{LONGEST_REPORTED, LONGEST_STEP, LONGEST_TASK, truncate_middle},
    },
};

/// The most that the kubelet keeps of a termination message, in bytes: 12 KiB for all containers of a pod
/// together (`normalizeStatus` in its status manager), and a build pod has five. A runner must stay below,
/// since what is cut is no report any more.
pub const LONGEST: usize = 12 * 1024 / 5;

/// The most test steps that are kept.
const MOST_STEPS: usize = 8;

/// The most kinds of what was left out that are kept, and how long the name of each may be, in bytes.
const MOST_LEFT_OUT: (usize, usize) = (8, 40);

/// Why a termination message is no report.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    /// There is none.
    #[error("the stage said nothing at its end")]
    Absent,
    /// It is longer than the kubelet would have kept.
    #[error("what the stage said at its end is longer than {LONGEST} bytes")]
    TooLong,
    /// It is not JSON of our form: cut off, or somebody else's.
    #[error("what the stage said at its end cannot be read: {0}")]
    Malformed(String),
    /// It is that of another stage.
    #[error("what the stage said at its end is the report of {0:?}")]
    OtherStage(Stage),
    /// A failure with a reason that is none, such as `LinksReady`.
    #[error("the stage reports the failure {0}, which is none")]
    NoFailure(Reason),
    /// A repository that is none.
    #[error("the stage reports «{0}» for a repository")]
    NoRepository(String),
    /// An image ID or digest that is none.
    #[error("the stage reports «{0}» for a digest")]
    NoDigest(String),
}

/// Reads the termination message of a stage.
///
/// # Errors
/// Why it is no report of that stage.
pub fn parse(stage: Stage, message: &str) -> Result<Report, ReportError> {
    if message.trim().is_empty() {
        return Err(ReportError::Absent);
    }
    if message.len() > LONGEST {
        return Err(ReportError::TooLong);
    }
    let report: Report = serde_json::from_str(message).map_err(|error| ReportError::Malformed(error.to_string()))?;
    check(stage, &report)?;
    Ok(bounded(report))
}

fn check(stage: Stage, report: &Report) -> Result<(), ReportError> {
    if report.stage != stage {
        return Err(ReportError::OtherStage(report.stage));
    }
    if let Some(failure) = &report.failure
        && matches!(failure.reason.class(), Class::Success | Class::Progress | Class::Cancelled)
    {
        return Err(ReportError::NoFailure(failure.reason));
    }
    if let Some(text) = report.repository.as_ref().filter(|text| text.parse::<Repository>().is_err()) {
        return Err(ReportError::NoRepository(text.clone()));
    }
    let digests = [&report.content, &report.digest].into_iter().flatten();
    match digests.into_iter().find(|text| text.parse::<Digest>().is_err()) {
        Some(text) => Err(ReportError::NoDigest(text.clone())),
        None => Ok(()),
    }
}

fn bounded(mut report: Report) -> Report {
    if let Some(failure) = &mut report.failure {
        failure.message = truncate_middle(&failure.message, LONGEST_REPORTED);
        failure.task = failure.task.as_ref().map(|task| truncate_middle(task, LONGEST_TASK));
        // Of another failure nothing is missing, whatever it says.
        failure.missing = failure.missing.take().filter(|_| failure.reason.class() == Class::Dependency);
    }
    report.verification.truncate(MOST_STEPS);
    for step in &mut report.verification {
        step.step = truncate_middle(&step.step, LONGEST_STEP);
        step.tests = step.tests.map(|tests| tests.max(0));
        step.failures = step.failures.map(|failures| failures.max(0));
        step.seconds = step.seconds.max(0);
    }
    let (most, longest) = MOST_LEFT_OUT;
    report.left_out.truncate(most);
    for name in &mut report.left_out {
        *name = truncate_middle(name, longest);
    }
    report.size = report.size.map(|size| size.max(0));
    report
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{dependency, failure::Failure};

    fn read(report: &Value) -> Result<Report, ReportError> {
        parse(Stage::Build, &report.to_string())
    }

    fn digest() -> String {
        format!("sha256:{}", "0".repeat(64))
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let report = Report {
            stage: Stage::Build,
            failure: Some(Failure {
                task: Some("web : install".to_owned()),
                ..Failure::new(Reason::TaskFailed, "apt failed")
            }),
            content: Some(digest()),
            repository: None,
            digest: None,
            size: None,
            verification: Vec::new(),
            left_out: Vec::new(),
        };
        assert_eq!(parse(Stage::Build, &serde_json::to_string(&report).unwrap()), Ok(report));
    }

    #[test]
    fn lies_and_remains_are_no_reports() {
        let failure = |reason: &str| json!({"stage": "build", "failure": {"reason": reason, "message": "m"}});
        assert_eq!(parse(Stage::Build, " \n"), Err(ReportError::Absent));
        assert_eq!(parse(Stage::Build, &" ".repeat(5000)), Err(ReportError::Absent));
        assert_eq!(parse(Stage::Build, &"x".repeat(LONGEST + 1)), Err(ReportError::TooLong));
        assert_eq!(read(&json!({"stage": "verify"})), Err(ReportError::OtherStage(Stage::Verify)));
        assert_eq!(read(&failure("LinksReady")), Err(ReportError::NoFailure(Reason::LinksReady)));
        assert_eq!(read(&failure("CancelledByUser")), Err(ReportError::NoFailure(Reason::CancelledByUser)));
        assert!(matches!(read(&failure("Whatever")), Err(ReportError::Malformed(_))));
        let no_digest = json!({"stage": "build", "imageId": "sha256:1"});
        assert_eq!(read(&no_digest), Err(ReportError::NoDigest("sha256:1".to_owned())));
        let no_repository = json!({"stage": "build", "repository": "r.example/a:1"});
        assert_eq!(read(&no_repository), Err(ReportError::NoRepository("r.example/a:1".to_owned())));
        let whole = failure("TaskFailed").to_string();
        assert!(matches!(parse(Stage::Build, &whole[..whole.len() - 1]), Err(ReportError::Malformed(_))));
    }

    #[test]
    fn what_was_lacked_is_believed_only_where_it_makes_sense() {
        let lacked = |reason: &str, lacked: &str| {
            let failure = json!({"reason": reason, "message": "m", "lacked": lacked});
            read(&json!({"stage": "build", "failure": failure})).unwrap().failure.unwrap().missing
        };
        for (reason, name, expected) in [
            ("SecretNotFound", "secret/token", Some("secret/token")),
            ("RevisionNotFound", "git/https://git.example/a#main", Some("git/https://git.example/a#main")),
            ("SecretNotFound", "token", None),
            ("SecretNotFound", "secret/\n", None),
            ("SecretNotFound", &format!("secret/{}", "a".repeat(dependency::LONGEST)), None),
            ("TaskFailed", "secret/token", None),
        ] {
            let missing = lacked(reason, name).map(|missing| missing.to_string());
            assert_eq!(missing.as_deref(), expected, "{reason} {name:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let message = "ü".repeat(1000);
        let report = json!({"stage": "build", "failure": {"reason": "TaskFailed", "message": message}});
        let kept = read(&report).unwrap().failure.unwrap().message;
        assert!(kept.len() <= LONGEST_REPORTED && kept.ends_with('ü') && kept.contains('…'), "{} bytes", kept.len());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = parse(Stage::Verify, &text);
        }
    }
}

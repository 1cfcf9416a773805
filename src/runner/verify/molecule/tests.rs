//! What molecule 26.10 printed, of runs with its driver `default` (`recorded/*.txt`).

use super::*;

fn seen(text: &str) -> Output {
    let mut molecule = Output::default();
    text.lines().for_each(|line| molecule.add(&crate::plan::text::plain(line)));
    molecule
}

#[test]
fn tasks_that_are_not_idempotent_are_named() {
    let failure = seen(include_str!("../recorded/idempotence.txt")).idempotence().unwrap();
    assert_eq!(failure.reason, Reason::NotIdempotent);
    assert_eq!(failure.task.as_deref(), Some("not idempotent"));
    assert_eq!(failure.message, "a second run of the playbook changed something: not idempotent");
}

#[test]
fn a_failed_task_of_the_verifier_is_a_test() {
    let verify = seen(include_str!("../recorded/verify.txt"));
    assert_eq!((verify.idempotence(), verify.reason()), (None, Reason::TestsFailed));
    let converge =
        "WARNING  [default > converge] An error occurred during the test sequence action: 'converge'. Cleaning up.";
    assert_eq!(seen(converge).reason(), Reason::VerificationFailed);
    assert_eq!(seen("").reason(), Reason::VerificationFailed);
}

#[test]
fn what_pytest_printed_has_the_same_results() {
    let mut summary = super::super::pytest::Summary::default();
    include_str!("../recorded/verify.txt").lines().for_each(|line| summary.add(line));
    let tests = summary.tests().unwrap();
    assert_eq!((tests.count, tests.failures), (4, 3));
    let first = ("tests/test_web.py::test_bad[ansible://web]".to_owned(), "AssertionError: no /etc/n...".to_owned());
    assert_eq!(tests.failed.first(), Some(&first));
}

#[test]
fn a_platform_that_is_built_first_is_told_what_to_set() {
    let image = "imagechain.local/web:shop-web-1";
    let pulled = "Error building docker-image: lookup imagechain.local on 10.96.0.10:53: no such host";
    for (said, expected) in [(pulled, true), ("lookup example.org: no such host", false), ("no route", false)] {
        let task: FailedTask = serde_json::from_value(serde_json::json!({"msg": said})).unwrap();
        assert_eq!(pulls(&task, image), expected, "{said}");
        let told = not_pulled(task.failure(Reason::VerificationFailed));
        assert!(told.message.contains("set pre_build_image: true") && told.message.contains(said), "{told:?}");
    }
}

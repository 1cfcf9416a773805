//! Results as pytest 9.2 with testinfra 10.2 wrote them, called by molecule 26.10 (`recorded/failed.xml`).

use super::*;

const FAILED: &str = include_str!("../recorded/failed.xml");

#[test]
fn tests_are_counted_and_the_first_failure_is_named() {
    let tests = parse(FAILED).unwrap();
    // One more was skipped.
    assert_eq!((tests.count, tests.failures), (4, 3));
    let names: Vec<_> = tests.failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "test_web::test_bad[ansible://web]",
            "test_web::test_bad_two[ansible://web]",
            "test_web::test_error[ansible://web]"
        ]
    );
    let failure = tests.failure().unwrap();
    assert_eq!(failure.reason, Reason::TestsFailed);
    assert_eq!(failure.task.as_deref(), Some("test_web::test_bad[ansible://web]"));
    assert_eq!(
        failure.message,
        "3 of 4 tests failed. test_web::test_bad[ansible://web]: AssertionError: no /etc/nothing; assert False; +  \
         where False = <file /etc/nothing>.exists; +    where <file /etc/nothing> = <class \
         'testinfra.modules.base.GNUFile'>('/etc/nothing'); +      where <class 'testinfra.modules.base.GNUFile'> = \
         <testinfra.host.Host ansible://web>.file (tests/test_web.py:13). Also: test_web::test_bad_two[ansible://web], \
         test_web::test_error[ansible://web]"
    );
}

#[test]
fn what_passed_is_no_failure() {
    let passed = "<testsuites><testsuite><testcase classname=\"a.b\" name=\"c\"/></testsuite></testsuites>";
    let tests = parse(passed).unwrap();
    assert_eq!((tests.count, tests.failures, tests.failure()), (1, 0, None));
}

#[test]
fn other_files_are_no_results() {
    for text in ["", "<", "<html><testcase name=\"a\"/></html>", "<testsuite>", &FAILED[..FAILED.len() / 2]] {
        assert_eq!(parse(text), None, "{text}");
    }
    // Entities that grow are not read.
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\
                &b;&b;\">]><testsuite><testcase name=\"&c;\"/></testsuite>";
    assert_eq!(parse(bomb), None);
}

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
        "3 of 4 tests failed. test_web::test_bad[ansible://web]: AssertionError: no /etc/nothing \
         (tests/test_web.py:13). Also: test_web::test_bad_two[ansible://web], test_web::test_error[ansible://web]"
    );
}

/// As pytest 9 with testinfra 10.2 wrote them.
const COMMANDS: &str = include_str!("../recorded/commands.xml");

#[test]
fn an_assertion_is_its_first_line_and_the_command_that_it_is_about() {
    let tests = parse(COMMANDS).unwrap();
    let said: Vec<_> = tests.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(
        said,
        [
            "test_x::test_check[local]: AssertionError: Unexpected exit code 1 for `cat /nonexistent/moon; false`: \
             cat: /nonexistent/moon: No such file or directory (test_x.py:2)",
            "test_x::test_rc[local]: AssertionError: assert 1 == 0, of `cat /nonexistent/moon`: cat: \
             /nonexistent/moon: No such file or directory (test_x.py:4)",
            "test_x::test_ok[local]: AssertionError: no moon, of `cat /nonexistent/moon`: cat: /nonexistent/moon: \
             No such file or directory (test_x.py:6)",
            "test_x::test_out[local]: AssertionError: assert 'box\\n' == 'moon' (test_x.py:8)",
            "test_x::test_none[local]: AssertionError: `ls /moon`: ls: cannot access '/moon': No such file or \
             directory (test_x.py:15)",
        ]
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

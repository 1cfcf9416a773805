//! Pytest as a test step, where it leaves its results, and what it prints at its end for where it left no file: its
//! last line, and one line for each test that failed.

use std::{collections::BTreeMap, path::Path};

use super::{junit::Tests, tool::Tool};

/// Its exit code where there was nothing to run.
const NO_TESTS: i32 = 5;
/// The variable that it takes further options from.
const OPTIONS: &str = "PYTEST_ADDOPTS";

/// The step that runs the tests against a container of the image.
pub(super) fn tool() -> Tool {
    Tool {
        target_option: Some("--hosts"),
        exit_code: Some((NO_TESTS, "pytest found no tests")),
        ..Tool::new("pytest", vec!["pytest".to_owned()])
    }
}

/// The variable that lets pytest leave its results in a file, whoever calls it. The options of the user come last, and
/// win.
pub(super) fn options(results: &Path, environment: &BTreeMap<String, String>) -> (&'static str, String) {
    let own = environment.get(OPTIONS).map_or("", String::as_str);
    let options = format!("-o junit_family=xunit2 --junitxml={} {own}", results.display());
    (OPTIONS, options.trim().to_owned())
}

/// What was seen of pytest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    failed: Vec<(String, String)>,
    last: Option<(i32, i32)>,
}

impl Summary {
    /// Takes a line into account.
    pub(super) fn add(&mut self, line: &str) {
        let failed = ["FAILED ", "ERROR "].iter().find_map(|mark| line.strip_prefix(mark));
        if let Some((name, why)) = failed.filter(|rest| rest.contains("::")).map(split) {
            self.failed.push((name.to_owned(), why.to_owned()));
        }
        self.last = counts(line).or(self.last);
    }

    /// The results, if it came to its end.
    pub(super) fn tests(&self) -> Option<Tests> {
        let (count, failures) = self.last?;
        Some(Tests { count, failures, failed: self.failed.clone() })
    }
}

fn split(rest: &str) -> (&str, &str) {
    rest.split_once(" - ").unwrap_or((rest, "it failed"))
}

/// All and failed of `=== 1 failed, 3 passed, 1 skipped in 0.12s ===`.
fn counts(line: &str) -> Option<(i32, i32)> {
    let inner = line.trim_matches(['=', ' ']);
    let (list, _) = inner.rsplit_once(" in ")?;
    let (mut count, mut failures) = (0, 0);
    for part in list.split(", ") {
        let (number, what) = part.split_once(' ')?;
        let number: i32 = number.parse().ok()?;
        match what {
            "passed" | "xfailed" | "xpassed" => count += number,
            "failed" | "error" | "errors" => {
                count += number;
                failures += number;
            }
            "skipped" | "deselected" | "warning" | "warnings" | "rerun" => {}
            _ => return None,
        }
    }
    Some((count, failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_the_user_come_last() {
        let results = Path::new("/workspace/tmp/junit-1.xml");
        let own = [("PYTEST_ADDOPTS".to_owned(), "-k web".to_owned())].into();
        assert_eq!(
            options(results, &own),
            ("PYTEST_ADDOPTS", "-o junit_family=xunit2 --junitxml=/workspace/tmp/junit-1.xml -k web".to_owned())
        );
        let (_, none) = options(results, &BTreeMap::new());
        assert_eq!(none, "-o junit_family=xunit2 --junitxml=/workspace/tmp/junit-1.xml");
    }

    #[test]
    fn the_last_line_has_the_counts() {
        for (line, expected) in [
            ("========================= 1 failed, 3 passed in 0.12s =========================", Some((4, 1))),
            ("3 passed, 1 skipped, 2 warnings in 1.00s", Some((3, 0))),
            ("== 1 failed, 1 passed, 2 errors in 61.02s (0:01:01) ==", Some((4, 3))),
            ("no tests ran in 0.00s", None),
            ("the service was started in 3 seconds", None),
            ("", None),
        ] {
            assert_eq!(counts(line), expected, "{line}");
        }
    }
}

//! Results of tests as `JUnit`'s XML, the form that pytest and many others write.

use roxmltree::{Document, Node};

use super::command_result;
use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        text::{plain, truncate_middle},
    },
};

/// How many names of failed tests are told.
const MOST_NAMES: usize = 5;

/// The results of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    /// How many ran; skipped ones did not.
    pub(super) count: i32,
    /// How many failed.
    pub(super) failures: i32,
    /// The first of those, each with what it said.
    pub(super) failed: Vec<(String, String)>,
}

impl Tests {
    /// As a failure that names the first test and its assertion; `None` where none failed.
    pub(super) fn failure(&self) -> Option<Failure> {
        let (name, why) = self.failed.first()?;
        let more: Vec<_> = self.failed.iter().skip(1).map(|(name, _)| name.as_str()).take(MOST_NAMES).collect();
        let more = if more.is_empty() { String::new() } else { format!(". Also: {}", more.join(", ")) };
        let message =
            format!("{} of {} tests failed. {name}: {}{more}", self.failures, self.count, truncate_middle(why, 700));
        Some(Failure { task: Some(name.clone()), ..Failure::new(Reason::TestsFailed, message) })
    }
}

/// Reads a file of results; `None` where it is none.
pub(super) fn parse(text: &str) -> Option<Tests> {
    let document = Document::parse(text).ok()?;
    let mut tests = Tests::default();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        add(&mut tests, case);
    }
    let is_one = |name: &str| matches!(name, "testsuites" | "testsuite");
    is_one(document.root_element().tag_name().name()).then_some(tests)
}

fn add(tests: &mut Tests, case: Node<'_, '_>) {
    let part = |name: &str| case.children().find(|node| node.has_tag_name(name));
    let wrong = part("failure").or_else(|| part("error"));
    if part("skipped").is_some() {
        return;
    }
    tests.count = tests.count.saturating_add(1);
    if let Some(wrong) = wrong {
        tests.failures = tests.failures.saturating_add(1);
        if tests.failed.len() <= MOST_NAMES {
            tests.failed.push((name(case), why(wrong)));
        }
    }
}

fn name(case: Node<'_, '_>) -> String {
    let attribute = |name| case.attribute(name).unwrap_or_default();
    let class = attribute("classname");
    // Without a configuration file, pytest writes the whole path of a file there.
    let parts: Vec<&str> = class.split('.').collect();
    let from = parts.iter().position(|part| part.starts_with("test_") || part.ends_with("_test")).unwrap_or_default();
    let class = parts.get(from..).unwrap_or_default().join(".");
    let name = attribute("name");
    if class.is_empty() { name.to_owned() } else { format!("{class}::{name}") }
}

/// The first line of the assertion, which command it is about, and the place. The rest is in the log.
fn why(wrong: Node<'_, '_>) -> String {
    let text = plain(wrong.text().unwrap_or_default());
    let message = plain(wrong.attribute("message").unwrap_or_default());
    let mut marked = text.lines().filter_map(|line| line.strip_prefix("E  ")).map(str::trim);
    let first = marked.by_ref().find(|line| !line.is_empty() && !is_origin(line));
    let first = first.or_else(|| message.lines().next()).unwrap_or_default();
    let mut said = command_result::readable(first.trim());
    let told = first.contains("CommandResult(");
    if let Some(command) = marked.filter(is_origin).find_map(command_result::origin).filter(|_| !told) {
        said = format!("{said}, of {command}");
    }
    let place = text.lines().rev().find(|line| line.contains(": ") && line.contains(".py:"));
    match place.and_then(|line| line.split_once(": ")) {
        Some((place, _)) => format!("{said} ({})", place.trim()),
        None => said,
    }
}

/// How a value came about.
fn is_origin(line: &&str) -> bool {
    line.starts_with('+') && line.contains("where ")
}

#[cfg(test)]
mod tests;

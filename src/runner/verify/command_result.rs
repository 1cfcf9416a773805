//! What testinfra says of a command that a test has run: its `CommandResult`, as Python writes it. People
//! want to know which command it was and what it answered.

use crate::plan::text::truncate_middle;

const BEGIN: &str = "CommandResult(";
/// As many characters of what a command answered are told.
const LONGEST: usize = 300;
/// A whole ID of docker, and as much of it as docker shows.
const WHOLE_ID: usize = 64;
const SHORT_ID: usize = 12;

/// The line with the first result in it told in a few words, and long IDs as docker shows them.
pub(super) fn readable(line: &str) -> String {
    let Some((before, rest)) = line.split_once(BEGIN) else { return short_ids(line) };
    let (result, after) = read(rest);
    let answer = if result.errors.is_empty() { &result.output } else { &result.errors };
    short_ids(&format!("{before}{}{after}", told(&result.command, answer)))
}

/// Which command a line tells of, and its errors, where it tells of one.
pub(super) fn origin(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(BEGIN)?;
    let (result, _) = read(rest);
    (!result.command.is_empty()).then(|| short_ids(&told(&result.command, &result.errors)))
}

fn told(command: &str, answer: &str) -> String {
    let command = if command.is_empty() { "a command".to_owned() } else { format!("`{command}`") };
    if answer.is_empty() { command } else { format!("{command}: {}", truncate_middle(answer, LONGEST)) }
}

#[derive(Default)]
struct CommandResult {
    command: String,
    output: String,
    errors: String,
}

/// The fields, as far as they are there (pytest leaves out the middle of what is long), and what follows.
fn read(text: &str) -> (CommandResult, &str) {
    let (mut result, mut rest) = (CommandResult::default(), text);
    for (name, field) in
        [("command=", &mut result.command), ("_stdout=", &mut result.output), ("_stderr=", &mut result.errors)]
    {
        if let Some((found, after)) = rest.split_once(name).and_then(|(_, value)| literal(value)) {
            (*field, rest) = (found, after);
        }
    }
    let end = rest.find(')').and_then(|at| rest.get(at + 1..));
    (result, end.unwrap_or_default())
}

/// A text as Python writes it, and what follows; one that is cut off ends where the line does.
fn literal(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('b').unwrap_or(text);
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut inner = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, 'n' | 'r' | 't')) => inner.push(' '),
                Some((_, escaped @ ('\\' | '\'' | '"'))) => inner.push(escaped),
                Some((_, other)) => inner.extend(['\\', other]),
                None => {}
            },
            letter if letter == quote => return Some((inner.trim().to_owned(), text.get(at + 1..)?)),
            letter => inner.push(letter),
        }
    }
    Some((inner.trim().to_owned(), ""))
}

fn short_ids(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for word in text.split_inclusive(|letter: char| !letter.is_ascii_hexdigit()) {
        let id = word.trim_end_matches(|letter: char| !letter.is_ascii_hexdigit());
        match id.get(..SHORT_ID).filter(|_| id.len() == WHOLE_ID) {
            Some(first) => short.extend([first, word.get(WHOLE_ID..).unwrap_or_default()]),
            None => short.push_str(word),
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = "CommandResult(backend=<testinfra.backend.docker.DockerBackend object at 0x7f1b>, ";

    #[test]
    fn a_result_is_told_as_its_command_and_answer() {
        for (line, expected) in [
            ("assert 1 == 0", "assert 1 == 0"),
            (
                "Unexpected exit code 1 for {}exit_status=1, command=b'cat /moon; (false)', _stdout=b'', _stderr=b'cat: /moon: No such file\\n') and on",
                "Unexpected exit code 1 for `cat /moon; (false)`: cat: /moon: No such file and on",
            ),
            // What it printed says more than nothing.
            (
                "{}exit_status=1, command=b'systemctl is-system-running', _stdout=b'degraded\\n', _stderr=b'')",
                "`systemctl is-system-running`: degraded",
            ),
            (
                "{}exit_status=1, command=b\"cat 'a'\", _stdout=b'', _stderr=b\"it\\'s\\x01 \\\\\")",
                "`cat 'a'`: it's\\x01 \\",
            ),
            // Cut off by a line break in it, or by pytest.
            (
                "{}exit_status=2, command=b'ls /moon', _stdout=b'', _stderr=b\"ls: cannot access",
                "`ls /moon`: ls: cannot access",
            ),
            ("{}exit_status=0, comm...4\\n5\\n', _stderr=b'moved')", "a command: moved"),
            ("CommandResult(", "a command"),
        ] {
            assert_eq!(readable(&line.replace("{}", RESULT)), expected);
        }
    }

    #[test]
    fn ids_are_shown_as_docker_shows_them() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(readable(&format!("container {id} is not running")), "container 0123456789ab is not running");
        assert_eq!(readable(&format!("sha256:{id}")), "sha256:0123456789ab");
        for text in ["0123456789abcdef", "é 12 ", &format!("{id}0")] {
            assert_eq!(readable(text), text);
        }
    }

    #[test]
    fn where_a_value_comes_from_is_its_command() {
        let line = format!("+  where 1 = {RESULT}exit_status=1, command=b'cat /moon', _stdout=b'x', _stderr=b'').rc");
        assert_eq!(origin(&line).as_deref(), Some("`cat /moon`"));
        for other in ["+  where run = <testinfra.host.Host local>.run", "+  where 1 = CommandResult(...).rc"] {
            assert_eq!(origin(other), None);
        }
    }
}

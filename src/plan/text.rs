//! Texts of bounded length: how long each may be, and how what is longer is cut.

/// The most of a message of a condition, of a build's failure and of an event, in bytes (the schema's bound of
/// `failure.message`).
pub const LONGEST_MESSAGE: usize = 1024;
/// The most that an attempt holds of its failure's message, in bytes (the schema's bound of `attempts[].message`).
pub const LONGEST_OF_ATTEMPT: usize = 256;
/// The most of a message that a stage reports, in bytes.
pub const LONGEST_REPORTED: usize = 1000;
/// The most of a message of the kubelet or the scheduler, in bytes.
pub const LONGEST_OF_KUBELET: usize = 512;
/// The most of the name of a task or test, in bytes (the schema's bound of `failure.task`).
pub const LONGEST_TASK: usize = 512;
/// The most of the name of a test step, in bytes (the schema's bound of `verification[].step`).
pub const LONGEST_STEP: usize = 64;
/// The most of a rebuild request that a status holds, in bytes (the schema's bound of `lastHandledRequest`).
pub const LONGEST_REQUEST: usize = 256;
/// The most of a rebuild request that a cause holds, in bytes (the schema's bound of `causes[].to`).
pub const LONGEST_OF_CAUSE: usize = 128;

/// As much of the beginning of a text as so many bytes hold, never cut inside a character.
#[must_use]
pub fn truncate_end(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text)
}

/// As much of a text as fits into so many bytes, without white space at its ends. It is cut in the middle, with a mark: what went wrong is said
/// first, and what to do last.
#[must_use]
pub fn truncate_middle(text: &str, longest: usize) -> String {
    const MARK: &str = " … ";
    let text = text.trim();
    if text.len() <= longest {
        return text.to_owned();
    }
    let kept = longest.saturating_sub(MARK.len());
    let head = text.floor_char_boundary(kept / 2);
    let tail = text.ceil_char_boundary(text.len() - kept / 2);
    let (head, tail) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    truncate_end(&format!("{head}{MARK}{tail}"), longest).to_owned()
}

/// The text without escape sequences of terminals, and without control characters but tabs and the ends of lines.
#[must_use]
pub fn plain(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_end() {
        let text = format!("it failed {} see the log", "ü".repeat(500));
        let cut = truncate_middle(&text, 100);
        assert!(cut.len() <= 100 && cut.starts_with("it failed") && cut.ends_with("see the log"), "{cut}");
        assert_eq!((truncate_middle("short", 100).as_str(), truncate_end("short", 100)), ("short", "short"));
        assert_eq!(truncate_end("aüb", 2), "a", "not inside a character");
    }

    #[test]
    fn a_plain_text_has_no_escapes() {
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m\r\n\u{7}x\ty\u{1b}"), "red\nx\ty");
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_its_bound(text in "\\PC*", longest in 0_usize..40) {
            prop_assert!(truncate_end(&text, longest).len() <= longest);
            prop_assert!(truncate_middle(&text, longest).len() <= longest);
        }
    }
}

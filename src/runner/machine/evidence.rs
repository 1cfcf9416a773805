//! What a machine shows, in the sentences and lines by which people understand a failure.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{console::Console, screen::Screen};
use crate::{plan::text::truncate_middle, runner::log::Log};

/// How many of the last lines stand in a failure, and how many bytes of them.
const WORDS: (usize, usize) = (6, 350);
/// The largest picture that is shown in the log, in bytes.
const LARGEST_PICTURE: usize = 128 << 10;
/// How a picture is taken out of the log.
const PICTURE: &str = "kubectl logs … | sed -n 's/^picture: //p' | base64 -d >screen.png";
/// As much of a picture as a line of the log holds, in bytes: its base64 has no end within.
const LINE_OF_PICTURE: usize = 3072;

/// What a screen and a serial console show, as sentences. All of the screen goes to the log: when a stage has failed, its
/// containers have ended, and nobody gets at their files.
pub(super) fn told(screen: Option<&Screen>, console: &Console, log: &Log) -> String {
    let screen = screen.map_or_else(String::new, |screen| of_screen(screen, console, log));
    match console.last(WORDS.0).as_str() {
        "" => format!("{screen}Its serial console shows nothing."),
        lines => format!("{screen}The last lines of its serial console: {}", truncate_middle(lines, WORDS.1)),
    }
}

/// What a screen shows, as a sentence. Many guests say the same on screen and console: once is enough.
fn of_screen(screen: &Screen, console: &Console, log: &Log) -> String {
    match screen {
        Screen::Text(text) if text.is_empty() => "Its screen is empty. ".to_owned(),
        Screen::Text(text) => {
            text.lines().for_each(|line| log.line(&format!("screen: {line}")));
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.get(lines.len().saturating_sub(WORDS.0)..).unwrap_or_default();
            if last.last().is_some_and(|line| console.last(usize::MAX).contains(line.trim())) {
                return String::new();
            }
            let last = truncate_middle(&last.join("\n"), WORDS.1);
            format!("The last lines of its screen: {}. ", last.trim_end_matches('.'))
        }
        Screen::Picture(picture) if picture.len() > LARGEST_PICTURE => {
            "Its screen shows a picture that is too large for the log. ".to_owned()
        }
        Screen::Picture(picture) => {
            picture_lines(picture).for_each(|line| log.line(&line));
            format!("Its screen is a picture in the log: {PICTURE}. ")
        }
    }
}

fn picture_lines(picture: &[u8]) -> impl Iterator<Item = String> {
    picture.chunks(LINE_OF_PICTURE).map(|piece| format!("picture: {}", STANDARD.encode(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a machine with this on its console.
    fn told(screen: &Screen, console: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), console).unwrap();
        super::told(Some(screen), &Console::of(file.path().to_owned()), &Log::default())
    }

    #[test]
    fn a_text_is_told_by_its_last_lines() {
        let text: Vec<String> = (0..30).map(|number| format!("line {number}.")).collect();
        let screen = Screen::Text(text.join("\n"));
        let of_screen = "The last lines of its screen: line 24.\nline 25.\nline 26.\nline 27.\nline 28.\nline 29. ";
        assert_eq!(told(&screen, "\r\n"), format!("{of_screen}Its serial console shows nothing."));
        let of_console = "The last lines of its serial console: Booting";
        assert_eq!(told(&screen, "Booting\r\n"), format!("{of_screen}{of_console}"));
        let told_once = "The last lines of its serial console: line 29.\nlogin:";
        assert_eq!(told(&screen, "line 29.\r\nlogin: "), told_once);
        let empty = Screen::Text(String::new());
        assert_eq!(told(&empty, "Booting\r\n"), format!("Its screen is empty. {of_console}"));
    }

    #[test]
    fn a_picture_in_the_log_can_be_read_back() {
        let picture: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
        let mut read = Vec::new();
        for line in picture_lines(&picture) {
            read.extend(STANDARD.decode(line.strip_prefix("picture: ").unwrap()).unwrap());
        }
        assert_eq!(read, picture);
        let shown = told(&Screen::Picture(picture), "");
        assert!(shown.contains("base64 -d >screen.png"), "{shown}");
        let shown = told(&Screen::Picture(vec![0; LARGEST_PICTURE + 1]), "");
        assert!(shown.contains("too large"), "{shown}");
    }
}

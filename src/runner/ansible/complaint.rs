//! What ansible says before its first task: a role that is not found, a syntax error, a vault that stays shut. No
//! callback plugin learns of it.

use crate::plan::text::truncate_middle;

/// How ansible-core begins such a text: up to 2.18, and from 2.19 on.
const BEGINNINGS: [&str; 2] = ["ERROR! ", "[ERROR]: "];
/// What it tells of a task that failed, from 2.19 on: the task may have been rescued, and the plugin knows of it.
const OF_A_TASK: &str = "Task failed";
/// What ansible-core writes before the place: up to 2.18, and from 2.19 on.
const PLACE_IN_WORDS: &str = "The error appears to be in '";
const ORIGIN: &str = "Origin: ";
/// How the paragraph begins that says what is wrong with a file, where the one before tells of two parsers, up to 2.18.
const OF_YAML: &str = "Syntax Error while loading YAML";
/// The most of it in a message, in bytes.
const LONGEST: usize = 600;

/// The first complaint of a program's output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::runner) struct Complaint {
    text: String,
    place: Option<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It has not begun.
    #[default]
    Absent,
    /// Lines belong to it until an empty one, or the place.
    Open,
    /// The place may still come.
    Placeless,
    Complete,
}

impl Complaint {
    /// Takes a line into account, without escapes of terminals.
    pub(in crate::runner) fn add(&mut self, line: &str) {
        let line = line.trim();
        match self.state {
            State::Absent => self.begin(line),
            State::Open | State::Placeless => self.go_on(line),
            State::Complete => {}
        }
    }

    fn go_on(&mut self, line: &str) {
        if let Some(place) = place(line) {
            (self.place, self.state) = (Some(place), State::Complete);
        } else if line.is_empty() {
            self.state = State::Placeless;
        } else if line.starts_with(OF_YAML) {
            line.clone_into(&mut self.text);
            self.state = State::Open;
        } else if self.state == State::Open && self.text.len() < LONGEST {
            self.text.push(' ');
            self.text.push_str(line);
        }
    }

    fn begin(&mut self, line: &str) {
        // Molecule may put words of its own before it.
        let text = BEGINNINGS.iter().find_map(|beginning| Some(line.split_once(beginning)?.1));
        if let Some(text) = text.filter(|text| !text.starts_with(OF_A_TASK)) {
            text.clone_into(&mut self.text);
            self.state = State::Open;
        }
    }

    /// What it says, and where: inside that folder, if it is there.
    pub(in crate::runner) fn sentence(&self, folder: &str) -> Option<String> {
        if self.state == State::Absent {
            return None;
        }
        let inside = |place: &String| {
            place.strip_prefix(folder).map_or(place.as_str(), |rest| rest.trim_start_matches('/')).to_owned()
        };
        let place = self.place.as_ref().map(|place| format!(" ({})", inside(place))).unwrap_or_default();
        Some(format!("ansible: {}{place}", truncate_middle(&self.text, LONGEST)))
    }
}

/// The place that a line tells.
fn place(line: &str) -> Option<String> {
    let in_words = line.strip_prefix(PLACE_IN_WORDS).and_then(|rest| {
        let (file, rest) = rest.split_once("': line ")?;
        Some(format!("{file}:{}", rest.split(',').next()?))
    });
    line.strip_prefix(ORIGIN).map(str::to_owned).or(in_words)
}

#[cfg(test)]
mod tests;

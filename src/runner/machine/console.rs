//! What a guest prints on its serial console. Qemu writes it into a file.

use std::{
    cell::Cell,
    convert::Infallible,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    plan::text::plain,
    runner::{log::Log, process::Tail},
};

/// How often it is looked whether there is more: of a file that grows, nobody is told.
const LOOKING: Duration = Duration::from_millis(500);
/// After so many looks without a whole line, what there is of one is shown: installers tell how far they are by points.
const LOOKS_FOR_LINE: u32 = 60;
/// As much as is read at once, in bytes. The last lines are among them.
const PIECE: u64 = 64 << 10;

/// The serial console of a machine.
#[derive(Debug)]
pub(crate) struct Console {
    file: PathBuf,
    /// How many bytes were shown.
    shown: Cell<u64>,
}

impl Console {
    /// The console in a file, which need not be there yet.
    pub(super) const fn of(file: PathBuf) -> Self {
        Self { file, shown: Cell::new(0) }
    }

    /// The last lines, in one text; empty where there are none.
    pub(crate) fn last(&self, lines: usize) -> String {
        let mut tail = Tail::default();
        let end = self.end().unwrap_or_default();
        let text = self.read(end.saturating_sub(PIECE)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().for_each(|line| tail.push(line));
        tail.last(lines)
    }

    /// Shows lines in the log of the stage as they come, for as long as somebody waits for it.
    pub(crate) async fn follow(&self, log: &Log) -> Infallible {
        let mut ticks = interval(LOOKING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let show = |line: &str| log.line(&format!("console: {line}"));
        let mut looks = 0;
        loop {
            ticks.tick().await;
            let before = self.shown.get();
            self.new_lines(show);
            looks = if self.shown.get() == before { looks + 1 } else { 0 };
            if looks == LOOKS_FOR_LINE {
                self.begun_line(show);
                looks = 0;
            }
        }
    }

    /// Hands on the lines that are complete and were not handed on.
    pub(super) fn new_lines(&self, mut show: impl FnMut(&str)) {
        while let Ok(piece) = self.read(self.shown.get()) {
            let Some(complete) = complete(&piece) else { return };
            self.hand_on(complete, &mut show);
        }
    }

    /// Hands on what there is of a line whose end does not come. What follows is a line of its own then.
    fn begun_line(&self, mut show: impl FnMut(&str)) {
        if let Ok(piece) = self.read(self.shown.get()) {
            self.hand_on(&piece, &mut show);
        }
    }

    fn hand_on(&self, piece: &[u8], show: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(piece);
        text.lines().map(plain).filter(|line| !line.trim().is_empty()).for_each(|line| show(&line));
        self.shown.update(|shown| shown + piece.len() as u64);
    }

    fn end(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, from: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(from))?;
        let mut piece = Vec::new();
        file.take(PIECE).read_to_end(&mut piece)?;
        Ok(piece)
    }
}

/// The lines of a piece that have an end. A line as long as a piece ends with it.
fn complete(piece: &[u8]) -> Option<&[u8]> {
    let end = piece.iter().rposition(|byte| *byte == b'\n').map(|last| last + 1);
    let end = end.or_else(|| (piece.len() as u64 >= PIECE).then_some(piece.len()));
    piece.get(..end?)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn console() -> (tempfile::TempDir, Console) {
        let folder = tempfile::tempdir().unwrap();
        let console = Console::of(folder.path().join("console.log"));
        (folder, console)
    }

    fn shown(console: &Console) -> Vec<String> {
        let mut lines = Vec::new();
        console.new_lines(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn the_last_lines_are_plain() {
        let (_folder, console) = console();
        assert_eq!(console.last(3), "");
        // As a kernel and systemd print them.
        let text = "[    0.000000] Linux version 6.1.0\r\n\r\n[\u{1b}[0;32m  OK  \u{1b}[0m] Started \u{1b}[0;1;39mssh\u{1b}[0m.\r\n\r\nbox login: ";
        fs::write(&console.file, "x".repeat(100_000) + "\r\n" + text).unwrap();
        assert_eq!(console.last(2), "[  OK  ] Started ssh.\nbox login:");
    }

    #[test]
    fn each_line_is_shown_once_when_it_is_complete() {
        let (_folder, console) = console();
        assert_eq!(shown(&console), [""; 0]);
        let mut file = File::create(&console.file).unwrap();
        write!(file, "one\r\n\r\ntw").unwrap();
        assert_eq!(shown(&console), ["one"]);
        write!(file, "o\r\n\u{1b}[2Jthree\n").unwrap();
        assert_eq!(shown(&console), ["two", "three"]);
        assert_eq!(shown(&console), [""; 0]);
        write!(file, "{}", "x".repeat(usize::try_from(PIECE).unwrap())).unwrap();
        assert_eq!(shown(&console).len(), 1, "whatever a guest prints, it is shown");
    }

    #[test]
    fn what_there_is_of_a_line_is_shown_once() {
        let (_folder, console) = console();
        let begun = || {
            let mut lines = Vec::new();
            console.begun_line(|line| lines.push(line.to_owned()));
            lines
        };
        let mut file = File::create(&console.file).unwrap();
        assert_eq!(begun(), [""; 0]);
        write!(file, "Installing the base system  ... 4%... 13%").unwrap();
        assert_eq!(shown(&console), [""; 0]);
        assert_eq!((begun(), begun()), (vec!["Installing the base system  ... 4%... 13%".to_owned()], vec![]));
        write!(file, "... 100%\r\n").unwrap();
        assert_eq!(shown(&console), ["... 100%"]);
    }
}

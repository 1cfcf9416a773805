//! What is kept of a file while it streams by: a part of it, and whether there is anything in it.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::qcow2;

/// How much of a file is kept, in bytes. Headers of disks and all texts of a box are shorter.
pub(super) const KEPT: usize = 128 << 10;
/// How much is read at once, in bytes. Blocks of zeros of this length are holes where they are written.
pub(super) const CHUNK: usize = 64 << 10;

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Its first [`KEPT`] bytes.
    pub(super) head: Vec<u8>,
    /// In bytes.
    pub(super) size: u64,
    has_data: bool,
    /// The table of a qcow2 without which it has no data.
    table: Option<Range<u64>>,
    table_has_data: bool,
}

impl Content {
    /// What is known of a text that is in memory.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.add(bytes);
        content
    }

    /// Takes the next bytes; whether all of them are zero.
    pub(super) fn add(&mut self, bytes: &[u8]) -> bool {
        let is_zero = is_zero(bytes);
        if self.size == 0 {
            self.table = qcow2::header(bytes).ok().map(|header| header.table);
        }
        let room = KEPT.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(room));
        self.has_data |= !is_zero;
        self.table_has_data |= !is_zero && !is_zero_in(bytes, self.size, self.table.as_ref());
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        is_zero
    }

    /// Whether it is a disk to which nothing was written: all zeros, or a qcow2 with no cluster for the machine.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_data || self.table.is_some() && !self.table_has_data
    }

    /// Whether the file ends before the table of a qcow2.
    pub(super) fn is_short(&self) -> bool {
        self.table.as_ref().is_some_and(|table| self.size < table.end)
    }

    /// The text of a file of which all is kept.
    pub(super) fn text(&self) -> Option<&str> {
        let is_whole = u64::try_from(self.head.len()).is_ok_and(|kept| kept == self.size);
        std::str::from_utf8(&self.head).ok().filter(|_| is_whole)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Whether the part of a range that is in these bytes, which begin at a place of the file, is zero.
fn is_zero_in(bytes: &[u8], at: u64, range: Option<&Range<u64>>) -> bool {
    let Some(range) = range else { return true };
    let inside = |place: u64| usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(inside(range.start)..inside(range.end)).is_none_or(is_zero)
}

/// Fills a buffer as far as there is something; how many bytes there were.
pub(super) fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match from.read(free) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{qcow2, with},
        *,
    };

    fn content(bytes: &[u8], chunk: usize) -> Content {
        let mut content = Content::default();
        bytes.chunks(chunk).for_each(|part| {
            content.add(part);
        });
        content
    }

    #[test]
    fn a_disk_is_empty_if_nothing_was_written_to_it() {
        assert!(Content::default().is_empty());
        assert!(content(&[0; 5000], 512).is_empty());
        assert!(!content(&with(vec![0; 5000], 4999, &[1]), 512).is_empty());
        assert!(!content(&qcow2(5), 256).is_empty());
        // One entry of the table, with all else as it was.
        let unwritten = with(qcow2(5), 0x200, &[0; 8]);
        for chunk in [128, 513, 600, 4096] {
            assert!(content(&unwritten, chunk).is_empty(), "{chunk}");
            assert!(!content(&with(unwritten.clone(), 0x207, &[1]), chunk).is_empty(), "{chunk}");
        }
        assert!(content(&qcow2(5)[..0x204], 512).is_short());
        assert!(!content(&qcow2(5)[..0x208], 512).is_short());
    }

    #[test]
    fn only_the_beginning_of_a_file_is_kept() {
        let long = vec![b'a'; KEPT + 1];
        let kept = content(&long, CHUNK);
        assert_eq!((kept.head.len(), kept.size, kept.text()), (KEPT, 131_073, None));
        assert_eq!(Content::of(b"ab").text(), Some("ab"));
        assert_eq!(Content::of(b"\xff").text(), None);
    }
}

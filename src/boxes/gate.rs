//! Counts what an archive needs besides the content of its entries: headers, extensions, padding, its end.
//!
//! The `tar` crate keeps long names, extensions of pax and lists of holes in memory before it hands out the entry that
//! they are for. What it may read for that is bounded here, where it reads.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// The most bytes that are no content. An entry takes 512 and up to 511 of padding, a hole of a sparse one 24, the end
/// up to some 10 000.
pub(super) const MOST: u64 = 4 << 20;

/// What is known of a stream while others read it.
#[derive(Default)]
pub(super) struct Seen {
    /// The content of an entry is read.
    pub(super) is_content: Cell<bool>,
    /// There was nothing more to read.
    pub(super) has_ended: Cell<bool>,
    others: Cell<u64>,
}

/// A stream that ends with an error of the kind `FileTooLarge` once more than [`MOST`] bytes are no content.
pub(super) struct Gate<R> {
    inner: R,
    seen: Rc<Seen>,
}

impl<R: Read> Gate<R> {
    pub(super) fn new(inner: R) -> (Self, Rc<Seen>) {
        let seen = Rc::new(Seen::default());
        (Self { inner, seen: Rc::clone(&seen) }, seen)
    }
}

impl<R: Read> Read for Gate<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.seen.has_ended.set(count == 0);
        if !self.seen.is_content.get() {
            let others = self.seen.others.get().saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            self.seen.others.set(others);
            if others > MOST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(count)
    }
}

//! A file as the body of a request or an answer: it is read as it goes.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use hyper::body::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::body::Parts;

/// How much of a file is read at a time, in bytes.
pub(in crate::remote) const STEP: u64 = 1 << 20;
/// How many steps are read before they are sent.
const AHEAD: usize = 2;

/// The first `size` bytes of a file. A thread beside the runtime reads them; it ends with the file, or with the body.
pub(crate) fn file_body(file: Arc<File>, size: u64) -> Parts {
    let (sender, parts) = mpsc::channel(AHEAD);
    drop(spawn_blocking(move || send(&file, size, &sender)));
    Parts::new(parts, size)
}

fn send(file: &File, size: u64, parts: &mpsc::Sender<io::Result<Bytes>>) {
    let mut start = 0;
    while start < size {
        let length = STEP.min(size - start);
        let part = part(file, start, length);
        let is_last = part.is_err();
        if parts.blocking_send(part).is_err() || is_last {
            return;
        }
        start += length;
    }
}

/// So many bytes of a file from a place on, in memory: the caller keeps them few.
pub(in crate::remote) fn part(file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let mut part = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut part, start)?;
    Ok(part.into())
}

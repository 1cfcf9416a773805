//! A file as the body of a request or an answer: it is read as it goes.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};

/// How much of a file is read at a time, in bytes.
pub(in crate::remote) const STEP: u64 = 1 << 20;
/// How many steps are read before they are sent.
const AHEAD: usize = 2;

/// So many bytes of a file, from its first one on. A thread beside the runtime reads them; it ends with the file, or with
/// this value.
pub(crate) struct FileBody {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl FileBody {
    /// The first `size` bytes of a file.
    pub(crate) fn new(file: Arc<File>, size: u64) -> Self {
        let (sender, parts) = mpsc::channel(AHEAD);
        drop(spawn_blocking(move || send(&file, size, &sender)));
        Self { parts, left: size }
    }
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

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.parts.poll_recv(context);
        if let Poll::Ready(Some(Ok(part))) = &polled {
            self.left = self.left.saturating_sub(u64::try_from(part.len()).unwrap_or(u64::MAX));
        }
        polled.map(|part| part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

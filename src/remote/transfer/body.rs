//! A body that is sent as it comes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use hyper::body::Bytes;
use tokio::sync::mpsc;

/// The body of a request or an answer whose size is known, in parts that somebody else sends. It fails with the first part
/// that does.
pub(crate) struct Parts {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Parts {
    /// So many bytes in these parts.
    pub(crate) const fn new(parts: mpsc::Receiver<io::Result<Bytes>>, size: u64) -> Self {
        Self { parts, left: size }
    }
}

impl Body for Parts {
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

//! A download into a file that goes on where it was cut.

use std::{io, ops::Range, path::Path};

use hyper::body::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderValue, RANGE},
};
use tokio::time::timeout;

use super::{error::Error, manifest::Blob, session::Session};
use crate::remote::transfer::{Target, Tries, first_byte, left, size};

/// How many bytes come between two words of progress.
const STEP: u64 = 1 << 20;

/// A download of one blob.
pub(super) struct Download<'d, 's> {
    session: &'d mut Session<'s>,
    blob: &'d Blob,
    /// Is told how many bytes have come.
    progress: &'d (dyn Fn(u64) + Sync),
    tries: Tries,
}

impl<'d, 's> Download<'d, 's> {
    pub(super) fn new(session: &'d mut Session<'s>, blob: &'d Blob, progress: &'d (dyn Fn(u64) + Sync)) -> Self {
        let tries = Tries::new(session.settings().pause);
        Self { session, blob, progress, tries }
    }

    /// Brings the blob into a file. There is none unless all of it came and has its digest.
    pub(super) async fn into(mut self, path: &Path) -> Result<(), Error> {
        let in_vain = |why: io::Error| Error::File { path: path.to_owned(), why };
        let mut target = Target::create(path).map_err(in_vain)?;
        while let Err(error) = self.part(&mut target).await {
            self.tries.reached(target.at());
            self.tries.again(error).await?;
        }
        (self.progress)(self.blob.size);
        let (digest, file) = target.finish().await.map_err(in_vain)?;
        self.session.expect(digest, Some(&self.blob.digest))?;
        file.keep().map(drop).map_err(|error| in_vain(error.error))
    }

    /// All that is missing, as far as it comes.
    async fn part(&mut self, target: &mut Target) -> Result<(), Error> {
        if target.at() == self.blob.size {
            return Ok(());
        }
        let mut answer = open(self.session, self.blob, target.at()..self.blob.size).await?;
        // Not every registry gives a part: what is there already is left out then.
        let mut known = if answer.status() == StatusCode::OK { target.at() } else { 0 };
        let mut told = target.at();
        while let Some(part) = self.next(&mut answer).await? {
            let part = left(part, &mut known);
            if size(&part) > self.blob.size - target.at() {
                return Err(self.session.no_registry("gives more of a layer than its manifest says"));
            }
            target.write(part).await.map_err(|why| Error::File { path: target.path().to_owned(), why })?;
            if target.at() - told >= STEP {
                told = target.at();
                (self.progress)(told);
            }
        }
        if target.at() == self.blob.size {
            return Ok(());
        }
        Err(self.session.unavailable("ends a layer in the middle".to_owned(), None))
    }

    /// The next bytes. A connection on which nothing comes is given up before the whole download is.
    async fn next(&self, answer: &mut Response) -> Result<Option<Bytes>, Error> {
        match timeout(self.session.settings().request, answer.chunk()).await {
            Ok(part) => part.map_err(|error| self.session.failure(&error)),
            Err(_) => Err(self.session.unavailable("does not go on in time".to_owned(), None)),
        }
    }
}

/// Asks for bytes of a blob. The answer is these, or, by a registry that gives no parts, all of it.
pub(super) async fn open(session: &mut Session<'_>, blob: &Blob, bytes: Range<u64>) -> Result<Response, Error> {
    let url = session.request(Method::GET, &format!("blobs/{}", blob.digest))?.url().clone();
    let mut request = session.transfer(Method::GET, url);
    if let Some(range) = asked(&bytes, blob.size) {
        request.headers_mut().insert(RANGE, range);
    }
    let answer = session.send(request).await?;
    let (length, is_first) = (answer.content_length(), |first| first == Some(bytes.start));
    match answer.status() {
        StatusCode::OK if length.is_none_or(|length| length == blob.size) => Ok(answer),
        StatusCode::OK => Err(session.no_registry("gives a layer of another size than its manifest says")),
        StatusCode::PARTIAL_CONTENT if is_first(first_byte(answer.headers())) => Ok(answer),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(session.no_registry("gives another part of a layer than it was asked for"))
        }
        StatusCode::NOT_FOUND => Err(session.no_registry("has a manifest, and not the layer that it names")),
        _ => Err(session.refusal(answer).await),
    }
}

/// The value of `Range`; `None` for all of a blob.
fn asked(bytes: &Range<u64>, size: u64) -> Option<HeaderValue> {
    let text = match (bytes.start, bytes.end) {
        (0, end) if end == size => return None,
        (start, end) if end == size => format!("bytes={start}-"),
        (start, end) => format!("bytes={start}-{}", end.saturating_sub(1)),
    };
    HeaderValue::try_from(text).ok()
}

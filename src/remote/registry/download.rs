//! A download into a file that goes on where it was cut.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use hyper::body::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE},
};
use tempfile::TempPath;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{error::Error, manifest::Blob, session::Session, tries::Tries};
use crate::plan::image::{Digest, Hasher};

/// How many parts of an answer wait to be written. Each is as large as what the connection gives at once.
const WAITING: usize = 16;
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
        let mut target = Target::create(path)?;
        while let Err(error) = self.part(&mut target).await {
            self.tries.reached(target.at);
            self.tries.again(error).await?;
        }
        (self.progress)(self.blob.size);
        let (digest, file) = target.finish().await?;
        self.session.expect(digest, Some(&self.blob.digest))?;
        file.keep().map(drop).map_err(|error| Error::File { path: path.to_owned(), why: error.error })
    }

    /// All that is missing, as far as it comes.
    async fn part(&mut self, target: &mut Target) -> Result<(), Error> {
        if target.at == self.blob.size {
            return Ok(());
        }
        let mut answer = open(self.session, self.blob, target.at..self.blob.size).await?;
        // Not every registry gives a part: what is there already is left out then.
        let mut known = if answer.status() == StatusCode::OK { target.at } else { 0 };
        let mut told = target.at;
        while let Some(mut part) = self.next(&mut answer).await? {
            let skipped = size(&part).min(known);
            known -= skipped;
            drop(part.split_to(usize::try_from(skipped).unwrap_or(usize::MAX).min(part.len())));
            if size(&part) > self.blob.size - target.at {
                return Err(self.session.no_registry("gives more of a layer than its manifest says"));
            }
            target.write(part).await?;
            if target.at - told >= STEP {
                told = target.at;
                (self.progress)(told);
            }
        }
        if target.at == self.blob.size {
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

pub(super) fn size(part: &Bytes) -> u64 {
    u64::try_from(part.len()).unwrap_or(u64::MAX)
}

/// The first byte of a part: `bytes 7-99/100`.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The file, which is removed with this value. It is written, and its digest is made, by a thread beside the runtime.
struct Target {
    path: TempPath,
    parts: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<Digest>>,
    /// How many bytes it has.
    at: u64,
}

impl Target {
    fn create(path: &Path) -> Result<Self, Error> {
        let in_vain = |why| Error::File { path: path.to_owned(), why };
        let file = File::create(path).map_err(in_vain)?;
        let path = TempPath::try_from_path(path).map_err(in_vain)?;
        let (sender, parts) = mpsc::channel(WAITING);
        Ok(Self { path, parts: sender, writer: spawn_blocking(move || write(file, parts)), at: 0 })
    }

    async fn write(&mut self, part: Bytes) -> Result<(), Error> {
        let length = size(&part);
        if self.parts.send(part).await.is_err() {
            let why = written(&mut self.writer).await.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
            return Err(Error::File { path: self.path.to_path_buf(), why });
        }
        self.at += length;
        Ok(())
    }

    /// The digest of what was written, and the file.
    async fn finish(self) -> Result<(Digest, TempPath), Error> {
        let Self { path, parts, mut writer, .. } = self;
        drop(parts);
        let digest = written(&mut writer).await;
        Ok((digest.map_err(|why| Error::File { path: PathBuf::from(&*path), why })?, path))
    }
}

async fn written(writer: &mut JoinHandle<io::Result<Digest>>) -> io::Result<Digest> {
    writer.await.map_err(io::Error::other)?
}

fn write(mut file: File, mut parts: mpsc::Receiver<Bytes>) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    while let Some(part) = parts.blocking_recv() {
        file.write_all(&part)?;
        hasher.update(&part);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_it_begins() {
        for (text, expected) in
            [("bytes 7-99/100", Some(7)), ("bytes 0-0/*", Some(0)), ("bytes */100", None), ("7-99", None), ("", None)]
        {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]);
            assert_eq!(first_byte(&headers), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_a_part_unless_it_is_all() {
        for (bytes, expected) in
            [(0..10, None), (3..10, Some("bytes=3-")), (0..1, Some("bytes=0-0")), (3..7, Some("bytes=3-6"))]
        {
            assert_eq!(asked(&bytes, 10).map(|value| value.to_str().unwrap().to_owned()).as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_file_is_there_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("box");
        let mut target = Target::create(&path).unwrap();
        target.write(Bytes::from_static(b"0123")).await.unwrap();
        assert!(path.exists());
        drop(target);
        assert!(!path.exists());
        let mut target = Target::create(&path).unwrap();
        for part in ["0123", "456"] {
            target.write(Bytes::from_static(part.as_bytes())).await.unwrap();
        }
        let (digest, file) = target.finish().await.unwrap();
        assert_eq!(digest, Digest::of(b"0123456"));
        file.keep().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456");
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let folder = tempfile::tempdir().unwrap();
        // The link is removed with the target, and not where it leads.
        let path = folder.path().join("box");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut target = Target::create(&path).unwrap();
        let error = loop {
            if let Err(error) = target.write(Bytes::from_static(&[0; 4096])).await {
                break error;
            }
        };
        assert_eq!(error.to_string(), format!("{}: the disk is full: free some, or need less", path.display()));
        assert_eq!(error.reason(), crate::api::condition::Reason::DiskFull);
    }
}

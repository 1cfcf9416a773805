//! What is uploaded: bytes, or a file that is read as it goes.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper::body::Bytes;
use tokio::task::{JoinError, spawn_blocking};

use super::error::Error;
use crate::{
    plan::image::{Digest, Hasher},
    remote::transfer::{STEP, file_body, part},
};

/// What is uploaded as one blob.
pub(super) struct Source {
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
    origin: Origin,
}

enum Origin {
    Bytes(Bytes),
    File(Arc<Opened>),
}

struct Opened {
    path: PathBuf,
    file: Arc<File>,
}

impl Source {
    /// A few bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { digest: Digest::of(bytes), size, origin: Origin::Bytes(Bytes::copy_from_slice(bytes)) }
    }

    /// A file, which is read once for its digest.
    pub(super) async fn of_file(path: &Path) -> Result<Self, Error> {
        let (path, name) = (path.to_owned(), path.to_owned());
        let hashing = spawn_blocking(move || {
            let opened = File::open(&path).map(|file| Opened { path: path.clone(), file: Arc::new(file) });
            let hashed = opened.and_then(|opened| Ok((opened.hash()?, opened)));
            hashed.map_err(|why| Error::File { path, why })
        });
        let ((digest, size), opened) = hashing.await.map_err(|error| stopped(name, error))??;
        Ok(Self { digest, size, origin: Origin::File(Arc::new(opened)) })
    }

    /// So many bytes from a place on, in memory: the caller keeps them few.
    pub(super) async fn part(&self, start: u64, length: u64) -> Result<Bytes, Error> {
        match &self.origin {
            Origin::Bytes(bytes) => {
                let range = place(start)..place(start.saturating_add(length));
                Ok(bytes.get(range).map_or_else(Bytes::new, |part| bytes.slice_ref(part)))
            }
            Origin::File(opened) => {
                let (reader, path) = (Arc::clone(opened), opened.path.clone());
                let reading = spawn_blocking(move || reader.told(part(&reader.file, start, length)));
                reading.await.map_err(|error| stopped(path, error))?
            }
        }
    }

    /// All of it, as it is read.
    pub(super) fn stream(&self) -> reqwest::Body {
        match &self.origin {
            Origin::Bytes(bytes) => reqwest::Body::from(bytes.clone()),
            Origin::File(opened) => reqwest::Body::wrap(file_body(Arc::clone(&opened.file), self.size)),
        }
    }
}

impl Opened {
    fn hash(&self) -> io::Result<(Digest, u64)> {
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let mut buffer = vec![0; place(STEP)];
        loop {
            let read = self.file.read_at(&mut buffer, size)?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
            hasher.update(part);
            size += u64::try_from(read).unwrap_or(u64::MAX);
        }
        Ok((hasher.finish(), size))
    }

    fn told<T>(&self, read: io::Result<T>) -> Result<T, Error> {
        read.map_err(|why| Error::File { path: self.path.clone(), why })
    }
}

/// A size in memory.
fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The thread was stopped: the program ends.
fn stopped(path: PathBuf, error: JoinError) -> Error {
    Error::File { path, why: error.into() }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    fn content() -> Vec<u8> {
        (0..3 * (1_u32 << 20) + 7).map(|place| place.to_be_bytes()[2]).collect()
    }

    #[tokio::test]
    async fn a_file_is_read_as_bytes_are() {
        let content = content();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        for source in [Source::of_file(file.path()).await.unwrap(), Source::of_bytes(&content)] {
            assert_eq!((&source.digest, source.size), (&Digest::of(&content), 3_145_735));
            assert_eq!(source.part(5, 10).await.unwrap(), content[5..15]);
            assert_eq!(source.part(3_145_730, 5).await.unwrap(), content[3_145_730..]);
            let body = source.stream();
            assert_eq!(body.size_hint().exact(), Some(source.size));
            assert_eq!(body.collect().await.unwrap().to_bytes(), content);
        }
    }

    #[tokio::test]
    async fn a_file_that_shrinks_or_is_not_there_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content()).unwrap();
        let source = Source::of_file(file.path()).await.unwrap();
        std::fs::write(file.path(), b"short").unwrap();
        let path = file.path().display().to_string();
        assert!(source.part(0, 10).await.unwrap_err().to_string().starts_with(&path));
        assert!(source.stream().collect().await.is_err());
        drop(file);
        let Err(error) = Source::of_file(Path::new(&path)).await else { panic!("it is gone") };
        assert!(error.to_string().starts_with(&path), "{error}");
    }
}

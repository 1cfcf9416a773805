//! The file that a download is put into.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use hyper::body::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use tempfile::TempPath;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::plan::image::{Digest, Hasher};

/// How many parts of an answer wait to be written. Each is as large as what the connection gives at once.
const WAITING: usize = 16;

/// How many bytes a part has.
pub(in crate::remote) fn size(part: &Bytes) -> u64 {
    u64::try_from(part.len()).unwrap_or(u64::MAX)
}

/// What is left of a part after so many bytes that are known already, of which as many are known as it had.
pub(in crate::remote) fn left(mut part: Bytes, known: &mut u64) -> Bytes {
    let skipped = size(&part).min(*known);
    *known -= skipped;
    drop(part.split_to(usize::try_from(skipped).unwrap_or(usize::MAX).min(part.len())));
    part
}

/// Asks for all from a byte on.
pub(in crate::remote) fn range(from: u64) -> HeaderMap {
    let range = HeaderValue::try_from(format!("bytes={from}-")).ok().filter(|_| from > 0);
    range.map(|range| (RANGE, range)).into_iter().collect()
}

/// The first byte of a part: `bytes 7-99/100`.
pub(in crate::remote) fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The file, which is removed with this value. It is written, and its digest is made, by a thread beside the runtime.
pub(crate) struct Target {
    path: TempPath,
    parts: mpsc::Sender<Bytes>,
    writer: JoinHandle<io::Result<Digest>>,
    /// How many bytes it has.
    at: u64,
}

impl Target {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let path = TempPath::try_from_path(path)?;
        let (sender, parts) = mpsc::channel(WAITING);
        Ok(Self { path, parts: sender, writer: spawn_blocking(move || write(file, parts)), at: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes it has.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    pub(crate) async fn write(&mut self, part: Bytes) -> io::Result<()> {
        let length = size(&part);
        if self.parts.send(part).await.is_err() {
            return Err(written(&mut self.writer).await.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        self.at += length;
        Ok(())
    }

    /// The digest of what was written, and the file.
    pub(crate) async fn finish(self) -> io::Result<(Digest, TempPath)> {
        let Self { path, parts, mut writer, .. } = self;
        drop(parts);
        Ok((written(&mut writer).await?, path))
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
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

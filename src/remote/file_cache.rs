//! The cache of a node, which keeps files of other servers by their SHA-256. It is asked for what it has, is brought what
//! it has not, and is believed nothing.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use reqwest::{
    Body, Client, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    file,
    network::{Network, cause},
    transfer::{Target, file_body, file_trouble},
};
use crate::{
    cache::{LARGEST, brought_within, file_path},
    plan::image::Digest,
};

/// How long it may take to get a connection: where a node has no cache, its Service drops what is sent to it.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the cache may take to answer. It lets somebody wait for a place for less.
const ANSWER: Duration = Duration::from_secs(15);
/// How long nothing may come of a file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the cache is of no use, as the beginning of a sentence.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// It is not there, or takes too long.
    #[error("the cache of the node does not answer: {0}")]
    Away(String),
    /// The connection ended too early.
    #[error("the cache of the node breaks off: {0}")]
    Broken(String),
    /// What it has is something else.
    #[error("the cache of the node has a damaged file, with the SHA-256 {0}")]
    Damaged(Digest),
    /// It does not want to.
    #[error("the cache of the node answers {0}")]
    Refuses(StatusCode),
    /// A file of ours cannot be read or written.
    #[error("the cache of the node is of no use: {}", file_trouble(.0))]
    File(io::Error),
}

impl Trouble {
    /// Whether it is of no use for other files either.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// What the cache has of a file.
pub(super) enum Found {
    /// It is at the path now, and has so many bytes.
    File(u64),
    /// Another build is fetching it.
    Elsewhere,
    /// Nothing.
    Nothing(Absence),
}

/// The cache does not have a file. As long as this value is there, it tells others to wait for us.
#[derive(Default)]
pub(super) struct Absence {
    /// The size of the largest file that it keeps, in bytes, where it says so.
    pub largest: Option<u64>,
    _open: Option<Response>,
}

/// A client of the cache.
#[derive(Clone, Debug)]
pub(super) struct FileCache {
    http: Client,
    url: String,
}

impl FileCache {
    /// Of the cache at this URL, which is reached by no proxy.
    pub fn new(url: &str) -> Result<Self, file::Error> {
        let builder = Network::default().client()?.connect_timeout(CONNECT).redirect(Policy::none());
        let http = builder.build().map_err(|error| file::Error::Client(cause(&error)))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned() })
    }

    /// Asks for a file, and puts it there. There is none at the path unless it is the one that is wanted.
    pub async fn take(
        &self,
        sha256: &Digest,
        path: &Path,
        progress: &(dyn Fn(u64, Option<u64>) + Sync),
    ) -> Result<Found, Trouble> {
        let answer = timeout(ANSWER, self.http.get(self.address(sha256)).send()).await.map_err(|_| late())?;
        let answer = answer.map_err(|error| away(&error))?;
        match answer.status() {
            StatusCode::OK => receive(answer, sha256, path, progress).await.map(Found::File),
            StatusCode::ACCEPTED => Ok(Found::Elsewhere),
            StatusCode::NOT_FOUND => {
                let largest = answer.headers().get(LARGEST).and_then(|value| value.to_str().ok()?.parse().ok());
                Ok(Found::Nothing(Absence { largest, _open: Some(answer) }))
            }
            status => Err(Trouble::Refuses(status)),
        }
    }

    /// Brings a file. The cache looks itself whether it is the one.
    pub async fn give(&self, sha256: &Digest, path: &Path) -> Result<(), Trouble> {
        let file = File::open(path).map_err(Trouble::File)?;
        let size = file.metadata().map_err(Trouble::File)?.len();
        let request = self.http.put(self.address(sha256)).body(Body::wrap(file_body(Arc::new(file), size)));
        let octets = HeaderValue::from_static("application/octet-stream");
        let request = request.header(CONTENT_TYPE, octets).header(CONTENT_LENGTH, HeaderValue::from(size));
        let answer = timeout(brought_within(size), request.send()).await.map_err(|_| late())?;
        let answer = answer.map_err(|error| away(&error))?;
        if answer.status().is_success() { Ok(()) } else { Err(Trouble::Refuses(answer.status())) }
    }

    fn address(&self, file: &Digest) -> String {
        format!("{}{}", self.url, file_path(file))
    }
}

async fn receive(
    mut answer: Response,
    sha256: &Digest,
    path: &Path,
    progress: &(dyn Fn(u64, Option<u64>) + Sync),
) -> Result<u64, Trouble> {
    let (mut target, all) = (Target::create(path).map_err(Trouble::File)?, answer.content_length());
    while let Some(part) = timeout(PATIENCE, answer.chunk()).await.map_err(|_| late())?.map_err(|error| away(&error))? {
        target.write(part).await.map_err(Trouble::File)?;
        progress(target.at(), all);
    }
    let size = target.at();
    let (found, file) = target.finish().await.map_err(Trouble::File)?;
    if found != *sha256 {
        return Err(Trouble::Damaged(found));
    }
    file.keep().map_err(|error| Trouble::File(error.error))?;
    Ok(size)
}

fn away(error: &reqwest::Error) -> Trouble {
    let cause = cause(error);
    if error.is_connect() { Trouble::Away(cause) } else { Trouble::Broken(cause) }
}

/// It takes too long.
pub(super) fn late() -> Trouble {
    Trouble::Away("it takes too long".to_owned())
}

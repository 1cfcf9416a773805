//! Files of other servers, fetched by URL and known by their SHA-256.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::body::Bytes;
use reqwest::{Client, Response, StatusCode};
use thiserror::Error;
use tokio::time::timeout;

use super::{
    network::{Network, NetworkError, cause, distrust, retry_after},
    transfer::{Passing, Target, Tries, file_trouble, first_byte, is_full, left, range},
};
use crate::{api::condition::Reason, plan::image::Digest};

/// How long a server may take to answer, and how long nothing may come of a file.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause before a file that was cut is fetched further.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a file was not fetched, as a sentence for whoever must act.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not there, or not for us.
    #[error("{url} cannot be fetched: the server {why}: correct the URL")]
    Refused {
        /// The URL as it is written.
        url: String,
        /// What the server does instead.
        why: String,
    },
    /// It is another one.
    #[error("{url} has the SHA-256 {found}, not {expected}: correct the one that is wrong")]
    Other {
        /// The URL as it is written.
        url: String,
        /// That of what came.
        found: Digest,
        /// That of the file that is wanted.
        expected: Digest,
    },
    /// The certificate of the server is not trusted.
    #[error("{url} cannot be fetched: the certificate of the server is not trusted: {why}")]
    Untrusted {
        /// The URL as it is written.
        url: String,
        /// Why.
        why: String,
    },
    /// The server does not answer, or not as it should.
    #[error("{url} cannot be fetched now: the server {cause}")]
    Unavailable {
        /// The URL as it is written.
        url: String,
        /// What happened.
        cause: String,
        /// When it wants to be asked again; at most [`super::network::LONGEST_RETRY_AFTER`].
        retry_after: Option<Duration>,
    },
    /// A file of ours cannot be written.
    #[error("{}: {}", path.display(), file_trouble(why))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The settings cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No client can be made, such as on a system without certificates.
    #[error("servers cannot be reached: {0}")]
    Client(String),
}

impl Error {
    /// The reason for a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused { .. } | Self::Other { .. } => Reason::FileUnavailable,
            Self::Untrusted { .. } => Reason::CertificateNotTrusted,
            Self::Unavailable { .. } => Reason::SourceUnavailable,
            Self::File { why, .. } if is_full(why) => Reason::DiskFull,
            Self::File { .. } => Reason::StageInterrupted,
            Self::Network(_) | Self::Client(_) => Reason::SpecInvalid,
        }
    }
}

impl Passing for Error {
    fn passes(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(retry_after.unwrap_or_default()),
            _ => None,
        }
    }
}

/// A client of servers that have files.
#[derive(Clone, Debug)]
pub struct Files {
    http: Client,
    /// The first pause before a file that was cut is fetched further.
    pause: Duration,
}

/// A file that is being fetched.
struct Fetch<'f> {
    files: &'f Files,
    url: &'f str,
    /// Is told how many bytes have come, and of how many, where that is known.
    progress: &'f (dyn Fn(u64, Option<u64>) + Sync),
}

impl Files {
    /// A client that reaches servers in this way.
    ///
    /// # Errors
    /// The settings cannot be used, or the system has no certificates to trust.
    pub fn new(network: &Network) -> Result<Self, Error> {
        let http = network.client()?.build().map_err(|error| Error::Client(cause(&error)))?;
        Ok(Self { http, pause: PAUSE })
    }

    /// The same, with another first pause.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Fetches a file, goes on where that is cut, and gives its size in bytes. There is none at the path unless all of it
    /// came and it is the one that is wanted.
    ///
    /// # Errors
    /// It is not there, it is another one, or the server does not give it.
    pub async fn fetch(
        &self,
        url: &str,
        sha256: &Digest,
        path: &Path,
        progress: &(dyn Fn(u64, Option<u64>) + Sync),
    ) -> Result<u64, Error> {
        let in_vain = |why: io::Error| Error::File { path: path.to_owned(), why };
        let fetch = Fetch { files: self, url, progress };
        let (mut target, mut tries) = (Target::create(path).map_err(in_vain)?, Tries::new(self.pause));
        while let Err(error) = fetch.rest(&mut target).await {
            tries.reached(target.at());
            tries.again(error).await?;
        }
        let size = target.at();
        let (found, file) = target.finish().await.map_err(in_vain)?;
        if found != *sha256 {
            return Err(Error::Other { url: url.to_owned(), found, expected: sha256.clone() });
        }
        file.keep().map_err(|error| in_vain(error.error))?;
        Ok(size)
    }
}

impl Fetch<'_> {
    /// All that is missing, as far as it comes.
    async fn rest(&self, target: &mut Target) -> Result<(), Error> {
        let mut answer = self.ask(target.at()).await?;
        // Not every server gives a part: what is there already is left out then.
        let (mut known, before) = match answer.status() {
            StatusCode::PARTIAL_CONTENT => (0, target.at()),
            // There is no more of it: whether it is whole, its checksum tells.
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
            _ => (target.at(), 0),
        };
        let all = answer.content_length().map(|length| before + length);
        while let Some(part) = self.next(&mut answer).await? {
            let written = target.write(left(part, &mut known)).await;
            written.map_err(|why| Error::File { path: target.path().to_owned(), why })?;
            (self.progress)(target.at(), all);
        }
        Ok(())
    }

    /// Asks for the file from a byte on.
    async fn ask(&self, from: u64) -> Result<Response, Error> {
        let request = self.files.http.get(self.url).headers(range(from)).send();
        let answer = timeout(PATIENCE, request).await.map_err(|_| self.unavailable("does not answer in time", None))?;
        let answer = answer.map_err(|error| self.failure(&error))?;
        let status = answer.status();
        match status {
            StatusCode::OK => Ok(answer),
            StatusCode::PARTIAL_CONTENT if first_byte(answer.headers()) == Some(from) => Ok(answer),
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => Ok(answer),
            StatusCode::PARTIAL_CONTENT | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(self.passing(&answer))
            }
            status if status.is_client_error() => Err(self.refused(format!("answers {status}"))),
            _ => Err(self.passing(&answer)),
        }
    }

    /// The next bytes. A connection on which nothing comes is given up.
    async fn next(&self, answer: &mut Response) -> Result<Option<Bytes>, Error> {
        let part = timeout(PATIENCE, answer.chunk()).await;
        part.map_err(|_| self.unavailable("does not go on in time", None))?.map_err(|error| self.failure(&error))
    }

    fn passing(&self, answer: &Response) -> Error {
        self.unavailable(&format!("answers {}", answer.status()), retry_after(answer.headers()))
    }

    fn refused(&self, why: String) -> Error {
        Error::Refused { url: self.url.to_owned(), why }
    }

    fn failure(&self, error: &reqwest::Error) -> Error {
        if error.is_redirect() {
            return self.refused("redirects without end, or to an address without TLS".to_owned());
        }
        match distrust(error) {
            Some(why) => Error::Untrusted { url: self.url.to_owned(), why },
            None => self.unavailable(&format!("cannot be reached: {}", cause(error)), None),
        }
    }

    fn unavailable(&self, cause: &str, retry_after: Option<Duration>) -> Error {
        Error::Unavailable { url: self.url.to_owned(), cause: cause.to_owned(), retry_after }
    }
}

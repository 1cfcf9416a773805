//! The client: which file is there.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
    redirect::Policy,
};
use serde::Deserialize;

use super::error::{Error, Refusal};
use crate::{
    api::boxes::BoxProvider,
    plan::{
        credentials::gitea::Identity,
        gitea::BoxAddress,
        image::{Digest, Tag},
    },
    remote::{
        network::{Network, cause, distrust, retry_after},
        secret::SecretName,
    },
};

/// The most of a list of files that is read, in bytes: one has some 400.
const LONGEST_LIST: usize = 256 * 1024;

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which proxies, and trusted by whom.
    pub network: Network,
    /// The limit of a look.
    pub request: Duration,
    /// The limit of an upload.
    pub transfer: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (request, transfer) = (Duration::from_secs(30), Duration::from_mins(30));
        Self { network: Network::default(), request, transfer }
    }
}

/// The file of a version of a box for a provider.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The box.
    pub address: &'a BoxAddress,
    /// The version.
    pub version: &'a Tag,
    /// The provider.
    pub provider: BoxProvider,
}

impl Package<'_> {
    /// Its address, by which messages name it, too.
    pub(super) fn file(&self) -> String {
        self.address.file(self.version, self.provider)
    }
}

/// Who we are to a server.
#[derive(Clone, Debug)]
pub struct Credentials {
    header: HeaderValue,
    pub(super) secret: SecretName,
}

impl Credentials {
    /// Those of a Secret, whose name errors tell.
    ///
    /// # Errors
    /// No header can hold them.
    pub fn new(identity: &Identity, secret: &str) -> Result<Self, Error> {
        let secret = SecretName::new(Some(secret));
        let text = match identity {
            Identity::Token(token) => format!("token {token}"),
            Identity::Login(login) => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", login.username, login.password)))
            }
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| Error::Unusable { secret: secret.clone() })?;
        header.set_sensitive(true);
        Ok(Self { header, secret })
    }
}

/// A client of servers. It is cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Gitea {
    http: Client,
    pub(super) settings: Settings,
}

/// A file of a version, as the list has it (Gitea's `modules/structs/package.go`).
#[derive(Deserialize)]
struct Listed {
    name: String,
    sha256: String,
}

impl Gitea {
    /// Makes a client. That reads the certificates of the system: it is to be kept. It follows no redirect: an upload
    /// cannot be sent twice, and credentials are for the server that is written down.
    ///
    /// # Errors
    /// The settings cannot be used, or the system has no certificates to trust.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let http = settings.network.client()?.redirect(Policy::none()).build();
        Ok(Self { http: http.map_err(|error| Error::Client(cause(&error)))?, settings })
    }

    /// The SHA-256 of a file; `None` where it is not there.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn file(&self, package: &Package<'_>, credentials: &Credentials) -> Result<Option<Digest>, Error> {
        let url = package.address.files(package.version);
        let request = self.request(Method::GET, &url, credentials).timeout(self.settings.request);
        let answer = request.send().await.map_err(|error| failure(package, credentials, &error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refused(package, credentials, &answer, Refusal::Read)),
        }
        let no_list = || no_gitea(package, "gives something that is no list of files".to_owned());
        let body = read(answer).await.map_err(|error| failure(package, credentials, &error))?;
        let files: Vec<Listed> = serde_json::from_slice(&body.ok_or_else(no_list)?).map_err(|_| no_list())?;
        let name = package.provider.file();
        let Some(found) = files.iter().find(|file| file.name.eq_ignore_ascii_case(&name)) else { return Ok(None) };
        format!("sha256:{}", found.sha256).parse().map(Some).map_err(|_| no_list())
    }

    pub(super) fn request(&self, method: Method, url: &str, credentials: &Credentials) -> RequestBuilder {
        self.http.request(method, url).header(AUTHORIZATION, credentials.header.clone())
    }
}

/// An answer as it is read; `None` where it is too long.
async fn read(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > LONGEST_LIST {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// What an answer means that is not the one hoped for, whatever was asked.
pub(super) fn refused(package: &Package<'_>, credentials: &Credentials, answer: &Response, refusal: Refusal) -> Error {
    let (file, status) = (package.file(), answer.status());
    let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Error::Denied { file, refusal, secret: credentials.secret.clone(), status: status.to_string() }
        }
        status if status.is_redirection() => Error::Redirected { file, status: status.to_string() },
        status if status.is_server_error() || passes.contains(&status) => {
            Error::Unavailable { file, cause: format!("answers {status}"), retry_after: retry_after(answer.headers()) }
        }
        status => no_gitea(package, format!("answers {status}")),
    }
}

fn no_gitea(package: &Package<'_>, cause: String) -> Error {
    Error::NoGitea { file: package.file(), cause }
}

/// Why there is no answer.
pub(super) fn failure(package: &Package<'_>, credentials: &Credentials, error: &reqwest::Error) -> Error {
    if let Some(why) = distrust(error) {
        return Error::Untrusted { file: package.file(), why, secret: credentials.secret.clone() };
    }
    let cause =
        if error.is_timeout() { "does not answer in time".to_owned() } else { format!("fails: {}", cause(error)) };
    Error::Unavailable { file: package.file(), cause, retry_after: None }
}

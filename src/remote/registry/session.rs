//! Requests to one repository: who we are there, what an answer means, and how much of it is read.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use super::{
    credentials::{Credentials, Identified},
    error::{Error, Identity},
    manifest::{self, Manifest, Unusable},
    settings::Settings,
};
use crate::{
    plan::{
        credentials::{ConfigError, Login},
        image::{DOCKER_HUB, Digest, Repository, Tag},
    },
    remote::network::{cause, distrust, retry_after},
};

/// The most of a manifest that is read, in bytes: what registries allow at least and most allow at most
/// (distribution specification, "Pushing Manifests").
pub(super) const LONGEST_MANIFEST: usize = 4 * 1024 * 1024;
/// The most of any other answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
    Delete,
}

/// A conversation about one repository.
pub(super) struct Session<'a> {
    http: &'a reqwest::Client,
    settings: &'a Settings,
    /// The repository, as messages name it.
    place: String,
    base: Url,
    login: Option<&'a Login>,
    /// Who we are, if that is refused.
    identity: Identity,
    purpose: Purpose,
    /// What we ask a token server for.
    scopes: Vec<String>,
    authorization: Option<HeaderValue>,
}

/// What is known without reading a manifest.
pub(super) struct Head {
    /// The digest, where the registry says it.
    pub(super) digest: Option<Digest>,
    /// The digest, where it is one image.
    pub(super) image: Option<Digest>,
}

/// A manifest whose digest is that of its bytes.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) body: Vec<u8>,
    pub(super) media_type: String,
    pub(super) manifest: Manifest,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        http: &'a reqwest::Client,
        settings: &'a Settings,
        repository: &'a Repository,
        credentials: &'a Credentials,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let scheme = if settings.insecure.contains(&repository.registry) { "http" } else { "https" };
        // Docker Hub is called by another name than it answers under.
        let host = if repository.registry == DOCKER_HUB { "registry-1.docker.io" } else { &repository.registry };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", repository.path));
        let actions = match purpose {
            Purpose::Read => "pull",
            Purpose::Write => "pull,push",
            Purpose::Delete => "delete",
        };
        let unusable = |why: &ConfigError| Error::Unusable {
            place: repository.to_string(),
            secret: credentials.secret().clone(),
            why: why.clone(),
        };
        let Identified { login, identity } = credentials.of(repository).map_err(unusable)?;
        let not_an_address = |_| Error::NoRegistry { place: repository.to_string(), cause: "has no address".into() };
        Ok(Self {
            http,
            settings,
            place: repository.to_string(),
            base: base.map_err(not_an_address)?,
            login,
            identity,
            purpose,
            scopes: vec![format!("repository:{}:{actions}", repository.path)],
            authorization: None,
        })
    }

    /// The same, with the name that messages give to the repository.
    pub(super) fn named(self, place: String) -> Self {
        Self { place, ..self }
    }

    /// Asks also for the right to read a second repository, to mount from it.
    pub(super) fn and_read(&mut self, path: &str) {
        self.scopes.push(format!("repository:{path}:pull"));
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<Request, Error> {
        // With a dot before it, what has a colon in it is a path and not a scheme.
        let url = self.base.join(&format!("./{path}")).map_err(|_| self.no_registry("has no such address"))?;
        Ok(limited(method, url, self.settings.request))
    }

    /// A request that moves a layer.
    pub(super) fn transfer(&self, method: Method, url: Url) -> Request {
        limited(method, url, self.settings.transfer)
    }

    /// A short request to an address that the registry has given.
    pub(super) fn request_at(&self, method: Method, url: Url) -> Request {
        limited(method, url, self.settings.request)
    }

    /// How its registry is reached.
    pub(super) const fn settings(&self) -> &Settings {
        self.settings
    }

    /// Sends a request; where the registry then asks who we are, it is sent a second time with the answer.
    /// One with a streamed body is sent once: a request before it has done that.
    pub(super) async fn send(&mut self, request: Request) -> Result<Response, Error> {
        let again = request.try_clone();
        let answer = self.once(request).await?;
        match again {
            Some(again) if answer.status() == StatusCode::UNAUTHORIZED && self.is_ours(&again) => {
                if self.identify(answer.headers()).await? { self.once(again).await } else { Ok(answer) }
            }
            _ => Ok(answer),
        }
    }

    async fn once(&self, mut request: Request) -> Result<Response, Error> {
        // Nobody else gets it: an upload may go to another host than the registry's.
        if let Some(authorization) = self.authorization.as_ref().filter(|_| self.is_ours(&request)) {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http.execute(request).await.map_err(|error| self.failure(&error))
    }

    fn is_ours(&self, request: &Request) -> bool {
        request.url().origin() == self.base.origin()
    }

    /// Answers a challenge. Says whether there is anything new to answer with.
    async fn identify(&mut self, headers: &HeaderMap) -> Result<bool, Error> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<ChallengeRef<'_>> =
            texts.filter_map(|text| parse_challenges(text).ok()).flatten().collect();
        let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let text = match (of("bearer"), of("basic"), self.login) {
            (Some(challenge), _, _) => format!("Bearer {}", self.token(challenge).await?),
            (None, Some(_), Some(login)) => basic(login),
            _ => return Ok(false),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| self.no_registry("gives a token that is none"))?;
        value.set_sensitive(true);
        let is_new = self.authorization.as_ref() != Some(&value);
        self.authorization = Some(value);
        Ok(is_new)
    }

    /// A token of the server that the registry names ("Token Authentication Specification" of distribution).
    async fn token(&self, challenge: &ChallengeRef<'_>) -> Result<String, Error> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
        let mut url = realm.ok_or_else(|| self.no_registry("names no token server"))?;
        if url.scheme() != "https" && self.base.scheme() == "https" {
            return Err(self.no_registry("names a token server without TLS"));
        }
        url.query_pairs_mut().extend_pairs(parameter("service").map(|service| ("service", service)));
        url.query_pairs_mut().extend_pairs(self.scopes.iter().map(|scope| ("scope", scope)));
        let mut request = limited(Method::GET, url, self.settings.request);
        if let Some(login) = self.login {
            let mut value = HeaderValue::try_from(basic(login)).map_err(|_| self.denied())?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = self.http.execute(request).await.map_err(|error| self.failure(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(self.refusal(answer).await);
        }
        let body = self.read(answer, LONGEST_ANSWER).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|_| self.no_registry("gives no token"))?;
        token.token.or(token.access_token).ok_or_else(|| self.no_registry("gives no token"))
    }

    /// What is under a tag or digest; `None` where nothing is.
    pub(super) async fn head(&mut self, name: &str) -> Result<Option<Head>, Error> {
        let Some(answer) = self.ask(Method::HEAD, name).await? else { return Ok(None) };
        let digest = said_digest(&answer);
        let is_image = manifest::is_image(&media_type(&answer));
        Ok(Some(Head { image: digest.clone().filter(|_| is_image), digest }))
    }

    /// The digest that a tag leads to; `None` where it is not there.
    pub(super) async fn leads_to(&mut self, tag: &Tag) -> Result<Option<Digest>, Error> {
        let name = tag.to_string();
        match self.head(&name).await? {
            Some(Head { digest: Some(digest), .. }) => Ok(Some(digest)),
            // The header is not one that a registry must send.
            Some(_) => Ok(self.manifest(&name).await?.map(|found| found.digest)),
            None => Ok(None),
        }
    }

    /// The manifest under a tag or digest; `None` where nothing is.
    pub(super) async fn manifest(&mut self, name: &str) -> Result<Option<Found>, Error> {
        let Some(answer) = self.ask(Method::GET, name).await? else { return Ok(None) };
        let (said, media_type) = (said_digest(&answer), media_type(&answer));
        if media_type == "text/html" {
            return Err(self.no_registry("gives a web page"));
        }
        let body = self.read(answer, LONGEST_MANIFEST).await?;
        let (manifest, own_type) = manifest::parse(&body).map_err(|wrong| match wrong {
            Unusable::NoManifest(wrong) => self.no_registry(wrong),
            Unusable::Unsupported(wrong) => self.unsupported(wrong),
        })?;
        let digest = self.expect(Digest::of(&body), said.as_ref())?;
        Ok(Some(Found { digest, body, media_type: own_type.unwrap_or(media_type), manifest }))
    }

    /// Puts a manifest under a tag or its digest.
    pub(super) async fn put(&mut self, name: &str, media_type: &str, body: &[u8]) -> Result<(), Error> {
        let mut request = self.request(Method::PUT, &format!("manifests/{name}"))?;
        if let Ok(media_type) = HeaderValue::try_from(media_type) {
            request.headers_mut().insert(CONTENT_TYPE, media_type);
        }
        *request.body_mut() = Some(Body::from(body.to_vec()));
        let answer = self.send(request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(self.refusal(answer).await) }
    }

    /// Whether the repository has a blob. Where the registry does not say, it has none.
    pub(super) async fn has(&mut self, digest: &Digest) -> Result<bool, Error> {
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"))?;
        Ok(self.send(request).await?.status() == StatusCode::OK)
    }

    /// The config of an image or box, of at most so many bytes.
    pub(super) async fn config(&mut self, digest: &Digest, most: usize) -> Result<Vec<u8>, Error> {
        let request = self.request(Method::GET, &format!("blobs/{digest}"))?;
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.no_registry("has a manifest, and not the config that it names")),
            _ => return Err(self.refusal(answer).await),
        }
        let body = self.read(answer, most).await?;
        self.expect(Digest::of(&body), Some(digest))?;
        Ok(body)
    }

    async fn ask(&mut self, method: Method, name: &str) -> Result<Option<Response>, Error> {
        let mut request = self.request(method, &format!("manifests/{name}"))?;
        if let Ok(accepted) = HeaderValue::try_from(manifest::accepted()) {
            request.headers_mut().insert(ACCEPT, accepted);
        }
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(answer).await),
        }
    }

    /// The digest, if it is the expected one or none is expected.
    pub(super) fn expect(&self, found: Digest, expected: Option<&Digest>) -> Result<Digest, Error> {
        match expected {
            Some(expected) if *expected != found => {
                Err(Error::WrongDigest { place: self.place.clone(), expected: expected.to_string(), found })
            }
            _ => Ok(found),
        }
    }

    /// An answer as it is read, and no more of it than that.
    pub(super) async fn read(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failure(&error))? {
            if body.len() + chunk.len() > most {
                return Err(
                    self.no_registry(&format!("gives more than {most} bytes for one manifest, config, token or page"))
                );
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The address of a `Location`, which may be relative to the request's.
    pub(super) fn location(&self, answer: &Response) -> Result<Url, Error> {
        let text = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let url = text.and_then(|text| answer.url().join(text).ok());
        url.ok_or_else(|| self.no_registry("does not say where to upload to"))
    }

    /// What an answer means that is not the one hoped for.
    pub(super) async fn refusal(&self, answer: Response) -> Error {
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let code = self.read(answer, LONGEST_ANSWER).await.ok().and_then(|body| error_code(&body)).unwrap_or_default();
        let status = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return self.denied(),
            status if code.is_empty() => status.to_string(),
            status => format!("{status} ({code})"),
        };
        let is_busy = status.starts_with('5') || status.starts_with("429");
        if self.purpose == Purpose::Read || is_busy {
            return self.unavailable(format!("answers {status}"), retry_after);
        }
        Error::Rejected { place: self.place.clone(), status }
    }

    fn denied(&self) -> Error {
        let place = self.place.clone();
        let identity = self.identity.clone();
        match self.purpose {
            Purpose::Read => Error::AccessDenied { place, identity },
            Purpose::Write | Purpose::Delete => Error::PushDenied { place, identity },
        }
    }

    pub(super) fn failure(&self, error: &reqwest::Error) -> Error {
        if error.is_redirect() {
            return self
                .no_registry(&format!("redirects without end, or to an address without TLS ({})", cause(error)));
        }
        if let Some(why) = distrust(error) {
            return Error::Untrusted { place: self.place.clone(), why };
        }
        let cause =
            if error.is_timeout() { "does not answer in time".to_owned() } else { format!("fails: {}", cause(error)) };
        self.unavailable(cause, None)
    }

    pub(super) fn unavailable(&self, cause: String, retry_after: Option<Duration>) -> Error {
        Error::Unavailable { place: self.place.clone(), cause, retry_after }
    }

    pub(super) fn unsupported(&self, wrong: &'static str) -> Error {
        Error::Unsupported { place: self.place.clone(), wrong }
    }

    pub(super) fn no_registry(&self, cause: &str) -> Error {
        Error::NoRegistry { place: self.place.clone(), cause: cause.to_owned() }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// "Error Codes" of the distribution specification.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalError>,
}

#[derive(Deserialize)]
struct RefusalError {
    code: String,
}

fn limited(method: Method, url: Url, limit: Duration) -> Request {
    let mut request = Request::new(method, url);
    *request.timeout_mut() = Some(limit);
    request
}

fn basic(login: &Login) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", login.username, login.password)))
}

/// The only code that is believed is one of the specification's form: the rest of an answer is foreign text.
fn error_code(body: &[u8]) -> Option<String> {
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let code = refusal.errors.into_iter().next()?.code;
    let is_code = code.len() <= 64 && code.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_');
    is_code.then_some(code)
}

fn said_digest(answer: &Response) -> Option<Digest> {
    answer.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
}

fn media_type(answer: &Response) -> String {
    let text = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_those_of_the_specification() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"MANIFEST_INVALID","message":"secret"}]}"#, Some("MANIFEST_INVALID")),
            (r#"{"errors":[{"code":"a secret"}]}"#, None),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}

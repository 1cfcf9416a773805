//! The client: what a repository has, and what leads to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::{
    Method, StatusCode,
    redirect::{Action, Attempt, Policy},
};
use rustls::crypto::ring;

use super::{
    credentials::Credentials,
    error::Error,
    manifest::{self, Manifest},
    session::{self, Purpose, Session},
    settings::Settings,
};
use crate::plan::image::{Digest, Reference, Repository, Tag};

/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// How long it may take to get a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What a manifest says of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The digest of its config, which is the image's ID.
    pub config: Digest,
    /// The size of its layers, in bytes.
    pub size: u64,
}

/// What became of a tag that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Deleted,
    /// It was not there.
    Absent,
    /// The registry cannot delete tags: they stay, and its own clean-up has to do it.
    Unsupported,
}

/// A client of registries. It is cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Registry {
    http: reqwest::Client,
    settings: Settings,
}

impl Registry {
    /// Makes a client. That reads the certificates of the system: it is to be kept, one for each profile.
    ///
    /// # Errors
    /// The certificates of the settings are none, or the system has no certificates to trust.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // Fails where a provider is installed already, which is as good.
        let _ = ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("imagechain/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(redirect))
            .connect_timeout(CONNECT)
            // Settings are values: what the environment says of proxies is for `cli` to read.
            .no_proxy()
            // An address that leads elsewhere must not tell where somebody came from.
            .referer(false);
        if let Some(pem) = &settings.certificates {
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if certificates.is_empty() {
                return Err(Error::Certificates);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| Error::Client(session::cause(&error)))?;
        Ok(Self { http, settings })
    }

    /// The digest of the image that a name leads to. Where it leads to an index, that of the manifest for
    /// the platform, such as `linux/amd64`.
    ///
    /// # Errors
    /// There is none, or the registry does not give it.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &str,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let Some(mirror) = self.settings.mirrors.get(&reference.repository.registry) else {
            return self.resolve_at(reference, platform, credentials).await;
        };
        let repository = Repository { registry: mirror.clone(), path: reference.repository.path.clone() };
        let there = Reference { repository, ..reference.clone() };
        let at_mirror = self.resolve_at(&there, platform, credentials).await;
        if at_mirror.is_ok() {
            return at_mirror;
        }
        match self.resolve_at(reference, platform, credentials).await {
            // Behind a mirror, the registry itself is often out of reach: the mirror's answer says more.
            Err(Error::Unavailable { .. }) => at_mirror,
            answer => answer,
        }
    }

    async fn resolve_at(
        &self,
        reference: &Reference,
        platform: &str,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let mut session = self.session(&reference.repository, credentials, Purpose::Read)?;
        let absent = || Error::NotFound(reference.to_string());
        let head = session.head(reference.manifest()).await?.ok_or_else(absent)?;
        if let Some(digest) = head.image {
            return session.expect(digest, reference.digest.as_ref());
        }
        let found = session.manifest(reference.manifest()).await?.ok_or_else(absent)?;
        let digest = session.expect(found.digest, reference.digest.as_ref())?;
        match found.manifest {
            Manifest::Image { .. } => Ok(digest),
            Manifest::Index(children) => manifest::of_platform(&children, platform).ok_or_else(|| Error::NoPlatform {
                reference: reference.to_string(),
                platform: platform.to_owned(),
                present: manifest::platforms(&children),
            }),
        }
    }

    /// Whether a repository has the manifest of that digest.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn exists(
        &self,
        repository: &Repository,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<bool, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        Ok(session.head(&digest.to_string()).await?.is_some())
    }

    /// Which of some tags do not lead to a digest, and where they lead: to another one, or nowhere.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn strays(
        &self,
        repository: &Repository,
        tags: &BTreeSet<Tag>,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<BTreeMap<Tag, Option<Digest>>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let mut strays = BTreeMap::new();
        for tag in tags {
            let leads_to = session.leads_to(tag).await?;
            if leads_to.as_ref() != Some(digest) {
                strays.insert(tag.clone(), leads_to);
            }
        }
        Ok(strays)
    }

    /// The image of a manifest; `None` where there is none of that digest.
    ///
    /// # Errors
    /// The registry does not give it, or it is an index.
    pub async fn image(
        &self,
        repository: &Repository,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<Option<Image>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let Some(found) = session.manifest(&digest.to_string()).await? else { return Ok(None) };
        session.expect(found.digest, Some(digest))?;
        match found.manifest {
            Manifest::Image { config, layers } => {
                // What a registry says is not added up unseen.
                let size = layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
                Ok(Some(Image { config: config.digest, size }))
            }
            Manifest::Index(_) => Err(session.no_registry("gives an index where an image was pushed")),
        }
    }

    /// Deletes a tag, and only the tag: the manifest stays while anything else leads to it. By the
    /// specification a registry may refuse that; CNCF distribution can do it from version 3 on.
    ///
    /// # Errors
    /// The credentials are refused, or the registry does not answer.
    pub async fn delete_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        credentials: &Credentials,
    ) -> Result<Deletion, Error> {
        let mut session = self.session(repository, credentials, Purpose::Delete)?;
        let request = session.request(Method::DELETE, &format!("manifests/{tag}"))?;
        let answer = session.send(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::NOT_FOUND => Ok(Deletion::Absent),
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => Ok(Deletion::Unsupported),
            _ => Err(session.refusal(answer).await),
        }
    }

    pub(super) fn session<'a>(
        &'a self,
        repository: &'a Repository,
        credentials: &'a Credentials,
        purpose: Purpose,
    ) -> Result<Session<'a>, Error> {
        Session::new(&self.http, &self.settings, repository, credentials, purpose)
    }
}

/// Registries keep layers elsewhere. A request that leaves its host leaves its credentials there (reqwest).
fn redirect(attempt: Attempt<'_>) -> Action {
    let was_secure = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("too many redirects")
    } else if was_secure && attempt.url().scheme() != "https" {
        attempt.error("a redirect to an address without TLS")
    } else {
        attempt.follow()
    }
}

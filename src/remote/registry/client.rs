//! The client: what a repository has, and what leads to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reqwest::{Method, StatusCode};

use super::{
    credentials::Credentials,
    error::Error,
    manifest::{self, Manifest, NOT_ONE_FILE},
    session::{LONGEST_MANIFEST, Purpose, Session},
    settings::Settings,
};
use crate::{
    api::boxes::ArtifactKind,
    plan::image::{Digest, Reference, Repository, Tag},
    remote::network::cause,
};

/// The most images whose platform is remembered.
const MOST_KNOWN: usize = 4096;

/// What a manifest says of its image or box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// What it is known by: of an image the digest of its config, which is the image's ID; of a box the digest of its
    /// file.
    pub content: Digest,
    /// The size of its layers, in bytes.
    pub size: u64,
}

/// What a name is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// An image for a platform, such as `linux/amd64`.
    Image(&'a str),
    /// A machine box.
    Box,
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
    /// Images that stand for themselves, with a platform that they are for; boxes without one.
    known: Arc<Mutex<BTreeSet<(Digest, String)>>>,
}

/// Where an image is asked for.
struct Place<'a> {
    repository: &'a Repository,
    /// What messages say of a mirror; nothing at the registry itself.
    mirror: String,
}

impl Registry {
    /// Makes a client. That reads the certificates of the system: it is to be kept, one for each profile.
    ///
    /// # Errors
    /// The settings cannot be used, or the system has no certificates to trust.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let http = settings.network.client()?.build().map_err(|error| Error::Client(cause(&error)))?;
        Ok(Self { http, settings, known: Arc::default() })
    }

    /// The digest of the image or box that a name leads to. Where it leads to an index, that of the manifest for
    /// the platform; where it leads to one image, that must be for the platform.
    ///
    /// # Errors
    /// There is none, or the registry does not give it.
    pub async fn resolve(
        &self,
        reference: &Reference,
        wanted: Wanted<'_>,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let at_home = Place { repository: &reference.repository, mirror: String::new() };
        let Some((repository, mirror)) = self.mirror(&reference.repository) else {
            return self.resolve_at(&at_home, reference, wanted, credentials).await;
        };
        let there = Place { repository: &repository, mirror };
        let at_mirror = self.resolve_at(&there, reference, wanted, credentials).await;
        if at_mirror.is_ok() {
            return at_mirror;
        }
        match self.resolve_at(&at_home, reference, wanted, credentials).await {
            // Behind a mirror, the registry itself is often out of reach: the mirror's answer says more.
            Err(Error::Unavailable { .. }) => at_mirror,
            answer => answer,
        }
    }

    /// Where to ask first, and what messages say of that.
    pub(super) fn mirror(&self, repository: &Repository) -> Option<(Repository, String)> {
        let mirror = self.settings.mirrors.get(&repository.registry)?;
        let label = format!(" (at the mirror {mirror})");
        Some((Repository { registry: mirror.clone(), path: repository.path.clone() }, label))
    }

    async fn resolve_at(
        &self,
        place: &Place<'_>,
        reference: &Reference,
        wanted: Wanted<'_>,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let platform = wanted.platform();
        // Messages name what is written, and the mirror beside it.
        let name = format!("{reference}{}", place.mirror);
        let session = self.session(place.repository, credentials, Purpose::Read)?;
        let mut session = session.named(format!("{}{}", reference.repository, place.mirror));
        let absent = || Error::NotFound(name.clone());
        let no_platform =
            |present| Error::NoPlatform { reference: name.clone(), platform: platform.to_owned(), present };
        let head = session.head(reference.manifest()).await?.ok_or_else(absent)?;
        if let Some(digest) = head.image.filter(|digest| self.is_known(digest, platform)) {
            return session.expect(digest, reference.digest.as_ref());
        }
        let found = session.manifest(reference.manifest()).await?.ok_or_else(absent)?;
        let digest = session.expect(found.digest, reference.digest.as_ref())?;
        let config = match (found.manifest, wanted) {
            (Manifest::Image(parts), _) if parts.kind() != wanted.kind() => {
                return Err(if wanted == Wanted::Box { Error::IsNoBox(name) } else { Error::IsBox(name) });
            }
            (Manifest::Image(_), Wanted::Box) => return Ok(self.know(digest, platform)),
            (Manifest::Index(_), Wanted::Box) => return Err(Error::IsNoBox(name)),
            (Manifest::Image(parts), Wanted::Image(_)) => parts.config.digest,
            (Manifest::Index(children), Wanted::Image(_)) => {
                let child = manifest::of_platform(&children, platform);
                return child.ok_or_else(|| no_platform(manifest::platforms(&children)));
            }
        };
        match manifest::platform_of(&session.config(&config, LONGEST_MANIFEST).await?) {
            Some(present) if !manifest::fits(&present, platform) => Err(no_platform(present)),
            _ => Ok(self.know(digest, platform)),
        }
    }

    /// Whether an image is known to be one for a platform. What its digest stands for does not change, and the look
    /// that tells it is a pull in the eyes of Docker Hub, which counts them.
    fn is_known(&self, digest: &Digest, platform: &str) -> bool {
        self.known().contains(&(digest.clone(), platform.to_owned()))
    }

    fn know(&self, digest: Digest, platform: &str) -> Digest {
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert((digest.clone(), platform.to_owned()));
        digest
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<(Digest, String)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        let found = self.leads_to(repository, tags, credentials).await?;
        Ok(found.into_iter().filter(|(_, leads_to)| leads_to.as_ref() != Some(digest)).collect())
    }

    /// Where each of some tags leads; `None` where it is not there.
    ///
    /// # Errors
    /// The registry does not say.
    pub async fn leads_to<'t>(
        &self,
        repository: &Repository,
        tags: impl IntoIterator<Item = &'t Tag>,
        credentials: &Credentials,
    ) -> Result<BTreeMap<Tag, Option<Digest>>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let mut found = BTreeMap::new();
        for tag in tags {
            found.insert(tag.clone(), session.leads_to(tag).await?);
        }
        Ok(found)
    }

    /// The image or box of a manifest; `None` where there is none of that digest.
    ///
    /// # Errors
    /// The registry does not give it, it is an index, or it is a box of other than one file.
    pub async fn artifact(
        &self,
        repository: &Repository,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<Option<Artifact>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let Some(found) = session.manifest(&digest.to_string()).await? else { return Ok(None) };
        session.expect(found.digest, Some(digest))?;
        let Manifest::Image(parts) = found.manifest else {
            return Err(session.no_registry("gives an index where an image was pushed"));
        };
        let content = parts.content().ok_or_else(|| session.unsupported(NOT_ONE_FILE))?;
        Ok(Some(Artifact { kind: content.kind, content: content.digest.clone(), size: parts.size() }))
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

impl Wanted<'_> {
    const fn kind(self) -> ArtifactKind {
        match self {
            Self::Image(_) => ArtifactKind::Image,
            Self::Box => ArtifactKind::Box,
        }
    }

    /// The platform; empty for a box, whose manifest has none.
    const fn platform(&self) -> &str {
        match self {
            Self::Image(platform) => platform,
            Self::Box => "",
        }
    }
}

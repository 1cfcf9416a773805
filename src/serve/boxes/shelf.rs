//! The boxes of registries. Where tags lead is asked each time; what a digest stands for is asked once.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use http::StatusCode;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    catalog::{Tagged, newest},
    plan::image::{Digest, Repository, Tag},
    remote::registry::{BoxFile, Credentials, Error, Registry, Stored},
    serve::refusal::Refusal,
};

/// The most versions of a repository that are looked at: the newest ones.
const MOST_VERSIONS: usize = 1000;
/// So many requests to a registry run at once for one of ours.
const AT_ONCE: usize = 8;
/// So many of ours look at repositories at once.
const LOOKS: usize = 32;
/// How long such a look may take.
const LOOKED_WITHIN: Duration = Duration::from_mins(1);
/// The most manifests, and the most files, that are remembered.
const MOST_KNOWN: usize = 4096;

/// The boxes of registries.
pub(super) struct Shelf {
    pub registry: Registry,
    file_of_credentials: Option<PathBuf>,
    looks: Semaphore,
    known: Mutex<Known>,
}

/// What does not change: digests stand for it.
#[derive(Default)]
struct Known {
    stored: HashMap<Digest, Stored>,
    /// The files that a repository was seen to have under a version.
    files: HashMap<(Repository, Digest), BoxFile>,
}

impl Shelf {
    pub fn new(registry: Registry, credentials: Option<PathBuf>) -> Self {
        let (looks, known) = (Semaphore::new(LOOKS), Mutex::default());
        Self { registry, file_of_credentials: credentials, looks, known }
    }

    /// Who we are to registries, by the file as it is now: it is small, and in memory where it is of a Secret.
    pub fn credentials(&self) -> io::Result<Credentials> {
        let Some(path) = &self.file_of_credentials else { return Ok(Credentials::default()) };
        let wrong = |why: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {why}: correct the file of --registry-config", path.display()))
        };
        let text = fs::read(path).map_err(|why| wrong(&why))?;
        Credentials::parse(&text).map_err(|why| wrong(&why))
    }

    /// The boxes of a repository under tags that may be versions; `None` where there is no such repository.
    pub async fn boxes(&self, repository: &Repository) -> Result<Option<Vec<Tagged>>, Refusal> {
        let _look = self.looks.try_acquire().map_err(|_| Refusal::busy("requests"))?;
        let credentials = self.credentials_now()?;
        let looked = timeout(LOOKED_WITHIN, self.look(repository, &credentials)).await;
        Ok(looked.map_err(|_| {
            let sentence = format!("{repository}: the registry does not answer in time: try again later");
            Refusal::new(StatusCode::BAD_GATEWAY, sentence)
        })??)
    }

    /// Who we are, or that nobody can tell: the details are for whoever runs the service.
    pub fn credentials_now(&self) -> Result<Credentials, Refusal> {
        self.credentials().map_err(|error| {
            tracing::error!(%error, "no credentials");
            let sentence = "the credentials of the service cannot be read: its log says why";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence)
        })
    }

    /// A file that a repository has under a version; `None` where it has none of that digest.
    pub async fn file(&self, repository: &Repository, file: &Digest) -> Result<Option<BoxFile>, Refusal> {
        let key = (repository.clone(), file.clone());
        let known = self.known().files.get(&key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        self.boxes(repository).await?;
        Ok(self.known().files.get(&key).cloned())
    }

    async fn look(&self, repository: &Repository, credentials: &Credentials) -> Result<Option<Vec<Tagged>>, Error> {
        let Some(tags) = self.registry.tags(repository, credentials).await? else { return Ok(None) };
        let tags = newest(tags, MOST_VERSIONS);
        let led = self.digests(repository, &tags, credentials).await?;
        let looked = led.into_iter().map(|(tag, digest)| self.tagged(repository, tag, digest, credentials));
        let found: Vec<Option<Tagged>> = stream::iter(looked).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Some(found.into_iter().flatten().collect()))
    }

    /// Where tags lead, each part of them asked for by itself: there may be hundreds.
    async fn digests(
        &self,
        repository: &Repository,
        tags: &[Tag],
        credentials: &Credentials,
    ) -> Result<Vec<(Tag, Digest)>, Error> {
        let part = tags.len().div_ceil(AT_ONCE).max(1);
        let asked = tags.chunks(part).map(|part| self.registry.leads_to(repository, part, credentials));
        let found: Vec<BTreeMap<Tag, Option<Digest>>> = try_join_all(asked).await?;
        // A tag that is gone by now is no version any more.
        Ok(found.into_iter().flatten().filter_map(|(tag, digest)| Some((tag, digest?))).collect())
    }

    async fn tagged(
        &self,
        repository: &Repository,
        tag: Tag,
        digest: Digest,
        credentials: &Credentials,
    ) -> Result<Option<Tagged>, Error> {
        let known = self.known().stored.get(&digest).cloned();
        let stored = match known {
            Some(known) => known,
            None => match self.registry.stored(repository, &digest, credentials).await? {
                Some(stored) => self.know(digest, stored),
                None => return Ok(None),
            },
        };
        let Stored::Box(found) = stored else { return Ok(None) };
        let tagged = Tagged { tag, config: found.config.clone(), file: found.file.clone() };
        let key = (repository.clone(), found.file.clone());
        remember(&mut self.known().files, key, found);
        Ok(Some(tagged))
    }

    fn know(&self, digest: Digest, stored: Stored) -> Stored {
        remember(&mut self.known().stored, digest, stored.clone());
        stored
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is forgotten is asked again.
fn remember<K: Eq + std::hash::Hash, V>(known: &mut HashMap<K, V>, key: K, value: V) {
    if known.len() >= MOST_KNOWN && !known.contains_key(&key) {
        known.clear();
    }
    known.insert(key, value);
}

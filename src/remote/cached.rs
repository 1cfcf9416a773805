//! Files of other servers by way of the cache of the node, where there is one. Whatever is wrong with that, a file is
//! fetched from its server then.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    file::{Error, Files},
    file_cache::{Absence, FileCache, Found, Trouble, late},
};
use crate::plan::image::Digest;

/// How often it is looked whether another build has fetched a file.
const PAUSE: Duration = Duration::from_secs(2);
/// How long other builds are waited for, over all files. Their servers may be as slow as ours.
const MOST_WAITING: Duration = Duration::from_mins(10);

/// A client of servers that have files, and of the cache of the node.
#[derive(Debug)]
pub struct Cached {
    files: Files,
    /// `None` once it is of no use.
    cache: Option<FileCache>,
    /// How long it may take, over all files.
    patience: Duration,
    /// How long other builds may be waited for, over all files.
    waiting: Duration,
    pause: Duration,
}

/// What is told of a file while it is fetched.
#[derive(Clone, Copy, Debug)]
pub enum Told<'t> {
    /// So many bytes have come, and of how many, where that is known.
    Progress(u64, Option<u64>),
    /// A sentence for whoever reads the log.
    Sentence(&'t str),
}

/// Is told what happens.
pub type Tell<'t> = &'t (dyn Fn(Told<'_>) + Sync);

/// Where a file has come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the cache of the node.
    Cache,
    /// From its server.
    Server,
}

/// What came of the cache.
enum Asked {
    /// The file, with so many bytes.
    File(u64),
    /// Nothing. The cache is to be brought the file where it has said so.
    Nothing(Option<Absence>),
}

impl Cached {
    /// By the cache at this URL, if there is one. `patience` is how long it may take, over all files.
    ///
    /// # Errors
    /// The system has no certificates to trust.
    pub fn new(files: Files, cache: Option<&str>, patience: Duration) -> Result<Self, Error> {
        let cache = cache.map(FileCache::new).transpose()?;
        Ok(Self { files, cache, patience, waiting: MOST_WAITING, pause: PAUSE })
    }

    /// The same, which looks this often whether another build has fetched a file.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Brings a file to a path, and gives its size in bytes. There is none at the path unless it is the one that is wanted.
    ///
    /// # Errors
    /// Its server does not give it: see [`Files::fetch`].
    pub async fn fetch(
        &mut self,
        url: &str,
        sha256: &Digest,
        path: &Path,
        tell: Tell<'_>,
    ) -> Result<(u64, Origin), Error> {
        let absence = match self.ask(sha256, path, tell).await {
            Asked::File(size) => return Ok((size, Origin::Cache)),
            Asked::Nothing(absence) => absence,
        };
        let size = self.files.fetch(url, sha256, path, &|done, all| tell(Told::Progress(done, all))).await?;
        if let Some(absence) = absence {
            self.bring(absence, sha256, (path, size), tell).await;
        }
        Ok((size, Origin::Server))
    }

    async fn ask(&mut self, sha256: &Digest, path: &Path, tell: Tell<'_>) -> Asked {
        let mut waits = false;
        while let Some(cache) = self.cache.clone() {
            let progress = |done, all| tell(Told::Progress(done, all));
            match self.within(cache.take(sha256, path, &progress)).await {
                Ok(Found::File(size)) => return Asked::File(size),
                Ok(Found::Nothing(absence)) => return Asked::Nothing(Some(absence)),
                Ok(Found::Elsewhere) if self.waiting.is_zero() => {
                    tell(Told::Sentence("another build is still fetching it; fetched from the server"));
                    break;
                }
                Ok(Found::Elsewhere) => {
                    if !waits {
                        tell(Told::Sentence("another build on the node is fetching it: waiting for that"));
                    }
                    waits = true;
                    self.wait().await;
                }
                Err(trouble) => {
                    tell(Told::Sentence(&format!("{trouble}; fetched from the server")));
                    self.judge(&trouble);
                    return Asked::Nothing(matches!(trouble, Trouble::Damaged(_)).then(Absence::default));
                }
            }
        }
        Asked::Nothing(None)
    }

    async fn bring(&mut self, absence: Absence, sha256: &Digest, (path, size): (&Path, u64), tell: Tell<'_>) {
        let Some(cache) = self.cache.clone() else { return };
        if absence.largest.is_some_and(|largest| size > largest) {
            return tell(Told::Sentence("it is larger than what the cache of the node keeps"));
        }
        if let Err(trouble) = self.within(cache.give(sha256, path)).await {
            tell(Told::Sentence(&format!("{trouble}: it does not keep the file")));
            self.judge(&trouble);
        }
    }

    /// Works with the cache for as long as there is patience.
    async fn within<T>(&mut self, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let began = Instant::now();
        let done = timeout(self.patience, work).await;
        self.patience = self.patience.saturating_sub(began.elapsed());
        done.unwrap_or_else(|_| Err(late()))
    }

    #[expect(clippy::disallowed_methods, reason = "a stage may wait: files are fetched in no reconcile")]
    async fn wait(&mut self) {
        sleep(self.pause).await;
        self.waiting = self.waiting.saturating_sub(self.pause);
        self.patience = self.patience.saturating_sub(self.pause);
    }

    /// What does not answer is not asked again.
    fn judge(&mut self, trouble: &Trouble) {
        if trouble.is_lasting() {
            self.cache = None;
        }
    }
}

//! Look-ups and promotions: the questions of chains to git servers and registries, and their answers.
//!
//! Each runs as a task of its own, so bounded in number. Whoever asked waits a moment for it, and is told by
//! its queue when it took longer.

mod asked;
mod secrets;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

pub use asked::{About, Asked, Result as Answered};
pub use secrets::Reader;

use crate::{
    api::condition::Reason,
    plan::{
        chain::Promotion,
        failure::Failure,
        image::{Digest, Reference, Repository, Tag},
        lookup::{Found, Subject},
        recipe::Destination,
        resolve::of_reference,
        valid::ValidProfile,
    },
    remote::{
        git,
        registry::{self, Registry, Settings},
    },
};

/// So many look-ups and promotions run at once.
const AT_ONCE: usize = 16;

/// What does them.
pub struct Lookups {
    /// Reads Secrets.
    pub reader: Reader,
    git: git::Settings,
    /// A client for each profile, with the settings that it was made with.
    registries: Mutex<HashMap<String, (String, Registry)>>,
    places: Semaphore,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lookups").finish_non_exhaustive()
    }
}

type Found2<T> = Result<T, (Failure, Option<String>)>;

impl Lookups {
    /// What reads with that reader, and works in that folder.
    #[must_use]
    pub fn new(reader: Reader, scratch: PathBuf) -> Self {
        let git = git::Settings::new(scratch);
        Self { reader, git, registries: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// Finds out about a subject, in the name of a namespace. `profile` is the subject's, where it names one.
    pub async fn find(&self, namespace: &str, subject: &Subject, profile: Option<&ValidProfile>) -> Answered {
        let Ok(_place) = self.places.acquire().await else { return flat(Err(at_once(gone()))) };
        flat(match subject {
            Subject::Git { url, revision, secret, paths } => {
                self.commit(namespace, url, revision, secret.as_deref(), paths.clone()).await
            }
            Subject::Image { reference, platform, profile: name, secret } => {
                self.digest(namespace, (reference, platform), (name, profile), secret.as_deref()).await
            }
            Subject::Artifact { reference, profile: name } => self.presence(reference, (name, profile)).await,
        })
    }

    async fn commit(
        &self,
        namespace: &str,
        url: &str,
        revision: &str,
        secret: Option<&str>,
        paths: std::collections::BTreeSet<String>,
    ) -> Found2<(Found, Option<String>)> {
        let (credentials, version) = self.reader.git(namespace, secret, url).await?;
        let query = git::Query::new(url, revision, paths, credentials);
        let query = query.map_err(|message| at_once(Failure::new(Reason::SpecInvalid, message)))?;
        match git::look_up(&query, &self.git).await {
            Ok(git::Found { commit, objects }) => {
                let objects = objects.into_iter().filter_map(|(path, id)| Some((path, id?))).collect();
                Ok((Found::Commit { commit, objects }, version))
            }
            Err(error) => Err((naming(secret, Failure::new(error.reason(), error.to_string())), version)),
        }
    }

    async fn digest(
        &self,
        namespace: &str,
        (reference, platform): (&str, &str),
        profile: (&str, Option<&ValidProfile>),
        secret: Option<&str>,
    ) -> Found2<(Found, Option<String>)> {
        let registry = self.registry(profile).await?;
        let (credentials, version) = self.reader.registry(namespace, secret).await?;
        let reference: Reference = parsed(reference)?;
        match registry.resolve(&reference, platform, &credentials).await {
            Ok(digest) => Ok((Found::Digest(digest.to_string()), version)),
            Err(error) => Err((naming(secret, told(&error)), version)),
        }
    }

    async fn presence(
        &self,
        reference: &str,
        profile: (&str, Option<&ValidProfile>),
    ) -> Found2<(Found, Option<String>)> {
        let registry = self.registry(profile).await?;
        let (credentials, version) = self.staging(profile.1).await?;
        let reference: Reference = parsed(reference)?;
        let Some(digest) = &reference.digest else { return Ok((Found::Presence(false), None)) };
        match registry.exists(&reference.repository, digest, &credentials).await {
            Ok(there) => Ok((Found::Presence(there), version)),
            Err(error) => Err((told(&error), version)),
        }
    }

    /// Moves tags to a verified image. The answer is whether that was there.
    pub async fn promote(&self, namespace: &str, wanted: &Promotion, profile: Option<&ValidProfile>) -> Answered {
        let Ok(_place) = self.places.acquire().await else { return flat(Err(at_once(gone()))) };
        flat(self.move_tags(namespace, wanted, profile).await)
    }

    async fn move_tags(
        &self,
        namespace: &str,
        wanted: &Promotion,
        profile: Option<&ValidProfile>,
    ) -> Found2<(Found, Option<String>)> {
        let Destination::Tags(tags) = &wanted.destination;
        let registry = self.registry((&wanted.profile, profile)).await?;
        let (target_credentials, version) = self.reader.registry(namespace, tags.secret.as_deref()).await?;
        let staged = profile.is_some_and(|profile| profile.staging.is_some());
        // Without staging, what was pushed is where it is published.
        let source = if staged { self.staging(profile).await?.0 } else { target_credentials.clone() };
        let from: Reference = parsed(&wanted.staged)?;
        let promotion = registry::Promotion {
            source: &from.repository,
            digest: &parsed::<Digest>(of_reference(&wanted.staged))?,
            image: &parsed::<Digest>(&wanted.content)?,
            target: &tags.repository,
            tags: &tags.tags,
            source_credentials: &source,
            target_credentials: &target_credentials,
        };
        match registry.promote(&promotion).await {
            Ok(_) => Ok((Found::Presence(true), version)),
            Err(registry::Error::Gone { .. }) => Ok((Found::Presence(false), version)),
            // The credentials for reading are another Secret's.
            Err(error) if error.reason() == Reason::PushDenied => {
                Err((naming(tags.secret.as_deref(), told(&error)), version))
            }
            Err(error) => Err((told(&error), version)),
        }
    }

    /// Deletes a tag of the profile's staging repository. What cannot be deleted is logged and stays.
    pub async fn delete_staged(&self, name: &str, profile: &ValidProfile, repository: &Repository, tag: &str) {
        let deleted = async {
            let registry = self.registry((name, Some(profile))).await?;
            let (credentials, _) = self.staging(Some(profile)).await?;
            let tag: Tag = parsed(tag)?;
            registry.delete_tag(repository, &tag, &credentials).await.map_err(|error| at_once(told(&error)))
        };
        match deleted.await {
            Ok(done) => tracing::debug!(%repository, tag, ?done, "a staging tag"),
            Err((Failure { message, .. }, _)) => tracing::info!(%repository, tag, message, "a staging tag stays"),
        }
    }

    async fn staging(&self, profile: Option<&ValidProfile>) -> Found2<(registry::Credentials, Option<String>)> {
        let Some(profile) = profile else { return Ok((registry::Credentials::default(), None)) };
        let secret = profile.staging.as_ref().and_then(|staging| staging.secret.as_deref());
        let read = self.reader.registry(&profile.execution_namespace, secret).await;
        // The version is that of a Secret which no watch shows: a chain that fails for it is looked at again by time.
        read.map(|(credentials, _)| (credentials, None)).map_err(|(trouble, _)| (trouble, None))
    }

    /// The client with the settings of a profile.
    async fn registry(&self, (name, profile): (&str, Option<&ValidProfile>)) -> Found2<Registry> {
        let missing = || at_once(Failure::new(Reason::ProfileNotFound, format!("there is no BuildProfile «{name}»")));
        let profile = profile.ok_or_else(missing)?;
        let certificates = match &profile.certificate_authority {
            Some(map) => Some(self.reader.authority(&profile.execution_namespace, map).await.map_err(at_once)?),
            None => None,
        };
        let (mirrors, insecure) = (profile.mirrors.clone(), profile.insecure.clone());
        let settings = Settings { mirrors, insecure, certificates, ..Settings::default() };
        let fingerprint = format!("{settings:?}");
        if let Some((_, known)) = self.registries().get(name).filter(|(of, _)| *of == fingerprint) {
            return Ok(known.clone());
        }
        let made = Registry::new(settings).map_err(|error| at_once(told(&error)))?;
        self.registries().insert(name.to_owned(), (fingerprint, made.clone()));
        Ok(made)
    }

    fn registries(&self) -> MutexGuard<'_, HashMap<String, (String, Registry)>> {
        self.registries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flat(found: Found2<(Found, Option<String>)>) -> Answered {
    match found {
        Ok((found, version)) => (Ok(found), version),
        Err((trouble, version)) => (Err(trouble), version),
    }
}

/// Failure before any Secret was used.
fn at_once(trouble: Failure) -> (Failure, Option<String>) {
    (trouble, None)
}

fn gone() -> Failure {
    Failure::new(Reason::RegistryUnavailable, "the process ends")
}

fn told(error: &registry::Error) -> Failure {
    Failure::new(error.reason(), error.to_string())
}

/// The sentence with the name of the Secret whose credentials were shown: whoever reads it has to correct that one.
fn naming(secret: Option<&str>, failure: Failure) -> Failure {
    let Some(name) = secret else { return failure };
    let message = failure.message.replacen("of the Secret", &format!("of the Secret «{name}»"), 1);
    Failure { message, ..failure }
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Found2<T> {
    text.parse().map_err(|error: T::Err| at_once(Failure::new(Reason::SpecInvalid, format!("«{text}»: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_to_correct_a_secret_is_told_which_one() {
        let refused = "it refuses the credentials: correct those of the Secret, or what they may do";
        let named = |secret, message: &str| naming(secret, Failure::new(Reason::AccessDenied, message)).message;
        assert_eq!(named(None, refused), refused);
        assert_eq!(
            named(Some("git"), refused),
            "it refuses the credentials: correct those of the Secret «git», or what they may do"
        );
        assert_eq!(named(Some("git"), "it does not answer"), "it does not answer");
    }
}

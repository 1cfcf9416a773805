//! Look-ups and promotions: the questions of chains to git servers and registries, and their answers.
//!
//! Each runs as a task of its own, so bounded in number. Whoever asked waits a moment for it, and is told by
//! its queue when it took longer.

mod cache;
mod clients;
mod gitea;
mod secrets;
mod used;

use std::{collections::BTreeSet, fmt, path::PathBuf};

use tokio::sync::Semaphore;

pub use cache::{LookupCache, Scope};
use clients::Clients;
use secrets::Access;
pub use secrets::Reader;
pub use used::{Answered, Used};

use crate::{
    api::{boxes::ArtifactKind, condition::Reason},
    plan::{
        chain::Promotion,
        failure::Failure,
        image::{Digest, Reference, Repository, Tag},
        lookup::{Found, Stray, Subject},
        recipe::{Destination, RegistryTags},
        resolve::of_reference,
        valid::{ValidNetwork, ValidProfile},
    },
    remote::{
        git,
        gitea::Gitea,
        network::Network,
        registry::{self, Registry, Settings, Tested, Wanted},
    },
};

/// So many look-ups and promotions run at once.
const AT_ONCE: usize = 16;
/// So many repositories are asked at once where their tags lead: nobody waits for that, and it is asked for every chain
/// in each of its intervals.
const CHECKS_AT_ONCE: usize = 4;

/// What does them.
pub struct Lookups {
    /// Reads Secrets.
    pub reader: Reader,
    git: git::Settings,
    /// How the operator itself reaches servers: what profiles say goes before it.
    network: Network,
    registries: Clients<Registry>,
    servers_of_packages: Clients<Gitea>,
    places: Semaphore,
    checks: Semaphore,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Lookups {
    /// What reads with that reader, works in that folder and reaches servers in that way, if their profile says nothing
    /// else.
    #[must_use]
    pub fn new(reader: Reader, scratch: PathBuf, network: Network) -> Self {
        let git = git::Settings::new(scratch, Network::default());
        let (places, checks) = (Semaphore::new(AT_ONCE), Semaphore::new(CHECKS_AT_ONCE));
        let (registries, servers_of_packages) = (Clients::default(), Clients::default());
        Self { reader, git, network, registries, servers_of_packages, places, checks }
    }

    /// Finds out about a subject, in the name of a namespace. `profile` is the subject's, where it names one.
    pub async fn find(&self, namespace: &str, subject: &Subject, profile: Option<&ValidProfile>) -> Answered {
        let places = if subject.is_check() { &self.checks } else { &self.places };
        let Ok(_place) = places.acquire().await else { return Used::without_secret(Err(gone())) };
        match subject {
            Subject::Git { url, revision, secret, paths, .. } => {
                answered(self.commit(namespace, (url, revision), profile, secret.as_deref(), paths.clone()).await)
            }
            Subject::Image { kind, reference, platform, profile: name, secret } => {
                let wanted = match kind {
                    ArtifactKind::Image => Wanted::Image(platform),
                    ArtifactKind::Box => Wanted::Box,
                };
                answered(self.digest(namespace, (reference, wanted), (name, profile), secret.as_deref()).await)
            }
            Subject::Artifact { reference, profile: name } => {
                Used::without_secret(self.presence(reference, (name, profile)).await)
            }
            Subject::Published { destination: Destination::Tags(tags), shown, profile: name, .. } => {
                answered(self.strays(namespace, (tags, shown), (name, profile)).await)
            }
            Subject::Published { destination: Destination::Package(package), shown, .. } => {
                answered(self.check_package(namespace, (package, shown), profile).await)
            }
        }
    }

    async fn commit(
        &self,
        namespace: &str,
        (url, revision): (&str, &str),
        profile: Option<&ValidProfile>,
        secret: Option<&str>,
        paths: BTreeSet<String>,
    ) -> Result<Answered, Used<Failure>> {
        let settings = git::Settings { network: self.network(profile).await?, ..self.git.clone() };
        let Used { outcome: held, secret_version } = self.reader.git(namespace, secret, url).await?;
        let query = git::Query::new(url, revision, paths, held.credentials);
        let query = query.map_err(|wrong| Failure::new(Reason::SpecInvalid, format!("source.git {wrong}")))?;
        let query = query.with_tls(held.tls).with_secret_name(secret);
        let outcome = match git::look_up(&query, &settings).await {
            Ok(git::Found { commit, objects, obstacles }) => {
                let objects = objects.into_iter().filter_map(|(path, id)| Some((path, id?))).collect();
                Ok(Found::Commit { commit, objects, obstacles })
            }
            Err(error) => Err(Failure::new(error.reason(), error.to_string())),
        };
        Ok(Used { outcome, secret_version })
    }

    async fn digest(
        &self,
        namespace: &str,
        (reference, wanted): (&str, Wanted<'_>),
        profile: (&str, Option<&ValidProfile>),
        secret: Option<&str>,
    ) -> Result<Answered, Used<Failure>> {
        let reference: Reference = parsed(reference)?;
        let host = &reference.repository.registry;
        let Used { outcome: access, secret_version } = self.reader.registry(namespace, secret, host).await?;
        let registry = self.registry(profile, &[&access]).await?;
        let credentials = access.credentials.with_secret_name(secret);
        let digest = registry.resolve(&reference, wanted, &credentials).await;
        let outcome = digest.map(|digest| Found::Digest(digest.to_string())).map_err(|error| failure(&error));
        Ok(Used { outcome, secret_version })
    }

    async fn presence(&self, reference: &str, profile: (&str, Option<&ValidProfile>)) -> Result<Found, Failure> {
        let access = self.staging(profile.1).await?;
        let registry = self.registry(profile, &[&access]).await?;
        let reference: Reference = parsed(reference)?;
        let Some(digest) = &reference.digest else { return Ok(Found::Presence(false)) };
        let there = registry.exists(&reference.repository, digest, &access.credentials).await;
        there.map(Found::Presence).map_err(|error| failure(&error))
    }

    async fn strays(
        &self,
        namespace: &str,
        (published, digest): (&RegistryTags<Tag>, &str),
        profile: (&str, Option<&ValidProfile>),
    ) -> Result<Answered, Used<Failure>> {
        let (RegistryTags { repository, tags, secret, .. }, digest) = (published, parsed::<Digest>(digest)?);
        let secret = secret.as_deref();
        let Used { outcome: access, secret_version } =
            self.reader.registry(namespace, secret, &repository.registry).await?;
        let registry = self.registry(profile, &[&access]).await?;
        let credentials = access.credentials.with_secret_name(secret);
        let strays = registry.strays(repository, tags, &digest, &credentials).await;
        let stray = |(tag, leads_to): (Tag, Option<Digest>)| Stray {
            tag: tag.to_string(),
            leads_to: leads_to.map(|digest| digest.to_string()),
        };
        let found = strays.map(|strays| Found::Strays(strays.into_iter().map(stray).collect()));
        Ok(Used { outcome: found.map_err(|error| failure(&error)), secret_version })
    }

    /// Publishes what was verified. The answer is whether that was there.
    pub async fn promote(&self, namespace: &str, wanted: &Promotion, profile: Option<&ValidProfile>) -> Answered {
        let Ok(_place) = self.places.acquire().await else { return Used::without_secret(Err(gone())) };
        answered(match &wanted.destination {
            Destination::Tags(tags) => self.move_tags(namespace, (wanted, tags), profile).await,
            Destination::Package(package) => self.upload(namespace, (wanted, package), profile).await,
        })
    }

    async fn move_tags(
        &self,
        namespace: &str,
        (wanted, tags): (&Promotion, &RegistryTags<Tag>),
        profile: Option<&ValidProfile>,
    ) -> Result<Answered, Used<Failure>> {
        let (secret, host) = (tags.secret.as_deref(), &tags.repository.registry);
        let Used { outcome: target, secret_version } = self.reader.registry(namespace, secret, host).await?;
        let staged = profile.is_some_and(|profile| profile.staging.is_some());
        // Without staging, what was pushed is where it is published. A read that is refused names no Secret: as a rule
        // its credentials are those of the profile, and not the ones that the promotion names.
        let source = if staged { self.staging(profile).await? } else { target.clone() };
        let registry = self.registry((&wanted.profile, profile), &[&source, &target]).await?;
        let from: Reference = parsed(&wanted.staged)?;
        let target_credentials = target.credentials.with_secret_name(secret);
        let tested = Tested {
            repository: &from.repository,
            digest: &parsed::<Digest>(of_reference(&wanted.staged))?,
            kind: wanted.kind,
            content: &parsed::<Digest>(&wanted.content)?,
            credentials: &source.credentials,
        };
        let (target, tags, target_credentials) = (&tags.repository, &tags.tags, &target_credentials);
        let staged = registry::Promotion { tested, target, tags, target_credentials };
        let outcome = match registry.promote(&staged).await {
            // What was published once is there under its digest still, whatever became of the staging repository.
            Err(registry::Error::Gone { .. }) if from.repository != *target => {
                let published = Tested { repository: target, credentials: target_credentials, ..tested };
                registry.promote(&registry::Promotion { tested: published, ..staged }).await
            }
            outcome => outcome,
        };
        let outcome = match outcome {
            Ok(_) => Ok(Found::Presence(true)),
            Err(registry::Error::Gone { .. }) => Ok(Found::Presence(false)),
            Err(error) => Err(failure(&error)),
        };
        Ok(Used { outcome, secret_version })
    }

    /// Deletes a tag of the profile's staging repository. What cannot be deleted is logged and stays.
    pub async fn delete_staged(&self, name: &str, profile: &ValidProfile, repository: &Repository, tag: &str) {
        let deleted = async {
            let access = self.staging(Some(profile)).await?;
            let registry = self.registry((name, Some(profile)), &[&access]).await?;
            let tag: Tag = parsed(tag)?;
            registry.delete_tag(repository, &tag, &access.credentials).await.map_err(|error| failure(&error))
        };
        match deleted.await {
            Ok(done) => tracing::debug!(%repository, tag, ?done, "a staging tag"),
            Err(Failure { message, .. }) => tracing::info!(%repository, tag, message, "a staging tag stays"),
        }
    }

    /// The credentials of a profile's staging repository. Errors do not name their Secret, which is no tenant's. Nor is
    /// its version told: no watch shows that Secret, and a chain that fails for it is looked at again by time.
    async fn staging(&self, profile: Option<&ValidProfile>) -> Result<Access, Failure> {
        let Some((profile, staging)) = profile.and_then(|profile| Some((profile, profile.staging.as_ref()?))) else {
            return Ok(Access::default());
        };
        let (secret, host) = (staging.secret.as_deref(), &staging.repository.registry);
        let read = self.reader.registry(&profile.execution_namespace, secret, host).await;
        read.map(|access| access.outcome).map_err(|failed| failed.outcome)
    }

    /// How servers are reached with a profile.
    async fn network(&self, profile: Option<&ValidProfile>) -> Result<Network, Failure> {
        let Some(profile) = profile else { return Ok(self.network.clone()) };
        let ValidNetwork { certificate_authority, proxy } = &profile.network;
        let authority = self.authority(profile, certificate_authority.as_deref()).await?;
        let proxy = proxy.as_ref().unwrap_or(&self.network.proxy).clone();
        Ok(Network { proxy, ..self.network.trusting(authority.as_deref()) })
    }

    async fn authority(&self, profile: &ValidProfile, map: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(map) = map else { return Ok(None) };
        self.reader.authority(&profile.execution_namespace, map).await.map(Some)
    }

    /// The client with the settings of a profile, and what Secrets add to them.
    async fn registry(
        &self,
        (name, profile): (&str, Option<&ValidProfile>),
        secrets: &[&Access],
    ) -> Result<Registry, Failure> {
        let missing = || Failure::new(Reason::ProfileNotFound, format!("there is no BuildProfile «{name}»"));
        let profile = profile.ok_or_else(missing)?;
        let of_registries = self.authority(profile, profile.certificate_authority.as_deref()).await?;
        let authorities = secrets.iter().map(|secret| secret.authority.as_deref()).chain([of_registries.as_deref()]);
        let network = authorities.fold(self.network(Some(profile)).await?, |network, more| network.trusting(more));
        let (mirrors, insecure) = (profile.mirrors.clone(), profile.insecure.clone());
        let settings = Settings { mirrors, insecure, network, ..Settings::default() };
        let made = self.registries.get(&format!("{settings:?}"), || Registry::new(settings));
        made.map_err(|error| failure(&error))
    }
}

/// An early end is an answer, too.
fn answered(ended: Result<Answered, Used<Failure>>) -> Answered {
    ended.unwrap_or_else(|failed| failed.map(Err))
}

fn gone() -> Failure {
    Failure::new(Reason::RegistryUnavailable, "the process ends")
}

fn failure(error: &registry::Error) -> Failure {
    Failure::new(error.reason(), error.to_string())
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: T::Err| Failure::new(Reason::SpecInvalid, format!("«{text}»: {error}")))
}

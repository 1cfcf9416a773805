//! What look-ups need of Secrets: read by name right before, never kept.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};

use super::used::Used;
use crate::{
    api::condition::Reason,
    plan::{
        access,
        credentials::{AUTHORITY, SecretError, Values, git::GitSecret, gitea::GiteaSecret, registry::RegistrySecret},
        failure::Failure,
        object::ObjectKind,
    },
    remote::registry::Credentials,
};

/// Reads objects by name.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    /// The name of the operator, as the API server knows it.
    user: String,
}

/// Who we are to registries, and by what they are trusted besides all else.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates of authorities, as PEM.
    pub authority: Option<String>,
}

/// A Secret's values and version.
pub struct Read {
    /// The version.
    pub version: Option<String>,
    values: Values,
    place: String,
}

impl Reader {
    /// With the rights of the client; `user` is who that is.
    #[must_use]
    pub const fn new(client: Client, user: String) -> Self {
        Self { client, user }
    }

    /// The user name of the operator.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A Secret.
    ///
    /// # Errors
    /// It is not there, or may not be read; or the API server does not answer.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Read, Failure> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found =
            secrets.get_opt(name).await.map_err(|error| self.trouble(&error, namespace, ObjectKind::Secret, name))?;
        let missing =
            || Failure::new(Reason::SecretNotFound, format!("there is no Secret «{name}» in {namespace}: make it"));
        let secret = found.ok_or_else(missing)?;
        let place = format!("the Secret «{name}» of {namespace}");
        Ok(Read { version: secret.resource_version(), values: secret.data.unwrap_or_default(), place })
    }

    /// The certificates in a `ConfigMap`.
    ///
    /// # Errors
    /// They are not there, or may not be read; or the API server does not answer.
    pub async fn authority(&self, namespace: &str, name: &str) -> Result<String, Failure> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found =
            maps.get_opt(name).await.map_err(|error| self.trouble(&error, namespace, ObjectKind::ConfigMap, name))?;
        let missing = || {
            Failure::new(Reason::ConfigMapNotFound, format!("there is no ConfigMap «{name}» in {namespace}: make it"))
        };
        let certificates = found.ok_or_else(missing)?.data.and_then(|mut data| data.remove(AUTHORITY));
        let missing = || {
            Failure::new(Reason::KeyNotFound, format!("the ConfigMap «{name}» of {namespace} has no key «{AUTHORITY}»"))
        };
        certificates.ok_or_else(missing)
    }

    /// What an error of the API server means for whoever wanted to read.
    #[must_use]
    pub fn trouble(&self, error: &kube::Error, namespace: &str, kind: ObjectKind, name: &str) -> Failure {
        let resource = kind.resource();
        match error {
            kube::Error::Api(status) if status.is_forbidden() => access::forbidden(&self.user, namespace, kind, name),
            error => Failure::new(
                Reason::SourceUnavailable,
                format!("{resource}/{name} of {namespace} cannot be read: {error}"),
            ),
        }
    }

    /// The credentials in a Secret for a registry, and its version; those of nobody without one.
    ///
    /// # Errors
    /// The Secret cannot be read, or holds none.
    pub async fn registry(
        &self,
        namespace: &str,
        name: Option<&str>,
        registry: &str,
    ) -> Result<Used<Access>, Used<Failure>> {
        let Some(name) = name else { return Ok(Used::without_secret(Access::default())) };
        let read = self.secret(namespace, name).await?;
        let secret = RegistrySecret::read(registry, &read.values).map_err(|error| read.failure(&error));
        read.used(secret.map(|RegistrySecret { config, authority }| Access { credentials: config.into(), authority }))
    }

    /// What a Secret holds for the package registry of Gitea, and its version.
    ///
    /// # Errors
    /// The Secret cannot be read, or holds no credentials.
    pub async fn gitea(&self, namespace: &str, name: &str) -> Result<Used<GiteaSecret>, Used<Failure>> {
        let read = self.secret(namespace, name).await?;
        read.used(GiteaSecret::read(&read.values).map_err(|error| read.failure(&error)))
    }

    /// What a Secret holds for git, and its version.
    ///
    /// # Errors
    /// The Secret cannot be read, or holds none.
    pub async fn git(&self, namespace: &str, name: Option<&str>, url: &str) -> Result<Used<GitSecret>, Used<Failure>> {
        let Some(name) = name else { return Ok(Used::without_secret(GitSecret::default())) };
        let read = self.secret(namespace, name).await?;
        read.used(GitSecret::read(url, &read.values).map_err(|error| read.failure(&error)))
    }
}

impl Read {
    /// What came of reading something of it, with its version.
    fn used<T>(&self, outcome: Result<T, Failure>) -> Result<Used<T>, Used<Failure>> {
        let secret_version = self.version.clone();
        match outcome {
            Ok(outcome) => Ok(Used { outcome, secret_version }),
            Err(outcome) => Err(Used { outcome, secret_version }),
        }
    }

    fn failure(&self, error: &SecretError) -> Failure {
        Failure::new(error.reason(), format!("{} {error}", self.place))
    }
}

//! What look-ups need of Secrets: read by name right before, never kept.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, ResourceExt};

use super::used::Used;
use crate::{
    api::condition::Reason,
    plan::{access, failure::Failure, object::ObjectKind},
    remote::{git, registry},
};

/// Reads objects by name.
#[derive(Clone)]
pub struct Reader {
    client: Client,
    /// The name of the operator, as the API server knows it.
    user: String,
}

/// A Secret's values and version.
pub struct Read {
    /// The version.
    pub version: Option<String>,
    values: BTreeMap<String, ByteString>,
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
        let certificates = found.ok_or_else(missing)?.data.and_then(|mut data| data.remove("ca.crt"));
        let missing =
            || Failure::new(Reason::KeyNotFound, format!("the ConfigMap «{name}» of {namespace} has no key «ca.crt»"));
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

    /// The credentials for registries in a Secret, and its version; those of nobody without one.
    ///
    /// # Errors
    /// The Secret cannot be read, or holds none.
    pub async fn registry(
        &self,
        namespace: &str,
        name: Option<&str>,
    ) -> Result<Used<registry::Credentials>, Used<Failure>> {
        let Some(name) = name else { return Ok(Used::without_secret(registry::Credentials::default())) };
        let read = self.secret(namespace, name).await?;
        read.used(read.registry())
    }

    /// The credentials for git in a Secret, and its version.
    ///
    /// # Errors
    /// The Secret cannot be read, or holds none.
    pub async fn git(
        &self,
        namespace: &str,
        name: Option<&str>,
        url: &str,
    ) -> Result<Used<Option<git::Credentials>>, Used<Failure>> {
        let Some(name) = name else { return Ok(Used::without_secret(None)) };
        let read = self.secret(namespace, name).await?;
        let missing = |key| Failure::new(Reason::KeyNotFound, format!("{} has no key «{key}»: add it", read.place));
        read.used(git::Credentials::of_secret(url, |key| read.text(key)).map(Some).map_err(missing))
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

    fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok())
    }

    fn registry(&self) -> Result<registry::Credentials, Failure> {
        const KEY: &str = ".dockerconfigjson";
        let missing =
            || Failure::new(Reason::KeyNotFound, format!("{} has no key «{KEY}»: make it of that type", self.place));
        let value = self.values.get(KEY).ok_or_else(missing)?;
        registry::Credentials::parse(&value.0)
            .map_err(|error| Failure::new(error.reason(), format!("{}: {error}", self.place)))
    }
}

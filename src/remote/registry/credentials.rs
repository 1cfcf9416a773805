//! Who we are to registries, with the Secret that says so.

use crate::{
    plan::{
        credentials::{
            ConfigError, Login,
            registry::{DockerConfig, Holding},
        },
        image::Repository,
    },
    remote::{registry::error::Identity, secret::SecretName},
};

/// Credentials by registry, or by a part of one; by default nobody's.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    config: Option<DockerConfig>,
    secret: SecretName,
}

/// Who we are to one repository.
pub(super) struct Identified<'c> {
    pub(super) login: Option<&'c Login>,
    /// Who we were, if that is refused.
    pub(super) identity: Identity,
}

impl Credentials {
    /// Reads `config.json` of Docker.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self { config: Some(DockerConfig::parse(text)?), secret: SecretName::default() })
    }

    /// The same, with the name of their Secret: errors name it.
    #[must_use]
    pub fn with_secret_name(self, name: Option<&str>) -> Self {
        Self { secret: SecretName::new(name), ..self }
    }

    /// The Secret that they are from.
    pub(super) const fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// Who we are to a repository.
    pub(super) fn of(&self, repository: &Repository) -> Result<Identified<'_>, &ConfigError> {
        let Some(config) = &self.config else { return Ok(Identified { login: None, identity: Identity::Anonymous }) };
        let secret = || self.secret.clone();
        Ok(match config.of_repository(repository)? {
            Holding::Login(login) => Identified { login: Some(login), identity: Identity::Credentials(secret()) },
            Holding::Nothing(key) => Identified { login: None, identity: Identity::Empty(secret(), key.to_owned()) },
            Holding::Absent => {
                Identified { login: None, identity: Identity::Absent(secret(), repository.registry.clone()) }
            }
        })
    }
}

impl From<DockerConfig> for Credentials {
    fn from(config: DockerConfig) -> Self {
        Self { config: Some(config), secret: SecretName::default() }
    }
}

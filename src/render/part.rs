//! What an attempt needs of Secrets and `ConfigMaps`, each part with the containers that see it. This one
//! list is what the operator reads, what the attempt's Secret holds and what each container mounts.

use std::collections::BTreeMap;

use super::Attempt;
use crate::{
    api::build::Container,
    plan::{
        fill::{self, SECRET_VARIABLES},
        object::ObjectRef,
        path::SourcePath,
        valid::ValidSource,
    },
};

/// The folder with the credentials for git, below the folder of secrets.
pub(super) const GIT: &str = "git";
/// The document with the files of a source that is not git.
pub(super) const FILES: &str = "files.json";
/// The folder with the credentials for the pull of the parent.
pub(super) const PULL: &str = "pull";
/// The folder with the credentials for the push.
pub(super) const PUSH: &str = "push";
/// The file with the certificates that registries are trusted by.
pub(super) const AUTHORITY: &str = "ca.crt";

/// The key of a Secret of type `kubernetes.io/dockerconfigjson`.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Something that some containers need.
pub(super) struct Part<'a> {
    /// Who sees it.
    pub containers: &'static [Container],
    /// Where, below the folder of secrets. With its slashes as dots it is the key in the attempt's Secret.
    pub path: String,
    /// What it is made of.
    pub content: Content<'a>,
}

/// What a part is made of.
pub(super) enum Content<'a> {
    /// The value of a key.
    Value(ObjectRef, &'a str),
    /// A JSON object: the values of some keys of the tenant's Secrets, by the names of variables.
    Variables(&'a BTreeMap<String, (String, String)>),
    /// All entries of a `ConfigMap`, as files.
    Entries(ObjectRef),
    /// Files that the build itself holds.
    Files(&'a BTreeMap<SourcePath, String>),
}

impl Part<'_> {
    /// The key in the attempt's Secret.
    pub fn key(&self) -> String {
        self.path.replace('/', ".")
    }

    /// Whether a container sees it.
    pub fn is_for(&self, container: Container) -> bool {
        self.containers.contains(&container)
    }
}

/// All parts of an attempt. No two have the same path.
pub(super) fn all<'a>(attempt: &Attempt<'a>) -> Vec<Part<'a>> {
    let mut parts = source(attempt);
    parts.extend(pull(attempt).map(|secret| docker_config(&[Container::Build], PULL, secret)));
    parts.extend(push(attempt).map(|secret| docker_config(&[Container::Publish], PUSH, secret)));
    parts.extend(authority(attempt));
    parts.extend(variables(attempt));
    parts.extend(environments(attempt));
    parts
}

fn source<'a>(attempt: &Attempt<'a>) -> Vec<Part<'a>> {
    let part = |path: String, content| Part { containers: &[Container::Source], path, content };
    match &attempt.build.recipe.source {
        ValidSource::Git { url, secret: Some(secret), .. } => {
            let object = ObjectRef::secret(secret);
            git_keys(url).map(|key| part(format!("{GIT}/{key}"), Content::Value(object.clone(), key))).into()
        }
        ValidSource::Git { secret: None, .. } => Vec::new(),
        ValidSource::ConfigMap(name) => {
            vec![part(FILES.to_owned(), Content::Entries(ObjectRef::config_map(name)))]
        }
        ValidSource::Inline(files) => vec![part(FILES.to_owned(), Content::Files(files))],
    }
}

/// What a Secret for git holds is decided by the scheme of the URL.
fn git_keys(url: &str) -> [&'static str; 2] {
    if url.starts_with("ssh:") { ["identity", "known_hosts"] } else { ["username", "password"] }
}

fn docker_config(containers: &'static [Container], folder: &str, secret: ObjectRef) -> Part<'static> {
    Part { containers, path: format!("{folder}/config.json"), content: Content::Value(secret, DOCKER_CONFIG) }
}

/// The Secret for the pull of the parent.
pub(super) fn pull(attempt: &Attempt<'_>) -> Option<ObjectRef> {
    let parent = attempt.build.parent.as_ref()?;
    attempt.inputs.parent.as_ref()?;
    let own = parent.secret.as_ref().map(|secret| ObjectRef::secret(secret));
    own.or_else(|| push(attempt).filter(|_| parent.is_staged()))
}

/// The Secret for the push.
pub(super) fn push(attempt: &Attempt<'_>) -> Option<ObjectRef> {
    attempt.target.secret.clone()
}

fn authority<'a>(attempt: &Attempt<'a>) -> Option<Part<'a>> {
    let name = attempt.profile.certificate_authority.as_ref()?;
    let object = ObjectRef::config_map(name).of_execution();
    let content = Content::Value(object, AUTHORITY);
    Some(Part { containers: &[Container::Engine, Container::Publish], path: AUTHORITY.to_owned(), content })
}

fn variables<'a>(attempt: &Attempt<'a>) -> Option<Part<'a>> {
    let secrets = &attempt.build.recipe.packer.variables.secrets;
    let content = Content::Variables(secrets);
    let part = Part { containers: &[Container::Build], path: SECRET_VARIABLES.to_owned(), content };
    (!secrets.is_empty()).then_some(part)
}

fn environments<'a>(attempt: &Attempt<'a>) -> impl Iterator<Item = Part<'a>> {
    attempt.build.recipe.verify.iter().enumerate().flat_map(|(index, step)| {
        step.environment.secrets.iter().map(move |(name, (secret, key))| Part {
            containers: &[Container::Verify],
            path: fill::secret_environment(index, name),
            content: Content::Value(ObjectRef::secret(secret), key),
        })
    })
}

//! What an attempt needs of Secrets and `ConfigMaps`, each part with the containers that see it. This one
//! list is what the operator reads, what the attempt's Secret holds and what each container mounts.

use std::collections::BTreeMap;

use super::attempt::Attempt;
use crate::{
    api::build::{Container, Stage},
    plan::{
        object::ObjectRef,
        path::SourcePath,
        recipe::{SecretContent, SecretKey, Source},
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
    Variables(&'a BTreeMap<String, SecretKey>),
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
    parts
}

fn source<'a>(attempt: &Attempt<'a>) -> Vec<Part<'a>> {
    let part = |path: String, content| Part { containers: &[Container::Source], path, content };
    match &attempt.build.recipe.source {
        Source::Git { url, secret: Some(secret), .. } => {
            let object = ObjectRef::secret(secret);
            git_keys(url).map(|key| part(format!("{GIT}/{key}"), Content::Value(object.clone(), key))).into()
        }
        Source::Git { secret: None, .. } => Vec::new(),
        Source::ConfigMap(name) => {
            vec![part(FILES.to_owned(), Content::Entries(ObjectRef::config_map(name)))]
        }
        Source::Inline(files) => vec![part(FILES.to_owned(), Content::Files(files))],
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
    let parent = attempt.build.recipe.parent.as_ref()?;
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

/// The variables of the steps.
fn variables<'a>(attempt: &Attempt<'a>) -> impl Iterator<Item = Part<'a>> {
    attempt.build.recipe.steps.secret_files().into_iter().map(|file| Part {
        containers: of_stage(file.stage),
        path: file.path,
        content: match file.content {
            SecretContent::Json(keys) => Content::Variables(keys),
            SecretContent::Value(key) => Content::Value(ObjectRef::secret(&key.secret), &key.key),
        },
    })
}

const fn of_stage(stage: Stage) -> &'static [Container] {
    match stage {
        Stage::Source => &[Container::Source],
        Stage::Build => &[Container::Build],
        Stage::Verify => &[Container::Verify],
        Stage::Publish => &[Container::Publish],
    }
}

//! What an attempt needs of Secrets and `ConfigMaps`, each part with the containers that see it. This one
//! list is what the operator reads, what the attempt's Secret holds and what each container mounts.

use std::collections::BTreeMap;

use super::attempt::Attempt;
use crate::{
    api::{
        build::{Container, Stage},
        profile::Engine,
    },
    plan::{
        credentials::{AUTHORITY, git::files},
        image::{Reference, Repository},
        network::Proxy,
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
/// The files with the certificates that the Secrets of pull and push add.
pub(super) const PULL_AUTHORITY: &str = "pull.crt";
pub(super) const PUSH_AUTHORITY: &str = "push.crt";

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
    /// A file of what a Secret holds for the URL of a git repository.
    Git(ObjectRef, &'a str, &'static str),
    /// What a Secret holds for a registry.
    Registry(ObjectRef, Repository, RegistryFile<'a>),
    /// A JSON object: the values of some keys of the tenant's Secrets, by the names of variables.
    Variables(&'a BTreeMap<String, SecretKey>),
    /// All entries of a `ConfigMap`, as files.
    Entries(ObjectRef),
    /// Files that the build itself holds.
    Files(&'a BTreeMap<SourcePath, String>),
}

/// A file of what a Secret holds for a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegistryFile<'a> {
    /// Docker's `config.json`, with proxies for containers.
    Config(Option<&'a Proxy>),
    /// Certificates; empty where it has none.
    Authority,
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
    parts.extend(of_pull(attempt).into_iter().flatten());
    parts.extend(of_push(attempt).into_iter().flatten());
    parts.extend(authority(attempt));
    parts.extend(variables(attempt));
    parts
}

fn source<'a>(attempt: &Attempt<'a>) -> Vec<Part<'a>> {
    let part = |path: String, content| Part { containers: &[Container::Source], path, content };
    match &attempt.build.recipe.source {
        Source::Git { url, secret: Some(secret), .. } => {
            let object = ObjectRef::secret(secret);
            let file = |name| part(format!("{GIT}/{name}"), Content::Git(object.clone(), url, name));
            files(url).iter().copied().map(file).collect()
        }
        Source::Git { secret: None, .. } => Vec::new(),
        Source::ConfigMap(name) => {
            vec![part(FILES.to_owned(), Content::Entries(ObjectRef::config_map(name)))]
        }
        Source::Inline(files) => vec![part(FILES.to_owned(), Content::Files(files))],
    }
}

fn of_pull<'a>(attempt: &Attempt<'a>) -> Option<[Part<'a>; 2]> {
    let repository = attempt.inputs.parent.as_ref()?.0.parse::<Reference>().ok()?.repository;
    let secret = pull(attempt)?;
    let part = |containers, path: String, file| Part {
        containers,
        path,
        content: Content::Registry(secret.clone(), repository.clone(), file),
    };
    Some([
        part(
            &[Container::Build],
            format!("{PULL}/config.json"),
            RegistryFile::Config(attempt.profile.network.proxy.as_ref()),
        ),
        part(pulling(attempt), PULL_AUTHORITY.to_owned(), RegistryFile::Authority),
    ])
}

fn of_push<'a>(attempt: &Attempt<'a>) -> Option<[Part<'a>; 2]> {
    let secret = push(attempt)?;
    let repository = &attempt.target.repository;
    let part = |containers, path: String, file| Part {
        containers,
        path,
        content: Content::Registry(secret.clone(), repository.clone(), file),
    };
    Some([
        part(&[Container::Publish], format!("{PUSH}/config.json"), RegistryFile::Config(None)),
        part(pushing(attempt), PUSH_AUTHORITY.to_owned(), RegistryFile::Authority),
    ])
}

/// Who pulls the parent: the engine or, where there is none, the stage that builds on it.
const fn pulling(attempt: &Attempt<'_>) -> &'static [Container] {
    match attempt.profile.engine {
        Engine::Docker => &[Container::Engine],
        Engine::None => &[Container::Build],
    }
}

/// Who pushes the product, and looks whether it is there.
const fn pushing(attempt: &Attempt<'_>) -> &'static [Container] {
    match attempt.profile.engine {
        Engine::Docker => &[Container::Engine, Container::Publish],
        Engine::None => &[Container::Publish],
    }
}

/// Who reaches registries at all.
const fn of_registries(attempt: &Attempt<'_>) -> &'static [Container] {
    match attempt.profile.engine {
        Engine::Docker => &[Container::Engine, Container::Publish],
        Engine::None => &[Container::Build, Container::Publish],
    }
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
    const ALL: &[Container] =
        &[Container::Source, Container::Engine, Container::Build, Container::Verify, Container::Publish];
    let of_all = attempt.profile.network.certificate_authority.as_ref();
    let (name, containers) = match (of_all, &attempt.profile.certificate_authority) {
        (Some(name), _) => (name, ALL),
        (None, Some(name)) => (name, of_registries(attempt)),
        (None, None) => return None,
    };
    let content = Content::Value(ObjectRef::config_map(name).of_execution(), AUTHORITY);
    Some(Part { containers, path: AUTHORITY.to_owned(), content })
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

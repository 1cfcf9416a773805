//! A whole recipe, and what it names.

use std::collections::BTreeSet;

use super::{
    file::InputFile,
    limits::Limits,
    parent::Parent,
    publish::Destination,
    scope::Scope,
    source::Source,
    steps::{SecretContent, Steps},
    variables::SecretKey,
};
use crate::{
    api::{
        build::Container,
        condition::Reason,
        recipe::{BuildStep, VerifyStep},
    },
    plan::{
        dependency::{Dependency, Versions},
        failure::Failure,
        object::ObjectRef,
        path::SourcePath,
        placeholder::{Placeholder, Template},
    },
};

/// How a link, or a single build, is built, tested and published.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// What it is built on; `None` where the build brings its own base.
    pub parent: Option<Parent>,
    /// Where its files come from.
    pub source: Source,
    /// The files that decide its result.
    pub paths: Scope,
    /// The paths as they are written, in the field `paths`.
    pub written_paths: Vec<SourcePath>,
    /// The files of other servers that it needs.
    pub files: Vec<InputFile>,
    /// How it is built and tested.
    pub steps: Steps<Template>,
    /// Where it is published.
    pub publish: Option<Destination>,
    /// How long it may take, and how often it is tried.
    pub limits: Limits,
    /// The build as it is written: it goes into the key.
    pub written_build: BuildStep,
    /// The tests as they are written, likewise.
    pub written_verify: Vec<VerifyStep>,
}

impl Recipe {
    /// The index of the link of the same chain that it is built on.
    #[must_use]
    pub fn parent_link(&self) -> Option<usize> {
        self.parent.as_ref()?.origin.in_chain()
    }

    /// Whether the pod fetches files of other servers, besides the source.
    #[must_use]
    pub fn fetches_files(&self) -> bool {
        !self.files.is_empty() || self.parent.as_ref().is_some_and(|parent| parent.origin.file().is_some())
    }

    /// The files that it uses.
    #[must_use]
    pub fn used_paths(&self) -> Scope {
        self.steps.used_paths(&self.written_paths)
    }

    /// Whether a value names the revision: the commit itself then decides the result.
    #[must_use]
    pub fn names_revision(&self) -> bool {
        let is_named = |text: &Template| text.placeholders().any(|each| *each == Placeholder::SourceRevision);
        self.steps.texts().any(is_named)
    }

    /// The objects of its namespace that it names, each once.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<ObjectRef> {
        let files = self.steps.secret_files();
        let keys = files.iter().flat_map(|file| match file.content {
            SecretContent::Json(keys) => keys.values().collect::<Vec<&SecretKey>>(),
            SecretContent::Value(key) => vec![key],
        });
        let variables = keys.map(|key| ObjectRef::secret(&key.secret));
        let parent = self.parent.iter().filter_map(|parent| parent.secret.as_deref());
        let publish = self.publish.iter().filter_map(Destination::secret);
        variables.chain(parent.chain(publish).map(ObjectRef::secret)).chain(self.source.object()).collect()
    }

    /// All that it names outside itself, with the Secret of its profile's staging repository.
    #[must_use]
    pub fn dependencies(&self, staging: Option<&str>) -> BTreeSet<Dependency> {
        let parent = self.parent.as_ref().and_then(|parent| parent.origin.dependency());
        let staging = staging.map(|name| Dependency::Object(ObjectRef::secret(name).of_execution()));
        let objects = self.objects().into_iter().map(Dependency::Object);
        objects.chain(self.source.dependency()).chain(parent).chain(staging).collect()
    }

    /// The Secret whose credentials a registry or git server refused, of a failure that does not name it; `None` where
    /// none was used, or one that is not among the versions.
    #[must_use]
    pub fn refused(&self, failure: &Failure, now: &Versions) -> Option<Dependency> {
        let own = |name: &str| Dependency::Object(ObjectRef::secret(name));
        let staging = || now.keys().find(|each| each.is_of_execution()).cloned();
        match (failure.reason, failure.container) {
            (Reason::PushDenied, _) => staging(),
            (Reason::AccessDenied, Some(Container::Source)) => match &self.source {
                Source::Git { secret, .. } => secret.as_deref().map(own),
                Source::ConfigMap(_) | Source::Inline(_) => None,
            },
            (Reason::AccessDenied, Some(Container::Build)) => {
                let parent = self.parent.as_ref()?;
                let secret = parent.secret.as_deref().map(own);
                secret.or_else(|| staging().filter(|_| parent.is_staged()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::build::{ImageBuild, Stage},
        plan::validate,
    };

    fn now(all: &[(&str, Option<&str>)]) -> Versions {
        all.iter().map(|(name, version)| (name.parse().unwrap(), version.map(ToOwned::to_owned))).collect()
    }

    #[test]
    fn all_that_a_build_names_is_found() {
        let object = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
            "spec": {
                "profile": "docker",
                "from": {"image": "debian:13", "secretRef": {"name": "pull"}},
                "source": {"git": {"url": "https://git.example/web", "revision": "main", "secretRef": {"name": "token"}}},
                "build": {"packer": {
                    "template": "a.json",
                    "secretVariables": [{"name": "v", "secretKeyRef": {"name": "vault", "key": "k"}}],
                }},
                "verify": [{"command": {
                    "arguments": ["true"],
                    "secretVariables": [{"name": "v", "secretKeyRef": {"name": "tests", "key": "k"}}],
                }}],
            },
        });
        let build: ImageBuild = serde_json::from_value(object).unwrap();
        let all = validate::build(&build).unwrap().recipe.dependencies(Some("push"));
        let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            Vec::from_iter(&names),
            [
                "git/https://git.example/web#main",
                "image/docker.io/library/debian:13",
                "secret/pull",
                "secret/tests",
                "secret/token",
                "secret/vault",
                "staging-secret/push"
            ]
        );
        assert_eq!(names.iter().map(|name| name.parse()).collect::<Result<BTreeSet<Dependency>, _>>(), Ok(all));
    }

    #[test]
    fn what_was_refused_is_the_secret_that_was_used() {
        let build = |from: &serde_json::Value, git: &serde_json::Value| {
            let object = json!({
                "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
                "spec": {"profile": "docker", "from": from, "source": git, "build": {"packer": {"template": "a.json"}}},
            });
            validate::build(&serde_json::from_value::<ImageBuild>(object).unwrap()).unwrap()
        };
        let url = "https://git.example/web";
        let guarded = json!({"git": {"url": url, "revision": "main", "secretRef": {"name": "token"}}});
        let public = json!({"git": {"url": url, "revision": "main"}});
        let pulled = build(&json!({"image": "debian:13", "secretRef": {"name": "pull"}}), &guarded);
        let open = build(&json!({"image": "debian:13"}), &public);
        let staged = build(&json!({"chain": {"name": "base", "link": "systemd"}}), &public);
        let with = now(&[("secret/a", None), ("staging-secret/push", Some("1"))]);
        let without = now(&[("secret/a", None)]);
        for (build, stage, reason, now, expected) in [
            (&pulled, Stage::Publish, Reason::PushDenied, &with, Some("staging-secret/push")),
            (&pulled, Stage::Publish, Reason::PushDenied, &without, None),
            (&pulled, Stage::Source, Reason::AccessDenied, &with, Some("secret/token")),
            (&pulled, Stage::Build, Reason::AccessDenied, &with, Some("secret/pull")),
            (&open, Stage::Source, Reason::AccessDenied, &with, None),
            (&open, Stage::Build, Reason::AccessDenied, &with, None),
            (&staged, Stage::Build, Reason::AccessDenied, &with, Some("staging-secret/push")),
            (&staged, Stage::Build, Reason::AccessDenied, &without, None),
            (&staged, Stage::Build, Reason::BaseImageNotFound, &with, None),
        ] {
            let failure = Failure::new(reason, "").of(stage);
            let found = build.recipe.refused(&failure, now).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{stage:?} {reason:?}");
        }
    }
}

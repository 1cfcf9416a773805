//! What a build names outside itself, and in which version it is there. An attempt that lacked something is
//! followed by another as soon as that version changes, also after a restart of the operator: what was
//! lacked stands in the attempt.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    image::Reference,
    key::fingerprint,
    valid::{ParentOrigin, ValidBuild, ValidSource, Variables},
};
use crate::api::{
    build::{Lacked, Stage},
    condition::Reason,
};

/// Everything that a build names, with its present version: the `resourceVersion` of an object, the answer
/// of a look-up (a digest, a commit); `None` where it is not there or may not be read.
pub type Versions = BTreeMap<String, Option<String>>;

/// The longest name, in bytes: that of a git source with the longest URL and revision.
pub const LONGEST: usize = 1300;

/// The beginnings of names, each of which has a function here.
const KINDS: [&str; 6] = ["secret/", "configmap/", STAGING, "image/", "git/", "chain/"];
const STAGING: &str = "staging-secret/";

/// A Secret of the build's namespace.
#[must_use]
pub fn secret(name: &str) -> String {
    format!("secret/{name}")
}

/// A `ConfigMap` of the build's namespace.
#[must_use]
pub fn config_map(name: &str) -> String {
    format!("configmap/{name}")
}

/// The Secret of the execution namespace with the right to push to the staging repository.
#[must_use]
pub fn staging_secret(name: &str) -> String {
    format!("{STAGING}{name}")
}

/// An image of a registry; its version is the digest that it leads to.
#[must_use]
pub fn image(reference: &Reference) -> String {
    format!("image/{reference}")
}

/// A revision of a git repository; its version is the commit that it leads to.
#[must_use]
pub fn git(url: &str, revision: &str) -> String {
    format!("git/{url}#{revision}")
}

/// A link of another chain; its version is the digest that was verified last.
#[must_use]
pub fn chain(name: &str, link: &str) -> String {
    format!("chain/{name}/{link}")
}

/// Whether a text can be a name: what a stage reports is not believed unseen.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let rest = KINDS.iter().find_map(|kind| text.strip_prefix(kind));
    text.len() <= LONGEST && rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()))
}

/// The Secret whose credentials a registry or git server refused, of a stage that does not say which; `None` where none
/// was used, or one that is not among the versions.
#[must_use]
pub fn refused(build: &ValidBuild, stage: Option<Stage>, reason: Reason, now: &Versions) -> Option<String> {
    let own = |name: &Option<String>| name.as_deref().map(secret);
    let staging = || now.keys().find(|name| name.starts_with(STAGING)).cloned();
    match (reason, stage) {
        (Reason::PushDenied, _) => staging(),
        (Reason::AccessDenied, Some(Stage::Source)) => match &build.recipe.source {
            ValidSource::Git { secret, .. } => own(secret),
            ValidSource::ConfigMap(_) | ValidSource::Inline(_) => None,
        },
        (Reason::AccessDenied, Some(Stage::Build)) => {
            let parent = build.parent.as_ref()?;
            own(&parent.secret).or_else(|| staging().filter(|_| parent.is_staged()))
        }
        _ => None,
    }
}

/// What people call what has that name, for a build whose pods run in that namespace.
#[must_use]
pub fn shown(name: &str, execution_namespace: &str) -> String {
    match name.strip_prefix(STAGING) {
        Some(secret) => format!("the Secret «{secret}» of {execution_namespace}"),
        None => name.to_owned(),
    }
}

/// The names of all that a build names, with the Secret of its profile's staging repository.
#[must_use]
pub fn of_build(build: &ValidBuild, staging: Option<&str>) -> BTreeSet<String> {
    let recipe = &build.recipe;
    let mut secrets: BTreeSet<&String> = secrets_of(&recipe.packer.variables).collect();
    secrets.extend(recipe.verify.iter().flat_map(|step| secrets_of(&step.environment)));
    secrets.extend(recipe.publish.iter().filter_map(|publish| publish.secret.as_ref()));
    secrets.extend(build.parent.iter().filter_map(|parent| parent.secret.as_ref()));
    let mut names = BTreeSet::new();
    match &recipe.source {
        ValidSource::Git { url, revision, secret, .. } => {
            secrets.extend(secret);
            names.insert(git(url, revision));
        }
        ValidSource::ConfigMap(name) => drop(names.insert(config_map(name))),
        ValidSource::Inline(_) => {}
    }
    match build.parent.as_ref().map(|parent| &parent.origin) {
        Some(ParentOrigin::Image(reference)) => drop(names.insert(image(reference))),
        Some(ParentOrigin::Chain { chain: name, link }) => drop(names.insert(chain(name, link))),
        Some(ParentOrigin::Link(_) | ParentOrigin::Sibling(_)) | None => {}
    }
    names.extend(secrets.into_iter().map(|name| secret(name)));
    names.extend(staging.map(staging_secret));
    names
}

fn secrets_of(variables: &Variables) -> impl Iterator<Item = &String> {
    variables.secrets.values().map(|(name, _)| name)
}

/// A hash of all versions: as long as it is the same, nothing has changed.
#[must_use]
pub fn versions(now: &Versions) -> String {
    let texts = now.iter().flat_map(|(name, version)| match version {
        Some(version) => [name.as_str(), "at", version.as_str()],
        None => [name.as_str(), "absent", ""],
    });
    fingerprint(&texts.collect::<Vec<_>>())
}

/// What an attempt lacked that failed just now: what it names, in the version that it has. Where it names
/// nothing that we know, or something has changed while it ran (it may have seen the one or the other), any
/// change since `before` counts, the hash of the versions when the attempt was decided on.
#[must_use]
pub fn lacked(named: Option<&str>, before: Option<&str>, now: &Versions) -> Lacked {
    let all = versions(now);
    let before = before.unwrap_or(&all);
    match named.and_then(|named| now.get_key_value(named)).filter(|_| before == all) {
        Some((of, version)) => Lacked { of: Some(of.clone()), version: version.clone() },
        None => Lacked { of: None, version: Some(before.to_owned()) },
    }
}

/// Whether what was lacked is another now. What the build no longer names counts as changed.
#[must_use]
pub fn changed(lacked: &Lacked, now: &Versions) -> bool {
    match &lacked.of {
        Some(of) => now.get(of) != Some(&lacked.version),
        None => lacked.version.as_ref() != Some(&versions(now)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{api::build::ImageBuild, plan::validate};

    fn now(all: &[(&str, Option<&str>)]) -> Versions {
        all.iter().map(|(name, version)| ((*name).to_owned(), version.map(ToOwned::to_owned))).collect()
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
        let names = of_build(&validate::build(&build).unwrap(), Some("push"));
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
        assert!(names.iter().all(|name| is_name(name)));
        for other in ["", "secret/", "pod/a", "secret/a b", "image/\u{7f}", &secret(&"a".repeat(LONGEST))] {
            assert!(!is_name(other), "{other:?}");
        }
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
            assert_eq!(refused(build, Some(stage), reason, now).as_deref(), expected, "{stage:?} {reason:?}");
        }
        assert_eq!(shown("staging-secret/push", "builds"), "the Secret «push» of builds");
        assert_eq!(shown("secret/a", "builds"), "secret/a");
    }

    #[test]
    fn what_was_lacked_is_known_again() {
        let absent = now(&[("secret/a", None), ("secret/b", Some("1"))]);
        let appeared = now(&[("secret/a", Some("7")), ("secret/b", Some("1"))]);
        let other = now(&[("secret/a", None), ("secret/b", Some("2"))]);
        let unnamed = now(&[("secret/b", Some("1"))]);
        let before = versions(&absent);
        let named = lacked(Some("secret/a"), Some(&before), &absent);
        assert_eq!(named, Lacked { of: Some("secret/a".to_owned()), version: None });
        let unsaid = lacked(None, Some(&before), &absent);
        let unknown = lacked(Some("secret/z"), Some(&before), &absent);
        assert_eq!(unsaid, unknown);
        // It appeared while the attempt ran: nobody knows what the attempt has seen.
        let meanwhile = lacked(Some("secret/a"), Some(&before), &appeared);
        for (lacked, expected) in [
            (named, [false, true, false, true]),
            (unsaid, [false, true, true, true]),
            (meanwhile, [false, true, true, true]),
        ] {
            assert_eq!([&absent, &appeared, &other, &unnamed].map(|now| changed(&lacked, now)), expected, "{lacked:?}");
        }
    }

    proptest! {
        /// What was lacked just now has not changed yet, unless something did while the attempt ran.
        #[test]
        fn nothing_changes_by_itself(
            now in proptest::collection::btree_map("[a-c]", proptest::option::of("[0-2]"), 0..3),
            before in proptest::collection::btree_map("[a-c]", proptest::option::of("[0-2]"), 0..3),
            named in proptest::option::of("[a-c]"),
        ) {
            let found = lacked(named.as_deref(), Some(&versions(&before)), &now);
            prop_assert_eq!(changed(&found, &now), now != before);
        }
    }
}

//! What a recipe stands for now: images as digests, files as hashes, and the key over all of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    failure::Failure,
    git::Obstacle,
    image::Reference,
    key::{Ingredients, Key, fingerprint},
    lookup::{Knowledge, Known, Objects, Subject},
    path::SourcePath,
    recipe::{Needed, Recipe, Scope, Source},
    tree::{is_below, of_submodule},
    valid::{ValidLink, ValidProfile},
};
use crate::api::{boxes::ArtifactKind, build::Inputs, condition::Reason};

/// What is known of a profile.
#[derive(Clone, Debug, PartialEq)]
pub enum ProfileFact {
    /// There is none of that name.
    Missing,
    /// It cannot be used as it is, and why.
    Invalid(String),
    /// It can.
    Usable(Box<ValidProfile>),
}

impl ProfileFact {
    /// The profile, or why there is none.
    #[must_use]
    pub fn known<'p>(fact: Option<&'p Self>, name: &str) -> Known<&'p ValidProfile> {
        match fact {
            Some(Self::Usable(profile)) => Known::Value(profile),
            Some(Self::Invalid(why)) => {
                failed(Reason::SpecInvalid, format!("the BuildProfile «{name}» cannot be used: {why}"))
            }
            Some(Self::Missing) | None => failed(
                Reason::ProfileNotFound,
                format!("there is no BuildProfile «{name}»: name another, or ask a platform administrator for it"),
            ),
        }
    }
}

fn failed<T>(reason: Reason, message: String) -> Known<T> {
    Known::Failed(Failure::new(reason, message))
}

/// What is known of a `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigMapFact {
    /// It has not been read yet.
    Unread,
    /// There is none of that name.
    Missing,
    /// The operator may not read it; what to do.
    Forbidden(String),
    /// The hash of each entry by its key.
    Entries(BTreeMap<String, String>),
}

/// The files of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The commit, or the hash of all content.
    pub revision: String,
    /// The hash of those that decide the result.
    pub hash: String,
}

/// The git look-ups of several links: one for each repository and revision, so that all that use it see
/// the same commit.
#[derive(Debug, Default)]
pub struct GitSubjects<'a>(BTreeMap<(&'a str, &'a str, Option<&'a str>), Subject>);

impl<'a> GitSubjects<'a> {
    /// Those of some links. Where several have one, it is reached as the profile of the first says.
    pub fn of(links: impl Iterator<Item = &'a ValidLink>) -> Self {
        let mut subjects = BTreeMap::new();
        for ValidLink { profile, recipe, .. } in links {
            if let Source::Git { url, revision, secret, directory } = &recipe.source {
                let new = || Subject::Git {
                    url: url.clone(),
                    revision: revision.clone(),
                    profile: profile.clone(),
                    secret: secret.clone(),
                    paths: BTreeSet::new(),
                };
                let place = (url.as_str(), revision.as_str(), secret.as_deref());
                if let Subject::Git { paths, .. } = subjects.entry(place).or_insert_with(new) {
                    paths.extend(deciding(recipe, directory.as_ref()).into_values());
                    let needs = recipe.steps.needs();
                    let needed = needs.iter().flat_map(Needed::paths);
                    paths.extend(needed.map(|path| in_repository(path, directory.as_ref())));
                }
            }
        }
        Self(subjects)
    }
}

/// The paths that decide a recipe's result, as they are in the repository, by what they are in the source.
fn deciding(recipe: &Recipe, directory: Option<&SourcePath>) -> BTreeMap<String, String> {
    let in_source = match &recipe.paths {
        Scope::All => vec![String::new()],
        Scope::Only(paths) => paths.iter().map(SourcePath::to_string).collect(),
    };
    let full = |path: &String| in_repository(path, directory);
    in_source.iter().map(|path| (path.clone(), full(path))).collect()
}

/// A path of a recipe as it is in the repository.
fn in_repository(path: &str, directory: Option<&SourcePath>) -> String {
    let folder = directory.map(SourcePath::as_str);
    folder.into_iter().chain([path]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

/// The hash of some files or folders, each with the hash of its content.
fn files_hash(contents: &BTreeMap<&str, &str>) -> String {
    let texts: Vec<&str> = contents.iter().flat_map(|(path, hash)| [*path, *hash]).collect();
    fingerprint(&texts)
}

/// The hash of the content of a file.
#[must_use]
pub fn content_hash(content: &str) -> String {
    fingerprint(&["content", content])
}

/// The files of a recipe. `remembered` is their hash when the source was last looked up.
pub fn files(
    recipe: &Recipe,
    subjects: &GitSubjects<'_>,
    config_maps: &BTreeMap<String, ConfigMapFact>,
    remembered: Option<&str>,
    knowledge: &mut Knowledge<'_>,
) -> Known<Files> {
    match &recipe.source {
        Source::Inline(files) => {
            let hashes = files.iter().map(|(path, content)| (path.to_string(), content_hash(content))).collect();
            of_entries(recipe, &hashes, (Reason::SpecInvalid, "the inline source"))
        }
        Source::ConfigMap(name) => config_map(recipe, name, config_maps.get(name)),
        Source::Git { url, revision, secret, directory } => {
            let Some(subject) = subjects.0.get(&(url.as_str(), revision.as_str(), secret.as_deref())) else {
                return Known::Pending;
            };
            match knowledge.commit(subject, remembered.is_some()) {
                Known::Value((commit, Some(objects))) => {
                    let files = of_commit(recipe, directory.as_ref(), url, commit, objects);
                    if matches!(files, Known::Failed(_)) {
                        knowledge.reject(subject);
                    }
                    files
                }
                Known::Value((revision, None)) => {
                    remembered.map_or(Known::Pending, |hash| Known::Value(Files { revision, hash: hash.to_owned() }))
                }
                other => other.map(|_| Files { revision: String::new(), hash: String::new() }),
            }
        }
    }
}

fn config_map(recipe: &Recipe, name: &str, fact: Option<&ConfigMapFact>) -> Known<Files> {
    match fact {
        Some(ConfigMapFact::Entries(entries)) => {
            of_entries(recipe, entries, (Reason::KeyNotFound, &format!("the ConfigMap «{name}»")))
        }
        Some(ConfigMapFact::Missing) => {
            failed(Reason::ConfigMapNotFound, format!("there is no ConfigMap «{name}» in this namespace"))
        }
        Some(ConfigMapFact::Forbidden(what_to_do)) => failed(Reason::AccessNotGranted, what_to_do.clone()),
        Some(ConfigMapFact::Unread) | None => Known::Pending,
    }
}

/// The files of a source that is a list of entries with their hashes.
fn of_entries(recipe: &Recipe, entries: &BTreeMap<String, String>, place: (Reason, &str)) -> Known<Files> {
    let has = |path: &str| entries.keys().any(|key| is_below(key, path));
    if let Some(missing) = recipe.paths.named().find(|path| !has(path.as_str())) {
        return failed(place.0, format!("{} has no «{missing}»: correct paths, or add it", place.1));
    }
    if let Some(needed) = recipe.steps.needs().into_iter().find(|needed| !needed.paths().any(has)) {
        return failed(place.0, format!("{} has no «{}»: correct {}, or add it", place.1, needed.path, needed.field));
    }
    let all: BTreeMap<&str, &str> = entries.iter().map(|(key, hash)| (key.as_str(), hash.as_str())).collect();
    let deciding = all.iter().filter(|(key, _)| recipe.paths.holds(key)).map(|(key, hash)| (*key, *hash)).collect();
    Known::Value(Files { revision: files_hash(&all), hash: files_hash(&deciding) })
}

fn of_commit(
    recipe: &Recipe,
    directory: Option<&SourcePath>,
    url: &str,
    commit: String,
    found: Objects<'_>,
) -> Known<Files> {
    let place = format!("the commit {} of {url}", commit.get(..12).unwrap_or(&commit));
    let paths = deciding(recipe, directory);
    if let Some(missing) = paths.values().find(|path| !found.objects.contains_key(*path)) {
        return Known::Failed(absent(missing, found.obstacles.get(missing), &place, "correct paths or the source"));
    }
    // Where a link leads is seen when the files are there.
    let may_be = |path: &str| {
        let path = in_repository(path, directory);
        found.objects.contains_key(&path) || matches!(found.obstacles.get(&path), Some(Obstacle::Link(_)))
    };
    if let Some(needed) = recipe.steps.needs().into_iter().find(|needed| !needed.paths().any(may_be)) {
        let path = in_repository(&needed.path, directory);
        let what_to_do = format!("correct {}", needed.field);
        return Known::Failed(absent(&path, found.obstacles.get(&path), &place, &what_to_do));
    }
    let contents = paths.iter().filter_map(|(path, full)| Some((path.as_str(), found.objects.get(full)?.as_str())));
    let hash = files_hash(&contents.collect());
    Known::Value(Files { revision: commit, hash })
}

/// Why a commit has nothing at a path, and what to do.
fn absent(path: &str, obstacle: Option<&Obstacle>, place: &str, what_to_do: &str) -> Failure {
    match obstacle {
        Some(Obstacle::Submodule(at)) => Failure::new(Reason::SubmoduleNotFetched, of_submodule(path, at)),
        Some(Obstacle::Link(at)) => Failure::new(
            Reason::RevisionNotFound,
            format!("«{path}» is behind the link «{at}» in {place}: name in paths where the link leads"),
        ),
        None => {
            Failure::new(Reason::RevisionNotFound, format!("«{path}» is not in {place}: {what_to_do}, or commit it"))
        }
    }
}

/// An image or a box as repository@digest.
pub fn artifact(
    kind: ArtifactKind,
    reference: &Reference,
    profile: (&str, &ValidProfile),
    secret: Option<&str>,
    knowledge: &mut Knowledge<'_>,
) -> Known<String> {
    let digest = match &reference.digest {
        Some(digest) => Known::Value(digest.to_string()),
        None => knowledge.digest(&Subject::Image {
            kind,
            reference: reference.to_string(),
            platform: profile.1.platform.clone(),
            profile: profile.0.to_owned(),
            secret: secret.map(ToOwned::to_owned),
        }),
    };
    digest.map(|digest| format!("{}@{digest}", reference.repository))
}

/// The key of a recipe for inputs, whatever key these hold.
#[must_use]
pub fn key(recipe: &Recipe, inputs: &Inputs) -> Key {
    Ingredients {
        parent: parent(recipe, inputs),
        local_name: recipe.parent.as_ref().map(|parent| parent.local_name.as_str()),
        build: &recipe.written_build,
        verify: &recipe.written_verify,
        files: &inputs.files,
        revision: recipe.names_revision().then_some(inputs.revision.as_str()),
        platform: &inputs.platform,
        builder: of_reference(&inputs.builder.0),
        engine_image: of_reference(&inputs.engine.0),
        isolation: inputs.isolation,
        engine: inputs.container_engine,
        hypervisor: inputs.hypervisor,
        request: inputs.request.as_deref(),
        replaces: inputs.replaces.as_deref(),
        inputs: recipe.files.iter().map(|input| (input.name.as_str(), input.file.sha256.as_str())).collect(),
        layers: recipe.parent.as_ref().map(|parent| parent.layers).unwrap_or_default(),
    }
    .key()
}

/// What the parent is known by: the digest of its manifest, or the SHA-256 of a file that is in no registry.
fn parent<'a>(recipe: &'a Recipe, inputs: &'a Inputs) -> Option<&'a str> {
    let file = || Some(recipe.parent.as_ref()?.origin.file()?.sha256.as_str());
    inputs.parent.as_ref().map(|parent| of_reference(&parent.0)).or_else(file)
}

/// The digest of repository@digest: where an image is found does not change what it is.
#[must_use]
pub fn of_reference(reference: &str) -> &str {
    reference.split_once('@').map_or(reference, |(_, digest)| digest)
}

#[cfg(test)]
mod tests;

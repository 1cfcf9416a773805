//! From what users write to what cannot be wrong in itself, with *all* problems at once.
//!
//! The API server refuses most of them before; but files are checked without one (`imagechain validate`),
//! and what an older schema let in is still stored.

pub mod problem;
mod profile;
mod recipe;
pub mod schema;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{
    duration,
    image::{Reference, Repository, Tag},
    placeholder::Placeholder,
    valid::{ParentOrigin, ValidBuild, ValidChain, ValidLink, ValidParent},
};
use crate::api::{
    MAX_CHAIN_AND_LINK,
    build::ImageBuild,
    chain::{ImageChain, ImageChainSpec, Link},
    recipe::Parent,
};

use problem::{Problem, Problems};
pub use profile::profile;

/// The shortest interval of look-ups, in seconds.
const SHORTEST_INTERVAL: u64 = 30;

/// Validates a chain.
///
/// # Errors
/// All problems, at least one.
pub fn chain(object: &ImageChain) -> Result<ValidChain, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    check_numbers(spec, &mut problems);
    let interval = spec.triggers.as_ref().and_then(|triggers| triggers.interval.as_ref());
    let interval = interval.and_then(|text| problems.take("spec.triggers.interval", duration::parse(&text.0)));
    if interval.is_some_and(|found| found.as_secs() < SHORTEST_INTERVAL) {
        problems.add("spec.triggers.interval", "must be 30s or longer");
    }
    let links = links(object, &mut problems);
    check_outputs(&links, &mut problems);
    let valid = ValidChain {
        name: object.name_any(),
        profiles: spec.profiles.iter().map(ToString::to_string).collect(),
        service_account: spec.service_account_name.to_string(),
        interval,
        parallelism: spec.parallelism.max(1).unsigned_abs(),
        on_failure: spec.on_failure,
        history: spec.history,
        suspend: spec.suspend,
        links: links.into_iter().flatten().collect(),
    };
    problems.finish(Some(valid))
}

/// Validates a build, the controller's as well as a user's.
///
/// # Errors
/// All problems, at least one.
pub fn build(object: &ImageBuild) -> Result<ValidBuild, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    check_label(&object.name_any(), &mut problems);
    if spec.chain_ref.is_some() != spec.inputs.is_some() {
        problems.add("spec.inputs", "are set by the controller, for the builds of a chain: leave them out");
    }
    let place = spec.chain_ref.as_ref().map_or(Place::Alone, |chain| Place::Build(&chain.link.0));
    let parent = match &spec.from {
        Some(from) => parent(from, &place, "spec.from", &mut problems).map(Some),
        None => Some(None),
    };
    let written = recipe::Written {
        source: Some((&spec.source, "spec.source")),
        paths: &spec.paths,
        build: &spec.build,
        verify: &spec.verify,
        publish: None,
        timeouts: &spec.timeouts,
        retry: spec.retry,
        placeholders: available(parent.as_ref(), &place),
    };
    let recipe = recipe::validate(&written, "spec", &mut problems);
    let valid = parent.zip(recipe).map(|(parent, recipe)| ValidBuild {
        profile: spec.profile.to_string(),
        service_account: spec.service_account_name.to_string(),
        parent,
        recipe,
    });
    problems.finish(valid)
}

/// The names of builds and profiles become values of labels on pods.
fn check_label(name: &str, problems: &mut Problems) {
    if name.len() > 63 {
        problems.add("metadata.name", "must have 63 characters at most: it becomes the value of a label on pods");
    }
}

fn check_numbers(spec: &ImageChainSpec, problems: &mut Problems) {
    if spec.profiles.is_empty() {
        problems.add("spec.profiles", "must name at least one BuildProfile");
    }
    if !(1..=64).contains(&spec.parallelism) {
        problems.add("spec.parallelism", "must be 1 to 64");
    }
    if spec.links.is_empty() || spec.links.len() > 256 {
        problems.add("spec.links", format_args!("must have 1 to 256 links, not {}", spec.links.len()));
    }
}

/// The links, each at its place: one that is wrong leaves a gap.
fn links(object: &ImageChain, problems: &mut Problems) -> Vec<Option<ValidLink>> {
    let mut earlier: BTreeMap<&str, usize> = BTreeMap::new();
    let mut valid = Vec::new();
    for (index, link) in object.spec.links.iter().enumerate() {
        let path = format!("spec.links[{index}]");
        check_name(&object.name_any(), link, &path, problems);
        if earlier.contains_key(link.name.0.as_str()) {
            problems.add(format_args!("{path}.name"), format_args!("«{}» is the name of an earlier link", link.name));
        }
        valid.push(validate_link(&object.spec, link, &earlier, &path, problems));
        earlier.insert(&link.name.0, index);
    }
    valid
}

fn check_name(chain: &str, link: &Link, path: &str, problems: &mut Problems) {
    let name = link.name.0.as_str();
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let good = name.len() <= 40
        && name.bytes().all(|letter| is_letter(letter) || letter == b'-')
        && [name.bytes().next(), name.bytes().last()].into_iter().all(|end| end.is_some_and(is_letter));
    if !good {
        problems.add(
            format_args!("{path}.name"),
            format_args!(
                "«{}» must be up to 40 lower case letters, digits and -, with no - at its ends",
                name.escape_debug()
            ),
        );
    }
    if chain.len() + name.len() > MAX_CHAIN_AND_LINK {
        problems.add(
            format_args!("{path}.name"),
            format_args!(
                "the names of chain and link may have {MAX_CHAIN_AND_LINK} characters together: shorten one of them"
            ),
        );
    }
}

fn validate_link(
    spec: &ImageChainSpec,
    link: &Link,
    earlier: &BTreeMap<&str, usize>,
    path: &str,
    problems: &mut Problems,
) -> Option<ValidLink> {
    let profile = link.profile.as_ref().or(spec.profiles.first())?;
    if !spec.profiles.contains(profile) {
        problems.add(format_args!("{path}.profile"), format_args!("«{profile}» must be one of spec.profiles"));
    }
    let place = Place::Link(&link.name.0, earlier);
    let parent = match &link.from {
        Some(from) => parent(from, &place, &format!("{path}.from"), problems).map(Some),
        None => Some(None),
    };
    let source = match (&link.source, &spec.source) {
        (Some(own), _) => Some((own, format!("{path}.source"))),
        (None, Some(common)) => Some((common, "spec.source".to_owned())),
        (None, None) => {
            problems.add(format_args!("{path}.source"), "set a source here, or spec.source for all links");
            None
        }
    };
    let written = recipe::Written {
        source: source.as_ref().map(|(source, path)| (*source, path.as_str())),
        paths: &link.paths,
        build: &link.build,
        verify: &link.verify,
        publish: link.publish.as_ref(),
        timeouts: &link.timeouts,
        retry: link.retry,
        placeholders: available(parent.as_ref(), &place),
    };
    // Whatever is wrong already: the rest is looked at all the same, so that every problem is told.
    let recipe = recipe::validate(&written, path, problems);
    Some(ValidLink { name: link.name.to_string(), profile: profile.to_string(), parent: parent?, recipe: recipe? })
}

/// Where a recipe stands.
enum Place<'a> {
    /// In a link of that name, after the links of those names and places.
    Link(&'a str, &'a BTreeMap<&'a str, usize>),
    /// In a build that was made for a link of that name.
    Build(&'a str),
    /// In a single build of a user.
    Alone,
}

/// Validates what a link or a build is built on.
fn parent(from: &Parent, place: &Place<'_>, path: &str, problems: &mut Problems) -> Option<ValidParent> {
    if [from.image.is_some(), from.link.is_some(), from.chain.is_some()].iter().filter(|set| **set).count() != 1 {
        problems.add(path, "set exactly one of image, link, chain");
        return None;
    }
    let origin = match (&from.image, &from.link, &from.chain) {
        (Some(image), ..) => {
            ParentOrigin::Image(problems.take(format_args!("{path}.image"), image.0.parse::<Reference>())?)
        }
        (_, Some(link), _) => of_link(&link.0, place, path, problems)?,
        (_, _, Some(other)) => ParentOrigin::Chain { chain: other.name.to_string(), link: other.link.to_string() },
        (None, None, None) => return None,
    };
    if from.secret_ref.is_some() && from.link.is_some() {
        problems.add(
            format_args!("{path}.secretRef"),
            "leave it out: what another link has staged is pulled with the profile's credential",
        );
    }
    let name = match place {
        Place::Link(link, _) | Place::Build(link) => link,
        Place::Alone => "build",
    };
    let local_name =
        from.local_name.as_ref().map_or_else(|| format!("imagechain.local/{name}:parent"), ToString::to_string);
    problems.take(format_args!("{path}.as"), local_name.parse::<Reference>())?;
    let secret = from.secret_ref.as_ref().map(|secret| secret.name.to_string());
    Some(ValidParent { origin, local_name, secret })
}

fn of_link(name: &str, place: &Place<'_>, path: &str, problems: &mut Problems) -> Option<ParentOrigin> {
    let path = format!("{path}.link");
    match place {
        Place::Build(_) => return Some(ParentOrigin::Sibling(name.to_owned())),
        Place::Alone => problems.add(path, "a single build has no earlier links: use from.chain or from.image"),
        Place::Link(own, earlier) => match earlier.get(name) {
            Some(index) => return Some(ParentOrigin::Link(*index)),
            None if name == *own => problems.add(path, "a link cannot stand on itself"),
            None => problems
                .add(path, format_args!("there is no earlier link «{name}»: move the parent before its children")),
        },
    }
    None
}

/// No two links may write the same tag, and none may write what it is itself built on.
fn check_outputs(links: &[Option<ValidLink>], problems: &mut Problems) {
    let mut owners: BTreeMap<(&Repository, &Tag), &str> = BTreeMap::new();
    for (index, link) in links.iter().enumerate() {
        let Some(link) = link else { continue };
        let Some(publish) = &link.recipe.publish else { continue };
        let path = format!("spec.links[{index}].publish.image.tags");
        for tag in &publish.tags {
            if let Some(owner) = owners.insert((&publish.repository, tag), &link.name) {
                let message = format!("{}:{tag} is published by the link «{owner}» already", publish.repository);
                problems.add(&path, message);
            }
            if is_own_base(links, link, &publish.repository, tag) {
                let message =
                    format!("{}:{tag} is what the link is built on: it would never be up to date", publish.repository);
                problems.add(&path, message);
            }
        }
    }
}

/// Whether a link would move the tag that it is itself built on, directly or by the links below it.
fn is_own_base(links: &[Option<ValidLink>], link: &ValidLink, repository: &Repository, tag: &Tag) -> bool {
    match link.parent.as_ref().map(|parent| &parent.origin) {
        Some(ParentOrigin::Image(base)) => {
            base.digest.is_none() && base.repository == *repository && base.manifest() == tag.to_string()
        }
        Some(ParentOrigin::Link(below)) => {
            let below = links.get(*below).and_then(Option::as_ref);
            below.is_some_and(|below| is_own_base(links, below, repository, tag))
        }
        _ => false,
    }
}

/// The placeholders that have a value outside tests: those of the parent only where there is one, and its
/// tag only where it is written; those of chain and link not in a single build. Of a parent that is wrong,
/// nothing is held against them.
fn available(parent: Option<&Option<ValidParent>>, place: &Place<'_>) -> BTreeSet<Placeholder> {
    use Placeholder::{
        BuildName, ChainName, LinkName, ParentDigest, ParentLocal, ParentReference, ParentRepository, ParentTag,
        SourceRevision,
    };
    let mut found = BTreeSet::from([BuildName, SourceRevision]);
    if !matches!(place, Place::Alone) {
        found.extend([LinkName, ChainName]);
    }
    let tag = match parent {
        Some(None) => return found,
        Some(Some(parent)) => matches!(&parent.origin, ParentOrigin::Image(image) if image.tag.is_some()),
        None => true,
    };
    found.extend([ParentReference, ParentRepository, ParentDigest, ParentLocal]);
    found.extend(tag.then_some(ParentTag));
    found
}

#[cfg(test)]
mod tests;

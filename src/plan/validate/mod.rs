//! From what users write to what cannot be wrong in itself, with *all* problems at once.
//!
//! The API server refuses most of them before; but files are checked without one (`imagechain validate`),
//! and what an older schema let in is still stored.

mod label;
pub mod problem;
mod profile;
pub mod schema;

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{
    duration,
    name::{LABEL, is_label},
    recipe::{self, OutputKey, Place, Written},
    valid::{ValidBuild, ValidChain, ValidLink},
};
use crate::api::{
    MAX_CHAIN_AND_LINK,
    build::ImageBuild,
    chain::{ImageChain, ImageChainSpec, Link},
};

use label::check_label;
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
    let written = Written {
        place,
        from: spec.from.as_ref(),
        source: Some((&spec.source, "spec.source")),
        paths: &spec.paths,
        files: &spec.files,
        build: &spec.build,
        verify: &spec.verify,
        publish: None,
        timeouts: &spec.timeouts,
        retry: spec.retry,
    };
    let recipe = recipe::validate(&written, "spec", &mut problems);
    let valid = recipe.map(|recipe| ValidBuild {
        profile: spec.profile.to_string(),
        service_account: spec.service_account_name.to_string(),
        recipe,
    });
    problems.finish(valid)
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
    if !is_label(name) {
        problems.add(format_args!("{path}.name"), format_args!("«{}» {LABEL}", name.escape_debug()));
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
    let source = match (&link.source, &spec.source) {
        (Some(own), _) => Some((own, format!("{path}.source"))),
        (None, Some(common)) => Some((common, "spec.source".to_owned())),
        (None, None) => None,
    };
    let written = Written {
        place: Place::Link(&link.name.0, earlier),
        from: link.from.as_ref(),
        source: source.as_ref().map(|(source, path)| (*source, path.as_str())),
        paths: &link.paths,
        files: &link.files,
        build: &link.build,
        verify: &link.verify,
        publish: link.publish.as_ref(),
        timeouts: &link.timeouts,
        retry: link.retry,
    };
    // Whatever is wrong already: the rest is looked at all the same, so that every problem is told.
    let recipe = recipe::validate(&written, path, problems);
    Some(ValidLink { name: link.name.to_string(), profile: profile.to_string(), recipe: recipe? })
}

/// No two links may publish the same, and none may publish what it is itself built on.
fn check_outputs(links: &[Option<ValidLink>], problems: &mut Problems) {
    let mut owners: BTreeMap<OutputKey, &str> = BTreeMap::new();
    for (index, link) in links.iter().enumerate() {
        let Some(link) = link else { continue };
        let Some(publish) = &link.recipe.publish else { continue };
        let path = format!("spec.links[{index}].publish.{}.{}", publish.field(), publish.field_of_names());
        for output in publish.outputs() {
            if let Some(owner) = owners.insert(output.clone(), &link.name) {
                problems.add(&path, format_args!("{output} is published by the link «{owner}» already"));
            }
            if is_own_base(links, link, &output) {
                problems
                    .add(&path, format_args!("{output} is what the link is built on: it would never be up to date"));
            }
        }
    }
}

/// Whether a link would move the tag that it is itself built on, directly or by the links below it.
fn is_own_base(links: &[Option<ValidLink>], link: &ValidLink, output: &OutputKey) -> bool {
    let below = link.recipe.parent_link().and_then(|below| links.get(below)?.as_ref());
    if let Some(below) = below {
        return is_own_base(links, below, output);
    }
    let base = link.recipe.parent.as_ref().and_then(|parent| parent.origin.reference());
    base.is_some_and(|base| output.is_base(base))
}

#[cfg(test)]
mod tests;

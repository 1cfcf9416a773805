//! Why a build is made: what has changed since the last build of the link, from what to what.

use std::fmt;

use super::{
    facts::{self, BuildFacts, BuildState},
    scene::Scene,
};
use crate::{
    api::build::{Cause, CauseKind, Inputs},
    plan::{
        resolve::of_reference,
        text::{LONGEST_OF_CAUSE, truncate_end},
        valid::ValidLink,
    },
};

/// The causes, the most telling first: at least one.
pub(super) fn of(scene: &Scene<'_>, link: &ValidLink, written: &str, inputs: &Inputs) -> Vec<Cause> {
    let builds = scene.builds.values().filter(|build| build.link == link.name);
    let previous = scene.previous.links.iter().find(|each| each.name.0 == link.name);
    let Some(last) = facts::last(builds.clone(), previous.and_then(|previous| previous.build.as_ref())) else {
        return vec![cause(CauseKind::FirstBuild, None, None)];
    };
    let image = builds.filter(|build| inputs.replaces.as_ref() == Some(&build.uid)).find_map(lost);
    let mut causes: Vec<Cause> = image.into_iter().collect();
    causes.extend(differences(link, written, last, inputs));
    if causes.is_empty() {
        // What is written is the same again, after a build that was superseded; or an operator of another
        // version makes other keys.
        causes.push(cause(CauseKind::SpecChanged, None, None));
    }
    causes
}

/// The image of these inputs that is gone; one that was superseded never had any.
fn lost(build: &BuildFacts) -> Option<Cause> {
    match &build.state {
        BuildState::Verified { product, .. } => {
            Some(cause(CauseKind::ArtifactGone, Some(shorten(of_reference(&product.reference))), None))
        }
        _ => None,
    }
}

fn differences(link: &ValidLink, written: &str, last: &BuildFacts, inputs: &Inputs) -> Vec<Cause> {
    let old = &last.inputs;
    let digest = |inputs: &Inputs| inputs.parent.as_ref().map(|parent| shorten(of_reference(&parent.0)));
    let image = |reference: &str| Some(shorten(of_reference(reference)));
    let parent = link.recipe.parent.as_ref();
    let below = parent.map_or(CauseKind::ParentChanged, |parent| parent.origin.cause_kind());
    let named = link.recipe.names_revision() && old.revision != inputs.revision;
    let candidates = [
        (last.written != written, cause(CauseKind::SpecChanged, None, None)),
        (
            old.files != inputs.files || named,
            cause(CauseKind::SourceChanged, Some(shorten(&old.revision)), Some(shorten(&inputs.revision))),
        ),
        (digest(old) != digest(inputs), cause(below, digest(old), digest(inputs))),
        (
            old.builder != inputs.builder,
            cause(CauseKind::ProfileChanged, image(&old.builder.0), image(&inputs.builder.0)),
        ),
        (
            old.builder == inputs.builder && old.engine != inputs.engine,
            cause(CauseKind::ProfileChanged, image(&old.engine.0), image(&inputs.engine.0)),
        ),
        (old.isolation != inputs.isolation, profile(&old.isolation, &inputs.isolation)),
        (old.container_engine != inputs.container_engine, profile(&old.container_engine, &inputs.container_engine)),
        (
            old.request != inputs.request,
            cause(CauseKind::Requested, old.request.as_deref().map(bounded), inputs.request.as_deref().map(bounded)),
        ),
    ];
    candidates.into_iter().filter(|(holds, _)| *holds).map(|(_, cause)| cause).collect()
}

/// A setting of the profile that is another now.
fn profile(from: &impl fmt::Debug, to: &impl fmt::Debug) -> Cause {
    cause(CauseKind::ProfileChanged, Some(format!("{from:?}")), Some(format!("{to:?}")))
}

fn cause(kind: CauseKind, from: Option<String>, to: Option<String>) -> Cause {
    Cause { kind, from, to }
}

/// The first twelve digits of a hash, after its algorithm.
fn shorten(hash: &str) -> String {
    let start = hash.find(':').map_or(0, |colon| colon + 1);
    hash.get(..start + 12).unwrap_or(hash).to_owned()
}

fn bounded(request: &str) -> String {
    truncate_end(request, LONGEST_OF_CAUSE).to_owned()
}

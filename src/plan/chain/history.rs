//! Which finished builds are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::{
    facts::{BuildFacts, BuildState},
    planner::Action,
    scene::Scene,
    view::View,
};

/// The deletions of those builds of each link that are beyond its history. A build that is wanted, the last
/// that was verified, and the one that is published, are kept besides; and all of a link of which it is not
/// known yet which build it wants. Of links that the chain no longer has, none is kept.
pub(super) fn prune(scene: &Scene<'_>, views: &[View<'_>]) -> Vec<Action> {
    let kept: BTreeSet<&str> = views.iter().flat_map(needed).collect();
    let mut ended: BTreeMap<(&str, bool), Vec<(Timestamp, &BuildFacts)>> = BTreeMap::new();
    let unsure: BTreeSet<&str> =
        views.iter().filter(|view| view.name().is_none()).map(|view| view.link.name.as_str()).collect();
    let live: BTreeSet<&str> = views.iter().map(|view| view.link.name.as_str()).collect();
    for build in scene.builds.values().filter(|build| !unsure.contains(build.link.as_str())) {
        if let Some((at, good)) = end(build) {
            ended.entry((&build.link, good)).or_default().push((at, build));
        }
    }
    let mut actions = Vec::new();
    for ((link, good), mut builds) in ended {
        let most = if good { scene.chain.history.succeeded } else { scene.chain.history.failed };
        let most = if live.contains(link) { most } else { 0 };
        // Of those that ended in the same second, one that is needed is the newest.
        builds.sort_by_key(|(at, build)| std::cmp::Reverse((*at, kept.contains(build.name.as_str()), &build.name)));
        let beyond = builds.into_iter().skip(usize::try_from(most).unwrap_or_default());
        let beyond = beyond.filter(|(_, build)| !kept.contains(build.name.as_str()));
        actions
            .extend(beyond.map(|(_, build)| Action::DeleteBuild { name: build.name.clone(), uid: build.uid.clone() }));
    }
    actions
}

fn needed<'v>(view: &'v View<'_>) -> impl Iterator<Item = &'v str> {
    let verified = view.verified.as_ref().map(|each| each.build.0.as_str());
    let published = view.published.as_ref().map(|each| each.build.0.as_str());
    [view.name(), verified, published].into_iter().flatten()
}

const fn end(build: &BuildFacts) -> Option<(Timestamp, bool)> {
    match build.state {
        BuildState::Open { .. } => None,
        BuildState::Verified { at, .. } => Some((at, true)),
        BuildState::Failed { at, .. } => Some((at, false)),
    }
}

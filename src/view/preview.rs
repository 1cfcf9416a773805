//! What would happen to each link of a chain, for somebody who asks before it does.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    api::{
        build::{Cause, CauseKind},
        chain::{DriftPolicy, LinkState, LinkStatus},
        condition::Reason,
    },
    plan::{
        chain::{Action, Correction, Plan, Scene, decide},
        recipe::Origin,
        valid::{ValidChain, ValidLink},
    },
};

/// What would happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It would be built, now or after the one that it stands on.
    Build,
    /// Its image would be published: it is verified already.
    Publish,
    /// Its build runs.
    Running,
    /// Nothing.
    UpToDate,
    /// Nothing, until somebody acts.
    Blocked,
}

impl Verdict {
    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Publish => "publish",
            Self::Running => "building",
            Self::UpToDate => "up to date",
            Self::Blocked => "blocked",
        }
    }
}

/// What would happen to a link, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The link.
    pub link: String,
    /// What would happen.
    pub verdict: Verdict,
    /// Why it would be built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The link that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why it is blocked, or what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in a sentence, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What would happen to links of other chains of the namespace that are asked about in the same breath, by chain and link.
pub type Others = BTreeMap<(String, String), Verdict>;

/// The steps of a chain, in the order of its links, and the plan that they were read from. How many builds
/// may run at once does not matter here.
#[must_use]
pub fn steps(scene: &Scene<'_>, others: &Others) -> (Vec<Step>, Plan) {
    let chain = ValidChain { parallelism: u32::MAX, ..scene.chain.clone() };
    let plan = decide(&Scene { chain: &chain, ..scene.clone() });
    let mut steps: Vec<Step> = Vec::new();
    for (link, status) in scene.chain.links.iter().zip(&plan.status.links) {
        let step = step(scene, &plan, link, status, &Before { steps: &steps, others });
        steps.push(step);
    }
    (steps, plan)
}

/// What is known to happen to other links.
struct Before<'s> {
    /// Earlier links of the chain.
    steps: &'s [Step],
    others: &'s Others,
}

impl Before<'_> {
    /// The link that another one stands on, and what would happen to it.
    fn below(&self, scene: &Scene<'_>, link: &ValidLink) -> Option<(String, Verdict)> {
        if let Some(name) = parent(scene, link) {
            return self.steps.iter().find(|step| step.link == name).map(|step| (name, step.verdict));
        }
        let Origin::Chain { chain, link } = &link.recipe.parent.as_ref()?.origin else { return None };
        let verdict = self.others.get(&(chain.clone(), link.clone()))?;
        Some((format!("{chain}/{link}"), *verdict))
    }
}

fn step(scene: &Scene<'_>, plan: &Plan, link: &ValidLink, status: &LinkStatus, before: &Before<'_>) -> Step {
    let blank = |verdict| Step {
        link: link.name.clone(),
        verdict,
        causes: Vec::new(),
        after: None,
        reason: status.reason,
        message: status.message.clone(),
    };
    if let Some(causes) = causes(plan, &link.name) {
        return Step { causes, reason: None, message: None, ..blank(Verdict::Build) };
    }
    let after = |name: String| {
        let causes = vec![Cause { kind: later(scene, &link.name), from: None, to: None }];
        Step { after: Some(name), causes, reason: None, message: None, ..blank(Verdict::Build) }
    };
    let below = before.below(scene, link);
    match status.state {
        // It stands on a link of another chain, whose image is still the earlier one.
        LinkState::Ready => match below {
            Some((name, Verdict::Build | Verdict::Running)) => after(name),
            _ if scene.written.drift == DriftPolicy::Correct && drifted(status) => {
                Step { message: destination(plan, link), ..blank(Verdict::Publish) }
            }
            _ => blank(Verdict::UpToDate),
        },
        LinkState::Publishing if status.reason == Some(Reason::Promoting) => {
            Step { reason: None, message: destination(plan, link), ..blank(Verdict::Publish) }
        }
        LinkState::Building => blank(Verdict::Running),
        LinkState::Blocked if status.reason == Some(Reason::WaitingForParent) => match below {
            Some((_, Verdict::Blocked)) | None => blank(Verdict::Blocked),
            Some((name, _)) => after(name),
        },
        _ => blank(Verdict::Blocked),
    }
}

/// The causes of the build of a link, if one would be made.
fn causes(plan: &Plan, link: &str) -> Option<Vec<Cause>> {
    plan.actions.iter().find_map(|action| match action {
        Action::CreateBuild { spec, .. } if spec.chain_ref.as_ref()?.link.0 == link => Some(spec.causes.clone()),
        _ => None,
    })
}

/// The link of the same chain that a link stands on.
fn parent(scene: &Scene<'_>, link: &ValidLink) -> Option<String> {
    let below = scene.chain.links.get(link.recipe.parent_link()?)?;
    Some(below.name.clone())
}

/// Why a link would be built after its parent.
fn later(scene: &Scene<'_>, link: &str) -> CauseKind {
    let known = scene.builds.values().any(|build| build.link == link)
        || scene.previous.links.iter().any(|each| each.name.0 == link && each.verified.is_some());
    if known { CauseKind::ParentChanged } else { CauseKind::FirstBuild }
}

/// Whether the operator puts tags of a link back.
fn drifted(status: &LinkStatus) -> bool {
    status.published.as_ref().is_some_and(|published| !published.drifted.is_empty())
}

/// Where a link is published, in words: with the time of its build where that is known.
fn destination(plan: &Plan, link: &ValidLink) -> Option<String> {
    let promotion = plan.actions.iter().find_map(|action| match action {
        Action::Promote(promotion) | Action::PutBack(Correction { promotion, .. }) => {
            (promotion.link == link.name).then_some(promotion)
        }
        _ => None,
    });
    match promotion {
        Some(promotion) => Some(promotion.destination.to_string()),
        None => link.recipe.publish.as_ref().map(ToString::to_string),
    }
}

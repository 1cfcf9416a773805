//! The status of a chain: what holds, and why.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    drift, history,
    planner::{Plan, Planner},
    scene::Scene,
    view::View,
};
use crate::{
    api::{
        chain::{ImageChainStatus, LONGEST_LINK_MESSAGE, LinkState, LinkStatus},
        condition::{ConditionType, Reason},
    },
    plan::{
        lookup,
        resolve::ProfileFact,
        status::{Conditions, Truth},
        text::{LONGEST_MESSAGE, truncate_middle},
        validate::problem::Problem,
    },
};

/// The plan for a chain whose object is wrong in itself: nothing, but to say so. What it has published stays.
#[must_use]
pub fn invalid(previous: &ImageChainStatus, generation: i64, now: Timestamp, problems: &[Problem]) -> Plan {
    let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let message = truncate_middle(&all.join("; "), LONGEST_MESSAGE);
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    conditions.ready(Reason::SpecInvalid, &message);
    conditions.set(ConditionType::UpToDate, Truth::Unknown, Reason::SpecInvalid, &message);
    let conditions = conditions.finish();
    // What was looked up was for another object.
    let blank = |link: &LinkStatus| LinkStatus { files: None, lacking_since: None, ..link.clone() };
    let links = previous.links.iter().map(blank).collect();
    let lookups = Vec::new();
    let status = ImageChainStatus { observed_generation: generation, conditions, links, lookups, ..previous.clone() };
    Plan { lookups: Vec::new(), actions: Vec::new(), status, wake: None }
}

impl Planner<'_, '_> {
    /// The plan with its status.
    pub(super) fn finish(mut self) -> Plan {
        let prune = history::prune(self.scene, &self.views);
        self.actions.extend(prune);
        let Self { scene, token, knowledge, views, actions, wake, .. } = self;
        let looked_up = knowledge.finish();
        let ready = views.iter().filter(|view| view.state == LinkState::Ready).count();
        let status = ImageChainStatus {
            observed_generation: scene.generation,
            conditions: conditions(scene, &views, ready, &looked_up),
            ready: Some(format!("{ready}/{}", views.len())),
            last_image: last_image(scene, &views),
            last_handled_request: token,
            lookups: looked_up.kept,
            links: views.iter().map(link_status).collect(),
        };
        let wake = [wake, looked_up.wake].into_iter().flatten().min();
        Plan { lookups: looked_up.wanted, actions, status, wake }
    }
}

fn link_status(view: &View<'_>) -> LinkStatus {
    LinkStatus {
        name: view.link.name.as_str().into(),
        state: view.state,
        reason: view.reason,
        message: (!view.message.is_empty()).then(|| truncate_middle(&view.message, LONGEST_LINK_MESSAGE)),
        build: view.build.as_deref().map(Into::into),
        files: view.files.clone(),
        lacking_since: view.lacking_since.map(Time),
        verified: view.verified.clone(),
        published: view.published.clone(),
    }
}

/// The image that was published last: of this pass, or of one before.
fn last_image(scene: &Scene<'_>, views: &[View<'_>]) -> Option<String> {
    let moved = views.iter().rev().find_map(|view| {
        let published = view.published.as_ref()?;
        let old = scene.previous.links.iter().find(|link| link.name.0 == view.link.name);
        let old = old.and_then(|link| link.published.as_ref());
        let same = old.is_some_and(|old| old.digest == published.digest && old.tags == published.tags);
        let tag = published.tags.first()?;
        (!same).then(|| format!("{}@{}", published.place(tag), published.digest))
    });
    moved.or_else(|| scene.previous.last_image.clone())
}

fn conditions(scene: &Scene<'_>, views: &[View<'_>], ready: usize, looked_up: &lookup::Outcome) -> Vec<Condition> {
    let mut conditions = Conditions::new(&scene.previous.conditions, scene.generation, scene.now);
    let summary = Summary { ready, views, suspended: scene.chain.suspend };
    if views.iter().all(View::is_settled) {
        let message = format!("all {} links have a published, verified image", views.len());
        conditions.ready(Reason::LinksReady, &message);
        summary.background(&mut conditions, looked_up);
    } else {
        summary.foreground(&mut conditions);
    }
    if let Some(message) = drift::told(scene, views) {
        conditions.set(ConditionType::Drifted, Truth::True, Reason::TagsOverwritten, &message);
    }
    if views.iter().any(|view| shares_staging(scene, view)) {
        let message = "a profile names no staging repository: build pods hold the credential that publishes";
        conditions.set(ConditionType::StagingShared, Truth::True, Reason::NoStagingRepository, message);
    }
    conditions.finish()
}

fn shares_staging(scene: &Scene<'_>, view: &View<'_>) -> bool {
    let profile = scene.profiles.get(&view.link.profile);
    let unstaged = matches!(profile, Some(ProfileFact::Usable(profile)) if profile.staging.is_none());
    unstaged && view.link.recipe.publish.is_some()
}

/// The links as a whole.
struct Summary<'v, 'a> {
    ready: usize,
    views: &'v [View<'a>],
    suspended: bool,
}

impl<'v, 'a> Summary<'v, 'a> {
    /// The link that failed, before those that only stand on it.
    fn failing(&self) -> Option<&'v View<'a>> {
        let root = |view: &&View<'_>| matches!(view.state, LinkState::Failed | LinkState::Stalled);
        self.views.iter().find(root).or_else(|| self.views.iter().find(|view| view.fails()))
    }

    /// The link that is furthest of those that go on by themselves.
    fn working(&self) -> Option<&'v View<'a>> {
        let goes_on = |view: &&View<'_>| !self.is_held(view);
        self.furthest(goes_on)
    }

    /// The link that is furthest of those that go on once `suspend` is gone.
    fn held(&self) -> Option<&'v View<'a>> {
        self.furthest(|view| self.is_held(view))
    }

    /// Whether a link that does not fail waits for the end of `suspend` alone: a suspended chain looks up, and its builds
    /// run to their end; nothing else goes on.
    fn is_held(&self, view: &View<'_>) -> bool {
        let goes_on = matches!(view.state, LinkState::Pending | LinkState::Building);
        self.suspended && (!goes_on || view.reason == Some(Reason::Suspended))
    }

    fn furthest(&self, of: impl Fn(&&View<'_>) -> bool) -> Option<&'v View<'a>> {
        let order =
            [LinkState::Publishing, LinkState::Building, LinkState::Queued, LinkState::Pending, LinkState::Blocked];
        let rank = |view: &&View<'_>| order.iter().position(|state| *state == view.state);
        let open = self.views.iter().filter(|view| view.state != LinkState::Ready && !view.fails());
        open.filter(of).min_by_key(rank)
    }

    /// The conditions of a chain whose images are all of the present generation: what is at work is at work
    /// in the background.
    fn background(&self, conditions: &mut Conditions<'_>, looked_up: &lookup::Outcome) {
        let mut set = |truth, reason, message: &str| {
            conditions.set(ConditionType::UpToDate, truth, reason, &truncate_middle(message, LONGEST_MESSAGE));
        };
        match (self.failing(), self.working().or_else(|| self.held()), &looked_up.trouble) {
            (Some(failed), ..) => {
                let (reason, message) = (reason(failed), told(failed));
                set(Truth::False, reason, &message);
                let message = truncate_middle(&format!("the earlier images are kept; {message}"), LONGEST_MESSAGE);
                conditions.set(ConditionType::Degraded, Truth::True, reason, &message);
            }
            (None, Some(view), _) if view.state == LinkState::Pending => {
                set(Truth::Unknown, reason(view), &told(view));
            }
            (None, Some(view), _) if self.is_held(view) => set(Truth::False, Reason::Suspended, &told(view)),
            (None, Some(view), _) => set(Truth::False, Reason::Rebuilding, &told(view)),
            (None, None, Some(failure)) => set(Truth::Unknown, failure.reason, &failure.message),
            (None, None, None) => set(Truth::True, Reason::NothingToDo, "nothing has to be rebuilt"),
        }
    }

    /// The conditions of a chain on its way to the images of the present generation.
    fn foreground(&self, conditions: &mut Conditions<'_>) {
        let progress = format!("{} of {} links ready", self.ready, self.views.len());
        let message = |view: &View<'_>| truncate_middle(&format!("{progress}; {}", told(view)), LONGEST_MESSAGE);
        match (self.working(), self.failing(), self.held()) {
            (Some(view), failing, _) => {
                let and_failed = failing.map(|failed| format!("; {}", told(failed))).unwrap_or_default();
                let message = truncate_middle(&(message(view) + &and_failed), LONGEST_MESSAGE);
                conditions.at_work(reason(view), &message);
                conditions.set(ConditionType::UpToDate, Truth::Unknown, reason(view), &message);
            }
            (None, Some(view), _) => {
                conditions.stalled(reason(view), &message(view));
                conditions.set(ConditionType::UpToDate, Truth::False, reason(view), &message(view));
            }
            // Nothing is to come, and nothing is wrong: `Ready` would promise images that are not there, and its
            // absence keeps nobody waiting who goes by kstatus.
            (None, None, Some(view)) => {
                conditions.set(ConditionType::UpToDate, Truth::False, Reason::Suspended, &message(view));
            }
            // All links are ready, but of another generation: what follows from this pass settles it.
            (None, None, None) => conditions.ready(Reason::Promoting, &progress),
        }
    }
}

fn reason(view: &View<'_>) -> Reason {
    view.reason.unwrap_or(Reason::LookingUp)
}

fn told(view: &View<'_>) -> String {
    format!("«{}»: {}", view.link.name, view.message)
}

//! Where one link stands, and what it needs next.

use std::collections::BTreeSet;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    causes,
    facts::{self, BuildFacts, BuildState},
    planner::{Action, Planner},
    scene::{Promotion, Scene},
    view::{Hold, Judgement, View, Wanted, known},
};
use crate::{
    api::{
        boxes::ArtifactContent,
        build::{Cause, ChainReference, ImageBuildSpec, Inputs},
        chain::{LinkState, LinkStatus, Published, Verified},
        common::{Digest, ImageReference, PublishedPlace, Tag},
        condition::{Class, Reason},
    },
    plan::{
        build::POD_PENDING,
        image,
        key::fingerprint,
        lack::Lack,
        lookup::{Found, Subject},
        name,
        recipe::Destination,
        resolve,
        valid::ValidLink,
    },
};

impl View<'_> {
    /// The action that makes the wanted build; it counts as made from now on.
    pub fn create(&mut self, scene: &Scene<'_>) -> Option<Action> {
        let wanted = self.wanted.as_ref()?;
        let causes = causes::of(scene, self.link, &self.written, &wanted.inputs);
        let (name, inputs) = (wanted.name.clone(), wanted.inputs.clone());
        let spec = snapshot(scene, self.index, self.link, inputs, causes)?;
        self.build = Some(name.clone());
        // As the build's own first status tells it, so that that one is no news for the chain. Why it was made, the
        // build tells in its causes.
        self.settle(Ok(Judgement::Running(Reason::PodPending, POD_PENDING.to_owned())));
        Some(Action::CreateBuild { name, spec: Box::new(spec) })
    }

    /// The promotion that is to be made now, or when it is to be tried again.
    pub fn promotion(&mut self, now: Timestamp) -> (Option<Promotion>, Option<Timestamp>) {
        // What a registry refused is tried again too, at a slow pace.
        let refused = self.state == LinkState::Stalled && self.promoted.is_some();
        if self.state != LinkState::Publishing && !refused {
            return (None, None);
        }
        let retry = self.promoted.as_ref().map(|answer| answer.expires(None).unwrap_or(Timestamp::MAX));
        match retry {
            Some(time) if time > now => (None, Some(time)),
            _ => (self.wanted_promotion(), None),
        }
    }

    fn wanted_promotion(&self) -> Option<Promotion> {
        let verified = self.current.as_ref()?;
        let destination = self.link.recipe.publish.as_ref()?.filled(made(verified))?;
        Some(Promotion {
            link: self.link.name.clone(),
            profile: self.link.profile.clone(),
            staged: verified.reference.to_string(),
            kind: verified.content.kind,
            content: verified.content.digest().to_owned(),
            destination,
        })
    }
}

/// What a build of a link asks for.
fn snapshot(
    scene: &Scene<'_>,
    index: usize,
    link: &ValidLink,
    inputs: Inputs,
    causes: Vec<Cause>,
) -> Option<ImageBuildSpec> {
    let written = scene.written.links.get(index)?;
    Some(ImageBuildSpec {
        chain_ref: Some(ChainReference {
            name: scene.chain.name.as_str().into(),
            uid: scene.uid.to_owned(),
            link: written.name.clone(),
        }),
        profile: link.profile.as_str().into(),
        service_account_name: scene.written.service_account_name.clone(),
        from: written.from.clone(),
        source: written.source.clone().or_else(|| scene.written.source.clone())?,
        paths: written.paths.clone(),
        files: written.files.clone(),
        build: written.build.clone(),
        verify: written.verify.clone(),
        timeouts: written.timeouts.clone(),
        retry: written.retry,
        inputs: Some(inputs),
        causes,
    })
}

impl<'a> Planner<'_, 'a> {
    /// Looks at a link, after those before it.
    pub(super) fn look(&mut self, index: usize) {
        let Some(mut view) = self.blank(index) else { return };
        let judged = self.inputs(&mut view).and_then(|inputs| self.follow(&mut view, inputs));
        view.settle(judged);
        self.await_missing(&mut view);
        self.look_at_tags(&mut view);
        self.views.push(view);
    }

    /// What is known of a link before anything is asked.
    fn blank(&self, index: usize) -> Option<View<'a>> {
        let scene = self.scene;
        let (link, written) = (scene.chain.links.get(index)?, scene.written.links.get(index)?);
        let previous = self.previous(&link.name);
        let (all, own) = facts::written(scene.written, written, &link.profile, &self.source);
        let below = link.recipe.parent_link().and_then(|below| self.views.get(below));
        let below = below.map(|view| view.recipe.as_str());
        Some(View {
            link,
            index,
            recipe: short(&fingerprint(&["recipe", &own, below.unwrap_or_default()])),
            written: all,
            wanted: None,
            due: false,
            current: None,
            verified: previous.and_then(|each| each.verified.clone()).or_else(|| self.last_verified(&link.name)),
            published: previous.and_then(|each| self.still_published(link, each.published.as_ref()?)),
            promoted: None,
            state: LinkState::Pending,
            reason: None,
            message: String::new(),
            build: self.last_build(&link.name).map(|build| build.name.clone()),
            files: None,
            lacking_since: None,
            correction: None,
            trouble: None,
        })
    }

    /// What is missing may come: for a time, that is nobody's matter. An open build counts for itself.
    fn await_missing(&mut self, view: &mut View<'a>) {
        let build = view.name().and_then(|name| self.scene.builds.get(name));
        let by_build = build.is_some_and(|build| matches!(build.state, BuildState::Open { stalled: true, .. }));
        let Some(reason) = view.reason.filter(|_| view.state == LinkState::Stalled && !by_build) else { return };
        let since = self.previous(&view.link.name).and_then(|previous| previous.lacking_since.as_ref());
        let Some(lack) = Lack::of(reason, since, view.link.recipe.limits.dependency, self.scene.now) else { return };
        view.lacking_since = Some(lack.since);
        if self.scene.now < lack.until {
            view.state = if view.promoted.is_some() { LinkState::Publishing } else { LinkState::Pending };
            self.wake_at(lack.until);
        }
    }

    /// What is published of a link: what it no longer asks for, or what another chain owns, is not its own any
    /// more, whatever it leads to.
    fn still_published(&self, link: &ValidLink, old: &Published) -> Option<Published> {
        let destination = link.recipe.publish.as_ref().filter(|destination| destination.is_at(old))?;
        let own = destination.outputs().into_iter().filter(|output| !self.scene.taken.contains_key(output));
        let created = old.created.as_ref().map(|created| created.0);
        let own: BTreeSet<String> = own.filter_map(|output| Some(output.name().filled(created)?.to_string())).collect();
        let tags: Vec<Tag> = old.tags.iter().filter(|tag| own.contains(&tag.0)).cloned().collect();
        let drifted = old.drifted.iter().filter(|each| own.contains(&each.tag.0)).cloned().collect();
        (!tags.is_empty()).then(|| Published { tags, drifted, ..old.clone() })
    }

    pub(super) fn previous(&self, link: &str) -> Option<&'a LinkStatus> {
        self.scene.previous.links.iter().find(|each| each.name.0 == link)
    }

    fn builds_of(&self, link: &str) -> impl Iterator<Item = &'a BuildFacts> + Clone {
        self.all_builds_of(link).filter(|build| build.genuine)
    }

    /// With those that we did not make, or would not make so any more.
    fn all_builds_of(&self, link: &str) -> impl Iterator<Item = &'a BuildFacts> + Clone {
        self.builds.get(link).cloned().unwrap_or_default().into_iter()
    }

    /// The build that the status named last, else the newest.
    fn last_build(&self, link: &str) -> Option<&'a BuildFacts> {
        let named = self.previous(link).and_then(|previous| previous.build.as_ref());
        facts::last(self.builds_of(link), named)
    }

    /// The last verified image, as the builds tell it where the status was wiped.
    fn last_verified(&self, link: &str) -> Option<Verified> {
        let ended = self.builds_of(link).filter_map(|build| match &build.state {
            BuildState::Verified { at, .. } => Some((*at, build)),
            _ => None,
        });
        let (_, build) = ended.max_by_key(|(at, build)| (*at, &build.name))?;
        verified(build, "")
    }

    /// From the inputs to their build, and to what became of it.
    fn follow(&mut self, view: &mut View<'a>, mut inputs: Inputs) -> Result<Judgement, Hold> {
        inputs.replaces = self.latest_of(view.link, &inputs).and_then(|build| build.inputs.replaces.clone());
        let name = loop {
            let key = resolve::key(&view.link.recipe, &inputs);
            let name = name::build(&self.scene.chain.name, self.scene.uid, &view.link.name, &key);
            key.as_str().clone_into(&mut inputs.key);
            let build = self.scene.builds.get(&name);
            if self.scene.strangers.contains(&name) || build.is_some_and(|build| !build.is_of(&view.link.name)) {
                let message = format!("the ImageBuild «{name}» is not the controller's: delete it");
                return Err(Hold::new(LinkState::Stalled, Reason::NameCollision, message));
            }
            let Some(build) = build else { break name };
            if !self.is_gone(view, build)? {
                break name;
            }
            inputs.replaces = Some(build.uid.clone());
        };
        let build = self.scene.builds.get(&name);
        let known = view.verified.clone().filter(|last| last.key == inputs.key);
        let known = known.filter(|last| !self.is_missed(&last.reference.0, None));
        // Where nobody knows the time that its tags hold, it is built again.
        let publish = view.link.recipe.publish.as_ref();
        let known = known.filter(|last| publish.is_none_or(|publish| publish.filled(made(last)).is_some()));
        view.wanted = Some(Wanted { name, inputs });
        match (build.map(|build| &build.state), build, known) {
            (Some(BuildState::Open { reason, message, stalled }), Some(build), _) => {
                self.look_for_parent(view, build)?;
                view.build = Some(build.name.clone());
                match (*stalled, reason.is_lack()) {
                    (true, _) => Err(Hold::new(LinkState::Stalled, *reason, message)),
                    (false, true) => Err(Hold::new(LinkState::Pending, *reason, message)),
                    (false, false) => Ok(Judgement::Running(*reason, message.clone())),
                }
            }
            (Some(BuildState::Failed { reason, message, .. }), Some(build), _) => {
                view.build = Some(build.name.clone());
                Err(Hold::new(LinkState::Failed, *reason, advised(*reason, message, &build.name)))
            }
            (Some(BuildState::Verified { .. }), Some(build), _) => {
                view.build = Some(build.name.clone());
                self.publish(view, verified(build, &view.recipe))
            }
            // Its build was deleted, but its image has been verified.
            (_, _, Some(known)) => {
                let known = Verified { recipe: view.recipe.clone(), ..known };
                self.publish(view, Some(known))
            }
            _ => Ok(self.await_turn(view)),
        }
    }

    /// The last build of the same inputs: those before it were replaced, and may be forgotten by now.
    fn latest_of(&self, link: &ValidLink, inputs: &Inputs) -> Option<&'a BuildFacts> {
        let same = self.builds_of(&link.name).filter(|build| {
            let (key, replaces) = (build.inputs.key.clone(), build.inputs.replaces.clone());
            build.inputs == Inputs { key, replaces, ..inputs.clone() }
                && resolve::key(&link.recipe, &build.inputs).as_str() == build.inputs.key
        });
        same.max_by_key(|build| (!self.replaced.contains(build.uid.as_str()), build.created, &build.name))
    }

    /// Whether a build is of no use any more: it was superseded, it failed under other terms, or its image is
    /// no longer there.
    fn is_gone(&mut self, view: &View<'a>, build: &BuildFacts) -> Result<bool, Hold> {
        if self.replaced.contains(build.uid.as_str()) {
            return Ok(true);
        }
        match &build.state {
            BuildState::Failed { reason: Reason::Superseded, .. } => Ok(true),
            BuildState::Failed { .. } => Ok(build.written != view.written),
            BuildState::Verified { product, at } => self.is_lost(view, build, (&product.reference, *at)),
            BuildState::Open { .. } => Ok(false),
        }
    }

    /// A build that does not find what it stands on: whether that is still there, so that it is made again
    /// where it is not.
    fn look_for_parent(&mut self, view: &View<'a>, build: &BuildFacts) -> Result<(), Hold> {
        let on_a_link = view.link.recipe.parent_link().is_some();
        match &build.inputs.parent {
            Some(parent) if on_a_link && build.lacks_its_parent() => {
                let subject = Subject::Artifact { reference: parent.0.clone(), profile: view.link.profile.clone() };
                known(self.knowledge.presence(&subject), "what it stands on").map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Whether a verified image was lost: a promotion did not find it, or, where an earlier build comes to
    /// use again, a look at the registry does not.
    fn is_lost(&mut self, view: &View<'a>, build: &BuildFacts, image: (&str, Timestamp)) -> Result<bool, Hold> {
        let (reference, made) = image;
        if self.is_missed(reference, Some(made)) {
            return Ok(true);
        }
        let in_use = view.verified.as_ref().is_some_and(|last| last.key == build.inputs.key);
        if in_use || self.last_build(&view.link.name).is_some_and(|last| last.uid == build.uid) {
            return Ok(false);
        }
        let subject = Subject::Artifact { reference: reference.to_owned(), profile: view.link.profile.clone() };
        known(self.knowledge.presence(&subject), "an earlier image").map(|there| !there)
    }

    /// Whether somebody did not find an image, since it was made: what was missed before may be back, as
    /// builds of the same inputs may make the same image. A status tells whole seconds: what was missed in the
    /// second in which it was made may be older.
    fn is_missed(&self, reference: &str, made: Option<Timestamp>) -> bool {
        let promoted = self.scene.promotions.iter().filter(|(promotion, _)| promotion.staged == reference);
        let looked_up = self
            .scene
            .answers
            .iter()
            .filter(|(subject, _)| matches!(subject, Subject::Artifact { reference: of, .. } if of == reference));
        let mut answers = promoted.map(|(_, answer)| answer).chain(looked_up.map(|(_, answer)| answer));
        answers.any(|answer| {
            let later = |made: Timestamp| made.as_second() < answer.at.as_second();
            answer.result == Ok(Found::Presence(false)) && made.is_none_or(later)
        })
    }

    /// A link whose build is to be made: not beside another one of the same link.
    fn await_turn(&self, view: &mut View<'a>) -> Judgement {
        if let Some(other) = self.all_builds_of(&view.link.name).find(|build| !build.is_finished()) {
            view.build = Some(other.name.clone());
            let message = format!("the build «{}» of earlier inputs ends first", other.name);
            return Judgement::Running(Reason::Rebuilding, message);
        }
        Judgement::Due
    }

    /// A link whose image is verified: compares what is published with it.
    fn publish(&self, view: &mut View<'a>, current: Option<Verified>) -> Result<Judgement, Hold> {
        view.verified.clone_from(&current);
        view.current = current;
        let Some(wanted) = view.wanted_promotion() else { return Ok(Judgement::Ready) };
        let is_elsewhere = |to: &&image::Repository| !wanted.staged.starts_with(&format!("{}/", to.registry));
        if let Some(to) = wanted.destination.repository().filter(is_elsewhere) {
            let message = format!("its image is staged on another registry than {to}: request a rebuild");
            return Err(Hold::new(LinkState::Stalled, Reason::StagingNotMountable, message));
        }
        let digest = resolve::of_reference(&wanted.staged).to_owned();
        if view.published.as_ref().is_some_and(|old| old.digest.0 == digest && wanted.destination.is_of(old)) {
            let recipe = view.recipe.clone();
            view.published = view.published.take().map(|published| Published { recipe, ..published });
            return Ok(Judgement::Ready);
        }
        // An image that was missed before it was made anew is looked for once more.
        let promoted = self.scene.promotions.get(&wanted);
        view.promoted = promoted.filter(|answer| answer.result != Ok(Found::Presence(false))).cloned();
        match view.promoted.as_ref().map(|answer| &answer.result) {
            Some(Ok(_)) => {
                view.published = Some(publication(view, &wanted.destination, digest, self.scene.now));
                Ok(Judgement::Ready)
            }
            Some(Err(failure)) if failure.reason.class() != Class::Infrastructure => {
                Err(Hold::new(LinkState::Stalled, failure.reason, &failure.message))
            }
            Some(Err(failure)) => Err(Hold::new(LinkState::Publishing, failure.reason, &failure.message)),
            None => Ok(Judgement::Publish),
        }
    }
}

fn publication(view: &View<'_>, publish: &Destination<image::Tag>, digest: String, now: Timestamp) -> Published {
    Published {
        repository: PublishedPlace(publish.address()),
        tags: publish.names().into_iter().map(Tag).collect(),
        provider: publish.provider(),
        digest: Digest(digest),
        recipe: view.recipe.clone(),
        build: view.current.as_ref().map(|current| current.build.clone()).unwrap_or_default(),
        created: view.current.as_ref().and_then(|current| current.created.clone()),
        at: Some(Time(now)),
        drifted: Vec::new(),
    }
}

/// The image of a build, if it is verified.
pub(super) fn verified(build: &BuildFacts, recipe: &str) -> Option<Verified> {
    let BuildState::Verified { product, .. } = &build.state else { return None };
    Some(Verified {
        key: build.inputs.key.clone(),
        recipe: recipe.to_owned(),
        reference: ImageReference(product.reference.clone()),
        content: ArtifactContent::new(product.kind, &product.content),
        build: build.name.as_str().into(),
        created: Some(Time(build.created)),
    })
}

/// When the build of an image was made.
fn made(image: &Verified) -> Option<Timestamp> {
    image.created.as_ref().map(|created| created.0)
}

/// What went wrong, and how to try again where a change of the chain is not what helps.
fn advised(reason: Reason, message: &str, build: &str) -> String {
    match reason.class() {
        Class::Resource | Class::Configuration | Class::Infrastructure => {
            format!("{message}; once that is put right: kubectl delete imagebuild {build}")
        }
        _ => message.to_owned(),
    }
}

/// Enough of a hash for what is compared with one earlier value.
fn short(hash: &str) -> String {
    hash.get(..32).unwrap_or(hash).to_owned()
}

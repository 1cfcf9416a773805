//! Published tags that somebody else has moved or deleted: how that is told, and how they are put back.
//!
//! ```text
//!  looked up ──► recorded in the status ──► put back, of the digest that was published ──► recorded as moved anew
//! ```
//!
//! What is found is written down before anything is moved: the write fails for who sees an old chain, and whoever comes
//! after a crash goes on from there. An answer is about one move of ours ([`Subject::Published`]): what somebody saw
//! before it is none about the next.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{
    link::verified,
    planner::Planner,
    scene::{Correction, Promotion, Scene, verified_of},
    view::{View, place_of},
};
use crate::{
    api::{
        chain::{DriftPolicy, DriftedTag, ImageChainStatus, LinkState, Published, Verified},
        common::{Digest, Tag},
    },
    plan::{
        image,
        lookup::{Found, Stray, Subject},
        recipe::Destination,
        resolve::of_reference,
        text::{LONGEST_MESSAGE, truncate_middle},
    },
};

impl<'a> Planner<'_, 'a> {
    /// Compares where the published tags of a link lead with where they were moved, as far as that is known.
    pub(super) fn look_at_tags(&mut self, view: &mut View<'a>) {
        let Some(previous) = self.previous(&view.link.name).and_then(|each| each.published.as_ref()) else { return };
        let wanted = view.link.recipe.publish.as_ref();
        let Some(destination) = wanted.and_then(|wanted| place_of(wanted, previous)) else { return };
        // Tags that are about to be moved, or were moved in this pass, are nobody else's doing.
        let stands = |now: &Published| now.at == previous.at && now.digest == previous.digest;
        if view.state == LinkState::Publishing || !view.published.as_ref().is_some_and(stands) {
            return;
        }
        let Some(subject) = self.subject(view, destination, previous) else { return };
        let moved = previous.at.as_ref().map_or(Timestamp::MIN, |at| at.0);
        let seen = self.knowledge.strays(&subject, moved, !self.remembers);
        let seen = seen.map(|(strays, at)| strays.iter().map(|stray| drifted(stray, at, &previous.drifted)).collect());
        let drifted = seen.unwrap_or_else(|| previous.drifted.clone());
        if let Some(published) = &mut view.published {
            published.drifted.clone_from(&drifted);
        }
        if drifted.is_empty() || self.scene.written.drift != DriftPolicy::Correct || self.scene.chain.suspend {
            return;
        }
        // It is written down first.
        if drifted == previous.drifted { self.put_back(view, previous) } else { self.wake_at(self.scene.now) }
    }

    /// What a look at a publication is to find; `None` of a file whose checksum nobody knows any more, since its build
    /// was deleted.
    fn subject(&self, view: &View<'_>, destination: Destination<image::Tag>, published: &Published) -> Option<Subject> {
        let content = self.published_before(view, published).map(|promotion| promotion.content);
        Some(Subject::Published {
            shown: destination.shown(&published.digest.0, content.as_deref())?.to_owned(),
            destination,
            digest: published.digest.to_string(),
            moved: published.at.as_ref().map(|at| at.0),
            profile: view.link.profile.clone(),
        })
    }

    /// Lets tags lead to what was published again, or takes over what became of that.
    fn put_back(&mut self, view: &mut View<'a>, published: &Published) {
        let Some(promotion) = self.published_before(view, published) else { return };
        let answer = self.scene.promotions.get(&promotion);
        match answer.map(|answer| (&answer.result, answer.expires(None))) {
            Some((Ok(Found::Presence(false)), _)) if !is_there(view, &promotion) => {
                view.trouble = Some("its image is no longer in the registry".to_owned());
                return;
            }
            Some((Ok(Found::Presence(true)), _)) => {
                let at = Some(Time(self.scene.now));
                view.published =
                    view.published.take().map(|published| Published { at, drifted: Vec::new(), ..published });
                return;
            }
            Some((Err(failure), again)) => {
                view.trouble = Some(failure.message.clone());
                if let Some(again) = again.filter(|again| *again > self.scene.now) {
                    return self.wake_at(again);
                }
            }
            _ => {}
        }
        let known = verified_of(self.scene.builds.values(), &view.link.name);
        view.correction = Some(Correction { promotion, known });
    }

    /// The promotion of what is published: of the last verified image, or of the build that it is from.
    fn published_before(&self, view: &View<'_>, published: &Published) -> Option<Promotion> {
        let is_published = |image: &Verified| of_reference(&image.reference.0) == published.digest.0;
        let build = self.scene.builds.get(&published.build.0).filter(|build| build.is_of(&view.link.name));
        let image = view.verified.clone().filter(is_published);
        let image = image.or_else(|| verified(build?, &view.recipe).filter(is_published))?;
        Some(Promotion {
            link: view.link.name.clone(),
            profile: view.link.profile.clone(),
            staged: image.reference.to_string(),
            kind: image.content.kind,
            content: image.content.digest().to_owned(),
            destination: place_of(view.link.recipe.publish.as_ref()?, published)?,
        })
    }
}

/// Whether an image that was missed once has been made anew since: else its build would be of no use any more.
fn is_there(view: &View<'_>, promotion: &Promotion) -> bool {
    view.current.as_ref().is_some_and(|current| current.reference.0 == promotion.staged)
}

/// Whether a question is about an earlier move of tags than those that a status tells of: nobody asks it again.
#[must_use]
pub fn is_past(subject: &Subject, status: &ImageChainStatus) -> bool {
    let Subject::Published { digest, moved, .. } = subject else { return false };
    let mut published = status.links.iter().filter_map(|link| link.published.as_ref());
    !published.any(|each| each.digest.0 == *digest && each.at.as_ref().map(|at| at.0) == *moved)
}

/// A tag that leads elsewhere, with the time when that was seen first.
fn drifted(stray: &Stray, at: Timestamp, before: &[DriftedTag]) -> DriftedTag {
    let before = before.iter().find(|each| each.tag.0 == stray.tag);
    // As the API server keeps it: the message has it, too, and is not to be another one when it is read back.
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    DriftedTag {
        tag: Tag(stray.tag.clone()),
        leads_to: stray.leads_to.clone().map(Digest),
        since: before.map_or(Time(at), |before| before.since.clone()),
    }
}

/// Which published tags lead elsewhere, and what follows from it; nothing if all are where they belong.
pub(super) fn told(scene: &Scene<'_>, views: &[View<'_>]) -> Option<String> {
    let tags = views.iter().flat_map(|view| {
        let what_follows = what_follows(scene, view);
        let published = view.published.iter();
        published.flat_map(|published| published.drifted.iter().map(move |each| (published, each))).map(
            move |(published, each)| {
                format!("«{}»: {} (since {}); {what_follows}", view.link.name, sentence(published, each), each.since.0)
            },
        )
    });
    let all: Vec<_> = tags.collect();
    (!all.is_empty()).then(|| truncate_middle(&all.join("; "), LONGEST_MESSAGE))
}

fn what_follows(scene: &Scene<'_>, view: &View<'_>) -> String {
    match (scene.written.drift, &view.trouble) {
        (DriftPolicy::Report, _) => "put it back, or set spec.drift to Correct".to_owned(),
        (DriftPolicy::Correct, _) if scene.chain.suspend => "it is put back when spec.suspend is gone".to_owned(),
        (DriftPolicy::Correct, Some(trouble)) => format!("it cannot be put back now: {trouble}"),
        (DriftPolicy::Correct, None) => "it is put back".to_owned(),
    }
}

/// Where a tag leads, and where it should.
pub(in crate::plan) fn sentence(published: &Published, each: &DriftedTag) -> String {
    let (place, digest) = (published.place(&each.tag), &published.digest);
    match (&each.leads_to, published.provider) {
        (Some(other), None) => format!("{place} leads to {other}, and not to {digest}"),
        (Some(other), Some(_)) => format!("{place} is another file, with the SHA-256 {other}"),
        (None, None) => format!("{place}, which led to {digest}, is gone"),
        (None, Some(_)) => format!("{place} is gone"),
    }
}

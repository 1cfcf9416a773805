//! Events, as the difference of two statuses: what stands in both was told already, so that none is missing
//! and none is told twice. Only what somebody should look at is one; progress is in the conditions.

use super::{
    chain::sentence,
    text::{LONGEST_MESSAGE, truncate_end},
};
use crate::api::{
    build::{Attempt, ImageBuildStatus},
    chain::{DriftedTag, ImageChainStatus, LinkState, LinkStatus},
    condition::{Class, ConditionType, Reason},
};

/// What is told about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub kind: Kind,
    /// Why, as in the conditions.
    pub reason: Reason,
    /// What happened, in a sentence of at most 1024 bytes.
    pub message: String,
}

/// How much an event matters: the two types that Kubernetes knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody wanted it so.
    Normal,
    /// Something went wrong.
    Warning,
}

impl Event {
    /// An event, whose kind follows from the class of its reason.
    #[must_use]
    pub fn new(reason: Reason, message: &str) -> Self {
        let kind = match reason.class() {
            Class::Success | Class::Progress | Class::Cancelled => Kind::Normal,
            _ => Kind::Warning,
        };
        // The most of a note that the API server takes is as long (validation of `events.k8s.io/v1`).
        let message = truncate_end(message, LONGEST_MESSAGE).to_owned();
        Self { kind, reason, message }
    }
}

/// What is to be told of a build whose status was `previous` and is `next`: attempts that failed, its own
/// failure, and that it needs somebody to go on. Where one of these is the reason of another, the last tells it.
#[must_use]
pub fn of_build(previous: &ImageBuildStatus, next: &ImageBuildStatus) -> Vec<Event> {
    let last = failed(previous, next).or_else(|| stuck(previous, next));
    let attempts = next.attempts.iter().filter_map(|attempt| lost(previous, attempt));
    let told = |event: &Event| last.as_ref().is_some_and(|last| last.reason == event.reason);
    let mut events: Vec<_> = attempts.filter(|event| !told(event)).collect();
    events.extend(last);
    events
}

fn lost(previous: &ImageBuildStatus, attempt: &Attempt) -> Option<Event> {
    let before = previous.attempts.iter().find(|before| before.number == attempt.number);
    let reason = attempt.reason.filter(|_| before.is_none_or(|before| before.reason.is_none()))?;
    let message = attempt.message.as_deref().unwrap_or("nobody says why");
    Some(Event::new(reason, &format!("attempt {} (pod {}): {message}", attempt.number, attempt.pod)))
}

fn failed(previous: &ImageBuildStatus, next: &ImageBuildStatus) -> Option<Event> {
    let failure = next.failure.as_ref().filter(|_| previous.failure.is_none())?;
    Some(Event::new(failure.reason, &failure.message))
}

/// What does not go on as it is. What is missing is told when it is first missed, not when the patience ends.
fn stuck(previous: &ImageBuildStatus, next: &ImageBuildStatus) -> Option<Event> {
    let of = |status: &ImageBuildStatus| {
        let ready = status.conditions.iter().find(|each| each.type_ == ConditionType::Ready.to_string())?;
        let reason = Reason::ALL.iter().find(|reason| reason.to_string() == ready.reason)?;
        (ready.status == "False" || reason.is_lack()).then(|| (*reason, ready.message.clone()))
    };
    // A build that has failed stays stalled: that was told.
    let (reason, message) = of(next).filter(|_| next.finished_at.is_none())?;
    (of(previous).map(|(before, _)| before) != Some(reason)).then(|| Event::new(reason, &message))
}

/// What is to be told of a chain whose status was `previous` and is `next`: links that were published or that
/// cannot go on, and an object that is wrong in itself. Links that only wait for another are not told: it is.
#[must_use]
pub fn of_chain(previous: &ImageChainStatus, next: &ImageChainStatus) -> Vec<Event> {
    let links = next.links.iter().flat_map(|link| {
        let before = previous.links.iter().find(|before| before.name == link.name);
        [published(before, link), drifted(before, link), put_back(before, link), held(before, link)]
    });
    links.flatten().chain(invalid(previous, next)).collect()
}

fn published(before: Option<&LinkStatus>, link: &LinkStatus) -> Option<Event> {
    let now = link.published.as_ref()?;
    let old = before.and_then(|before| before.published.as_ref());
    let same =
        old.is_some_and(|old| (&old.repository, &old.tags, &old.digest) == (&now.repository, &now.tags, &now.digest));
    let tags: Vec<_> = now.tags.iter().map(ToString::to_string).collect();
    let message = || format!("«{}»: {} → {}", link.name, now.place(tags.join(", ")), now.digest);
    (!same).then(|| Event::new(Reason::TagsMoved, &message()))
}

/// Tags that somebody else has moved since.
fn drifted(before: Option<&LinkStatus>, link: &LinkStatus) -> Option<Event> {
    let now = link.published.as_ref()?;
    let old = before.and_then(|before| before.published.as_ref());
    let known = |each: &DriftedTag| {
        old.is_some_and(|old| old.drifted.iter().any(|old| (&old.tag, &old.leads_to) == (&each.tag, &each.leads_to)))
    };
    let new: Vec<_> = now.drifted.iter().filter(|each| !known(each)).map(|each| sentence(now, each)).collect();
    (!new.is_empty()).then(|| Event::new(Reason::TagsOverwritten, &format!("«{}»: {}", link.name, new.join("; "))))
}

/// Tags that led elsewhere, and that were moved by us since. Whom nobody tells of it is who did it by hand.
fn put_back(before: Option<&LinkStatus>, link: &LinkStatus) -> Option<Event> {
    let (old, now) = (before?.published.as_ref()?, link.published.as_ref()?);
    if old.drifted.is_empty() || old.digest != now.digest || old.at == now.at {
        return None;
    }
    let led = |each: &DriftedTag| match &each.leads_to {
        Some(other) => format!("{} (it led to {other})", each.tag),
        None => format!("{} (it was gone)", each.tag),
    };
    let tags: Vec<_> = old.drifted.iter().map(led).collect();
    let message = format!("«{}»: {} → {} again", link.name, now.place(tags.join(", ")), now.digest);
    Some(Event::new(Reason::TagsPutBack, &message))
}

fn held(before: Option<&LinkStatus>, link: &LinkStatus) -> Option<Event> {
    let is_stuck = |reason: &Reason| matches!(link.state, LinkState::Failed | LinkState::Stalled) || reason.is_lack();
    let reason = link.reason.filter(is_stuck)?;
    let told = before.is_some_and(|before| before.reason == Some(reason) && before.build == link.build);
    (!told).then(|| Event::new(reason, &format!("«{}»: {}", link.name, link.message.as_deref().unwrap_or_default())))
}

fn invalid(previous: &ImageChainStatus, next: &ImageChainStatus) -> Option<Event> {
    let of = |status: &ImageChainStatus| {
        let ready = status.conditions.iter().find(|each| each.type_ == ConditionType::Ready.to_string())?;
        (ready.reason == Reason::SpecInvalid.to_string()).then(|| ready.message.clone())
    };
    of(next)
        .filter(|message| of(previous).as_ref() != Some(message))
        .map(|message| Event::new(Reason::SpecInvalid, &message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn link(state: &str, reason: Option<&str>, build: &str, digest: Option<char>) -> LinkStatus {
        let mut link = json!({"name": "web", "state": state, "message": "what to do", "build": build});
        if let Some(reason) = reason {
            link["reason"] = json!(reason);
        }
        if let Some(letter) = digest {
            let digest = format!("sha256:{}", letter.to_string().repeat(64));
            link["published"] = json!({
                "repository": "r.example/web", "tags": ["1"], "digest": digest, "recipe": "r", "build": build,
            });
        }
        serde_json::from_value(link).unwrap()
    }

    #[test]
    fn of_a_chain_only_what_is_new_is_told() {
        let status = |link: &LinkStatus| ImageChainStatus { links: vec![link.clone()], ..ImageChainStatus::default() };
        let (good, new) = (link("Ready", None, "b1", Some('a')), link("Ready", None, "b2", Some('b')));
        let failed = link("Failed", Some("TaskFailed"), "b2", Some('a'));
        let again = link("Failed", Some("TaskFailed"), "b3", Some('a'));
        let stalled = link("Stalled", Some("PushDenied"), "b2", Some('a'));
        let blocked = link("Blocked", Some("ParentFailed"), "b1", Some('a'));
        let working = link("Building", Some("Building"), "b2", Some('a'));
        let cases: [(&LinkStatus, &LinkStatus, &[Reason]); 9] = [
            (&good, &good, &[]),
            (&good, &working, &[]),
            (&working, &new, &[Reason::TagsMoved]),
            (&working, &failed, &[Reason::TaskFailed]),
            (&failed, &failed, &[]),
            (&failed, &again, &[Reason::TaskFailed]),
            (&failed, &stalled, &[Reason::PushDenied]),
            (&good, &blocked, &[]),
            (&failed, &good, &[]),
        ];
        for (before, after, expected) in cases {
            let reasons: Vec<_> = of_chain(&status(before), &status(after)).iter().map(|event| event.reason).collect();
            assert_eq!(reasons, expected, "{before:?} then {after:?}");
        }
        let first = of_chain(&ImageChainStatus::default(), &status(&good));
        assert_eq!(first[0].message, format!("«web»: r.example/web:1 → sha256:{}", "a".repeat(64)));
    }

    #[test]
    fn a_wrong_object_is_told_once_for_each_thing_that_is_wrong() {
        let status = |message: &str| {
            let problem =
                crate::plan::validate::problem::Problem { path: "spec".to_owned(), message: message.to_owned() };
            let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
            crate::plan::chain::invalid(&ImageChainStatus::default(), 1, now, &[problem]).status
        };
        let (one, other, none) = (status("is wrong"), status("is worse"), ImageChainStatus::default());
        assert_eq!(of_chain(&none, &one), [Event::new(Reason::SpecInvalid, "spec: is wrong")]);
        assert_eq!((of_chain(&one, &one).len(), of_chain(&one, &other).len(), of_chain(&one, &none).len()), (0, 1, 0));
    }

    #[test]
    fn the_kind_follows_from_the_reason_and_long_messages_are_cut() {
        let long = "ü".repeat(1000);
        for (reason, kind) in [
            (Reason::TaskFailed, Kind::Warning),
            (Reason::SecretNotFound, Kind::Warning),
            (Reason::Superseded, Kind::Normal),
        ] {
            let event = Event::new(reason, &long);
            assert_eq!((event.kind, event.message.len()), (kind, LONGEST_MESSAGE));
        }
    }
}

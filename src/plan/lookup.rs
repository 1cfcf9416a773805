//! What must be asked of registries and git servers, and what they answered. Answers are facts with a time:
//! here it is decided when one is too old, or worth another try.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

use super::{failure::Failure, git::Obstacle, image::Tag, recipe::Destination, retry};
use crate::api::{boxes::ArtifactKind, chain::Lookup, condition::Class};

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The commit of a revision, and the git objects of paths in it.
    Git {
        /// The URL of the repository.
        url: String,
        /// The revision as it is written.
        revision: String,
        /// The profile whose settings say how servers are reached.
        profile: String,
        /// The Secret with the credentials.
        secret: Option<String>,
        /// The paths, relative to the root of the repository; the empty one is the root itself.
        paths: BTreeSet<String>,
    },
    /// The digest of an image for a platform, or of a box.
    Image {
        /// Which of the two it must be.
        kind: ArtifactKind,
        /// The image or box.
        reference: String,
        /// Whose manifest is meant where the image is for several.
        platform: String,
        /// The profile whose settings say how registries are reached.
        profile: String,
        /// The Secret for the pull, in the namespace of the chain.
        secret: Option<String>,
    },
    /// Whether a staged image is still there.
    Artifact {
        /// Where, as repository@digest.
        reference: String,
        /// The profile whose settings say how registries are reached.
        profile: String,
    },
    /// What is published, such as where tags lead. It is about one move of them: what was seen before the next one says
    /// nothing of that.
    Published {
        /// Where, with the Secret of the publication, in the namespace of the chain.
        destination: Destination<Tag>,
        /// The digest that was published.
        digest: String,
        /// The digest that a look is to find there ([`Destination::shown`]).
        shown: String,
        /// When it was published, as it was written down.
        moved: Option<Timestamp>,
        /// The profile whose settings say how registries are reached.
        profile: String,
    },
}

impl Subject {
    /// The profile whose settings say how it is reached.
    #[must_use]
    pub fn profile(&self) -> &str {
        match self {
            Self::Git { profile, .. }
            | Self::Image { profile, .. }
            | Self::Artifact { profile, .. }
            | Self::Published { profile, .. } => profile,
        }
    }

    /// The Secret of the chain's namespace that is used for it.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Git { secret, .. } | Self::Image { secret, .. } => secret.as_deref(),
            Self::Published { destination, .. } => destination.secret(),
            Self::Artifact { .. } => None,
        }
    }

    /// Whether nobody waits for the answer: what is decided without it is right, too.
    #[must_use]
    pub const fn is_check(&self) -> bool {
        matches!(self, Self::Published { .. })
    }

    /// What it is about, as it stands in a status.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Git { url, revision, .. } => format!("git {url} {revision}"),
            Self::Image { kind: ArtifactKind::Image, reference, platform, .. } => {
                format!("image {reference} {platform}")
            }
            Self::Image { kind: ArtifactKind::Box, reference, .. } => format!("box {reference}"),
            Self::Artifact { reference, .. } => format!("artifact {reference}"),
            Self::Published { destination, .. } => format!("published {destination}"),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A commit, and the git object of each path that is in it.
    Commit {
        /// The hash of the commit.
        commit: String,
        /// The ID of the object by path; absent where the commit has none.
        objects: BTreeMap<String, String>,
        /// Why some of the paths have none, where that is known.
        obstacles: BTreeMap<String, Obstacle>,
    },
    /// A digest.
    Digest(String),
    /// Whether it is there.
    Presence(bool),
    /// The tags that lead elsewhere.
    Strays(Vec<Stray>),
}

/// A tag that does not lead where it was moved, or a version of a box that is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The tag or version.
    pub tag: String,
    /// The digest that it leads to, or that of the file; `None` if it is gone.
    pub leads_to: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it was given.
    pub at: Timestamp,
    /// What was found, or why nothing was, and what to do.
    pub result: Result<Found, Failure>,
    /// How often in a row it has failed by now.
    pub failures: u32,
}

impl Answer {
    /// Whether this was found.
    fn is_of(&self, found: &str) -> bool {
        match &self.result {
            Ok(Found::Commit { commit: text, .. } | Found::Digest(text)) => text == found,
            Ok(Found::Presence(_) | Found::Strays(_)) | Err(_) => false,
        }
    }

    /// When to ask again by time alone. A server that is down may be up soon. What is refused or not there
    /// changes seldom, but nobody else would tell: it is asked for at a slow pace.
    #[must_use]
    pub fn expires(&self, interval: Option<Duration>) -> Option<Timestamp> {
        let again = match &self.result {
            Err(failure) if failure.reason.class() == Class::Infrastructure => Some(retry::pause(self.failures)),
            Err(_) => Some(refusal_pause(interval)),
            Ok(_) => interval,
        };
        self.at.checked_add(again?).ok()
    }
}

/// How long what is refused, or not there, is left alone.
fn refusal_pause(interval: Option<Duration>) -> Duration {
    interval.map_or(retry::LONGEST, |interval| interval.min(retry::LONGEST))
}

/// What a commit has at the paths that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objects<'a> {
    /// The IDs of the objects; absent where there is none.
    pub objects: &'a BTreeMap<String, String>,
    /// Why some of the paths have none.
    pub obstacles: &'a BTreeMap<String, Obstacle>,
}

/// What is known of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// This.
    Value(T),
    /// Nothing yet.
    Pending,
    /// Nothing, and why.
    Failed(Failure),
}

impl<T> Known<T> {
    /// The same with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Value(value) => Known::Value(change(value)),
            Self::Pending => Known::Pending,
            Self::Failed(failure) => Known::Failed(failure),
        }
    }
}

/// All that is known from look-ups, and what must be looked up.
#[derive(Debug)]
pub struct Knowledge<'a> {
    /// What a status remembers, as far as it is still about the same object and request.
    remembered: &'a [Lookup],
    /// What was asked since then.
    answers: &'a BTreeMap<Subject, Answer>,
    interval: Option<Duration>,
    /// Since when whoever asks is there: what others have found counts as found then.
    since: Timestamp,
    now: Timestamp,
    /// What must be asked now.
    wanted: BTreeSet<Subject>,
    /// What to remember, by title.
    kept: BTreeMap<String, Lookup>,
    /// A server that does not answer, where an earlier answer helps out.
    trouble: Option<Failure>,
    wake: Option<Timestamp>,
}

impl<'a> Knowledge<'a> {
    /// Begins with what is known.
    #[must_use]
    pub const fn new(
        remembered: &'a [Lookup],
        answers: &'a BTreeMap<Subject, Answer>,
        interval: Option<Duration>,
        since: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            remembered,
            answers,
            interval,
            since,
            now,
            wanted: BTreeSet::new(),
            kept: BTreeMap::new(),
            trouble: None,
            wake: None,
        }
    }

    /// The digest of an image.
    pub fn digest(&mut self, subject: &Subject) -> Known<String> {
        match self.ask(subject) {
            (Some(Answer { result: Ok(Found::Digest(digest)), at, .. }), _) => {
                self.keep(subject, digest, *at);
                Known::Value(digest.clone())
            }
            (answer, Some(old)) => self.fall_back(answer, old, subject),
            (Some(Answer { result: Err(failure), .. }), None) => Known::Failed(failure.clone()),
            (_, None) => Known::Pending,
        }
    }

    /// The commit of a git source and, where they were asked for just now, the objects of its paths. A commit
    /// that is remembered is of use only where what its files hold is remembered too.
    pub fn commit(&mut self, subject: &Subject, files_are_known: bool) -> Known<(String, Option<Objects<'a>>)> {
        match self.ask_beside(subject, files_are_known) {
            (Some(Answer { result: Ok(Found::Commit { commit, objects, obstacles }), at, .. }), _) => {
                self.keep(subject, commit, *at);
                Known::Value((commit.clone(), Some(Objects { objects, obstacles })))
            }
            (answer, Some(old)) => self.fall_back(answer, old, subject).map(|commit| (commit, None)),
            (Some(Answer { result: Err(failure), .. }), None) => Known::Failed(failure.clone()),
            (_, None) => Known::Pending,
        }
    }

    /// Whether a staged image is there. It is asked for once, when it is needed.
    pub fn presence(&mut self, subject: &Subject) -> Known<bool> {
        match self.ask(subject).0 {
            Some(Answer { result: Ok(Found::Presence(there)), .. }) => Known::Value(*there),
            Some(Answer { result: Err(failure), .. }) => Known::Failed(failure.clone()),
            _ => Known::Pending,
        }
    }

    /// Which published tags lead elsewhere, and when that was seen; nothing where nobody has looked yet, or the registry
    /// did not say. They are looked for as often as all else, the first time an interval after they were moved;
    /// `again`: now, for a changed object or a new request. Without an interval, whoever begins looks once at what others
    /// have moved.
    pub fn strays(&mut self, subject: &Subject, moved: Timestamp, again: bool) -> Option<(&'a [Stray], Timestamp)> {
        let answer = self.answers.get(subject);
        let expires = match (answer, self.interval) {
            (Some(answer), interval) => answer.expires(interval),
            (None, _) if again => Some(Timestamp::MIN),
            (None, Some(interval)) => moved.max(self.since).checked_add(interval).ok(),
            (None, None) => (moved < self.since).then_some(Timestamp::MIN),
        };
        self.ask_at(subject, expires);
        match answer {
            Some(Answer { result: Ok(Found::Strays(strays)), at, .. }) => Some((strays, *at)),
            _ => None,
        }
    }

    fn ask(&mut self, subject: &Subject) -> (Option<&'a Answer>, Option<&'a Lookup>) {
        self.ask_beside(subject, true)
    }

    /// The answer that stands, and what is remembered, if that is of use. What is missing or too old is noted
    /// as wanted.
    fn ask_beside(&mut self, subject: &Subject, is_of_use: bool) -> (Option<&'a Answer>, Option<&'a Lookup>) {
        let title = subject.title();
        let old = self.remembered.iter().find(|lookup| is_of_use && lookup.of == title);
        // Somebody else may have found another thing since: who led before must not go back to what it knew then.
        // Of the same second, what is written stands, or two would write by turns.
        let newer = |answer: &&Answer| old.is_none_or(|old| old.at.0 < answer.at || answer.is_of(&old.found));
        let answer = self.answers.get(subject).filter(newer);
        let expires = match (answer, old) {
            (Some(answer), _) => answer.expires(self.interval),
            (None, Some(old)) => self.interval.and_then(|interval| old.at.0.max(self.since).checked_add(interval).ok()),
            (None, None) => Some(Timestamp::MIN),
        };
        self.ask_at(subject, expires);
        (answer, old)
    }

    /// Asks for a subject again as if what was found had been refused: it is of no use as it is.
    pub fn reject(&mut self, subject: &Subject) {
        let pause = refusal_pause(self.interval);
        let again = self.answers.get(subject).and_then(|answer| answer.at.checked_add(pause).ok());
        self.ask_at(subject, again);
    }

    /// Notes when a subject is to be asked for.
    fn ask_at(&mut self, subject: &Subject, time: Option<Timestamp>) {
        match time {
            Some(time) if time <= self.now => drop(self.wanted.insert(subject.clone())),
            Some(time) => self.wake = Some(self.wake.map_or(time, |wake| wake.min(time))),
            None => {}
        }
    }

    /// What was known before stands while the server does not answer; what it refuses does not.
    fn fall_back(&mut self, answer: Option<&Answer>, old: &Lookup, subject: &Subject) -> Known<String> {
        if let Some(Answer { result: Err(failure), .. }) = answer {
            if failure.reason.class() != Class::Infrastructure {
                return Known::Failed(failure.clone());
            }
            self.trouble.get_or_insert_with(|| failure.clone());
        }
        self.keep(subject, &old.found, old.at.0);
        Known::Value(old.found.clone())
    }

    /// What was found again keeps its time: to write a status for it alone would be noise.
    fn keep(&mut self, subject: &Subject, found: &str, at: Timestamp) {
        let of = subject.title();
        let same = self.remembered.iter().find(|old| old.of == of && old.found == found);
        let new = || Lookup { of: of.clone(), found: found.to_owned(), at: at.into() };
        let lookup = same.cloned().unwrap_or_else(new);
        self.kept.insert(of, lookup);
    }

    /// What came out.
    #[must_use]
    pub fn finish(self) -> Outcome {
        Outcome {
            wanted: self.wanted.into_iter().collect(),
            kept: self.kept.into_values().collect(),
            trouble: self.trouble,
            wake: self.wake,
        }
    }
}

/// What came out of all questions.
#[derive(Debug)]
pub struct Outcome {
    /// What must be looked up now.
    pub wanted: Vec<Subject>,
    /// What the status is to remember.
    pub kept: Vec<Lookup>,
    /// A server that does not answer, where an earlier answer helps out.
    pub trouble: Option<Failure>,
    /// When the first answer is too old.
    pub wake: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::Reason;

    const MINUTE: Option<Duration> = Some(Duration::from_mins(1));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn image() -> Subject {
        Subject::Image {
            kind: ArtifactKind::Image,
            reference: "r.example/a:1".to_owned(),
            platform: "linux/amd64".to_owned(),
            profile: "p".to_owned(),
            secret: None,
        }
    }

    fn answer(second: i64, result: Result<&str, Reason>, failures: u32) -> BTreeMap<Subject, Answer> {
        let result = result.map(|digest| Found::Digest(digest.to_owned()));
        let result = result.map_err(|reason| Failure::new(reason, "what to do"));
        BTreeMap::from([(image(), Answer { at: at(second), result, failures })])
    }

    fn remembered(second: i64) -> Vec<Lookup> {
        vec![Lookup { of: image().title(), found: "old".to_owned(), at: at(second).into() }]
    }

    /// What is known, whether it is asked for again, and when it will be.
    fn ask(
        remembered: &[Lookup],
        answers: &BTreeMap<Subject, Answer>,
        interval: Option<Duration>,
        now: i64,
    ) -> (Known<String>, bool, Option<i64>, Outcome) {
        let mut knowledge = Knowledge::new(remembered, answers, interval, at(80), at(now));
        let known = knowledge.digest(&image());
        let outcome = knowledge.finish();
        (known, !outcome.wanted.is_empty(), outcome.wake.map(Timestamp::as_second), outcome)
    }

    #[test]
    fn an_answer_stands_until_its_time() {
        let value = |text: &str| Known::Value(text.to_owned());
        let failed = |reason| Known::Failed(Failure::new(reason, "what to do"));
        let (none, good) = (BTreeMap::new(), answer(100, Ok("new"), 0));
        let denied = answer(100, Err(Reason::AccessDenied), 1);
        let away = answer(100, Err(Reason::RegistryUnavailable), 2);
        let (nothing, old, later, ancient) = (vec![], remembered(90), remembered(110), remembered(1));
        let (tie, known) = (remembered(100), answer(100, Ok("old"), 0));
        let cases = [
            ("nothing is known", &nothing, &none, None, 100, (Known::Pending, true, None)),
            ("an answer without interval", &nothing, &good, None, 9999, (value("new"), false, None)),
            ("an answer", &nothing, &good, MINUTE, 159, (value("new"), false, Some(160))),
            ("one that is too old", &nothing, &good, MINUTE, 160, (value("new"), true, None)),
            ("what is remembered", &old, &none, MINUTE, 149, (value("old"), false, Some(150))),
            ("what is remembered too long", &old, &none, MINUTE, 150, (value("old"), true, None)),
            ("remembered without interval", &old, &none, None, 9999, (value("old"), false, None)),
            ("an answer beside what is remembered", &old, &good, MINUTE, 159, (value("new"), false, Some(160))),
            ("no access", &nothing, &denied, None, 459, (failed(Reason::AccessDenied), false, Some(460))),
            ("no access for long", &nothing, &denied, None, 460, (failed(Reason::AccessDenied), true, None)),
            ("what another operator remembered", &ancient, &none, MINUTE, 139, (value("old"), false, Some(140))),
            ("no access any more", &old, &denied, MINUTE, 110, (failed(Reason::AccessDenied), false, Some(160))),
            (
                "a server that is away",
                &nothing,
                &away,
                None,
                119,
                (failed(Reason::RegistryUnavailable), false, Some(120)),
            ),
            (
                "one that is away for long",
                &nothing,
                &away,
                None,
                120,
                (failed(Reason::RegistryUnavailable), true, None),
            ),
            ("one that is away now", &old, &away, MINUTE, 119, (value("old"), false, Some(120))),
            ("what another operator found later", &later, &good, MINUTE, 119, (value("old"), false, Some(170))),
            ("what another found in that second", &tie, &good, MINUTE, 119, (value("old"), false, Some(160))),
            ("the same, found again", &later, &known, MINUTE, 119, (value("old"), false, Some(160))),
            ("one that was away before", &later, &away, MINUTE, 119, (value("old"), false, Some(170))),
        ];
        for (what, remembered, answers, interval, now, expected) in cases {
            let (known, wanted, wake, _) = ask(remembered, answers, interval, now);
            assert_eq!((known, wanted, wake), expected, "{what}");
        }
    }

    #[test]
    fn what_helps_out_is_remembered_with_its_own_time_and_the_trouble_is_told() {
        let old = remembered(90);
        let outcome = ask(&old, &answer(100, Err(Reason::RegistryUnavailable), 2), MINUTE, 119).3;
        assert_eq!((outcome.kept, outcome.trouble.unwrap().reason), (old, Reason::RegistryUnavailable));
        let outcome = ask(&remembered(90), &answer(100, Ok("new"), 0), MINUTE, 119).3;
        assert_eq!((outcome.kept[0].found.as_str(), outcome.kept[0].at.0), ("new", at(100)));
        assert!(outcome.trouble.is_none());
    }
}

//! What was asked of registries and git servers, and is being asked: remembered as long as it is about the
//! same generation and request of a chain.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;

use super::used::Answered;
use crate::{
    api::condition::{Class, Reason},
    plan::lookup::Answer,
};

/// What answers are about: a UID, a generation, a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// The UID of the object that asks.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Its request.
    pub request: String,
}

#[derive(Debug)]
struct Memory<T> {
    about: About,
    answers: BTreeMap<T, (Answer, Option<String>)>,
    running: BTreeSet<T>,
}

/// Answers to questions of one kind, by object.
#[derive(Debug)]
pub struct Asked<T>(Mutex<HashMap<String, Memory<T>>>);

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Ord> Asked<T> {
    /// All answers.
    #[must_use]
    pub fn answers(&self, about: &About) -> BTreeMap<T, Answer> {
        let all = self.lock();
        let memory = all.get(&about.uid).filter(|memory| memory.about == *about);
        let answers = memory.into_iter().flat_map(|memory| &memory.answers);
        answers.map(|(question, (answer, _))| (question.clone(), answer.clone())).collect()
    }

    /// Notes that a question is being asked. False if it is already.
    pub fn begin(&self, about: &About, question: &T) -> bool {
        let mut all = self.lock();
        let memory = all.entry(about.uid.clone()).or_insert_with(|| Memory::new(about));
        if memory.about != *about {
            *memory = Memory::new(about);
        }
        memory.running.insert(question.clone())
    }

    /// Notes an answer. One about what is past is dropped.
    pub fn end(&self, about: &About, question: T, at: Timestamp, answered: Answered) {
        let mut all = self.lock();
        let Some(memory) = all.get_mut(&about.uid).filter(|memory| memory.about == *about) else { return };
        memory.running.remove(&question);
        let before = memory.answers.get(&question).map_or(0, |(answer, _)| answer.failures);
        let failures = if answered.outcome.is_ok() { 0 } else { before.saturating_add(1) };
        let answer = Answer { at, result: answered.outcome, failures };
        memory.answers.insert(question, (answer, answered.secret_version));
    }

    /// The question was given up without an answer.
    pub fn give_up(&self, about: &About, question: &T) {
        if let Some(memory) = self.lock().get_mut(&about.uid).filter(|memory| memory.about == *about) {
            memory.running.remove(question);
        }
    }

    /// Whether a question is being asked.
    #[must_use]
    pub fn is_running(&self, about: &About, question: &T) -> bool {
        let all = self.lock();
        let memory = all.get(&about.uid).filter(|memory| memory.about == *about);
        memory.is_some_and(|memory| memory.running.contains(question))
    }

    /// The questions that failed for what a Secret may mend, with the reason and the version of the Secret that
    /// was used.
    #[must_use]
    pub fn lacking(&self, about: &About) -> Vec<(T, Reason, Option<String>)> {
        let all = self.lock();
        let memory = all.get(&about.uid).filter(|memory| memory.about == *about);
        let answers = memory.into_iter().flat_map(|memory| &memory.answers);
        let lacking = answers
            .filter_map(|(question, (answer, version))| Some((question.clone(), lacks(answer)?, version.clone())));
        lacking.collect()
    }

    /// Forgets the answers that are to be forgotten.
    pub fn forget(&self, about: &About, is_to_go: impl Fn(&T, &Answer) -> bool) {
        if let Some(memory) = self.lock().get_mut(&about.uid) {
            memory.answers.retain(|question, (answer, _)| !is_to_go(question, answer));
        }
    }

    /// Forgets all about an object.
    pub fn drop_all(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Memory<T> {
    fn new(about: &About) -> Self {
        Self { about: about.clone(), answers: BTreeMap::new(), running: BTreeSet::new() }
    }
}

/// Why an answer is none, if what it needs may come by itself.
fn lacks(answer: &Answer) -> Option<Reason> {
    let reason = answer.result.as_ref().err()?.reason;
    (reason.class() == Class::Dependency).then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{failure::Failure, lookup::Found};

    fn about(generation: i64) -> About {
        About { uid: "1".to_owned(), generation, request: String::new() }
    }

    fn failed(reason: Reason) -> Answered {
        Answered { outcome: Err(Failure::new(reason, "why")), secret_version: Some("7".to_owned()) }
    }

    fn failures(asked: &Asked<&str>) -> Option<u32> {
        asked.answers(&about(1)).get("a").map(|answer| answer.failures)
    }

    #[test]
    fn failures_are_counted_until_an_answer_comes() {
        let (asked, now) = (Asked::default(), Timestamp::UNIX_EPOCH);
        assert!(asked.begin(&about(1), &"a"));
        assert!(!asked.begin(&about(1), &"a"), "it is asked twice at once");
        asked.end(&about(1), "a", now, failed(Reason::RegistryUnavailable));
        assert!(asked.begin(&about(1), &"a"));
        asked.end(&about(1), "a", now, failed(Reason::RegistryUnavailable));
        assert_eq!(failures(&asked), Some(2));
        asked.end(&about(1), "a", now, Answered::without_secret(Ok(Found::Presence(true))));
        assert_eq!(failures(&asked), Some(0));
    }

    #[test]
    fn what_is_about_the_past_does_not_count() {
        let (asked, now) = (Asked::default(), Timestamp::UNIX_EPOCH);
        asked.begin(&about(1), &"a");
        assert!(asked.begin(&about(2), &"a"), "the earlier question is another one");
        asked.end(&about(1), "a", now, failed(Reason::AccessDenied));
        assert!(asked.answers(&about(1)).is_empty() && asked.answers(&about(2)).is_empty());
    }

    #[test]
    fn only_what_a_secret_may_mend_is_lacking() {
        let (asked, now) = (Asked::default(), Timestamp::UNIX_EPOCH);
        for (question, reason) in [("a", Reason::AccessDenied), ("b", Reason::RegistryUnavailable)] {
            asked.begin(&about(1), &question);
            asked.end(&about(1), question, now, failed(reason));
        }
        assert_eq!(asked.lacking(&about(1)), [("a", Reason::AccessDenied, Some("7".to_owned()))]);
        asked.forget(&about(1), |question, _| *question == "a");
        assert!(asked.lacking(&about(1)).is_empty());
        asked.drop_all("1");
        assert!(asked.answers(&about(1)).is_empty());
    }
}

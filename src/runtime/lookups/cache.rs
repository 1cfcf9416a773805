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
pub struct Scope {
    /// The UID of the object that asks.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Its request.
    pub request: String,
}

#[derive(Debug)]
struct Memory<T> {
    scope: Scope,
    answers: BTreeMap<T, (Answer, Option<String>)>,
    running: BTreeSet<T>,
}

/// Answers to questions of one kind, by object.
#[derive(Debug)]
pub struct LookupCache<T>(Mutex<HashMap<String, Memory<T>>>);

impl<T> Default for LookupCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Ord> LookupCache<T> {
    /// All answers.
    #[must_use]
    pub fn answers(&self, scope: &Scope) -> BTreeMap<T, Answer> {
        let all = self.lock();
        let memory = all.get(&scope.uid).filter(|memory| memory.scope == *scope);
        let answers = memory.into_iter().flat_map(|memory| &memory.answers);
        answers.map(|(question, (answer, _))| (question.clone(), answer.clone())).collect()
    }

    /// Notes that a question is being asked. False if it is already.
    pub fn begin(&self, scope: &Scope, question: &T) -> bool {
        let mut all = self.lock();
        let memory = all.entry(scope.uid.clone()).or_insert_with(|| Memory::new(scope));
        if memory.scope != *scope {
            *memory = Memory::new(scope);
        }
        memory.running.insert(question.clone())
    }

    /// Notes an answer. One about what is past is dropped.
    pub fn end(&self, scope: &Scope, question: T, at: Timestamp, answered: Answered) {
        let mut all = self.lock();
        let Some(memory) = all.get_mut(&scope.uid).filter(|memory| memory.scope == *scope) else { return };
        memory.running.remove(&question);
        let before = memory.answers.get(&question).map_or(0, |(answer, _)| answer.failures);
        let failures = if answered.outcome.is_ok() { 0 } else { before.saturating_add(1) };
        let answer = Answer { at, result: answered.outcome, failures };
        memory.answers.insert(question, (answer, answered.secret_version));
    }

    /// The question was given up without an answer.
    pub fn give_up(&self, scope: &Scope, question: &T) {
        if let Some(memory) = self.lock().get_mut(&scope.uid).filter(|memory| memory.scope == *scope) {
            memory.running.remove(question);
        }
    }

    /// Whether a question is being asked.
    #[must_use]
    pub fn is_running(&self, scope: &Scope, question: &T) -> bool {
        let all = self.lock();
        let memory = all.get(&scope.uid).filter(|memory| memory.scope == *scope);
        memory.is_some_and(|memory| memory.running.contains(question))
    }

    /// The questions that failed for what a Secret may mend, with the reason and the version of the Secret that
    /// was used.
    #[must_use]
    pub fn lacking(&self, scope: &Scope) -> Vec<(T, Reason, Option<String>)> {
        let all = self.lock();
        let memory = all.get(&scope.uid).filter(|memory| memory.scope == *scope);
        let answers = memory.into_iter().flat_map(|memory| &memory.answers);
        let lacking = answers
            .filter_map(|(question, (answer, version))| Some((question.clone(), lacks(answer)?, version.clone())));
        lacking.collect()
    }

    /// Forgets the answers that are to be forgotten.
    pub fn forget(&self, scope: &Scope, is_to_go: impl Fn(&T, &Answer) -> bool) {
        if let Some(memory) = self.lock().get_mut(&scope.uid) {
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
    fn new(scope: &Scope) -> Self {
        Self { scope: scope.clone(), answers: BTreeMap::new(), running: BTreeSet::new() }
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

    fn scope(generation: i64) -> Scope {
        Scope { uid: "1".to_owned(), generation, request: String::new() }
    }

    fn failed(reason: Reason) -> Answered {
        Answered { outcome: Err(Failure::new(reason, "why")), secret_version: Some("7".to_owned()) }
    }

    fn failures(asked: &LookupCache<&str>) -> Option<u32> {
        asked.answers(&scope(1)).get("a").map(|answer| answer.failures)
    }

    #[test]
    fn failures_are_counted_until_an_answer_comes() {
        let (asked, now) = (LookupCache::default(), Timestamp::UNIX_EPOCH);
        assert!(asked.begin(&scope(1), &"a"));
        assert!(!asked.begin(&scope(1), &"a"), "it is asked twice at once");
        asked.end(&scope(1), "a", now, failed(Reason::RegistryUnavailable));
        assert!(asked.begin(&scope(1), &"a"));
        asked.end(&scope(1), "a", now, failed(Reason::RegistryUnavailable));
        assert_eq!(failures(&asked), Some(2));
        asked.end(&scope(1), "a", now, Answered::without_secret(Ok(Found::Presence(true))));
        assert_eq!(failures(&asked), Some(0));
    }

    #[test]
    fn what_is_about_the_past_does_not_count() {
        let (asked, now) = (LookupCache::default(), Timestamp::UNIX_EPOCH);
        asked.begin(&scope(1), &"a");
        assert!(asked.begin(&scope(2), &"a"), "the earlier question is another one");
        asked.end(&scope(1), "a", now, failed(Reason::AccessDenied));
        assert!(asked.answers(&scope(1)).is_empty() && asked.answers(&scope(2)).is_empty());
    }

    #[test]
    fn only_what_a_secret_may_mend_is_lacking() {
        let (asked, now) = (LookupCache::default(), Timestamp::UNIX_EPOCH);
        for (question, reason) in [("a", Reason::AccessDenied), ("b", Reason::RegistryUnavailable)] {
            asked.begin(&scope(1), &question);
            asked.end(&scope(1), question, now, failed(reason));
        }
        assert_eq!(asked.lacking(&scope(1)), [("a", Reason::AccessDenied, Some("7".to_owned()))]);
        asked.forget(&scope(1), |question, _| *question == "a");
        assert!(asked.lacking(&scope(1)).is_empty());
        asked.drop_all("1");
        assert!(asked.answers(&scope(1)).is_empty());
    }
}

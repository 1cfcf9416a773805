//! Which tags chains claim, by chain and by tag: each chain asks for its rivals, and there may be thousands.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::store::Key;
use crate::plan::{
    chain::{Claim, Owner, taken},
    recipe::OutputKey,
};

/// The claims of all chains.
#[derive(Debug, Default)]
pub struct Claims(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<Key, Claim>,
    /// Who claims a tag, by its hash. Two tags of one hash cost a look that nobody needs, and no more.
    on: HashMap<u64, BTreeSet<Key>>,
}

impl Claims {
    /// Notes what a chain claims now; `None` if it is gone. Where that is not what it was, the answer is who claims
    /// some of the same tags.
    pub fn note(&self, key: &Key, now: impl FnOnce() -> Option<Claim>) -> BTreeSet<Key> {
        let mut inner = self.lock();
        // It is asked for under the lock: who comes last has seen the latest.
        let now = now();
        if inner.of.get(key) == now.as_ref() {
            return BTreeSet::new();
        }
        let before = inner.of.remove(key);
        let tags: BTreeSet<_> = before.iter().chain(&now).flat_map(|claim| claim.tags.clone()).collect();
        for tag in before.iter().flat_map(|claim| &claim.tags) {
            inner.leave(tag, key);
        }
        let rivals = tags.iter().flat_map(|tag| inner.claiming(tag).cloned()).collect();
        if let Some(now) = now {
            inner.join(key, now);
        }
        rivals
    }

    /// The tags of a claim that belong to other chains, and to which.
    #[must_use]
    pub fn taken(&self, own: &Claim) -> BTreeMap<OutputKey, Owner> {
        let inner = self.lock();
        let rivals: BTreeSet<&Key> = own.tags.iter().flat_map(|tag| inner.claiming(tag)).collect();
        taken(own, rivals.into_iter().filter_map(|key| inner.of.get(key)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn claiming(&self, tag: &OutputKey) -> impl Iterator<Item = &Key> {
        self.on.get(&hash(tag)).into_iter().flatten()
    }

    fn join(&mut self, key: &Key, claim: Claim) {
        for tag in &claim.tags {
            self.on.entry(hash(tag)).or_default().insert(key.clone());
        }
        self.of.insert(key.clone(), claim);
    }

    fn leave(&mut self, tag: &OutputKey, key: &Key) {
        let tag = hash(tag);
        if let Some(keys) = self.on.get_mut(&tag) {
            keys.remove(key);
            if keys.is_empty() {
                self.on.remove(&tag);
            }
        }
    }
}

fn hash(tag: &OutputKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    tag.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::plan::image::Repository;

    fn claim(uid: &str, tags: &[&str]) -> Claim {
        let repository: Repository = "r.example/web".parse().unwrap();
        let tags = tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.parse().unwrap())).collect();
        let (namespace, name) = ("n".to_owned(), uid.to_owned());
        let created = Timestamp::UNIX_EPOCH;
        Claim { namespace, name, created, uid: uid.to_owned(), tags, held: BTreeSet::new() }
    }

    fn note(claims: &Claims, name: &str, tags: Option<&[&str]>) -> Vec<String> {
        let rivals = claims.note(&Key::new("n", name), || tags.map(|tags| claim(name, tags)));
        rivals.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn rivals_hear_of_every_change_and_of_nothing_else() {
        let claims = Claims::default();
        assert!(note(&claims, "a", Some(&["1", "latest"])).is_empty());
        assert!(note(&claims, "other", Some(&["9"])).is_empty());
        assert_eq!(note(&claims, "b", Some(&["2", "latest"])), ["a"]);
        assert!(note(&claims, "b", Some(&["2", "latest"])).is_empty(), "it is what it was");
        let taken = |name: &str, tags: &[&str]| claims.taken(&claim(name, tags)).len();
        assert_eq!((taken("a", &["1", "latest"]), taken("b", &["2", "latest"])), (0, 1), "of the same time: by UID");
        assert_eq!(note(&claims, "a", Some(&["1"])), ["b"], "it gives up what the other wants");
        assert_eq!(taken("b", &["2", "latest"]), 0);
        assert_eq!(note(&claims, "b", Some(&["1"])), ["a"]);
        assert_eq!(note(&claims, "a", None), ["b"], "it is gone");
        assert!(note(&claims, "a", None).is_empty());
    }
}

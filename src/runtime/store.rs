//! The objects that decisions are made on: what the watches brought, and what we wrote ourselves as long as
//! they have not brought that. Without the second half, every write would be followed by a decision on what
//! was there before it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::{clock, watch::Change};

/// After so long without a word of the watch, what we made is no longer believed to be there: it may have come
/// and gone while our answer was on its way.
const BELIEVED: Duration = Duration::from_secs(30);

/// The namespace and the name of an object; the namespace is empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// That of an object.
    #[must_use]
    pub fn of<K: Resource>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

#[derive(Debug)]
struct Entry<K> {
    object: Arc<K>,
    /// Since when we believe in it though no watch has shown it.
    made: Option<Instant>,
}

#[derive(Debug)]
struct Inner<K> {
    entries: HashMap<Key, Entry<K>>,
    groups: HashMap<String, BTreeSet<Key>>,
}

/// Objects of one kind, by key and by the groups that they belong to.
#[derive(Debug)]
pub struct Store<K> {
    inner: Mutex<Inner<K>>,
    groups: fn(&K) -> BTreeSet<String>,
}

impl<K: Resource + Debug> Store<K> {
    /// Nothing yet. `groups` names what an object belongs to, such as its owner's UID.
    #[must_use]
    pub fn new(groups: fn(&K) -> BTreeSet<String>) -> Self {
        Self { inner: Mutex::new(Inner { entries: HashMap::new(), groups: HashMap::new() }), groups }
    }

    /// Takes what a watch brought. The answer is what was known before.
    pub fn take(&self, change: &Change<K>) -> Option<Arc<K>> {
        match change {
            Change::Applied(object) => self.put(object, None),
            Change::Deleted(object) => self.remove(object),
            Change::State(_) => None,
        }
    }

    /// Takes what we wrote on the version `base`; `None` if we made it anew. What is known already of a later
    /// version stays.
    pub fn wrote(&self, base: Option<&str>, object: K) {
        let known = self.lock().entries.get(&Key::of(&object)).and_then(|entry| entry.object.resource_version());
        if known.as_deref() == base {
            let made = base.is_none().then(clock::monotonic);
            self.put(&Arc::new(object), made);
        }
    }

    /// The object of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.lock().entries.get(key).filter(|entry| entry.is_believed()).map(|entry| Arc::clone(&entry.object))
    }

    /// All objects.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        let inner = self.lock();
        let believed = inner.entries.values().filter(|entry| entry.is_believed());
        believed.map(|entry| Arc::clone(&entry.object)).collect()
    }

    /// The objects of a group, by key.
    #[must_use]
    pub fn members(&self, group: &str) -> Vec<Arc<K>> {
        let inner = self.lock();
        let keys = inner.groups.get(group).into_iter().flatten();
        let entries = keys.filter_map(|key| inner.entries.get(key)).filter(|entry| entry.is_believed());
        entries.map(|entry| Arc::clone(&entry.object)).collect()
    }

    fn put(&self, object: &Arc<K>, made: Option<Instant>) -> Option<Arc<K>> {
        let (key, groups) = (Key::of(object.as_ref()), (self.groups)(object));
        let mut inner = self.lock();
        for group in &groups {
            inner.groups.entry(group.clone()).or_default().insert(key.clone());
        }
        let old = inner.entries.insert(key, Entry { object: Arc::clone(object), made })?.object;
        self.leave(&mut inner, &old, &groups);
        Some(old)
    }

    /// Forgets an object, unless another of its name has come since.
    fn remove(&self, object: &Arc<K>) -> Option<Arc<K>> {
        let key = Key::of(object.as_ref());
        let mut inner = self.lock();
        inner.entries.get(&key).filter(|entry| entry.object.uid() == object.uid())?;
        let old = inner.entries.remove(&key)?.object;
        self.leave(&mut inner, &old, &BTreeSet::new());
        Some(old)
    }

    /// Takes an object out of its groups, but for those that its successor is in.
    fn leave(&self, inner: &mut Inner<K>, object: &K, successor: &BTreeSet<String>) {
        for group in (self.groups)(object).difference(successor) {
            if let Some(keys) = inner.groups.get_mut(group) {
                keys.remove(&Key::of(object));
                if keys.is_empty() {
                    inner.groups.remove(group);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Entry<K> {
    fn is_believed(&self) -> bool {
        self.made.is_none_or(|made| clock::monotonic().saturating_duration_since(made) < BELIEVED)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    fn map(name: &str, uid: &str, version: &str, owner: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("a".to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
            labels: Some([("owner".to_owned(), owner.to_owned())].into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn kept() -> Store<ConfigMap> {
        Store::new(|map| map.labels().get("owner").cloned().into_iter().collect())
    }

    fn version(kept: &Store<ConfigMap>, name: &str) -> Option<String> {
        kept.get(&Key::new("a", name))?.resource_version()
    }

    #[test]
    fn our_writes_show_until_the_watch_is_further() {
        let kept = kept();
        kept.take(&Change::Applied(Arc::new(map("x", "1", "1", "o"))));
        kept.wrote(Some("1"), map("x", "1", "2", "o"));
        assert_eq!(version(&kept, "x").as_deref(), Some("2"));
        kept.take(&Change::Applied(Arc::new(map("x", "1", "3", "o"))));
        kept.wrote(Some("1"), map("x", "1", "2", "o"));
        assert_eq!(version(&kept, "x").as_deref(), Some("3"), "a late answer takes nothing back");
        kept.wrote(None, map("x", "1", "1", "o"));
        assert_eq!(version(&kept, "x").as_deref(), Some("3"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_we_made_is_believed_for_a_while() {
        let kept = kept();
        kept.wrote(None, map("x", "1", "1", "o"));
        kept.wrote(None, map("y", "2", "1", "o"));
        kept.take(&Change::Applied(Arc::new(map("y", "2", "1", "o"))));
        assert_eq!(kept.members("o").len(), 2);
        tokio::time::advance(BELIEVED).await;
        assert_eq!((kept.all().len(), version(&kept, "x")), (1, None));
        assert_eq!(kept.members("o").len(), 1);
    }

    #[test]
    fn groups_follow_their_members() {
        let kept = kept();
        kept.take(&Change::Applied(Arc::new(map("x", "1", "1", "o"))));
        kept.take(&Change::Applied(Arc::new(map("x", "2", "2", "p"))));
        assert!(kept.members("o").is_empty(), "it was made anew for another");
        kept.take(&Change::Deleted(Arc::new(map("x", "1", "1", "o"))));
        assert_eq!(kept.members("p").len(), 1, "the end of the former one is old news");
        kept.take(&Change::Deleted(Arc::new(map("x", "2", "2", "p"))));
        assert!(kept.all().is_empty() && kept.members("p").is_empty());
    }
}

//! Single objects of tenants, watched by name as long as somebody needs them: a role that names them is
//! enough. Nobody may list the Secrets of a namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Resource, ResourceExt, core::PartialObjectMeta};

use super::{
    health::State,
    store::Key,
    watch::{Group, Guarded, Options, Source, Watchable, Watched, group},
};
use crate::plan::{
    lookup::Known,
    object::ObjectKind,
    resolve::{ConfigMapFact, content_hash},
};

/// An object of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace and name.
    pub key: Key,
}

/// Who needs objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum User {
    /// A chain.
    Chain(Key),
    /// A build.
    Build(Key),
}

/// The objects that somebody needs.
#[derive(Debug)]
pub struct Named {
    maps: Group<Key, ConfigMap>,
    secrets: Group<Key, PartialObjectMeta<Secret>>,
    users: Mutex<BTreeMap<User, BTreeSet<Object>>>,
}

impl Named {
    /// Nothing yet, and what will have changed. It works only while that is polled.
    #[must_use]
    pub fn new(source: &Source) -> (Self, BoxStream<'static, Object>) {
        let (maps, of_maps) = group(source.clone(), |key: &Key| describe("configmaps", key, hash_values));
        let (secrets, of_secrets) = group(source.clone(), |key: &Key| describe("secrets", key, forget_fields));
        let of_maps = of_maps.map(|(key, _)| Object { kind: ObjectKind::ConfigMap, key });
        let of_secrets = of_secrets.map(|(key, _)| Object { kind: ObjectKind::Secret, key });
        let named = Self { maps, secrets, users: Mutex::default() };
        (named, futures::stream::select(of_maps, of_secrets).boxed())
    }

    /// From now on somebody needs exactly these.
    pub fn need(&self, user: User, objects: BTreeSet<Object>) {
        let mut users = self.users();
        let same = users.get(&user).map_or(objects.is_empty(), |before| *before == objects);
        if same {
            return;
        }
        if objects.is_empty() {
            users.remove(&user);
        } else {
            users.insert(user, objects);
        }
        let of = |kind: ObjectKind| {
            let wanted = users.values().flatten().filter(|object| object.kind == kind);
            wanted.map(|object| object.key.clone()).collect()
        };
        self.maps.keep(&of(ObjectKind::ConfigMap));
        self.secrets.keep(&of(ObjectKind::Secret));
    }

    /// Who needs an object.
    #[must_use]
    pub fn users_of(&self, object: &Object) -> Vec<User> {
        let users = self.users();
        users.iter().filter(|(_, objects)| objects.contains(object)).map(|(user, _)| user.clone()).collect()
    }

    /// The version of an object that is needed; `None` where it is not there or may not be read.
    #[must_use]
    pub fn version(&self, object: &Object) -> Known<Option<String>> {
        match object.kind {
            ObjectKind::ConfigMap => version(self.maps.get(&object.key)),
            ObjectKind::Secret => version(self.secrets.get(&object.key)),
        }
    }

    /// Whether an object that is needed may not be read.
    #[must_use]
    pub fn is_forbidden(&self, object: &Object) -> bool {
        let state = match object.kind {
            ObjectKind::ConfigMap => self.maps.get(&object.key).map(|watched| watched.health.state()),
            ObjectKind::Secret => self.secrets.get(&object.key).map(|watched| watched.health.state()),
        };
        state == Some(State::Forbidden)
    }

    /// What is known of a `ConfigMap` that is needed. `what_to_do` is told where it may not be read.
    #[must_use]
    pub fn config_map(&self, key: &Key, what_to_do: impl FnOnce() -> String) -> ConfigMapFact {
        let Some(watched) = self.maps.get(key) else { return ConfigMapFact::Unread };
        if watched.health.state() == State::Forbidden {
            return ConfigMapFact::Forbidden(what_to_do());
        }
        match watched.store.state().first() {
            _ if !watched.health.is_synced() => ConfigMapFact::Unread,
            Some(map) => ConfigMapFact::Entries(map.data.clone().unwrap_or_default()),
            None => ConfigMapFact::Missing,
        }
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<User, BTreeSet<Object>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version<K: Watchable>(watched: Option<Watched<K>>) -> Known<Option<String>> {
    match watched {
        Some(watched) if watched.health.state() == State::Forbidden => Known::Value(None),
        Some(watched) if watched.health.is_synced() => {
            Known::Value(watched.store.state().first().and_then(|object| object.resource_version()))
        }
        _ => Known::Pending,
    }
}

type Described<K> = (Options<K>, String, Box<dyn FnOnce(kube::Client) -> Api<Guarded<K>>>);

fn describe<K>(name: &'static str, key: &Key, prune: fn(&mut K)) -> Described<K>
where
    K: Watchable + Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let options = Options { prune, ..Options::new(name).named(&key.name) };
    let namespace = key.namespace.clone();
    let label = format!("{namespace}/{}", key.name);
    (options, label, Box::new(move |client| Api::namespaced(client, &namespace)))
}

fn forget_fields(secret: &mut PartialObjectMeta<Secret>) {
    secret.metadata.managed_fields = None;
    secret.metadata.annotations = None;
}

/// Puts the hash of each value in its place: that decides, and it is small.
fn hash_values(map: &mut ConfigMap) {
    map.metadata.managed_fields = None;
    map.metadata.annotations = None;
    let text = map.data.take().unwrap_or_default();
    let binary = map.binary_data.take().unwrap_or_default();
    let hashed = text.into_iter().map(|(key, value)| (key, content_hash(&value)));
    let bytes =
        |(key, value): (String, ByteString)| (key, content_hash(&format!("base64 {}", STANDARD.encode(value.0))));
    map.data = Some(hashed.chain(binary.into_iter().map(bytes)).collect());
}

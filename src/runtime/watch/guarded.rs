//! Objects of which one that cannot be read must not stop the others.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta, core::error_boundary::InvalidObject};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::value::RawValue;

/// An object, or why it cannot be read and what its metadata say. kube's `DeserializeGuard` is the same for any
/// format: it makes a tree of the object, copies that, and reads the copy. This one reads JSON's text.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, InvalidObject>);

/// What there is to be read of any object.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(text.get()) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(error) => {
                let Named { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
                Ok(Self(Err(InvalidObject { error: error.to_string(), metadata })))
            }
        }
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, Resource::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, Resource::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    fn names(objects: &[Guarded<ConfigMap>]) -> Vec<(Option<&str>, bool)> {
        objects.iter().map(|object| (object.meta().name.as_deref(), object.0.is_ok())).collect()
    }

    #[test]
    fn one_that_cannot_be_read_is_told_by_its_name_among_the_others() {
        let items =
            json!([{"metadata": {"name": "a"}, "data": {"k": "v"}}, {"metadata": {"name": "b"}, "data": 1}, {}]);
        let text = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": items}).to_string();
        let list: ObjectList<Guarded<ConfigMap>> = serde_json::from_str(&text).unwrap();
        assert_eq!(names(&list.items), [(Some("a"), true), (Some("b"), false), (None, true)]);
        let why = list.items[1].0.as_ref().unwrap_err().to_string();
        assert!(why.contains("invalid type: integer `1`, expected a map"), "{why}");
    }

    #[test]
    fn a_watch_tells_both() {
        let event = |data| format!(r#"{{"type":"ADDED","object":{{"metadata":{{"name":"a"}},"data":{data}}}}}"#);
        for (data, is_read) in [(r#"{"k":"v"}"#, true), ("1", false)] {
            let read: WatchEvent<Guarded<ConfigMap>> = serde_json::from_str(&event(data)).unwrap();
            let WatchEvent::Added(object) = read else { panic!("{read:?}") };
            assert_eq!(names(&[object]), [(Some("a"), is_read)]);
        }
    }

    #[test]
    fn what_is_no_object_is_an_error_of_the_answer() {
        for text in ["7", r#"{"metadata": 1}"#, "{"] {
            assert!(serde_json::from_str::<Guarded<ConfigMap>>(text).is_err(), "{text}");
        }
    }
}

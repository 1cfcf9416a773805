//! The difference of two documents, as a JSON merge patch (RFC 7386): what is gone is null in it.

use serde_json::{Map, Value};

/// The patch that makes `to` of `from`; `None` if they are the same. Objects are compared field by field,
/// everything else is replaced whole.
#[must_use]
pub fn merge(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        _ if from == to => None,
        (Value::Object(from), Value::Object(to)) => Some(Value::Object(fields(from, to))),
        _ => Some(to.clone()),
    }
}

fn fields(from: &Map<String, Value>, to: &Map<String, Value>) -> Map<String, Value> {
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter_map(|(key, value)| {
        let before = from.get(key).unwrap_or(&Value::Null);
        Some((key.clone(), merge(before, value)?))
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// RFC 7386, section 2.
    fn apply(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut made = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                made.remove(key);
            } else {
                let old = made.get(key).cloned().unwrap_or(Value::Null);
                made.insert(key.clone(), apply(&old, value));
            }
        }
        Value::Object(made)
    }

    #[test]
    fn what_is_gone_is_null_and_what_stays_is_left_out() {
        let from = json!({"a": 1, "b": {"c": [1], "d": 2}, "e": 3});
        let to = json!({"a": 1, "b": {"c": [1, 2]}, "f": {"g": 4}});
        assert_eq!(merge(&from, &to), Some(json!({"b": {"c": [1, 2], "d": null}, "e": null, "f": {"g": 4}})));
        assert_eq!(merge(&from, &from), None);
    }

    /// Statuses: no nulls, and objects in objects.
    fn any_document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        let inner = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| map.into_iter().collect()),
            ]
        });
        proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_of_the_other(from in any_document(), to in any_document()) {
            let made = merge(&from, &to).map_or(from.clone(), |patch| apply(&from, &patch));
            prop_assert_eq!(made, to);
        }
    }
}

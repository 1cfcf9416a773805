//! Values against the schema of a custom resource, as the API server checks them before any rule in CEL:
//! fields that there are, types, bounds, patterns, lists without repetitions.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};

use super::problem::Problems;

/// Checks an object of the definition's kind; its metadata is Kubernetes' own.
pub fn check_object(definition: &CustomResourceDefinition, object: &Value, problems: &mut Problems) {
    let Some(fields) = object.as_object() else {
        problems.add("the object", "must be an object");
        return;
    };
    let version = definition.spec.versions.first();
    let root = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let own = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    let own: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(root) = root {
        check(root, &Value::Object(own), "", problems);
    }
}

/// Checks a value at a path; the path of the object itself is empty.
pub fn check(schema: &JSONSchemaProps, value: &Value, path: &str, problems: &mut Problems) {
    match (schema.type_.as_deref(), value) {
        (Some("object"), Value::Object(fields)) => object(schema, fields, path, problems),
        (Some("array"), Value::Array(items)) => array(schema, items, path, problems),
        (Some("string"), Value::String(text)) => string(schema, text, path, problems),
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            range(schema, number.as_f64(), path, problems);
        }
        (None, _) if schema.x_kubernetes_int_or_string == Some(true) => int_or_string(schema, value, path, problems),
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(expected), found) => {
            problems.add(path, format_args!("must be {}, not {}", article(expected), article(kind(found))));
        }
    }
}

fn int_or_string(schema: &JSONSchemaProps, value: &Value, path: &str, problems: &mut Problems) {
    match value {
        Value::String(text) => string(schema, text, path, problems),
        Value::Number(number) if number.is_i64() || number.is_u64() => range(schema, number.as_f64(), path, problems),
        found => problems.add(path, format_args!("must be an integer or a string, not {}", article(kind(found)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn article(kind: &str) -> String {
    match kind {
        "null" => "null".to_owned(),
        "array" => "a list".to_owned(),
        "integer" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

fn object(schema: &JSONSchemaProps, fields: &Map<String, Value>, path: &str, problems: &mut Problems) {
    for (name, value) in fields {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let known = schema.properties.as_ref().and_then(|properties| properties.get(name));
        match (known, &schema.additional_properties) {
            (Some(property), _) => check(property, value, &below, problems),
            (None, Some(JSONSchemaPropsOrBool::Schema(values))) => check(values, value, &below, problems),
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, _) => problems.add(below, "there is no such field: look at its spelling and its indentation"),
        }
    }
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        problems.add(below, "must be set");
    }
    count(fields.len(), schema.min_properties, schema.max_properties, "entries", path, problems);
}

fn array(schema: &JSONSchemaProps, items: &[Value], path: &str, problems: &mut Problems) {
    if let Some(JSONSchemaPropsOrArray::Schema(each)) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            check(each, item, &format!("{path}[{index}]"), problems);
        }
    }
    count(items.len(), schema.min_items, schema.max_items, "entries", path, problems);
    let identity = |item: &Value| match (schema.x_kubernetes_list_type.as_deref(), &schema.x_kubernetes_list_map_keys) {
        (Some("set"), _) => Some(item.to_string()),
        (Some("map"), Some(keys)) => Some(keys.iter().filter_map(|key| item.get(key)).map(Value::to_string).collect()),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if identity(item).is_some_and(|identity| !seen.insert(identity)) {
            problems.add(format_args!("{path}[{index}]"), "is there twice");
        }
    }
}

fn string(schema: &JSONSchemaProps, text: &str, path: &str, problems: &mut Problems) {
    if let Some(allowed) = &schema.enum_ {
        let names: Vec<_> = allowed.iter().filter_map(|value| value.0.as_str()).collect();
        if !names.contains(&text) {
            problems.add(path, format_args!("must be one of {}, not «{}»", names.join(", "), text.escape_debug()));
        }
    }
    count(text.chars().count(), schema.min_length, schema.max_length, "characters", path, problems);
    let Some(pattern) = &schema.pattern else { return };
    if Regex::new(pattern).is_ok_and(|grammar| !grammar.is_match(text)) {
        problems.add(path, format_args!("«{}» must match {pattern}", text.escape_debug()));
    }
}

fn count(found: usize, least: Option<i64>, most: Option<i64>, what: &str, path: &str, problems: &mut Problems) {
    let found = i64::try_from(found).unwrap_or(i64::MAX);
    if let Some(least) = least.filter(|least| found < *least) {
        problems.add(path, format_args!("must have at least {least} {what}, not {found}"));
    }
    if let Some(most) = most.filter(|most| found > *most) {
        problems.add(path, format_args!("must have at most {most} {what}, not {found}"));
    }
}

fn range(schema: &JSONSchemaProps, number: Option<f64>, path: &str, problems: &mut Problems) {
    let Some(number) = number else { return };
    if let Some(least) = schema.minimum.filter(|least| number < *least) {
        problems.add(path, format_args!("must be {least} or more"));
    }
    if let Some(most) = schema.maximum.filter(|most| number > *most) {
        problems.add(path, format_args!("must be {most} or less"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::crd;

    fn problems(spec: &Value) -> Vec<String> {
        let mut problems = Problems::default();
        let definitions = crd::all();
        check_object(
            &definitions[0],
            &json!({"kind": "ImageChain", "metadata": {"name": "x"}, "spec": spec}),
            &mut problems,
        );
        problems.into_vec().iter().map(ToString::to_string).collect()
    }

    fn link(field: &str, value: Value) -> Value {
        let mut link = json!({"name": "a", "build": {"packer": {"template": "t"}}});
        link[field] = value;
        json!({"profiles": ["p"], "links": [link]})
    }

    fn of_size(size: &Value) -> Value {
        link("build", json!({"box": {"size": size}}))
    }

    #[test]
    fn every_kind_of_bound_is_checked() {
        for (spec, path, sentence) in [
            (json!("text"), "spec", "must be an object, not a string"),
            (json!({"links": []}), "spec.links", "at least 1 entries"),
            (json!({"links": [{"name": "a"}], "profiles": ["p"]}), "spec.links[0].build", "must be set"),
            (
                json!({"links": [{"name": "a", "build": {}}, {"name": "a", "build": {}}], "profiles": ["p"]}),
                "spec.links[1]",
                "is there twice",
            ),
            (
                json!({"links": [{"name": "a", "build": {}}], "profiles": ["p", "p"]}),
                "spec.profiles[1]",
                "is there twice",
            ),
            (link("name", json!("A")), "spec.links[0].name", "«A» must match ^[a-z0-9]"),
            (link("name", json!("a".repeat(41))), "spec.links[0].name", "at most 40 characters, not 41"),
            (link("retry", json!({"build": 99})), "spec.links[0].retry.build", "must be 5 or less"),
            (link("retry", json!({"build": -1})), "spec.links[0].retry.build", "must be 0 or more"),
            (link("retry", json!({"build": 1.5})), "spec.links[0].retry.build", "must be an integer, not a number"),
            (link("from", Value::Null), "spec.links[0].from", "must be an object, not null"),
            (of_size(&json!(true)), "spec.links[0].build.box.size", "must be an integer or a string, not a boolean"),
            (of_size(&json!(1.5)), "spec.links[0].build.box.size", "must be an integer or a string, not a number"),
            (of_size(&json!(0)), "spec.links[0].build.box.size", "must be 1 or more"),
            (of_size(&json!("8GB")), "spec.links[0].build.box.size", "«8GB» must match"),
            (link("form", json!({})), "spec.links[0].form", "no such field"),
            (
                link("verify", json!([{"molecule": {"scenario": "../x"}}])),
                "spec.links[0].verify[0].molecule.scenario",
                "must match",
            ),
            (
                json!({"links": [{"name": "a", "build": {}}], "profiles": ["p"], "onFailure": "Panic"}),
                "spec.onFailure",
                "must be one of StopDependents",
            ),
        ] {
            let found = problems(&spec);
            let hit = found.iter().any(|each| each.starts_with(&format!("{path}: ")) && each.contains(sentence));
            assert!(hit, "no «{sentence}» at {path} in {found:#?}");
        }
        for right in [link("paths", json!(["a/b"])), of_size(&json!(8_u64 << 30)), of_size(&json!("1.5Gi"))] {
            assert_eq!(problems(&right), Vec::<String>::new());
        }
    }

    #[test]
    fn every_pattern_can_be_read_here_too() {
        fn visit(schema: &JSONSchemaProps) {
            if let Some(pattern) = &schema.pattern {
                assert!(Regex::new(pattern).is_ok(), "{pattern}");
            }
            schema.properties.iter().flatten().for_each(|(_, property)| visit(property));
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                visit(items);
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                visit(values);
            }
        }
        for definition in crd::all() {
            visit(definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap());
        }
    }
}

//! The custom resource definitions, from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{build::ImageBuild, chain::ImageChain, profile::BuildProfile};

/// The definitions of all kinds, in the order in which they are documented.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [ImageChain::crd(), ImageBuild::crd(), BuildProfile::crd()].map(finish).into()
}

fn finish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            refuse_null(root);
            begin_unobserved(root);
        }
    }
    definition
}

/// Gives the status of a new object `observedGeneration: -1`, so that whoever waits for it (kstatus, Flux,
/// Argo CD, `kubectl wait`) does not take an object that nobody has looked at for one that is fine.
fn begin_unobserved(root: &mut JSONSchemaProps) {
    if let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
        status.default = Some(JSON(json!({"observedGeneration": -1})));
    }
}

/// Takes `nullable` away from optional fields: a field is there or it is not. With it, CEL's `has()` would
/// take a null for something, and "exactly one of" would count it.
fn refuse_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        refuse_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => refuse_null(items),
        Some(JSONSchemaPropsOrArray::Schemas(each)) => each.iter_mut().for_each(refuse_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        refuse_null(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `check` with the path and the schema of every field below the root.
    fn visit(path: &str, schema: &JSONSchemaProps, check: &mut impl FnMut(&str, &JSONSchemaProps)) {
        check(path, schema);
        for (name, property) in schema.properties.iter().flatten() {
            visit(&format!("{path}.{name}"), property, check);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            visit(&format!("{path}[]"), items, check);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            visit(&format!("{path}{{}}"), values, check);
        }
    }

    fn every_field(mut check: impl FnMut(&str, &JSONSchemaProps)) {
        for definition in all() {
            let version = &definition.spec.versions[0];
            let root = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            for (name, property) in root.properties.iter().flatten().filter(|(name, _)| *name != "metadata") {
                visit(&format!("{}.{name}", definition.spec.names.kind), property, &mut check);
            }
        }
    }

    /// Types of Kubernetes itself, whose bounds are not ours.
    fn is_foreign(path: &str) -> bool {
        ["tolerations[]", "allowedNamespaces", "conditions[]"].iter().any(|each| path.contains(each))
    }

    #[test]
    fn every_field_is_described() {
        let mut silent = Vec::new();
        every_field(|path, schema| {
            if schema.description.as_deref().is_none_or(str::is_empty) && !path.ends_with(['}', ']']) {
                silent.push(path.to_owned());
            }
        });
        assert!(silent.is_empty(), "kubectl explain has no text for {silent:#?}");
    }

    #[test]
    fn every_string_list_and_map_is_bounded() {
        let mut unbounded = Vec::new();
        every_field(|path, schema| {
            let bounded = match schema.type_.as_deref() {
                Some("string") => {
                    schema.max_length.is_some()
                        || schema.enum_.is_some()
                        || schema.format.as_deref() == Some("date-time")
                }
                Some("array") => schema.max_items.is_some(),
                Some("object") => schema.properties.is_some() || schema.max_properties.is_some(),
                _ => true,
            };
            if !bounded && !is_foreign(path) {
                unbounded.push(path.to_owned());
            }
        });
        assert!(unbounded.is_empty(), "{unbounded:#?}");
    }

    #[test]
    fn no_field_may_be_null() {
        every_field(|path, schema| assert_eq!(schema.nullable, None, "{path}"));
    }
}

//! Objects in YAML or JSON files, as `kubectl apply -f` takes them.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::{
    api::{GROUP, VERSION, build::ImageBuild, chain::ImageChain, crd, profile::BuildProfile},
    plan::validate::{
        self,
        problem::{Problem, Problems},
        schema,
    },
};

/// The largest file that is read, in bytes: an object in the API server may have 1.5 MiB.
const LARGEST: u64 = 8 << 20;

/// One of our objects.
pub(super) enum Object {
    Chain(Box<ImageChain>),
    Build(Box<ImageBuild>),
    Profile(Box<BuildProfile>),
    /// Not ours, but a source of chains.
    ConfigMap(Box<ConfigMap>),
}

/// An object of a file.
pub(super) struct Document {
    /// The kind and name, as far as they are known.
    pub title: String,
    /// The object, unless its form is too far from ours.
    pub object: Option<Object>,
    /// What is wrong with its form and, as far as that allows, with its meaning.
    pub problems: Vec<Problem>,
    /// Whether it is of a kind that we know.
    pub known: bool,
}

/// Reads the documents of a file; `-` is standard input.
pub(super) fn read(path: &Path) -> io::Result<Vec<Document>> {
    let mut text = String::new();
    let source: Box<dyn Read> = if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(open(path)?) };
    source.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| about(path, &error))?;
    if text.len() as u64 > LARGEST {
        return Err(about(path, &"is larger than 8 MiB"));
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|error| about(path, &error))?;
    let documents = documents.into_iter().filter(|document| !document.is_null()).flat_map(items);
    Ok(documents.map(understand).collect())
}

/// The objects of a list, as `kubectl get` prints them; anything else is one object.
fn items(document: Value) -> Vec<Value> {
    let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
    match document.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.clone(),
        _ => vec![document],
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path).map_err(|error| about(path, &error))
}

fn about(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

fn understand(document: Value) -> Document {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let title = format!("{} {name}", if kind.is_empty() { "an object without kind" } else { &kind });
    let mut problems = Problems::default();
    let ours =
        crd::all().into_iter().find(|each| each.spec.names.kind == kind && version == format!("{GROUP}/{VERSION}"));
    let known = ours.is_some() || (version.as_str(), kind.as_str()) == ("v1", "ConfigMap");
    let object = match ours {
        Some(definition) => {
            schema::check_object(&definition, &document, &mut problems);
            typed(&kind, document, &mut problems)
        }
        None if known => problems.take("the object", serde_json::from_value(document).map(Object::ConfigMap)),
        None => {
            problems
                .add("kind", format_args!("must be an ImageChain, ImageBuild or BuildProfile of {GROUP}/{VERSION}"));
            None
        }
    };
    let mut problems = problems.into_vec();
    add(&mut problems, object.as_ref().map_or_else(Vec::new, meaning));
    Document { title: title.trim_end().to_owned(), object, problems, known }
}

/// What is wrong with the meaning of an object.
fn meaning(object: &Object) -> Vec<Problem> {
    let found = match object {
        Object::Chain(chain) => validate::chain(chain).err(),
        Object::Build(build) => validate::build(build).err(),
        Object::Profile(profile) => validate::profile(profile).err(),
        Object::ConfigMap(_) => None,
    };
    found.unwrap_or_default()
}

/// Adds problems of the meaning to those of the form; of one field, the former say more.
fn add(problems: &mut Vec<Problem>, more: Vec<Problem>) {
    problems.retain(|form| more.iter().all(|meaning| meaning.path != form.path));
    problems.extend(more);
}

/// The object, as far as its form allows: what is wrong with that is told already.
fn typed(kind: &str, document: Value, problems: &mut Problems) -> Option<Object> {
    let read = match kind {
        "ImageChain" => serde_json::from_value(document).map(Object::Chain),
        "ImageBuild" => serde_json::from_value(document).map(Object::Build),
        _ => serde_json::from_value(document).map(Object::Profile),
    };
    match read {
        Ok(object) => Some(object),
        Err(error) => {
            if problems.is_empty() {
                problems.add("the object", error);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(spec: &Value) -> Vec<String> {
        let document = json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "shop"}, "spec": spec,
        });
        understand(document).problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_told_with_their_path() {
        let link = json!({"name": "a", "from": {"imagee": "x"}, "build": {"packer": {"template": "t"}}});
        let unknown = problems(&json!({"profiles": ["p"], "paralelism": 1, "links": [link]}));
        let paths: Vec<_> = unknown.iter().filter_map(|each| each.split_once(": ").map(|(path, _)| path)).collect();
        // And what follows from it: the link has neither parent nor source.
        let form = ["spec.links[0].from.imagee", "spec.paralelism"];
        assert_eq!(paths, [&form[..], &["spec.links[0].from", "spec.links[0].source"]].concat());
        let wrong = problems(&json!({"profiles": ["p"], "links": [{"name": 1, "build": {}}]}));
        assert_eq!(wrong, ["spec.links[0].name: must be a string, not an integer"]);
        assert_eq!(problems(&json!([])), ["spec: must be an object, not a list"]);
    }

    #[test]
    fn foreign_objects_are_named() {
        let document = understand(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}));
        assert_eq!(document.title, "Secret s");
        assert!(document.object.is_none() && document.problems.len() == 1);
        assert_eq!(understand(json!("text")).title, "an object without kind");
    }
}

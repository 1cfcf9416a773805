//! Objects in YAML or JSON files, as `kubectl apply -f` takes them.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{GROUP, VERSION, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::problem::{Problem, Problems},
};

/// The largest file that is read, in bytes: an object in the API server may have 1.5 MiB.
const LARGEST: u64 = 8 << 20;

/// One of our objects.
pub(super) enum Object {
    Chain(Box<ImageChain>),
    Build(Box<ImageBuild>),
    Profile(Box<BuildProfile>),
}

/// An object of a file.
pub(super) struct Document {
    /// The kind and name, as far as they are known.
    pub title: String,
    /// The object, unless its form is too far from ours.
    pub object: Option<Object>,
    /// What is wrong with its form.
    pub problems: Vec<Problem>,
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
    Ok(documents.into_iter().filter(|document| !document.is_null()).map(understand).collect())
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
    let object = match (version == format!("{GROUP}/{VERSION}"), kind.as_str()) {
        (true, "ImageChain") => typed(document, &mut problems).map(|object| Object::Chain(Box::new(object))),
        (true, "ImageBuild") => typed(document, &mut problems).map(|object| Object::Build(Box::new(object))),
        (true, "BuildProfile") => typed(document, &mut problems).map(|object| Object::Profile(Box::new(object))),
        _ => {
            problems
                .add("kind", format_args!("must be an ImageChain, ImageBuild or BuildProfile of {GROUP}/{VERSION}"));
            None
        }
    };
    Document { title: title.trim_end().to_owned(), object, problems: problems.into_vec() }
}

fn typed<T: DeserializeOwned>(mut document: Value, problems: &mut Problems) -> Option<T> {
    // They are read already, and the type does not hold them.
    for field in ["apiVersion", "kind"] {
        document.as_object_mut()?.remove(field);
    }
    let mut track = serde_path_to_error::Track::new();
    let mut unknown = Vec::new();
    let deserializer = serde_path_to_error::Deserializer::new(document, &mut track);
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let read = T::deserialize(serde_ignored::Deserializer::new(deserializer, &mut note));
    for path in unknown {
        problems.add(field_path(&path), "there is no such field: look at its spelling and its indentation");
    }
    read.map_err(|error| problems.add(field_path(&track.path().to_string()), error)).ok()
}

/// A path as `kubectl` writes it: serde writes `?` where an optional field is entered, and indices as
/// fields of their own.
fn field_path(serde: &str) -> String {
    let parts = serde.split('.').filter(|part| !matches!(*part, "?" | ""));
    let path: String = parts.flat_map(|part| if is_index(part) { ["[", part, "]"] } else { [".", part, ""] }).collect();
    match path.strip_prefix('.').unwrap_or(&path) {
        "" => "the object".to_owned(),
        path => path.to_owned(),
    }
}

fn is_index(part: &str) -> bool {
    part.bytes().all(|digit| digit.is_ascii_digit())
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
        assert_eq!(paths, ["spec.links[0].from.imagee", "spec.paralelism"]);
        let wrong = problems(&json!({"profiles": ["p"], "links": [{"name": 1, "build": {}}]}));
        assert!(wrong[0].starts_with("spec.links[0].name: invalid type"), "{wrong:?}");
        assert!(problems(&json!([])).len() == 1);
    }

    #[test]
    fn foreign_objects_are_named() {
        let document = understand(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}));
        assert_eq!(document.title, "Secret s");
        assert!(document.object.is_none() && document.problems.len() == 1);
        assert_eq!(understand(json!("text")).title, "an object without kind");
    }
}

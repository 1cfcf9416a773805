//! Links that stand on boxes which no link has made, and need files of other servers.

use serde_json::{Value, json};

use crate::{
    api::build::ImageBuild,
    plan::{
        recipe::{Origin, Parent},
        validate::build,
    },
};

/// The parent of a build that has a file, too; or all that is wrong.
fn parent_of(from: &Value, variables: &Value) -> Result<Parent, Vec<String>> {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
        "spec": {
            "profile": "machines", "source": {"configMap": {"name": "files"}}, "from": from,
            "files": [{"name": "iso", "url": "https://files.example/a.iso", "sha256": "1".repeat(64)}],
            "build": {"packer": {"template": "a.json", "variables": variables}},
        },
    });
    let valid = build(&serde_json::from_value::<ImageBuild>(object).unwrap());
    valid.map(|valid| valid.recipe.parent.unwrap()).map_err(|found| found.iter().map(ToString::to_string).collect())
}

const BOX_URL: &str = "https://boxes.example/debian.box";
const BOX_TAG: &str = "r.example/boxes/debian:13";

fn box_by_url() -> Value {
    json!({"box": {"url": BOX_URL, "sha256": "0".repeat(64)}})
}

#[test]
fn a_link_stands_on_a_box_of_a_registry_or_of_a_server() {
    let variables = json!({"iso": "$(files.iso)", "disk": "$(parent.disk)"});
    let parent = parent_of(&box_by_url(), &variables).unwrap();
    assert_eq!(parent.origin.file().map(|file| file.url.to_string()).as_deref(), Some(BOX_URL));
    assert!(!parent.is_staged() && parent.origin.dependency().is_none());
    let registry = json!({"box": {"reference": BOX_TAG}, "secretRef": {"name": "pull"}});
    let parent = parent_of(&registry, &variables).unwrap();
    assert_eq!(parent.origin, Origin::Box(BOX_TAG.parse().unwrap()));
    assert!(!parent.is_staged() && parent.origin.dependency().is_some());
}

#[test]
fn a_box_that_is_written_wrong_is_told() {
    let (file, sha256) = (box_by_url(), "0".repeat(64));
    let mut secret = file.clone();
    secret["secretRef"] = json!({"name": "pull"});
    let either = "spec.from.box: set url and sha256, or reference";
    let placeholder = "spec.build.packer.variables.a:";
    for (from, variables, expected) in [
        (json!({"box": {"url": BOX_URL}}), json!({}), either.to_owned()),
        (json!({"box": {"url": BOX_URL, "sha256": sha256, "reference": BOX_TAG}}), json!({}), either.to_owned()),
        (json!({"box": {}}), json!({}), either.to_owned()),
        (
            json!({"box": {"reference": BOX_TAG}, "image": "debian"}),
            json!({}),
            "spec.from: set exactly one of image, link, chain, box".to_owned(),
        ),
        (
            json!({"box": {"url": "file:///etc/passwd", "sha256": sha256}}),
            json!({}),
            "spec.from.box.url: must begin with https:// or http://".to_owned(),
        ),
        (secret, json!({}), "spec.from.secretRef: leave it out: box.url is fetched without credentials".to_owned()),
        (
            file.clone(),
            json!({"a": "$(parent.reference)"}),
            format!(
                "{placeholder} $(parent.reference) has no value: from is a file, and in no registry: use $(parent.box) \
                 or $(parent.disk)"
            ),
        ),
        (
            file,
            json!({"a": "$(files.other)"}),
            format!("{placeholder} $(files.other) has no value: files has none of that name"),
        ),
    ] {
        assert_eq!(parent_of(&from, &variables).unwrap_err(), [expected], "{from}");
    }
}

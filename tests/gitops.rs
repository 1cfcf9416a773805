//! What `gitops/` shows for Flux is what docs/gitops.md says of it. Argo CD's part has tests of its own.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::{fs, path::Path};

use serde_json::{Value, json};

#[test]
fn flux_waits_for_the_images_of_a_team() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("gitops/flux/team-a.yaml");
    let text = fs::read_to_string(file).expect("the file");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let kinds: Vec<_> = objects.iter().map(|object| (&object["apiVersion"], &object["kind"])).collect();
    assert_eq!(
        kinds,
        [
            (&json!("source.toolkit.fluxcd.io/v1"), &json!("GitRepository")),
            (&json!("kustomize.toolkit.fluxcd.io/v1"), &json!("Kustomization")),
        ]
    );
    let (source, applied) = (&objects[0], &objects[1]["spec"]);
    assert_eq!(applied["wait"], json!(true), "ready only when every chain is");
    assert_eq!(applied["prune"], json!(true));
    assert_eq!(applied["sourceRef"], json!({"kind": source["kind"], "name": source["metadata"]["name"]}));
    for object in &objects {
        assert_eq!(object["metadata"]["namespace"], applied["targetNamespace"]);
    }
    assert!(applied["serviceAccountName"].is_string(), "whom the gates ask about");
    assert!(applied["retryInterval"].is_string(), "the default is the interval: red for long after all is well");
    assert!(applied["timeout"].is_string(), "the default is the interval, which no chain keeps to");
}

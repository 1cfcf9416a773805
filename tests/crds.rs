//! The committed definitions are those of the types.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used)]

use std::{fs, path::Path, process::Command};

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let fresh = std::env::temp_dir().join(format!("imagechain-crds-{}", std::process::id()));
    fs::create_dir_all(&fresh).expect("a folder");
    let written = Command::new(env!("CARGO_BIN_EXE_imagechain"))
        .args(["crd", "--directory"])
        .arg(&fresh)
        .status()
        .expect("the program");
    assert!(written.success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut kinds = 0;
    for entry in fs::read_dir(&fresh).expect("the files") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name");
        let expected = fs::read_to_string(&path).expect("text");
        let found = fs::read_to_string(committed.join(name)).unwrap_or_default();
        assert!(found == expected, "crds/{} is not up to date: run `make crds`", name.display());
        kinds += 1;
    }
    assert_eq!(kinds, fs::read_dir(&committed).expect("the committed files").count());
    fs::remove_dir_all(fresh).expect("the end of the folder");
}

/// kubectl takes a word for a category before it takes it for a kind: `kubectl get NAME …` would ask for all kinds.
#[test]
fn no_category_is_named_like_a_kind() {
    for crd in imagechain::api::crd::all() {
        let names = crd.spec.names;
        let kinds: Vec<_> =
            names.short_names.into_iter().flatten().chain(names.singular).chain([names.plural]).collect();
        for category in names.categories.into_iter().flatten() {
            assert!(!kinds.contains(&category), "{category} is one of {kinds:?}");
        }
    }
}

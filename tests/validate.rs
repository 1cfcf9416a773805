//! `imagechain validate` as its users see it.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used)]

use std::process::{Command, Output};

fn validate(file: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_imagechain"))
        .args(["validate", "-f", file])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests"))
        .output()
        .expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn good_objects_are_summed_up() {
    let output = validate("good.yaml");
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout), @r#"
good.yaml: ImageChain shop: valid, 2 links: systemd, web
good.yaml: BuildProfile docker: valid, builds in namespace builds
"#);
}

#[test]
fn bad_objects_are_told_with_every_problem() {
    let output = validate("bad.yaml");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stdout), @r#"
bad.yaml: ImageChain shop: 5 problems
  spec.paralelism: there is no such field: look at its spelling and its indentation
  spec.links[0].from.link: there is no earlier link «systemd»: move the parent before its children
  spec.source.git.url: must not hold a password: put it into the Secret of secretRef
  spec.links[0].build.packer.template: must stay inside the source: none of its parts may be empty, . or ..
  spec.links[0].build.packer.variables.who: holds $(whoami), which is none of the placeholders $(parent.reference), $(parent.repository), $(parent.tag), $(parent.digest), $(parent.local), $(image.local), $(link.name), $(chain.name), $(build.name), $(source.revision), $(source.path): write $$(whoami) if it is meant as it stands
bad.yaml: Secret x: 1 problem
  kind: must be an ImageChain, ImageBuild or BuildProfile of imagechain.dev/v1alpha1
bad.yaml: ImageChain shop: 2 problems
  spec.links: must have at least 1 entries, not 0
  spec.profiles: must be a list, not a string
"#);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = validate("none.yaml");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"imagechain: none.yaml: No such file or directory (os error 2)");
}

//! What is found in templates, and what is left of them.

use super::*;

/// What is left of a template without uploads and, if so, without plugins.
fn left(kind: Kind, text: &str, with_plugins: bool) -> String {
    let Contents { plugins, uploads, .. } = read(kind, text);
    let parts = if with_plugins { vec![&uploads] } else { vec![&uploads, &plugins] };
    let left = without(text, &parts);
    assert_eq!(left.lines().count(), text.lines().count(), "lines moved: {left}");
    left
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const HCL: &str = r#"# A comment that stays.
packer {
  required_version = ">= 1.6"
  required_plugins {
    docker = {
      version = "~> 1"
      source  = "github.com/hashicorp/docker"
    }
    ansible = {
      version = "~> 1"
      source  = "github.com/hashicorp/ansible"
    }
  }
}

variable "base" {
  default = "required_plugins { }"
}
"#;

#[test]
fn required_plugins_are_found_and_left_out() {
    let found = read(Kind::Hcl, HCL);
    assert_eq!(found.plugins.names, ["docker", "ansible"]);
    let copy = left(Kind::Hcl, HCL, false);
    assert_eq!(read(Kind::Hcl, &copy), Contents::default());
    let line = |text: &str| copy.lines().position(|line| line == text);
    assert_eq!(line("variable \"base\" {"), Some(15), "{copy}");
    assert_eq!(line("# A comment that stays."), Some(0));
    assert_eq!(left(Kind::Hcl, HCL, true), HCL);
}

#[test]
fn plugins_of_json_are_found_and_left_out() {
    let text = r#"{
  "packer": {
    "required_version": ">= 1.6",
    "required_plugins": {
      "docker": {"version": "~> 1", "source": "github.com/hashicorp/docker"}
    }
  },
  "build": {"sources": ["source.docker.a"]}
}"#;
    let found = read(Kind::HclJson, text);
    assert_eq!(found.plugins.names, ["docker"]);
    assert_eq!(
        words(&left(Kind::HclJson, text, false)),
        r#"{ "packer": { "required_version": ">= 1.6" }, "build": {"sources": ["source.docker.a"]} }"#
    );
    // As a list of blocks, and as the only member.
    let text = r#"{"packer": [{"required_plugins": [{"docker": {}}, {"qemu": {}}]}], "a": 1}"#;
    assert_eq!(read(Kind::HclJson, text).plugins.names, ["docker", "qemu"]);
    assert_eq!(left(Kind::HclJson, text, false), r#"{"packer": [{}], "a": 1}"#);
    // The older form has none.
    assert_eq!(read(Kind::Json, text), Contents::default());
}

#[test]
fn what_pushes_is_left_out_of_hcl() {
    let text = r#"build {
  sources = ["source.docker.a"]
  post-processor "docker-push" {
    login = true
  }
  post-processors {
    post-processor "docker-tag" {
      repository = "a"
    }
    post-processor "docker-push" {}
    post-processor "shell-local" {
      inline = ["echo docker-push"]
    }
  }
  post-processors {
    post-processor "vagrant-cloud" {
      name = "up"
    }
  }
  post-processor "manifest" {}
}
"#;
    let found = read(Kind::Hcl, text);
    assert_eq!(found.uploads.names, ["docker-push", "docker-push", "vagrant-cloud"]);
    assert!(!found.may_hide_uploads());
    // A chain of which nothing is left would be an empty one, for which packer throws the image away.
    assert_eq!(
        words(&left(Kind::Hcl, text, true)),
        "build { sources = [\"source.docker.a\"] post-processors { post-processor \"docker-tag\" { repository = \"a\" } \
         post-processor \"shell-local\" { inline = [\"echo docker-push\"] } } post-processor \"manifest\" {} }"
    );
}

#[test]
fn what_pushes_is_left_out_of_json() {
    for (kind, text, names, expected) in [
        (
            Kind::Json,
            r#"{"a": 1, "post-processors": ["docker-push", {"type": "docker-tag", "x": [1]}, ["manifest", {"x": 1, "type": "vagrant-cloud", "name": "up"}, "compress"], [{"type": "docker-push"}]]}"#,
            "docker-push vagrant-cloud docker-push",
            r#"{"a": 1, "post-processors": [ {"type": "docker-tag", "x": [1]}, ["manifest", "compress"]]}"#,
        ),
        (
            Kind::Json,
            r#"{"post-processors": [["docker-push"], "docker-push"], "a": 1}"#,
            "docker-push docker-push",
            r#"{ "a": 1}"#,
        ),
        (Kind::Json, r#"{"a": 1, "post-processors": ["docker-push"]}"#, "docker-push", r#"{"a": 1}"#),
        (
            Kind::HclJson,
            r#"{"build": [{"post-processor": {"docker-tag": {}, "docker-push": {}}, "sources": []}]}"#,
            "docker-push",
            r#"{"build": [{"post-processor": {"docker-tag": {}}, "sources": []}]}"#,
        ),
        (
            Kind::HclJson,
            r#"{"build": {"post-processors": [{"post-processor": [{"docker-push": {}}, {"docker-tag": {}}]}, {"//": "c", "post-processor": {"docker-push": {}}}]}}"#,
            "docker-push docker-push",
            r#"{"build": {"post-processors": [{"post-processor": [ {"docker-tag": {}}]}]}}"#,
        ),
        (
            Kind::HclJson,
            r#"{"build": {"post-processor": {"docker-push": {}}, "post-processors": {"post-processor": {"docker-push": {}}}}}"#,
            "docker-push docker-push",
            r#"{"build": {}}"#,
        ),
        // A member that is there twice: HCL takes both.
        (
            Kind::HclJson,
            r#"{"build": {"post-processor": {"docker-push": {}}, "post-processor": {"docker-tag": {}}}}"#,
            "docker-push",
            r#"{"build": { "post-processor": {"docker-tag": {}}}}"#,
        ),
        // Only where it is a post-processor.
        (Kind::Json, r#"{"builders": [{"type": "docker-push"}]}"#, "", r#"{"builders": [{"type": "docker-push"}]}"#),
        (Kind::HclJson, r#"{"variable": {"docker-push": {}}}"#, "", r#"{"variable": {"docker-push": {}}}"#),
    ] {
        assert_eq!(read(kind, text).uploads.names.join(" "), names, "{text}");
        let left = left(kind, text, true);
        assert_eq!(left, expected, "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&left).is_ok(), "{left}");
    }
}

#[test]
fn what_cannot_be_told_is_told() {
    let dynamic = |labels: &str| {
        format!(
            "build {{\n  dynamic \"post-processor\" {{\n    for_each = [1]\n    {labels}\n    content {{}}\n  }}\n}}\n"
        )
    };
    for (kind, text, expected) in [
        (Kind::Hcl, dynamic("labels = [\"docker-push\"]"), true),
        (Kind::Hcl, dynamic("labels = [var.kind]"), true),
        (Kind::Hcl, dynamic("labels = [\"manifest\"]"), false),
        (Kind::Hcl, "this is { no HCL docker-push ".to_owned(), true),
        (Kind::Hcl, "this is { no HCL".to_owned(), false),
        (Kind::Json, r#"{"post-processors": ["docker-push"],}"#.to_owned(), true),
        (Kind::Json, "{".to_owned(), false),
    ] {
        assert_eq!(read(kind, &text).may_hide_uploads(), expected, "{text}");
    }
}

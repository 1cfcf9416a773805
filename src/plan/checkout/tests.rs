//! Recipes against the files of their sources.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::build::ImageBuild,
    plan::{
        tree::{Entry, Tree},
        validate,
    },
};

/// The problems and the notes of a recipe.
fn look(spec: &Value, files: &[(&str, &str)], others: &[(&str, Entry)]) -> (Vec<String>, Vec<String>) {
    let mut object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
        "spec": {"profile": "docker", "source": {"git": {"url": "https://git.example/web"}}},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let build: ImageBuild = serde_json::from_value(object).unwrap();
    let recipe = validate::build(&build).unwrap().recipe;
    let texts: BTreeMap<&str, &str> = files.iter().copied().collect();
    let entries = texts.keys().map(|path| ((*path).to_owned(), Entry::File));
    let tree = Tree::new(entries.chain(others.iter().map(|(path, entry)| ((*path).to_owned(), entry.clone()))));
    let text = |path: &str| texts.get(path).map(|text| (*text).to_owned());
    let mut findings = Findings::default();
    let field = Field { recipe: "spec", source: "spec.source" };
    check(&recipe, &field, &Checkout { tree: &tree, text: &text }, &mut findings);
    (findings.problems.into_vec().iter().map(ToString::to_string).collect(), findings.notes)
}

fn packer(template: &str) -> Value {
    json!({"build": {"packer": {"template": template}}})
}

const NONE: [&str; 0] = [];

#[test]
fn a_good_source_has_all_that_is_named() {
    let spec = json!({
        "paths": ["ansible"],
        "build": {"packer": {"template": "packer/web.pkr.hcl", "variableFiles": ["prod.pkrvars.hcl"]}},
        "verify": [{"molecule": {"directory": "ansible/roles/web"}}, {"pytest": {"directory": "tests"}}],
    });
    let template = "build {\n provisioner \"ansible\" {\n playbook_file = \"../ansible/site.yml\"\n }\n}\n";
    let files = [
        ("packer/web.pkr.hcl", template),
        ("prod.pkrvars.hcl", ""),
        ("ansible/site.yml", ""),
        ("ansible/roles/web/molecule/default/molecule.yml", "provisioner:\n  playbooks: {converge: ../shared/c.yml}\n"),
        ("ansible/roles/web/molecule/shared/c.yml", ""),
        ("tests/test_a.py", ""),
    ];
    assert_eq!(look(&spec, &files, &[]), (vec![], vec![]));
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let spec = json!({
        "paths": ["ansible", "packer"],
        "build": {"packer": {"template": "packer/web.json", "variableFiles": ["prod.json"]}},
        "verify": [{"molecule": {"scenario": "web"}}, {"pytest": {"directory": "packer/web.json"}}],
    });
    let template = r#"{"provisioners": [{"type": "shell", "script": "packer/a.sh"}]}"#;
    let (problems, _) = look(&spec, &[("packer/web.json", template), ("packer/a.sh", "")], &[]);
    assert_eq!(
        problems,
        [
            "spec.build.packer.variableFiles[0]: the source has no «prod.json»",
            "spec.verify[0].molecule.scenario: the source has no folder «molecule/web»",
            "spec.verify[1].pytest.directory: «packer/web.json» is a file of the source, not a folder",
            "spec.paths[0]: the source has no «ansible»",
            "spec.build.packer.template: packer/web.json: provisioner shell: script = «packer/a.sh»: the source has no \
             «packer/packer/a.sh» (packer runs in packer)",
        ]
    );
}

#[test]
fn a_folder_of_files_runs_at_the_root() {
    let template = "build {\n provisioner \"shell\" {\n script = \"a.sh\"\n }\n}\n";
    let (problems, _) = look(&packer("packer"), &[("packer/a.pkr.hcl", template), ("packer/a.sh", "")], &[]);
    assert_eq!(
        problems,
        [
            "spec.build.packer.template: packer/a.pkr.hcl:3: provisioner shell: script = «a.sh»: the source has no «a.sh» \
          (packer runs in the root of the source)"
        ]
    );
}

#[test]
fn packer_runs_where_the_recipe_says() {
    let template = "build {\n  provisioner \"shell\" {\n    script = \"../scripts/a.sh\"\n  }\n}\n";
    let files = [("packer/a.pkr.hcl", template), ("scripts/a.sh", "")];
    let look = |packer: Value| look(&json!({"build": {"packer": packer}}), &files, &[]).0;
    assert_eq!(look(json!({"template": "packer", "directory": "packer"})), [""; 0]);
    assert_eq!(look(json!({"template": ".", "directory": "./packer/"})), [""; 0]);
    assert_eq!(
        look(json!({"template": "packer/a.pkr.hcl", "directory": "scripts/a.sh"}))[0],
        "spec.build.packer.directory: «scripts/a.sh» is a file of the source, not a folder"
    );
    let found = look(json!({"template": "packer/a.pkr.hcl", "directory": "."}));
    assert!(found[0].contains("script = «../scripts/a.sh»") && found[0].contains("root of the source"), "{found:?}");
}

#[test]
fn variables_have_values_where_no_file_may_say_otherwise() {
    let template = "variable \"dir\" { default = \"x\" }\nbuild {\n provisioner \"shell\" {\n script = \"${var.dir}/a.sh\"\n }\n}\n";
    let files = [("t.pkr.hcl", template), ("y/a.sh", ""), ("v.json", "")];
    let with = |more: &Value| {
        let mut packer = json!({"template": "t.pkr.hcl"});
        packer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        look(&json!({"build": {"packer": packer}}), &files, &[])
    };
    assert!(with(&json!({})).0[0].contains("the source has no «x/a.sh»"));
    assert_eq!(with(&json!({"variables": {"dir": "y"}})), (vec![], vec![]));
    let unknown = "t.pkr.hcl:4: provisioner shell: scripts";
    for more in [json!({"variableFiles": ["v.json"]}), json!({"variables": {"dir": "$(build.name)"}})] {
        let (problems, notes) = with(&more);
        assert_eq!(problems, NONE);
        assert!(
            notes[0].starts_with(unknown.trim_end_matches('s')) && notes[0].contains("known to packer alone"),
            "{notes:?}"
        );
    }
}

#[test]
fn links_submodules_and_lfs_are_told_where_they_are_used() {
    let outside = [
        ("home", Entry::Link("/home/me".to_owned())),
        ("big.bin", Entry::Pointer),
        ("lib", Entry::Submodule),
        ("packer", Entry::Folder),
    ];
    let mut spec = packer("packer/t.json");
    spec["paths"] = json!(["packer"]);
    let (problems, notes) = look(&spec, &[("packer/t.json", "{}")], &outside);
    assert_eq!(problems, NONE);
    assert_eq!(
        notes,
        [
            "in Git LFS, not fetched, and outside what the link uses: big.bin",
            "links that lead out of the source stay as they are, and nobody follows them: home → /home/me",
        ]
    );
    for (template, sentence) in [
        ("home/t.json", "«home/t.json» leads out of the source, by the link «home» to /home/me"),
        ("lib/t.json", "«lib/t.json» is in a submodule («lib»), and these are not fetched"),
    ] {
        let (problems, _) = look(&packer(template), &[], &outside);
        assert!(problems[0].starts_with(&format!("spec.build.packer.template: {sentence}")), "{problems:?}");
        // Without `paths` all is used.
        assert!(problems[1].starts_with("spec.paths: what the link uses has files in Git LFS"), "{problems:?}");
    }
}

#[test]
fn a_folder_of_the_source_is_where_paths_begin() {
    let mut spec = packer("web.json");
    spec["source"] = json!({"git": {"url": "https://git.example/web", "directory": "images"}});
    let template = r#"{"provisioners": [{"type": "shell", "scripts": ["a.sh", "/opt/b.sh", "../../c.sh"]}]}"#;
    let files = [("images/web.json", template), ("images/a.sh", "")];
    let (problems, notes) = look(&spec, &files, &[("other/big.bin", Entry::Pointer)]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("«../../c.sh»: «images/../../c.sh» leads out of the source (packer runs in images)"),
        "{problems:?}"
    );
    assert!(notes[0].contains("/opt/b.sh is not in the source"), "{notes:?}");
    assert_eq!(look(&spec, &[("a", "")], &[]).0, ["spec.source.git.directory: the source has no folder «images»"]);
}

#[test]
fn a_scenario_may_be_a_collections_or_elsewhere() {
    let spec = |environment: &Value| {
        let mut spec = packer("t.json");
        spec["verify"] = json!([{"molecule": {"scenario": "web", "environment": environment}}]);
        spec
    };
    let files = [("t.json", "{}"), ("extensions/molecule/web/molecule.yml", "a: b\n")];
    assert_eq!(look(&spec(&json!({})), &files, &[]).0, NONE);
    assert_eq!(look(&spec(&json!({"MOLECULE_GLOB": "x/*/molecule.yml"})), &files[..1], &[]).0, NONE);
    let text = "provisioner:\n  playbooks:\n    converge: c.yml\n    prepare: ${HOME}/p.yml\n    verify: a.b.c\n";
    let (problems, notes) = look(&spec(&json!({})), &[("t.json", "{}"), ("molecule/web/molecule.yml", text)], &[]);
    assert_eq!(
        problems,
        [
            "spec.verify[0].molecule.scenario: molecule/web/molecule.yml: the playbook converge: the source has no «molecule/web/c.yml»"
        ]
    );
    assert!(notes[0].contains("prepare = ${HOME}/p.yml"), "{notes:?}");
}

//! What a commit must have.

use std::iter;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::build::ImageBuild,
    plan::{
        lookup::{Answer, Found, Outcome},
        validate,
    },
};

fn recipe(spec: &Value) -> Recipe {
    let mut object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
        "spec": {
            "profile": "docker",
            "source": {"git": {"url": "https://git.example/web", "revision": "main", "directory": "images"}},
            "build": {"packer": {"template": "web.json"}},
        },
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    validate::build(&serde_json::from_value::<ImageBuild>(object).unwrap()).unwrap().recipe
}

/// The files of a recipe in a commit that has these paths, asked for `second` seconds after it was looked up.
fn found(recipe: &Recipe, there: &[&str], obstacles: &[(&str, Obstacle)], second: i64) -> (Known<Files>, Outcome) {
    let link = ValidLink { name: "web".to_owned(), profile: "docker".to_owned(), recipe: recipe.clone() };
    let subjects = GitSubjects::of(iter::once(&link));
    let [subject] = subjects.0.values().collect::<Vec<_>>()[..] else { panic!("one repository") };
    let result = Ok(Found::Commit {
        commit: "0123456789abcdef".to_owned(),
        objects: there.iter().map(|path| ((*path).to_owned(), format!("id of {path}"))).collect(),
        obstacles: obstacles.iter().map(|(path, obstacle)| ((*path).to_owned(), obstacle.clone())).collect(),
    });
    let at = |second| Timestamp::from_second(second).unwrap();
    let answers = BTreeMap::from([(subject.clone(), Answer { at: at(0), result, failures: 0 })]);
    let mut knowledge = Knowledge::new(&[], &answers, None, at(0), at(second));
    (files(recipe, &subjects, &BTreeMap::new(), None, &mut knowledge), knowledge.finish())
}

/// The paths that are there, why others are not, and what is said of it.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, Obstacle)], Option<(Reason, &'a str)>);

#[test]
fn a_commit_must_have_what_is_named() {
    let tested = recipe(&json!({"verify": [{"molecule": {"directory": "ansible"}}]}));
    let submodule = || Obstacle::Submodule("images/ansible".to_owned());
    let link = || Obstacle::Link("images/ansible".to_owned());
    let scenario = "images/ansible/molecule/default";
    let (folder, template) = ("images", "images/web.json");
    let cases: [Case; 6] = [
        (&[folder, template, "images/ansible", scenario], &[], None),
        (&[folder, template, "images/ansible", "images/ansible/extensions/molecule/default"], &[], None),
        (
            &[folder],
            &[],
            Some((
                Reason::RevisionNotFound,
                "«images/web.json» is not in the commit 0123456789ab of https://git.example/web: correct \
                 build.packer.template, or commit it",
            )),
        ),
        (
            &[folder, template, "images/ansible"],
            &[],
            Some((
                Reason::RevisionNotFound,
                "«images/ansible/molecule/default» is not in the commit 0123456789ab of https://git.example/web: \
                 correct verify[0].molecule.scenario, or commit it",
            )),
        ),
        (
            &[folder, template],
            &[("images/ansible", submodule()), (scenario, submodule())],
            Some((
                Reason::SubmoduleNotFetched,
                "«images/ansible» is a submodule, and these are not fetched: commit the files themselves (git \
                 subtree), or name the submodule's own repository as the source",
            )),
        ),
        // What is behind a link is seen when the files are there.
        (&[folder, template, "images/ansible"], &[(scenario, link())], None),
    ];
    for (there, obstacles, expected) in cases {
        let (known, outcome) = found(&tested, there, obstacles, 0);
        match (known, expected) {
            (Known::Value(files), None) => assert_eq!(files.revision, "0123456789abcdef"),
            (Known::Failed(failure), Some((reason, message))) => {
                assert_eq!((failure.reason, failure.message.as_str()), (reason, message));
                // Nobody tells when it is there.
                assert_eq!((outcome.wanted.len(), outcome.wake.map(Timestamp::as_second)), (0, Some(360)));
                assert_eq!(found(&tested, there, obstacles, 360).1.wanted.len(), 1);
            }
            (known, expected) => panic!("{known:?}, not {expected:?}"),
        }
    }
}

#[test]
fn paths_that_decide_are_in_the_commit_itself() {
    let named = recipe(&json!({"paths": ["ansible"]}));
    let there = ["images/web.json"];
    for (obstacle, reason, sentence) in [
        (Obstacle::Submodule("images/ansible".to_owned()), Reason::SubmoduleNotFetched, "is a submodule"),
        (Obstacle::Link("images".to_owned()), Reason::RevisionNotFound, "name in paths where the link leads"),
    ] {
        let (known, _) = found(&named, &there, &[("images/ansible", obstacle)], 0);
        let Known::Failed(failure) = known else { panic!("{known:?}") };
        assert!(failure.reason == reason && failure.message.contains(sentence), "{failure:?}");
    }
}

#[test]
fn what_must_be_there_does_not_decide_the_result() {
    let plain = recipe(&json!({}));
    let tested = recipe(&json!({"verify": [{"molecule": {}}]}));
    let hash = |recipe: &Recipe| {
        let there = ["images", "images/web.json", "images/molecule/default"];
        let (known, _) = found(recipe, &there, &[], 0);
        let Known::Value(files) = known else { panic!("{known:?}") };
        files.hash
    };
    assert_eq!(hash(&plain), hash(&tested));
}

//! A scenario of molecule: the playbooks that its `molecule.yml` names must be there.

use std::path::Path;

use serde_json::Value;

use super::looking::{Looking, find};
use crate::plan::{recipe::Wants, tree::Kind};

/// The playbooks that are the scenario's own: molecule brings others with it.
const PLAYBOOKS: [&str; 5] = ["prepare", "converge", "side_effect", "verify", "cleanup"];

/// Looks at a scenario, if it is there.
pub(super) fn check(looking: &mut Looking<'_>, field: &str, folder: &str) {
    if !matches!(looking.files.tree.find(folder), Ok((_, Kind::Folder))) {
        return;
    }
    let file = format!("{folder}/molecule.yml");
    if let Err(why) = find(looking.files.tree, &file, Wants::File) {
        return looking.problem(field, &why);
    }
    let Some(text) = (looking.files.text)(&file) else { return };
    let Some(scenario) = read(&text) else {
        return looking.findings.note(format!("{file} is read by molecule alone: what it names was not looked at"));
    };
    for (name, path) in named(&scenario) {
        if path.contains("${") || path.contains("{{") || path.starts_with('/') || path.starts_with('$') {
            looking
                .findings
                .note(format!("{file}: the playbook {name} = {path} is known to molecule alone: not looked at"));
        } else if let Err(why) = find(looking.files.tree, &format!("{folder}/{path}"), Wants::File) {
            looking.problem(field, &format!("{file}: the playbook {name}: {why}"));
        }
    }
}

fn read(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok()
}

/// The playbooks that it names. Those of collections are no files of the source.
fn named(scenario: &Value) -> Vec<(&'static str, String)> {
    let playbooks = scenario.pointer("/provisioner/playbooks");
    let path = |name: &str| playbooks?.get(name)?.as_str().map(str::to_owned);
    let named = PLAYBOOKS.iter().filter_map(|name| Some((*name, path(name)?)));
    named.filter(|(_, path)| Path::new(path).extension().is_some_and(|kind| kind == "yml" || kind == "yaml")).collect()
}

//! A template of packer: what its provisioners name must be there.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    evaluate::{Mention, Scope},
    hcl, json,
    looking::{Looking, find},
};
use crate::plan::{
    placeholder::Template,
    recipe::{Wants, packer::Packer},
    tree::Kind,
};

/// The field that names the template.
const FIELD: &str = "build.packer.template";

/// Looks at what a template names, if there is one: whether it is there is looked at before.
pub(super) fn check(looking: &mut Looking<'_>, packer: &Packer<Template>) {
    let written = looking.whole(packer.template.below_root());
    let Ok((path, kind)) = looking.files.tree.find(&written) else { return };
    let is_folder = kind == Kind::Folder;
    let files = if is_folder { of_folder(looking, &path) } else { vec![written.clone()] };
    let above = written.rsplit_once('/').map_or("", |(folder, _)| folder);
    let root = if is_folder { written.as_str() } else { above };
    let cwd = looking.whole(packer.runs_in(is_folder));
    let scope = Scope { variables: BTreeMap::new(), root: root.to_owned(), cwd };
    let texts: Vec<_> = files.into_iter().filter_map(|file| Some(((looking.files.text)(&file)?, file))).collect();
    let read: Vec<_> = texts.into_iter().map(|(text, file)| (Read::of(&file, text), file)).collect();
    let scope = Scope { variables: variables(looking, packer, &scope.root, &read), ..scope };
    for (template, file) in &read {
        match template {
            Some(template) => {
                for mention in template.mentions(&scope) {
                    check_mention(looking, &scope, file, mention);
                }
            }
            None => looking.findings.note(format!("{file} is read by packer alone: what it names was not looked at")),
        }
    }
}

/// The files of a folder that packer reads.
fn of_folder(looking: &Looking<'_>, folder: &str) -> Vec<String> {
    let is_template = |name: &&str| name.ends_with(".pkr.hcl") || name.ends_with(".pkr.json");
    let names = looking.files.tree.names(folder).filter(is_template);
    names.map(|name| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }).collect()
}

/// A file of a template, as it was read.
enum Read {
    Hcl(hcl::File),
    Json(Value),
}

impl Read {
    /// By its name, as packer does it; `None` where it cannot be read here.
    fn of(name: &str, text: String) -> Option<Self> {
        if name.ends_with(".pkr.json") {
            return None;
        }
        if Path::new(name).extension().is_some_and(|kind| kind == "json") {
            return serde_json::from_str(&text).ok().map(Self::Json);
        }
        hcl::File::read(text).map(Self::Hcl)
    }

    fn defaults(&self) -> BTreeMap<String, String> {
        match self {
            Self::Hcl(file) => file.defaults(),
            Self::Json(template) => json::defaults(template),
        }
    }

    fn mentions(&self, scope: &Scope) -> Vec<Mention> {
        match self {
            Self::Hcl(file) => file.mentions(scope),
            Self::Json(template) => json::mentions(template, scope),
        }
    }
}

/// The values of variables that are known: written ones, and defaults where no file may say otherwise.
fn variables(
    looking: &Looking<'_>,
    packer: &Packer<Template>,
    root: &str,
    read: &[(Option<Read>, String)],
) -> BTreeMap<String, String> {
    let is_automatic = |name: &str| name.ends_with(".auto.pkrvars.hcl") || name.ends_with(".auto.pkrvars.json");
    let by_file = !packer.variable_files.is_empty() || looking.files.tree.names(root).any(is_automatic);
    let mut known = BTreeMap::new();
    if !by_file {
        known.extend(read.iter().filter_map(|(template, _)| template.as_ref()).flat_map(Read::defaults));
    }
    known.retain(|name, _| !packer.variables.has(name));
    known.extend(packer.variables.values.iter().filter_map(|(name, value)| Some((name.clone(), value.plain()?))));
    known
}

fn check_mention(looking: &mut Looking<'_>, scope: &Scope, file: &str, mention: Mention) {
    let place = mention.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let by = mention.by;
    let path = match mention.path {
        Ok(path) => path,
        Err(unknown) => {
            return looking.findings.note(format!("{place}: {by} = {unknown} is known to packer alone: not looked at"));
        }
    };
    let Some(whole) = scope.in_source(&path) else {
        return looking.findings.note(format!("{place}: {by} = {path} is not in the source: not looked at"));
    };
    if let Err(why) = find(looking.files.tree, &whole, Wants::Either) {
        let cwd = if scope.cwd.is_empty() { "the root of the source" } else { &scope.cwd };
        looking.problem(FIELD, &format!("{place}: {by} = «{path}»: {why} (packer runs in {cwd})"));
    }
}

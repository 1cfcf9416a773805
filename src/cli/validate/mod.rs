//! `imagechain validate`: what is wrong with objects, before a cluster sees them; and with what they name in their
//! sources, before a pod does.

mod folder;
mod sources;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use k8s_openapi::api::core::v1::ConfigMap;

use super::manifest::{self, Document, Object};
use crate::plan::{
    checkout::Findings,
    valid::ValidChain,
    validate::{self, problem::Problem},
};
pub(super) use sources::Given;
use sources::Sources;

/// Prints a line per object, and one for each of its problems. The answer is whether there are none.
pub(super) fn run(files: &[PathBuf], given: &[Given], verbose: bool, out: &mut impl Write) -> io::Result<bool> {
    let mut documents = Vec::new();
    for file in files {
        documents.extend(manifest::read(file)?.into_iter().map(|document| (file, document)));
    }
    let maps: Vec<&ConfigMap> = documents.iter().filter_map(|(_, document)| config_map(document)).collect();
    let chains: Vec<Option<ValidChain>> = documents.iter().map(|(_, document)| chain(document)).collect();
    let sources = Sources::read(given)?;
    sources.check(&chains.iter().flatten().collect::<Vec<_>>())?;
    let mut good = true;
    for ((file, document), chain) in documents.iter().zip(&chains) {
        let found = match (&document.object, chain) {
            (Some(Object::Chain(written)), Some(chain)) => sources.look(written, chain, &maps),
            _ => Findings::default(),
        };
        let problems = [document.problems.clone(), found.problems.into_vec()].concat();
        let notes = if verbose { found.notes } else { Vec::new() };
        let title = format!("{}: {}", file.display(), document.title);
        good &= report(&title, document, (&problems, &notes), out)?;
    }
    Ok(good)
}

fn config_map(document: &Document) -> Option<&ConfigMap> {
    match &document.object {
        Some(Object::ConfigMap(map)) => Some(map),
        _ => None,
    }
}

/// The chain, if nothing is wrong with it: only then it is known what it names.
fn chain(document: &Document) -> Option<ValidChain> {
    match &document.object {
        Some(Object::Chain(chain)) if document.problems.is_empty() => validate::chain(chain).ok(),
        _ => None,
    }
}

fn report(
    title: &str,
    document: &Document,
    (problems, notes): (&[Problem], &[String]),
    out: &mut impl Write,
) -> io::Result<bool> {
    match (&document.object, problems.len()) {
        (Some(object), 0) => writeln!(out, "{title}: valid, {}", summary(object))?,
        (_, 1) => writeln!(out, "{title}: 1 problem")?,
        (_, number) => writeln!(out, "{title}: {number} problems")?,
    }
    for problem in problems {
        writeln!(out, "  {problem}")?;
    }
    for note in notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(document.object.is_some() && problems.is_empty())
}

/// What a good object is about, in a few words.
fn summary(object: &Object) -> String {
    match object {
        Object::Chain(chain) => {
            let names: Vec<_> = chain.spec.links.iter().map(|link| link.name.0.as_str()).collect();
            let noun = if names.len() == 1 { "link" } else { "links" };
            format!("{} {noun}: {}", names.len(), names.join(", "))
        }
        Object::Build(build) => format!("with profile {}", build.spec.profile),
        Object::Profile(profile) => format!("builds in namespace {}", profile.spec.execution_namespace),
        Object::ConfigMap(map) => format!("with {} files", map.data.iter().flatten().count()),
    }
}

//! `imagechain validate`: what is wrong with objects, before a cluster sees them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::manifest::{self, Document, Object};
use crate::plan::{problem::Problem, validate};

/// Prints a line per object, and one for each of its problems. The answer is whether there are none.
pub(super) fn run(files: &[PathBuf], out: &mut impl Write) -> io::Result<bool> {
    let mut good = true;
    for file in files {
        for document in manifest::read(file)? {
            good &= report(file, document, out)?;
        }
    }
    Ok(good)
}

fn report(file: &Path, document: Document, out: &mut impl Write) -> io::Result<bool> {
    let title = format!("{}: {}", file.display(), document.title);
    let mut problems = document.problems;
    let summary = document.object.and_then(|object| summary(&object).map_err(|more| add(&mut problems, more)).ok());
    if let (Some(summary), []) = (summary, problems.as_slice()) {
        writeln!(out, "{title}: valid, {summary}")?;
        return Ok(true);
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    writeln!(out, "{title}: {} {noun}", problems.len())?;
    for problem in problems {
        writeln!(out, "  {problem}")?;
    }
    Ok(false)
}

/// Adds problems of the meaning to those of the form; of one field, the former say more.
fn add(problems: &mut Vec<Problem>, more: Vec<Problem>) {
    problems.retain(|form| more.iter().all(|meaning| meaning.path != form.path));
    problems.extend(more);
}

/// What a good object is about, in a few words.
fn summary(object: &Object) -> Result<String, Vec<Problem>> {
    match object {
        Object::Chain(chain) => {
            let valid = validate::chain(chain)?;
            let names: Vec<_> = valid.links.iter().map(|link| link.name.as_str()).collect();
            let noun = if names.len() == 1 { "link" } else { "links" };
            Ok(format!("{} {noun}: {}", names.len(), names.join(", ")))
        }
        Object::Build(build) => Ok(format!("with profile {}", validate::build(build)?.profile)),
        Object::Profile(profile) => {
            Ok(format!("builds in namespace {}", validate::profile(profile)?.execution_namespace))
        }
    }
}

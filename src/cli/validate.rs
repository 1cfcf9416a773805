//! `imagechain validate`: what is wrong with objects, before a cluster sees them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::manifest::{self, Document, Object};

/// Prints a line per object, and one for each of its problems. The answer is whether there are none.
pub(super) fn run(files: &[PathBuf], out: &mut impl Write) -> io::Result<bool> {
    let mut good = true;
    for file in files {
        for document in manifest::read(file)? {
            good &= report(file, &document, out)?;
        }
    }
    Ok(good)
}

fn report(file: &Path, document: &Document, out: &mut impl Write) -> io::Result<bool> {
    let title = format!("{}: {}", file.display(), document.title);
    if let (Some(object), []) = (&document.object, document.problems.as_slice()) {
        writeln!(out, "{title}: valid, {}", summary(object))?;
        return Ok(true);
    }
    let noun = if document.problems.len() == 1 { "problem" } else { "problems" };
    writeln!(out, "{title}: {} {noun}", document.problems.len())?;
    for problem in &document.problems {
        writeln!(out, "  {problem}")?;
    }
    Ok(false)
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

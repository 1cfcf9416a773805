//! `imagechain grant`: what a tenant types so that the operator may read what a chain names.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use kube::ResourceExt;

use super::manifest::{self, Document, Object};
use crate::{api::chain::ImageChain, plan::validate, view::grant};

/// Whom to grant what.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// YAML or JSON files; - is standard input.
    #[arg(short = 'f', long = "filename", required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace of chains whose file names none.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// The user that the operator is for the API server.
    #[arg(long, value_name = "USER", default_value = "system:serviceaccount:imagechain-system:imagechain")]
    user: String,
}

/// Prints the lines, each a command of a shell.
pub(super) fn run(flags: &Flags, out: &mut impl Write) -> io::Result<()> {
    let mut chains = Vec::new();
    for file in &flags.files {
        let documents = manifest::read(file)?.into_iter();
        chains.extend(documents.filter_map(chain).collect::<Result<Vec<_>, _>>()?);
    }
    if chains.is_empty() {
        return Err(io::Error::other("there is no ImageChain in these files"));
    }
    chains.iter().try_for_each(|chain| print(flags, chain, out))
}

/// A chain in which nothing is wrong; none where a document is of another kind.
fn chain(document: Document) -> Option<io::Result<ImageChain>> {
    let wrong = |problem| Err(io::Error::other(format!("{}: {problem}", document.title)));
    match (document.object, document.problems.first()) {
        (Some(Object::Chain(_)), Some(problem)) => Some(wrong(problem)),
        (Some(Object::Chain(chain)), None) => Some(Ok(*chain)),
        _ => None,
    }
}

fn print(flags: &Flags, chain: &ImageChain, out: &mut impl Write) -> io::Result<()> {
    let name = chain.name_any();
    let namespace = chain.namespace().or_else(|| flags.namespace.clone());
    let namespace = namespace.ok_or_else(|| {
        io::Error::other(format!("the file of «{name}» names no namespace: say which by --namespace"))
    })?;
    let valid = validate::chain(chain).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        io::Error::other(format!("{namespace}/{name}: {}", problems.join("; ")))
    })?;
    let lines = grant::lines(&valid, &flags.user, &namespace);
    if lines.is_empty() {
        return writeln!(out, "# {namespace}/{name} names no Secret and no ConfigMap: nothing to grant");
    }
    writeln!(out, "# {namespace}/{name}: so that {} may read what it names, and nothing else", flags.user)?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

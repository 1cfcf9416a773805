//! What is looked at, and what came out: what all parts of a check share.

use crate::plan::{
    recipe::{Recipe, Wants},
    tree::{self, Absent, Kind, Tree},
    validate::problem::Problems,
};

/// The files of a source.
pub struct Checkout<'a> {
    /// All of them.
    pub tree: &'a Tree,
    /// The text of one, by its path; `None` where it is none, or cannot be had.
    pub text: &'a dyn Fn(&str) -> Option<String>,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub problems: Problems,
    /// What could not be told, and what to know.
    pub notes: Vec<String>,
}

impl Findings {
    /// Notes something, once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Where something is written in an object.
pub struct Field<'a> {
    /// The link, or the spec of a build: `spec.links[0]`.
    pub recipe: &'a str,
    /// Its source: `spec.source`, or one of the link's own.
    pub source: &'a str,
}

/// One recipe, as it is looked at.
pub(super) struct Looking<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) field: &'a Field<'a>,
    pub(super) files: &'a Checkout<'a>,
    /// The folder of the source that paths are relative to; empty: its root.
    pub(super) directory: &'a str,
    pub(super) findings: &'a mut Findings,
}

impl Looking<'_> {
    /// A path of the recipe, as it is in the source.
    pub(super) fn whole(&self, path: &str) -> String {
        [self.directory, path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    pub(super) fn problem(&mut self, field: &str, message: &str) {
        self.findings.problems.add(format_args!("{}.{field}", self.field.recipe), message);
    }
}

/// What a path leads to; where nothing, or something else than is wanted, a sentence that says so.
pub(super) fn find(tree: &Tree, path: &str, wants: Wants) -> Result<String, String> {
    match (tree.find(path), wants) {
        (Ok((_, Kind::File)), Wants::Folder) => Err(format!("«{path}» is a file of the source, not a folder")),
        (Ok((_, Kind::Folder)), Wants::File) => Err(format!("«{path}» is a folder of the source, not a file")),
        (Ok((at, _)), _) => Ok(at),
        (Err(Absent::Missing), Wants::Folder) => Err(format!("the source has no folder «{path}»")),
        (Err(Absent::Missing), _) => Err(format!("the source has no «{path}»")),
        (Err(Absent::Outside(None)), _) => Err(format!("«{path}» leads out of the source")),
        (Err(Absent::Outside(Some((link, target)))), _) => {
            Err(format!("«{path}» leads out of the source, by the link «{link}» to {target}"))
        }
        (Err(Absent::Submodule(at)), _) => Err(tree::of_submodule(path, &at)),
        (Err(Absent::Circle), _) => Err(format!("«{path}» is a link that leads in a circle")),
    }
}

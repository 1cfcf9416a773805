//! What a recipe names, held against the files of its source: before any pod runs, as far as can be told without
//! running anything.

mod evaluate;
mod hcl;
mod json;
mod looking;
mod molecule;
mod template;

pub use self::looking::{Checkout, Field, Findings};
use self::looking::{Looking, find};
use super::{
    path::SourcePath,
    recipe::{Build, Needed, Recipe, Source, Test, Wants},
    tree::{self, is_below},
};

/// Looks at all that a recipe names in its source.
pub fn check(recipe: &Recipe, field: &Field<'_>, files: &Checkout<'_>, findings: &mut Findings) {
    let directory = match &recipe.source {
        Source::Git { directory, .. } => directory.as_ref().map_or("", SourcePath::as_str),
        Source::ConfigMap(_) | Source::Inline(_) => "",
    };
    let mut looking = Looking { recipe, field, files, directory, findings };
    if looking.directory() {
        looking.needs();
        looking.paths();
        looking.build();
        looking.tests();
    }
    looking.pointers();
    looking.links();
}

impl Looking<'_> {
    fn directory(&mut self) -> bool {
        let found = find(self.files.tree, self.directory, Wants::Folder);
        let found = found.map_err(|message| {
            self.findings.problems.add(format_args!("{}.git.directory", self.field.source), message);
        });
        found.is_ok()
    }

    fn needs(&mut self) {
        for needed in self.recipe.steps.needs() {
            if let Err(message) = self.needed(&needed) {
                self.problem(&needed.field, &message);
            }
        }
    }

    /// Looks for something at all places where it may be; what is wrong is told of the usual one.
    fn needed(&self, needed: &Needed) -> Result<(), String> {
        let mut tries = needed.paths().map(|path| find(self.files.tree, &self.whole(path), needed.wants));
        let first = tries.next().unwrap_or(Ok(String::new()));
        if tries.any(|other| other.is_ok()) { Ok(()) } else { first.map(drop) }
    }

    fn paths(&mut self) {
        let recipe = self.recipe;
        for (index, path) in recipe.written_paths.iter().enumerate() {
            if let Err(message) = find(self.files.tree, &self.whole(path.as_str()), Wants::Either) {
                self.problem(&format!("paths[{index}]"), &message);
            }
        }
    }

    fn build(&mut self) {
        let recipe = self.recipe;
        match &recipe.steps.build {
            Build::Packer(packer) => template::check(self, packer),
            Build::Box(_) => {}
        }
    }

    fn tests(&mut self) {
        let recipe = self.recipe;
        for (index, step) in recipe.steps.verify.iter().enumerate() {
            let Test::Molecule(scenario) = &step.test else { continue };
            let folder = step.directory.as_ref().map(SourcePath::as_str);
            for path in scenario.folders(folder) {
                molecule::check(self, &format!("verify[{index}].molecule.scenario"), &self.whole(&path));
            }
        }
    }

    /// Pointers of Git LFS among what is used.
    fn pointers(&mut self) {
        let used = self.recipe.used_paths();
        let inside = |path: &&str| {
            let rest = path.strip_prefix(self.directory).map(|rest| rest.trim_start_matches('/'));
            is_below(path, self.directory) && rest.is_some_and(|rest| used.holds(rest))
        };
        let (used, others): (Vec<&str>, Vec<&str>) = self.files.tree.pointers().partition(inside);
        if !used.is_empty() {
            let message = tree::of_lfs(&used);
            self.problem("paths", &message);
        }
        if !others.is_empty() {
            let names = tree::some(&others);
            self.findings.note(format!("in Git LFS, not fetched, and outside what the link uses: {names}"));
        }
    }

    fn links(&mut self) {
        let outward: Vec<_> = self.files.tree.outward().map(|(path, target)| format!("{path} → {target}")).collect();
        if !outward.is_empty() {
            let names = tree::some(&outward);
            self.findings
                .note(format!("links that lead out of the source stay as they are, and nobody follows them: {names}"));
        }
    }
}

#[cfg(test)]
mod tests;

//! Which files of a source something is about.

use std::collections::BTreeSet;

use crate::plan::{path::SourcePath, tree::is_below};

/// Files of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those that these paths name, or that are below them; without a path, none.
    Only(BTreeSet<SourcePath>),
}

impl Scope {
    /// Whether a file is among them.
    #[must_use]
    pub fn holds(&self, file: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(paths) => paths.iter().any(|path| is_below(file, path.as_str())),
        }
    }

    /// The paths that it names.
    pub fn named(&self) -> impl Iterator<Item = &SourcePath> {
        match self {
            Self::All => None,
            Self::Only(paths) => Some(paths),
        }
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_no_file_and_not_all_of_them() {
        let only = |paths: &[&str]| Scope::Only(paths.iter().map(|path| path.parse().unwrap()).collect());
        for (scope, file, expected) in [
            (Scope::All, "a", true),
            (only(&[]), "a", false),
            (only(&["a"]), "a", true),
            (only(&["a"]), "a/b", true),
            (only(&["a"]), "ab", false),
        ] {
            assert_eq!(scope.holds(file), expected, "{file} in {scope:?}");
        }
    }
}

//! Which files of a source something is about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::plan::{path::SourcePath, tree::is_below};

/// Files of a source. As JSON, it is the paths, or absent for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeSet<SourcePath>", into = "Option<BTreeSet<SourcePath>>")]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// Those that these paths name, or that are below them; without a path, none.
    Only(BTreeSet<SourcePath>),
}

impl From<BTreeSet<SourcePath>> for Scope {
    fn from(paths: BTreeSet<SourcePath>) -> Self {
        Self::Only(paths)
    }
}

impl From<Scope> for Option<BTreeSet<SourcePath>> {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::All => None,
            Scope::Only(paths) => Some(paths),
        }
    }
}

impl Scope {
    /// Whether it is all files.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

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
    use serde_json::json;

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
        let (none, some) = (only(&[]), only(&["b", "a"]));
        assert_eq!((json!(none), json!(some)), (json!([]), json!(["a", "b"])));
        assert_eq!(serde_json::from_value::<Scope>(json!([])).unwrap(), none);
    }
}

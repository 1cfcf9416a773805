//! Paths inside a source.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::common::{ABSOLUTE_PATH, CHARACTER_OF_PATH, ESCAPING_PATH};

/// A path that stays inside the source, as text: relative, with `/` between parts of which none is `.`,
/// `..` or empty. Links inside the source may still lead out: the runner looks at those.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SourcePath(String);

impl SourcePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SourcePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It is too long.
    #[error("must not be longer than 512 characters")]
    TooLong,
    /// It begins with a slash.
    #[error("{ABSOLUTE_PATH}")]
    Absolute,
    /// One of its parts is empty, `.` or `..`.
    #[error("{ESCAPING_PATH}")]
    Escapes,
    /// It holds a character that no part of a path may hold.
    #[error("{CHARACTER_OF_PATH}")]
    Character,
}

impl FromStr for SourcePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        match text {
            "" => Err(PathError::Empty),
            _ if text.chars().count() > 512 => Err(PathError::TooLong),
            _ if text.starts_with('/') => Err(PathError::Absolute),
            _ if text.contains(|letter: char| letter == '\\' || letter.is_control()) => Err(PathError::Character),
            _ if text.split('/').any(|part| matches!(part, "" | "." | "..")) => Err(PathError::Escapes),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// A file or folder of a source, or its root, as programs take it: `.` is the root, `./a` and `a/` are `a`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(Option<SourcePath>);

impl Location {
    /// What it is as a path: `.` for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.path().map_or(".", SourcePath::as_str)
    }

    /// What it is below the root: nothing for the root itself.
    #[must_use]
    pub fn below_root(&self) -> &str {
        self.path().map_or("", SourcePath::as_str)
    }

    /// The path below the root; `None`: the root itself.
    #[must_use]
    pub const fn path(&self) -> Option<&SourcePath> {
        self.0.as_ref()
    }
}

impl TryFrom<String> for Location {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.as_str().to_owned()
    }
}

impl FromStr for Location {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if matches!(text, "." | "./") {
            return Ok(Self(None));
        }
        let inner = text.strip_prefix("./").unwrap_or(text);
        let inner = inner.strip_suffix('/').filter(|inner| !inner.is_empty()).unwrap_or(inner);
        inner.parse().map(|path| Self(Some(path)))
    }
}

#[cfg(test)]
mod tests {
    use PathError::{Absolute, Character, Empty, Escapes, TooLong};

    use super::*;

    #[test]
    fn paths_stay_inside() {
        for text in ["a", "a/b.yml", ".hidden", "..a", "a..", "a b/ü"] {
            assert_eq!(text.parse::<SourcePath>().map(|path| path.to_string()), Ok(text.to_owned()));
        }
        for (text, error) in [
            ("", Empty),
            ("/abs", Absolute),
            ("..", Escapes),
            ("../etc", Escapes),
            ("a/../../b", Escapes),
            ("./a", Escapes),
            ("a//b", Escapes),
            ("a/", Escapes),
            ("a\\b", Character),
            ("a\0b", Character),
            ("a\u{7f}", Character),
            ("a\u{85}", Character),
            (&*"a".repeat(513), TooLong),
        ] {
            assert_eq!(text.parse::<SourcePath>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_location_may_be_the_root() {
        for (text, expected) in
            [(".", "."), ("./", "."), ("a", "a"), ("./a", "a"), ("a/", "a"), ("./a/b/", "a/b"), (".a", ".a")]
        {
            assert_eq!(text.parse::<Location>().map(String::from), Ok(expected.to_owned()), "{text}");
        }
        for (text, error) in [
            ("", Empty),
            ("/", Absolute),
            ("/a/", Absolute),
            (".//", Absolute),
            ("./.", Escapes),
            ("././a", Escapes),
            ("a//", Escapes),
            ("a/./b", Escapes),
            ("./..", Escapes),
            ("../a", Escapes),
            ("a\\b", Character),
        ] {
            assert_eq!(text.parse::<Location>(), Err(error), "{text:?}");
        }
    }
}

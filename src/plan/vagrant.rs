//! Names and versions of boxes, as Vagrant and the servers of packages that it reads take them.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::api::common::{BOX_TAG, BOX_VERSION};

/// The longest name of a box, with its owner, in characters.
const LONGEST_TAG: usize = 128;
/// The most digits of a number in a version: servers in Go read each as 64 bits with a sign.
const MOST_DIGITS: usize = 18;

/// What is wrong with a name or a version, as the end of a sentence about its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BoxError {
    /// The name is none.
    #[error("{BOX_TAG}")]
    Tag,
    /// It is too long.
    #[error("must not be longer than {LONGEST_TAG} characters")]
    TooLong,
    /// The version is none.
    #[error("{BOX_VERSION}")]
    Version,
}

/// The owner and the name of a box, in lower case: to servers, `Team-A/Web` is the same, and here each has one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxTag {
    /// The owner.
    pub owner: String,
    /// The name.
    pub name: String,
}

impl FromStr for BoxTag {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        if text.len() > LONGEST_TAG {
            return Err(BoxError::TooLong);
        }
        let (owner, name) =
            text.split_once('/').filter(|(owner, name)| is_part(owner) && is_part(name)).ok_or(BoxError::Tag)?;
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for BoxTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

fn is_part(text: &str) -> bool {
    let is_word = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_';
    text.bytes().next().is_some_and(is_word) && text.bytes().all(|letter| is_word(letter) || b".-".contains(&letter))
}

/// Checks a version: one that the semantic versions of hashicorp's `go-version` (`SemverRegexpRaw`) and those of
/// `RubyGems` have in common, in lower case, without `+`. One that is none to Vagrant hides all others of the box from
/// it.
///
/// # Errors
/// It is none.
pub fn check_version(text: &str) -> Result<(), BoxError> {
    let (release, rest) = text.split_once('-').map_or((text, None), |(release, rest)| (release, Some(rest)));
    let is_number =
        |part: &str| (1..=MOST_DIGITS).contains(&part.len()) && part.bytes().all(|letter| letter.is_ascii_digit());
    let is_word = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    let is_rest = |part: &str| !part.is_empty() && part.bytes().all(is_word);
    let good = release.split('.').all(is_number) && rest.is_none_or(|rest| rest.split('.').all(is_rest));
    if good { Ok(()) } else { Err(BoxError::Version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_has_an_owner_and_a_name() {
        for text in ["team-a/web", "a/b", "_x/9.y-z_", "a/b.."] {
            assert_eq!(text.parse::<BoxTag>().map(|tag| tag.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "web",
            "/web",
            "team/",
            "team/a/b",
            "Team/web",
            "team/.web",
            "../web",
            "team/-web",
            "team/a b",
            "team/ü",
        ] {
            assert_eq!(text.parse::<BoxTag>(), Err(BoxError::Tag), "{text}");
        }
        assert_eq!(format!("a/{}", "b".repeat(127)).parse::<BoxTag>(), Err(BoxError::TooLong));
    }

    #[test]
    fn a_version_is_one_to_vagrant_and_to_servers() {
        let long = "9".repeat(18);
        for text in
            ["0", "1.0", "1.2.0", "0.1.1795862400", "1.0.0-rc.1", "1.0.0-rc1", "1-a--b.c", "1.2.3.4.5", "007", &long]
        {
            assert_eq!(check_version(text), Ok(()), "{text}");
        }
        let longer = format!("1.{}", "9".repeat(19));
        for text in [
            "",
            "v1.0.0",
            "latest",
            "1.",
            ".1",
            "1..2",
            "1.0.0-",
            "1.0.0-a.",
            "1.0.0-RC1",
            "1.0.0+7",
            "1.0a",
            "1 .0",
            &longer,
        ] {
            assert_eq!(check_version(text), Err(BoxError::Version), "{text}");
        }
    }
}

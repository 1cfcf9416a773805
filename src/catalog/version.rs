//! Versions as Vagrant reads and orders them: those of `RubyGems` (`Gem::Version`). One that is none makes Vagrant refuse
//! all that is beside it.

use std::{cmp::Ordering, iter::repeat, str::FromStr};

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    text: String,
    /// Without zeros that mean nothing.
    segments: Vec<Segment>,
}

/// A run of letters, or of digits. Words come before numbers: those are of what is not released yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Word(String),
    /// How many digits, and which: a number of any size, without zeros in front.
    Number(usize, String),
}

/// The text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVersion;

impl Version {
    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        if !is_version(text) {
            return Err(NoVersion);
        }
        Ok(Self { text: text.to_owned(), segments: canonical(&text.replace('-', ".pre.")) })
    }
}

/// `Gem::Version::VERSION_PATTERN`.
fn is_version(text: &str) -> bool {
    let (release, rest) = text.split_once('-').map_or((text, None), |(release, rest)| (release, Some(rest)));
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_alphanumeric());
    let is_rest =
        |part: &str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-');
    let begins = release.split('.').next().is_some_and(|first| first.bytes().all(|letter| letter.is_ascii_digit()));
    begins && release.split('.').all(is_word) && rest.is_none_or(|rest| rest.split('.').all(is_rest))
}

fn canonical(text: &str) -> Vec<Segment> {
    let all: Vec<Segment> = text.split('.').flat_map(runs).collect();
    let words = all.iter().position(|segment| matches!(segment, Segment::Word(_))).unwrap_or(all.len());
    let (release, rest) = all.split_at(words);
    [without_zeros(release), without_zeros(rest)].concat()
}

/// The runs of letters and digits of a part.
fn runs(part: &str) -> Vec<Segment> {
    let mut runs: Vec<Segment> = Vec::new();
    for letter in part.chars() {
        match (runs.last_mut(), letter.is_ascii_digit()) {
            (Some(Segment::Word(word)), false) => word.push(letter),
            (Some(Segment::Number(_, digits)), true) => digits.push(letter),
            (_, true) => runs.push(Segment::Number(0, letter.into())),
            (_, false) => runs.push(Segment::Word(letter.into())),
        }
    }
    runs.into_iter().map(sized).collect()
}

fn sized(segment: Segment) -> Segment {
    let Segment::Number(_, digits) = segment else { return segment };
    let digits = digits.trim_start_matches('0');
    Segment::Number(digits.len(), digits.to_owned())
}

const ZERO: Segment = Segment::Number(0, String::new());

fn without_zeros(segments: &[Segment]) -> &[Segment] {
    let length = segments.iter().rposition(|segment| *segment != ZERO).map_or(0, |last| last + 1);
    segments.get(..length).unwrap_or_default()
}

/// What is missing is zero. Of equal ones that are written differently, the text decides.
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.segments.len().max(other.segments.len());
        let padded = |version: &Self| -> Vec<Segment> {
            version.segments.iter().cloned().chain(repeat(ZERO)).take(length).collect()
        };
        padded(self).cmp(&padded(other)).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn versions_are_those_of_rubygems() {
        for text in ["0", "1", "1.0", "1.0.0", "0.1.1795862400", "1.0.0-rc.1", "1.0.0.rc1", "20261128", "1.a-b--c"] {
            assert_eq!(version(text).text(), text);
        }
        for text in
            ["", "latest", "v1.0", "1.", ".1", "1..0", "1_0", "1.0-", "1.0-a..b", "1a", "-1", "1.0+2", "1.ä", "١"]
        {
            assert_eq!(text.parse::<Version>(), Err(NoVersion), "{text}");
        }
    }

    #[test]
    fn they_are_in_the_order_of_rubygems() {
        let ascending = [
            "0.1.9",
            "0.1.10",
            "0.1.1795862400",
            "1.0.0-alpha",
            "1.0.0-rc.1",
            "1.0.0-rc.2",
            "1",
            "1.0.0.1",
            "1.0.1.a",
            "1.0.1",
            "1.2",
            "1.10",
            "99999999999999999999",
            "100000000000000000000",
        ];
        let mut sorted: Vec<Version> = ascending.iter().rev().map(|text| version(text)).collect();
        sorted.sort();
        assert_eq!(sorted.iter().map(Version::text).collect::<Vec<_>>(), ascending);
        assert!(version("1.0") < version("1.0.0") && version("1.0.0") < version("1.0.0.1"), "equal, but for the text");
        assert!(version("1.pre") < version("1.0.0.1") && version("1.007") > version("1.6"));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_the_order_is_one(all in prop::collection::vec("[0-9a-c.-]{1,9}", 3)) {
            let all: Vec<Version> = all.iter().filter_map(|text| text.parse().ok()).collect();
            if let [a, b, c] = all.as_slice() {
                prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
                prop_assert!(!(a <= b && b <= c) || a <= c);
            }
        }
    }
}

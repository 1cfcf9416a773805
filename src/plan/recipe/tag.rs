//! Tags as they are written: each names one place, or one place for each build.

use std::{fmt, iter::once, str::FromStr};

use k8s_openapi::jiff::Timestamp;

use crate::plan::image::{ImageError, Tag};

/// What stands for the time of the build, in the word of packer.
const TIMESTAMP: &str = "{{timestamp}}";
/// A time of as many digits as all have until the year 2286: it decides how long a tag may be.
const SOME_TIME: &str = "1000000000";

/// A tag as it is written: it may hold `{{timestamp}}` once, which is the time of the build in seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagTemplate {
    before: String,
    /// What follows the time; `None` where the tag holds none.
    after: Option<String>,
}

impl TagTemplate {
    /// The tag of a build that was made then; `None` where it holds a time that nobody knows.
    #[must_use]
    pub fn filled(&self, created: Option<Timestamp>) -> Option<Tag> {
        match &self.after {
            Some(after) => format!("{}{}{after}", self.before, seconds(created)?).parse().ok(),
            None => self.before.parse().ok(),
        }
    }

    /// All that may be written where a tag came out of a build that was made then.
    pub fn of(tag: &str, created: Option<Timestamp>) -> impl Iterator<Item = Self> {
        let time = seconds(created).unwrap_or_default();
        let places = tag.match_indices(&time).filter(|_| !time.is_empty());
        let timed: Vec<Self> = places.filter_map(|(place, time)| Self::around(tag, place, time.len())).collect();
        once(Self { before: tag.to_owned(), after: None }).chain(timed)
    }

    fn around(tag: &str, place: usize, length: usize) -> Option<Self> {
        let (before, rest) = tag.split_at_checked(place)?;
        let (_, after) = rest.split_at_checked(length)?;
        Some(Self { before: before.to_owned(), after: Some(after.to_owned()) })
    }
}

/// As a tag holds it. Before 1970 there was no build: what says so knows no time.
fn seconds(created: Option<Timestamp>) -> Option<String> {
    u64::try_from(created?.as_second()).ok().map(|seconds| seconds.to_string())
}

impl FromStr for TagTemplate {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let some = text.replacen(TIMESTAMP, SOME_TIME, 1).parse::<Tag>();
        some.map_err(|_| ImageError::WrittenTag(text.to_owned()))?;
        Ok(match text.split_once(TIMESTAMP) {
            Some((before, after)) => Self { before: before.to_owned(), after: Some(after.to_owned()) },
            None => Self { before: text.to_owned(), after: None },
        })
    }
}

/// As it is written.
impl fmt::Display for TagTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.before)?;
        self.after.iter().try_for_each(|after| write!(formatter, "{TIMESTAMP}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, created: Option<i64>) -> Option<String> {
        let created = created.map(|seconds| Timestamp::from_second(seconds).unwrap());
        text.parse::<TagTemplate>().unwrap().filled(created).map(|tag| tag.to_string())
    }

    #[test]
    fn the_time_of_the_build_is_put_in() {
        for (text, expected) in [
            ("latest", "latest"),
            ("0.1.{{timestamp}}", "0.1.1795862400"),
            ("{{timestamp}}", "1795862400"),
            ("0.1.{{timestamp}}-libvirt", "0.1.1795862400-libvirt"),
        ] {
            assert_eq!(filled(text, Some(1_795_862_400)).as_deref(), Some(expected));
            assert_eq!(text.parse::<TagTemplate>().unwrap().to_string(), text);
        }
        assert_eq!(filled("latest", None).as_deref(), Some("latest"));
        for unknown in [None, Some(-1)] {
            assert_eq!(filled("0.1.{{timestamp}}", unknown), None);
        }
    }

    #[test]
    fn what_came_out_tells_what_may_have_been_written() {
        let of = |tag: &str, created: Option<i64>| -> Vec<String> {
            let created = created.map(|seconds| Timestamp::from_second(seconds).unwrap());
            TagTemplate::of(tag, created).map(|written| written.to_string()).collect()
        };
        assert_eq!(of("0.1.7", Some(7)), ["0.1.7", "0.1.{{timestamp}}"]);
        assert_eq!(of("7-7", Some(7)), ["7-7", "{{timestamp}}-7", "7-{{timestamp}}"]);
        assert_eq!((of("0.1.7", None), of("0.1.7", Some(8))), (vec!["0.1.7".to_owned()], vec!["0.1.7".to_owned()]));
    }

    #[test]
    fn what_is_no_tag_with_a_time_is_refused() {
        let long = |letters: usize| format!("{}{TIMESTAMP}", "a".repeat(letters));
        assert!(long(118).parse::<TagTemplate>().is_ok());
        for text in [
            &long(119),
            "",
            "-{{timestamp}}",
            "{{timestamp}}{{timestamp}}",
            "1.{{ timestamp }}",
            "1.{{isotime}}",
            "1.{timestamp}",
            "$(source.revision)",
        ] {
            assert!(text.parse::<TagTemplate>().is_err(), "{text}");
        }
        let said = |text: &str| text.parse::<TagTemplate>().unwrap_err().to_string();
        assert!(said("$(source.revision)").ends_with(": tags hold no other placeholders"));
        assert!(
            said("1.{{ timestamp }}").ends_with(": of packer's words, tags hold {{timestamp}} alone, without spaces")
        );
    }
}

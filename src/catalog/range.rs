//! Which part of a file is asked for (RFC 9110, 14).

use std::ops::Range;

/// What to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Bytes(Range<u64>),
    /// The file has none of the bytes.
    Nothing,
}

/// The part of a file of that size that a `Range` asks for. A server may leave out what it does not know: other units
/// and several parts at once are answered with the whole file, as is what is malformed.
#[must_use]
pub fn part(header: Option<&str>, size: u64) -> Part {
    let asked = header.and_then(|text| text.split_once('=')).filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = asked.and_then(|(_, range)| range.trim().split_once('-')) else { return Part::Whole };
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(last)) if last.is_none_or(|last| first <= last) => {
            bytes(first..last.map_or(size, |last| size.min(last.saturating_add(1))))
        }
        // The last so many bytes.
        (Ok(None), Ok(Some(last))) => bytes(size.saturating_sub(last)..size),
        _ => Part::Whole,
    }
}

/// It is something else.
struct NoNumber;

/// A number, or its absence. One that is too large is larger than any file.
fn number(text: &str) -> Result<Option<u64>, NoNumber> {
    match text.bytes().all(|digit| digit.is_ascii_digit()) {
        true if text.is_empty() => Ok(None),
        true => Ok(Some(text.parse().unwrap_or(u64::MAX))),
        false => Err(NoNumber),
    }
}

fn bytes(range: Range<u64>) -> Part {
    if range.is_empty() { Part::Nothing } else { Part::Bytes(range) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_is_what_was_asked_for_as_far_as_it_is_there() {
        for (header, expected) in [
            ("bytes=0-3", Part::Bytes(0..4)),
            ("Bytes=4-", Part::Bytes(4..10)),
            ("bytes= 9-9", Part::Bytes(9..10)),
            ("bytes=8-99999999999999999999", Part::Bytes(8..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-99", Part::Bytes(0..10)),
            ("bytes=10-", Part::Nothing),
            ("bytes=99999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=3-2", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=0-1-2", Part::Whole),
            ("bytes=+1-", Part::Whole),
            ("lines=0-3", Part::Whole),
            ("0-3", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 10), expected, "{header}");
        }
        assert_eq!(part(None, 10), Part::Whole);
        assert_eq!(part(Some("bytes=-1"), 0), Part::Nothing);
    }

    proptest! {
        #[test]
        fn it_is_within_the_file(header in "bytes=[0-9]{0,3}-[0-9]{0,3}", size in 0_u64..500) {
            if let Part::Bytes(range) = part(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn nothing_panics(header in "\\PC*", size: u64) {
            let _ = part(Some(&header), size);
        }
    }
}

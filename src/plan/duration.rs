//! Time spans as users write them: `90s`, `10m`, `1h30m`.

use std::time::Duration;

use thiserror::Error;

/// What is wrong with a time span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// It does not follow the grammar.
    #[error("is not a time span: write numbers with the units h, m and s, for example 1h30m")]
    Malformed,
    /// It is zero.
    #[error("must be longer than nothing")]
    Zero,
    /// It is longer than a week.
    #[error("must not be longer than a week (168h)")]
    TooLong,
}

/// The longest that is accepted.
const LONGEST: Duration = Duration::from_hours(168);

/// Reads a time span.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or(DurationError::Malformed)?;
        let (digits, tail) = rest.split_at(end);
        let number: u64 = digits.parse().map_err(|_| DurationError::Malformed)?;
        let (unit, tail) = unit(tail)?;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    match Duration::from_secs(total) {
        _ if text.is_empty() => Err(DurationError::Malformed),
        Duration::ZERO => Err(DurationError::Zero),
        found if found > LONGEST => Err(DurationError::TooLong),
        found => Ok(found),
    }
}

/// The seconds of the unit that a text begins with, and what follows it.
fn unit(text: &str) -> Result<(u64, &str), DurationError> {
    [('h', 3600), ('m', 60), ('s', 1)]
        .into_iter()
        .find_map(|(letter, seconds)| text.strip_prefix(letter).map(|rest| (seconds, rest)))
        .ok_or(DurationError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h1s", 3601), ("168h", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        use DurationError::{Malformed, TooLong, Zero};
        for (text, error) in [
            ("", Malformed),
            ("10", Malformed),
            ("m", Malformed),
            ("-5m", Malformed),
            ("1.5h", Malformed),
            ("1d", Malformed),
            (" 1h", Malformed),
            ("1h ", Malformed),
            ("\u{661}s", Malformed),
            ("0s", Zero),
            ("0h0m", Zero),
            ("168h1s", TooLong),
            ("18446744073709551615h", TooLong),
            ("99999999999999999999s", Malformed),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}

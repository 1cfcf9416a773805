//! Something that is missing may come: how long that is nobody's matter. A status keeps since when it is missing, so
//! that neither a restart nor another replica begins to count anew.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::api::condition::Reason;

/// Something that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Since when.
    pub since: Timestamp,
    /// From when on somebody is told to act.
    pub until: Timestamp,
}

impl Lack {
    /// What is missing for a reason, if anything is; `since` is what the status before says.
    #[must_use]
    pub fn of(reason: Reason, since: Option<&Time>, patience: Duration, now: Timestamp) -> Option<Self> {
        if !reason.is_lack() {
            return None;
        }
        let since = since.map_or(now, |since| since.0);
        Some(Self { since, until: since.checked_add(patience).unwrap_or(Timestamp::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted_from_when_it_was_first_missed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let lack = |reason, since: Option<Timestamp>| {
            Lack::of(reason, since.map(Time).as_ref(), Duration::from_mins(1), at(100))
        };
        let expected = |since, until| Some(Lack { since: at(since), until: at(until) });
        assert_eq!(lack(Reason::SecretNotFound, None), expected(100, 160));
        assert_eq!(lack(Reason::AccessNotGranted, Some(at(70))), expected(70, 130));
        for reason in [Reason::Building, Reason::OutputConflict, Reason::ParentFailed, Reason::ChainStopped] {
            assert_eq!(lack(reason, Some(at(70))), None, "{reason}");
        }
    }
}

//! When to try again.

use std::time::Duration;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_secs(10);
/// The longest pause.
pub const LONGEST: Duration = Duration::from_mins(6);

/// The pause after so many failures in a row: 10 s, doubled each time, six minutes at most.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(doubled).min(LONGEST)
}

/// The pause after so many attempts in a row that lacked something. What they lacked has changed meanwhile:
/// after the first there is no reason to wait, but a Secret that is written again and again without getting
/// any better must not make a pod each time.
#[must_use]
pub fn dependency_pause(in_a_row: u32) -> Duration {
    if in_a_row < 2 { Duration::ZERO } else { pause(in_a_row) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_six_minutes() {
        let seconds: Vec<_> = (0..9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [10, 10, 20, 40, 80, 160, 320, 360, 360]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }

    #[test]
    fn what_appears_is_used_at_once_but_not_in_a_loop() {
        let seconds: Vec<_> = (0..5).map(|in_a_row| dependency_pause(in_a_row).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 20, 40, 80]);
    }
}

//! The pauses of one stream.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first pause after an error.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
/// Pauses that double, with jitter of up to half of each.
pub(super) struct Pauses {
    failures: u32,
    longest: Duration,
}

impl Pauses {
    pub(super) fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        Some(doubled.min(self.longest).mul_f64(1.0 - fastrand::f64() / 2.0))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds_and_begin_anew() {
        let mut pauses = Pauses::new(Duration::from_secs(30));
        for bound in [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0] {
            let pause = pauses.next().unwrap().as_secs_f64();
            assert!((bound / 2.0..=bound).contains(&pause), "{pause} of {bound}");
        }
        pauses.reset();
        assert!(pauses.next().unwrap() <= FIRST_PAUSE);
    }
}

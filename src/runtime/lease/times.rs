//! The times of the lease.

use std::time::Duration;

/// The times of the lease. Each must be well below the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Whoever sees no renewal for so long takes over.
    pub duration: Duration,
    /// A leader that could not renew for so long stops to write. The rest of `duration` is for writes that are
    /// still on their way, and for clocks of different speed.
    pub valid: Duration,
    /// How often the leader renews and the others look.
    pub period: Duration,
}

impl Default for Times {
    /// Takeover within 15 s + 2 s of a kill, within 2 s of a shutdown.
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), valid: Duration::from_secs(10), period: Duration::from_secs(2) }
    }
}

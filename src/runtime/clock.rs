//! The one place that reads clocks. Time is an argument everywhere else.

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// The time of day: for what is written into objects and compared with what is in them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The clock of this machine that never goes back: for leases, ages and durations. It goes on while the process
/// is stopped, and stands still while the whole machine sleeps.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

//! Limits and words that others need to know, too.

use std::time::Duration;

/// How long fetching the source may take.
pub const SOURCE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long pushing the image may take.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_mins(30);
/// What is said as long as no stage has begun and nobody says why.
pub const POD_PENDING: &str = "the pod waits for its node and images";

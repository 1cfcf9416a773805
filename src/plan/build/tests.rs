//! One build against a world that is played: pods that end as they are told, operators that crash, or see
//! what was.

mod attempts;
mod dependencies;
mod events;
mod lost;
mod properties;
mod replicas;
mod room;
mod world;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

/// Some time.
fn time() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

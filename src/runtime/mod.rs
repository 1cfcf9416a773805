//! All that talks to the cluster and to the world: everything asynchronous is here.
//!
//! [`client`] reaches the API server, [`watch`] keeps pruned copies of what is in it and says what changed,
//! [`lease`] says whether this process may write, [`supervisor`] starts and ends tasks in order, [`serve`]
//! answers probes from what [`health`] knows; [`lookups`] asks what chains name of [`crate::remote`].

pub mod backoff;
pub mod builds;
pub mod chains;
pub mod claims;
pub mod client;
pub mod clock;
pub mod controller;
pub mod execute;
pub mod gates;
pub mod gather;
pub mod health;
pub mod lease;
pub mod lookups;
pub mod metrics;
pub mod named;
pub mod places;
pub mod profiles;
pub mod queue;
pub mod references;
pub mod serve;
pub mod store;
pub mod supervisor;
pub mod sweep;
pub mod telemetry;
pub mod triggers;
pub mod watch;
pub mod worker;
pub mod world;

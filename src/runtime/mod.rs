//! The controller: all that talks to the cluster, and everything asynchronous.
//!
//! ```text
//!  watch ──► events ──► stores                    gates ──► execute
//!               │          ▲                        ▲          ▲
//!               ▼          │                        │          │
//!            queues ──► worker ──► chains, builds, profiles: gather ──► plan
//! ```
//!
//! [`watch`] keeps copies of what is in the cluster; [`events`] puts what changed into the [`stores`] and enqueues what
//! depends on it in the [`queues`]. A [`worker`] of each kind reconciles what is due: it gathers facts, lets
//! [`crate::plan`] decide, and [`execute`] writes. All of them share a [`context`]. [`client`] reaches the API server,
//! [`lease`] says whether this process may write, [`supervisor`] starts and ends tasks in order, [`serve`] answers probes
//! from what [`health`] knows; [`lookups`] asks what chains name of [`crate::remote`].

pub mod backoff;
pub mod builds;
pub mod chains;
pub mod claims;
pub mod client;
pub mod clock;
pub mod context;
pub mod controller;
pub mod events;
pub mod execute;
pub mod gates;
pub mod gather;
pub mod health;
pub mod lease;
pub mod line;
pub mod lookups;
pub mod metrics;
pub mod named;
pub mod places;
pub mod profiles;
pub mod queue;
pub mod queues;
pub mod references;
pub mod serve;
pub mod store;
pub mod stores;
pub mod supervisor;
pub mod sweep;
pub mod telemetry;
pub mod watch;
pub mod worker;

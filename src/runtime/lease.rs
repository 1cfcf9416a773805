//! Leader election: which of several replicas writes.
//!
//! The promise of exactly one build per key does not rest on this, but on names and guarded writes; the lease
//! keeps replicas from doing the same work twice. [`Claim`] is the right to write, a value that ends by itself:
//! a process that was frozen, cut off or slow finds it expired and needs nobody to tell it.
//!
//! [`election`] decides, [`Candidate`] asks and writes. Every write names the version that it was decided on, so of
//! two contenders the API server lets one through.

mod candidate;
mod claim;
pub mod election;
mod times;

pub use candidate::{Candidate, Contender, claim};
pub use claim::Claim;
pub use times::Times;

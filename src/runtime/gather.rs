//! The facts that decisions are made on: from the caches, and live where a cache must not be trusted.

mod build;
mod chain;
mod pods;
mod prune;

pub use build::{Facts as BuildFacts, build, pods};
pub use chain::{chain, scope};
pub use pods::{Seen, prune as prune_pod};
pub use prune::{build as prune_build, chain as prune_chain};

//! The core's decisions in a small world with users, git, a registry, profiles and a kubelet: what a user would know,
//! every order in which two replicas may act, and what chance brings. Nothing here waits for anything, so tests
//! share both processors.

// A world that cannot go on is a failed test.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
// A table of cases is long, and JSON reads better without references.
#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

mod world;

mod boxes;
mod chains;
mod drift;
mod lack;
mod model;
mod packages;
mod plan;
mod random;
mod versions;

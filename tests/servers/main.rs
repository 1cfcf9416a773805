//! What needs real servers: etcd and API server, registry, git server. One crate, so that what the tests share is
//! compiled once, and so that one that waits leaves its processor to another.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
// A test is user and administrator: it writes as they do.
#![allow(clippy::disallowed_methods)]
// A table of cases is long.
#![allow(clippy::too_many_lines)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../worlds/world/mod.rs"]
mod world;

mod admission;
mod apiserver;
mod charts;
mod controller;
mod file;
mod file_cache;
mod gates;
mod git;
mod gitea;
mod pods;
mod registry;
mod runner;
mod runtime;
mod scenarios;
mod views;

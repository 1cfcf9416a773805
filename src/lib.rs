//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
//!
//! Layers, each of which knows only those before it: [`api`] is what users write; [`plan`] decides, without
//! clock, IO or panic; [`outcome`] reads what comes back from build pods; [`cli`] executes. What runs the pods
//! is to follow.

pub mod api;
pub mod cli;
pub mod outcome;
pub mod plan;

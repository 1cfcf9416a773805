//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
//!
//! Layers, each of which knows only those before it: [`api`] is what users write; [`plan`] decides, without
//! clock, IO or panic; [`cli`] executes. Between the last two, what runs pods is to follow.

pub mod api;
pub mod cli;
pub mod plan;

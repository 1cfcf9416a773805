//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
//!
//! Layers, each of which knows only those before it: [`api`] is what users write; [`plan`] decides, without
//! clock, IO or panic; [`render`] makes build pods of what was decided; [`outcome`] reads what comes back from
//! them; [`runtime`] talks to the cluster and the world; [`runner`] runs in the pods; [`cli`] executes.

pub mod api;
pub mod cli;
pub mod outcome;
pub mod plan;
pub mod render;
pub mod runner;
pub mod runtime;

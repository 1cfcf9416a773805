//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
//!
//! Layers, each of which knows only those before it: [`api`] is what users write; `plan` decides, without
//! clock, IO or panic; `render` makes pods of it; `outcome` reads what comes back; `runtime`, `runner` and
//! [`cli`] execute.

pub mod api;
pub mod cli;

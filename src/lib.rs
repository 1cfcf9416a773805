//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
//!
//! Layers, each of which knows only those before it: [`api`] is what users write; [`plan`] decides, without
//! clock, IO or panic; [`render`] makes build pods of what was decided; [`outcome`] reads what comes back from
//! them; [`catalog`] tells Vagrant of boxes; [`cache`] says which files a cache keeps; [`boxes`] reads and writes the
//! files of boxes; [`remote`] talks to git servers and registries; [`serve`] answers requests; [`runtime`] talks to the
//! cluster; [`runner`] runs in the pods; [`view`] makes of statuses what people are shown; [`cli`] executes.

pub mod api;
pub mod boxes;
pub mod cache;
pub mod catalog;
pub mod cli;
pub mod outcome;
pub mod plan;
pub mod remote;
pub mod render;
pub mod runner;
pub mod runtime;
pub mod serve;
pub mod view;

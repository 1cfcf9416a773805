//! The servers outside the cluster that chains name: [`git`] servers and image registries ([`registry`]). They know
//! nothing of Kubernetes: the controller asks them in the name of a chain, the stages of a pod in that of a build.

pub mod git;
pub mod network;
pub mod registry;
pub mod secret;

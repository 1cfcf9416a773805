//! The servers outside the cluster that chains name: [`git`] servers, image registries ([`registry`]), the package
//! registry of Gitea ([`gitea`]) and those of single files ([`mod@file`], and by way of the cache of a node [`cached`]).
//! They know nothing of Kubernetes: the controller asks them in the name of a chain, the stages of a pod in that of a
//! build.

pub mod cached;
pub mod file;
mod file_cache;
pub mod git;
pub mod gitea;
pub mod network;
pub mod registry;
pub mod secret;
pub(crate) mod transfer;

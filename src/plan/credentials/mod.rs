//! What Secrets hold for git servers, registries and servers of packages: Kubernetes' own types, and the keys that Flux
//! and others use, read into one form. That form is what pods get.

mod error;
pub mod git;
pub mod gitea;
pub mod registry;
mod secret;

pub use self::{
    error::{ConfigError, SecretError},
    secret::{AUTHORITY, Login, Values},
};

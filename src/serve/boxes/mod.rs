//! The catalog of boxes: a view of registries in the words of Vagrant. It holds nothing that it could lose.

mod file;
mod refusal;
mod service;
mod shelf;

use std::{io, net::SocketAddr, path::PathBuf};

pub use service::Boxes;

use super::listener::Listener;
use crate::{
    catalog::Prefix,
    remote::registry::{Registry, Settings as RegistrySettings},
};
use shelf::Shelf;

/// What is shown, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The repositories that are shown.
    pub prefixes: Vec<Prefix>,
    /// What addresses begin with that Vagrant is told; without it, the name by which the service was asked.
    pub url: Option<String>,
    /// How registries are reached.
    pub registries: RegistrySettings,
    /// A `config.json` of Docker with credentials for them. It is read for each request, since such files are changed
    /// while the service runs.
    pub credentials: Option<PathBuf>,
    /// How many files are sent at once.
    pub downloads: usize,
}

/// Takes the port of a service that answers once it runs.
///
/// # Errors
/// The port is taken, or the settings cannot be used.
pub async fn start(settings: Settings) -> io::Result<Listener<Boxes>> {
    let Settings { listen, prefixes, url, registries, credentials, downloads } = settings;
    let registries = RegistrySettings { transfer: service::DOWNLOADED_WITHIN, ..registries };
    let registry = Registry::new(registries).map_err(io::Error::other)?;
    let shelf = Shelf::new(registry, credentials);
    shelf.credentials().map_err(io::Error::other)?;
    Listener::bind(listen, Boxes::new(prefixes, url, shelf, downloads)).await
}

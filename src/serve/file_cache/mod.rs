//! The cache of a node: files by their SHA-256, which build pods bring and take. It asks nobody for anything, and a file
//! that it has lost is fetched from its server again.

mod leases;
mod service;
mod store;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

pub use service::FileCache;

use super::listener::Listener;
use crate::cache::Bound;
use store::Store;

/// The most files: what is known of each is in memory.
const MOST_FILES: usize = 16 * 1024;

/// What is kept, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The folder of the files. Nothing else should be in it.
    pub folder: PathBuf,
    /// The most that they take on the disk, in bytes, those that are being received among them.
    pub bytes: u64,
    /// How many files are received at once.
    pub uploads: usize,
    /// How many files are sent at once.
    pub downloads: usize,
}

/// Finds the files that an earlier process has left, and takes the port of a service that answers once it runs.
///
/// # Errors
/// The folder cannot be used, or the port is taken.
pub async fn start(settings: Settings) -> io::Result<Listener<FileCache>> {
    let Settings { listen, folder, bytes, uploads, downloads } = settings;
    let store = Store::open(&folder, Bound { bytes, files: MOST_FILES });
    let store = store.map_err(|why| io::Error::other(format!("{}: {why}", folder.display())))?;
    Listener::bind(listen, FileCache::new(Arc::new(store), uploads, downloads)).await
}

//! Clients that are kept, with their connections.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The most clients that are kept.
const MOST: usize = 64;

/// A client for each way to reach servers.
#[derive(Debug)]
pub struct Clients<T>(Mutex<HashMap<String, T>>);

impl<T> Default for Clients<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Clients<T> {
    /// The client of these settings; it is made where there is none yet.
    pub fn get<E>(&self, settings: &str, new: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(settings) {
            return Ok(known.clone());
        }
        let made = new()?;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST {
            clients.clear();
        }
        clients.insert(settings.to_owned(), made.clone());
        Ok(made)
    }
}

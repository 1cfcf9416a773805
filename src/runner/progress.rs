//! How far a transfer is.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::log::Log;

/// How often it is said how far a transfer is.
const PROGRESS: Duration = Duration::from_secs(15);

/// Tells now and then how far a transfer is.
pub(super) struct Progress<'l> {
    log: &'l Log,
    told: Mutex<Instant>,
}

impl<'l> Progress<'l> {
    pub(super) fn of(log: &'l Log) -> Self {
        Self { log, told: Mutex::new(Instant::now()) }
    }

    /// So many bytes are through; of how many, where that is known.
    pub(super) fn tell(&self, done: u64, all: Option<u64>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PROGRESS {
            *told = Instant::now();
            let all = all.map_or_else(String::new, |all| format!(" of {}", all >> 20));
            self.log.say(format_args!("{}{all} MiB", done >> 20));
        }
    }
}

//! The right to write.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::runtime::clock;

/// Until when this process may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    No,
    Until(Instant),
    Always,
}

/// The right to write; clones share it. Ask it right before each write.
#[derive(Clone, Debug)]
pub struct Claim(pub(super) watch::Receiver<Right>);

impl Claim {
    /// That of a process without leader election.
    #[must_use]
    pub fn always() -> Self {
        Self(watch::channel(Right::Always).1)
    }

    /// Whether this process may write at this moment.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.remaining().is_some()
    }

    /// How long this process may write if it cannot renew: the longest that a write may take from now. None if
    /// it may not write.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        match *self.0.borrow() {
            Right::No => None,
            Right::Always => Some(Duration::MAX),
            Right::Until(end) => {
                end.checked_duration_since(clock::monotonic()).filter(|remaining| !remaining.is_zero())
            }
        }
    }

    /// Waits until this process becomes the leader, or is it already. False if it never will: it ends.
    pub async fn gained(&mut self) -> bool {
        loop {
            if self.is_current() {
                return true;
            }
            if self.0.changed().await.is_err() {
                return self.is_current();
            }
        }
    }

    /// Waits until this process may no longer write.
    pub async fn lost(&mut self) {
        while let Some(remaining) = self.remaining() {
            // Over at the end, or earlier if something changed: a renewal or a release.
            if let Ok(Err(_)) = timeout(remaining, self.0.changed()).await {
                // No renewal can come any more.
                let _ = timeout(remaining, std::future::pending::<()>()).await;
            }
        }
    }
}

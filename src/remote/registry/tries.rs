//! How often a transfer goes on that was cut.

use std::time::Duration;

use tokio::time::sleep;

use super::error::Error;

/// How often in a row a transfer goes on without having come further.
const MOST: u32 = 5;
/// The longest pause, where the registry asks for none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is left of the patience with one transfer.
pub(super) struct Tries {
    left: u32,
    /// The most bytes that were ever through: what is sent again is no progress.
    furthest: u64,
    first: Duration,
    pause: Duration,
}

impl Tries {
    /// Of a transfer that begins; with the first pause.
    pub(super) const fn new(first: Duration) -> Self {
        Self { left: MOST, furthest: 0, first, pause: first }
    }

    /// So many bytes are through.
    pub(super) fn reached(&mut self, bytes: u64) {
        if bytes > self.furthest {
            *self = Self { furthest: bytes, ..Self::new(self.first) };
        }
    }

    /// Waits before the next try. An error that no repetition cures, or one too many, is given back at once.
    #[expect(clippy::disallowed_methods, reason = "a stage may wait: boxes are moved in no reconcile")]
    pub(super) async fn again(&mut self, error: Error) -> Result<(), Error> {
        if self.left == 0 || !matches!(error, Error::Unavailable { .. }) {
            return Err(error);
        }
        self.left -= 1;
        sleep(self.pause.max(error.retry_after().unwrap_or_default())).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn cut(retry_after: Option<u64>) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        Error::Unavailable { place: "r.example/a".to_owned(), cause: "fails".to_owned(), retry_after }
    }

    /// How many seconds a pause took; `None` where there is no further try.
    async fn pause(tries: &mut Tries, error: Error) -> Option<u64> {
        let before = Instant::now();
        tries.again(error).await.ok().map(|()| before.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_something_comes_through() {
        let mut tries = Tries::new(Duration::from_secs(1));
        for expected in [1, 2, 4] {
            assert_eq!(pause(&mut tries, cut(None)).await, Some(expected));
        }
        tries.reached(10);
        for expected in [Some(1), Some(2), Some(4), Some(8), Some(16), None] {
            // The same bytes again are no progress.
            tries.reached(10);
            assert_eq!(pause(&mut tries, cut(None)).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_for_a_pause_gets_it() {
        let mut tries = Tries::new(Duration::from_secs(1));
        assert_eq!(pause(&mut tries, cut(Some(60))).await, Some(60));
        assert_eq!(pause(&mut tries, cut(Some(0))).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_repetition_cures_is_not_repeated() {
        let mut tries = Tries::new(Duration::from_secs(1));
        assert_eq!(pause(&mut tries, Error::NotFound("a".to_owned())).await, None);
    }
}

//! How often a transfer goes on that was cut.

use std::time::Duration;

use tokio::time::sleep;

/// An error that may pass by itself.
pub(in crate::remote) trait Passing {
    /// How long the server asks to wait before it is asked again, at least; `None` where no repetition cures it.
    fn passes(&self) -> Option<Duration>;
}

/// How often in a row a transfer goes on without having come further.
const MOST: u32 = 5;
/// The longest pause, where the registry asks for none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is left of the patience with one transfer.
pub(in crate::remote) struct Tries {
    left: u32,
    /// The most bytes that were ever through: what is sent again is no progress.
    furthest: u64,
    first: Duration,
    pause: Duration,
}

impl Tries {
    /// Of a transfer that begins; with the first pause.
    pub(in crate::remote) const fn new(first: Duration) -> Self {
        Self { left: MOST, furthest: 0, first, pause: first }
    }

    /// So many bytes are through.
    pub(in crate::remote) fn reached(&mut self, bytes: u64) {
        if bytes > self.furthest {
            *self = Self { furthest: bytes, ..Self::new(self.first) };
        }
    }

    /// Waits before the next try. An error that no repetition cures, or one too many, is given back at once.
    #[expect(clippy::disallowed_methods, reason = "a stage may wait: boxes and files are moved in no reconcile")]
    pub(in crate::remote) async fn again<E: Passing>(&mut self, error: E) -> Result<(), E> {
        let Some(asked) = error.passes().filter(|_| self.left > 0) else { return Err(error) };
        self.left -= 1;
        sleep(self.pause.max(asked)).await;
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// With the seconds that the server asks for, where it may pass.
    struct Wrong(Option<u64>);

    impl Passing for Wrong {
        fn passes(&self) -> Option<Duration> {
            self.0.map(Duration::from_secs)
        }
    }

    fn cut(retry_after: Option<u64>) -> Wrong {
        Wrong(Some(retry_after.unwrap_or_default()))
    }

    /// How many seconds a pause took; `None` where there is no further try.
    async fn pause(tries: &mut Tries, error: Wrong) -> Option<u64> {
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
        assert_eq!(pause(&mut tries, Wrong(None)).await, None);
    }
}

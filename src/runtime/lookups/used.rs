//! What a look-up came to, with the Secret that it used.

use crate::plan::{failure::Failure, lookup::Found};

/// What came of a step, and the version of the Secret that was used for it: a failure may be mended by another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used<T> {
    /// What came of it.
    pub outcome: T,
    /// The version of the Secret; `None` where none was used, or none that a watch shows.
    pub secret_version: Option<String>,
}

/// What came of a look-up or a promotion.
pub type Answered = Used<Result<Found, Failure>>;

impl<T> Used<T> {
    /// What came of a step that used no Secret.
    #[must_use]
    pub const fn without_secret(outcome: T) -> Self {
        Self { outcome, secret_version: None }
    }

    /// The same with another outcome.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Used<U> {
        Used { outcome: change(self.outcome), secret_version: self.secret_version }
    }
}

/// A failure before any Secret was used.
impl From<Failure> for Used<Failure> {
    fn from(failure: Failure) -> Self {
        Self::without_secret(failure)
    }
}

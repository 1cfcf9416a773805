//! Limits and words that others need to know, too.

use std::time::Duration;

use crate::plan::recipe::Recipe;

/// How long fetching a source may take.
const SOURCE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long pushing the image may take.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_mins(30);
/// How long fetching the source of a recipe may take: with files of other servers, which may be large, as long as its
/// build.
#[must_use]
pub fn source_timeout(recipe: &Recipe) -> Duration {
    if recipe.fetches_files() { recipe.limits.build.max(SOURCE_TIMEOUT) } else { SOURCE_TIMEOUT }
}

/// What is said as long as no stage has begun and nobody says why.
pub const POD_PENDING: &str = "the pod waits for its node and images";

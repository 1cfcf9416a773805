//! What is done with every kind of product.

use crate::plan::failure::Failure;

/// What a push came to.
pub(crate) struct Pushed {
    /// The digest of the manifest.
    pub(crate) digest: String,
    /// The bytes of the layers in the registry.
    pub(crate) size: i64,
}

/// Where the product of a build is, between its stages.
pub(crate) trait Store {
    /// What it is called there, for people.
    fn name(&self) -> String;

    /// The digest of its content, as it is there now; `None` where there is none.
    async fn content(&self) -> Result<Option<String>, Failure>;
}

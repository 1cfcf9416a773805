//! What comes out of a build. It is staged in a registry by digest, whatever kind it is of; what was built, tested and
//! pushed is the same if its content is.

use crate::api::{
    build::Artifact,
    common::{Digest, ImageReference},
};

/// The kind of a product. What is known by its content is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductKind {
    /// A container image. Its content is the image ID: the digest of its configuration.
    Image,
}

/// A product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its kind.
    pub kind: ProductKind,
    /// The digest of its content. What was tested is known by it.
    pub content: String,
    /// Where it is staged, as repository@digest.
    pub reference: String,
    /// The size of its layers as they are in the registry, in bytes.
    pub size: i64,
}

impl Product {
    /// As a build's status holds it.
    #[must_use]
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            kind: ProductKind::Image,
            content: artifact.image_id.to_string(),
            reference: artifact.reference.to_string(),
            size: artifact.size,
        }
    }

    /// For a build's status.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        let ProductKind::Image = self.kind;
        let digest = self.reference.split_once('@').map_or("", |(_, digest)| digest);
        let short = digest.split_once(':').map_or(digest, |(_, hash)| hash);
        Artifact {
            reference: ImageReference(self.reference.clone()),
            digest: Digest(digest.to_owned()),
            short_digest: short.get(..12).unwrap_or(short).to_owned(),
            image_id: Digest(self.content.clone()),
            size: self.size,
        }
    }
}

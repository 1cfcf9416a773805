//! The order of the layers in a folder of `skopeo copy … dir:FOLDER`.

use serde::Deserialize;
use thiserror::Error;

/// Why the layers of a folder are not known.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not the manifest of one image.
    #[error("manifest.json is not the manifest of an image: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A digest cannot be the name of a file.
    #[error("manifest.json has a layer with the digest {0:?}, which is none")]
    Digest(String),
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

/// The names of the files of the layers, the lowest first, by the text of `manifest.json`: in containers-image-dir(5) a
/// file is called as its digest without the algorithm.
///
/// # Errors
/// The text is no manifest of one image, as that of an index is none, or a digest is no name of a file.
pub fn layer_files(manifest: &[u8]) -> Result<Vec<String>, ManifestError> {
    let manifest: Manifest = serde_json::from_slice(manifest)?;
    manifest.layers.into_iter().map(|layer| file(layer.digest)).collect()
}

fn file(digest: String) -> Result<String, ManifestError> {
    let is_hash = |hash: &str| !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match digest.split_once(':') {
        Some((_, hash)) if is_hash(hash) => Ok(hash.to_owned()),
        _ => Err(ManifestError::Digest(digest)),
    }
}

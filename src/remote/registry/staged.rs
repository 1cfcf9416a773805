//! What is staged under a digest: whether it is what was tested.

use std::collections::BTreeSet;

use super::{
    client::Registry,
    credentials::Credentials,
    error::Error,
    manifest::{Blob, Child, Manifest, Parts},
    session::{Found, Purpose, Session},
    shown::BoxFile,
};
use crate::{
    api::boxes::ArtifactKind,
    plan::image::{Digest, Repository},
};

/// The most manifests of an index that are promoted, and the most bytes that all of them have together: build
/// pods push them, and they are in memory at once.
const MOST_CHILDREN: usize = 64;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What is wrong with a box of which nobody can tell what it is for.
const NO_CONFIG: &str = "its manifest is that of a machine box, and its configuration is not";

/// What was tested, and where it is staged.
#[derive(Clone, Copy, Debug)]
pub struct Tested<'a> {
    /// The staging repository.
    pub repository: &'a Repository,
    /// The digest of what was staged there.
    pub digest: &'a Digest,
    /// What was tested. What was staged as something else is not published.
    pub kind: ArtifactKind,
    /// What it is known by, as [`Artifact::content`](super::Artifact::content) has it.
    pub content: &'a Digest,
    /// Credentials that may read the repository.
    pub credentials: &'a Credentials,
}

impl Registry {
    /// The box that was tested, as it is staged.
    ///
    /// # Errors
    /// It is gone or is not what was tested; or the registry does not give it.
    pub async fn tested_box(&self, tested: &Tested<'_>) -> Result<BoxFile, Error> {
        let mut source = self.session(tested.repository, tested.credentials, Purpose::Read)?;
        let staged = Staged::read(&mut source, tested).await?;
        let Manifest::Image(parts) = &staged.root.manifest else { return Err(mismatch(tested, "an index")) };
        source.box_of(parts).await?.ok_or_else(|| source.unsupported(NO_CONFIG))
    }
}

/// All that was staged under a digest, and found to be what was tested.
pub(super) struct Staged {
    /// The images of an index, which must be there before it.
    pub(super) children: Vec<Found>,
    pub(super) root: Found,
}

impl Staged {
    pub(super) async fn read(source: &mut Session<'_>, tested: &Tested<'_>) -> Result<Self, Error> {
        let root = Self::one(source, tested, tested.digest).await?;
        let mut children = Vec::new();
        match &root.manifest {
            Manifest::Image(parts) => is_tested(tested, parts)?,
            Manifest::Index(_) if tested.kind == ArtifactKind::Box => {
                return Err(mismatch(tested, "an index"));
            }
            Manifest::Index(all) if all.iter().all(|child| child.is_about_another) => {
                return Err(mismatch(tested, "an index without images"));
            }
            Manifest::Index(all) if all.len() > MOST_CHILDREN => {
                return Err(mismatch(tested, "an index of too many images"));
            }
            Manifest::Index(all) => {
                let mut bytes = root.body.len();
                for child in all {
                    let found = Self::child(source, tested, child).await?;
                    bytes += found.body.len();
                    if bytes > MOST_BYTES {
                        return Err(mismatch(tested, "an index of too large manifests"));
                    }
                    children.push(found);
                }
            }
        }
        Ok(Self { children, root })
    }

    async fn child(source: &mut Session<'_>, tested: &Tested<'_>, child: &Child) -> Result<Found, Error> {
        let found = Self::one(source, tested, &child.digest).await?;
        match &found.manifest {
            // Every image of an index is published with it: none may be another than the tested one.
            Manifest::Image(parts) if !child.is_about_another => is_tested(tested, parts)?,
            Manifest::Image(_) => {}
            Manifest::Index(_) => return Err(mismatch(tested, "an index in an index")),
        }
        Ok(found)
    }

    async fn one(source: &mut Session<'_>, tested: &Tested<'_>, digest: &Digest) -> Result<Found, Error> {
        let gone = || Error::Gone { repository: tested.repository.clone(), digest: digest.clone() };
        let found = source.manifest(&digest.to_string()).await?.ok_or_else(gone)?;
        source.expect(found.digest.clone(), Some(digest))?;
        Ok(found)
    }

    /// What must be in the target before a manifest is, each once.
    pub(super) fn blobs(&self) -> Vec<&Blob> {
        let mut seen = BTreeSet::new();
        let manifests = self.children.iter().chain([&self.root]);
        let blobs = manifests.flat_map(|found| match &found.manifest {
            Manifest::Image(parts) => parts.layers.iter().chain([&parts.config]).collect(),
            Manifest::Index(_) => Vec::new(),
        });
        blobs.filter(|blob| seen.insert(blob.digest.clone())).collect()
    }
}

fn is_tested(tested: &Tested<'_>, parts: &Parts) -> Result<(), Error> {
    match parts.content() {
        Some(found) if (found.kind, found.digest) == (tested.kind, tested.content) => Ok(()),
        Some(found) => Err(mismatch(tested, &named(found.kind, found.digest))),
        None => Err(mismatch(tested, "a box of other than one file")),
    }
}

/// As a sentence names it.
fn named(kind: ArtifactKind, content: &Digest) -> String {
    match kind {
        ArtifactKind::Image => format!("the image {content}"),
        ArtifactKind::Box => format!("the box {content}"),
    }
}

fn mismatch(tested: &Tested<'_>, found: &str) -> Error {
    Error::Mismatch {
        repository: tested.repository.clone(),
        digest: tested.digest.clone(),
        expected: match tested.kind {
            ArtifactKind::Image => tested.content.to_string(),
            ArtifactKind::Box => named(tested.kind, tested.content),
        },
        found: found.to_owned(),
    }
}

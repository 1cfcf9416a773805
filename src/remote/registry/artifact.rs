//! Artifacts of one file: machine boxes of some GiB, which are never whole in memory.

use std::{collections::BTreeMap, path::Path};

use serde_json::json;

use super::{
    client::Registry,
    credentials::Credentials,
    download::Download,
    error::Error,
    manifest::{self, Manifest, NOT_ONE_FILE, Parts},
    session::{Purpose, Session},
    source::Source,
    upload::Upload,
};
use crate::{
    plan::image::{Digest, Repository, Tag},
    remote::transfer::Tries,
};

/// The annotation of a layer that holds the name of its file (OCI image specification 1.1, "Pre-Defined Annotation
/// Keys"). Tools such as oras give the file this name.
const TITLE: &str = "org.opencontainers.image.title";
/// The most of a config that is read, in bytes.
pub(super) const LONGEST_CONFIG: usize = 64 * 1024;
const LONG_CONFIG: &str = "its config is larger than 64 KiB";

/// Is told how many bytes of a file are through, and how many there are. It is called at most once for each MiB and
/// each chunk, and with fewer bytes than before where a transfer begins anew.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);

/// A file to push as an artifact.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Where to.
    pub repository: &'a Repository,
    /// The tag that it gets.
    pub tag: &'a Tag,
    /// The `artifactType` of its manifest.
    pub artifact_type: &'a str,
    /// What there is to know without the file; at most 64 KiB, since a pull takes no more.
    pub config: &'a [u8],
    /// The media type of the config.
    pub config_type: &'a str,
    /// The file. It must not change meanwhile.
    pub file: &'a Path,
    /// The media type of the file.
    pub file_type: &'a str,
    /// The name of the file for whoever pulls it by other tools.
    pub title: &'a str,
    /// The annotations of the manifest.
    pub annotations: &'a BTreeMap<String, String>,
    /// Credentials that may write the repository.
    pub credentials: &'a Credentials,
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The digest of the file, by which a box is known.
    pub content: Digest,
    /// The size of the file, in bytes.
    pub size: u64,
}

/// An artifact to pull.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// Where from. Its mirror is asked first.
    pub repository: &'a Repository,
    /// The digest of its manifest.
    pub digest: &'a Digest,
    /// The `artifactType` that its manifest must have.
    pub artifact_type: &'a str,
    /// The largest file that is taken, in bytes.
    pub most: u64,
    /// Credentials that may read the repository.
    pub credentials: &'a Credentials,
}

/// What was pulled beside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The config.
    pub config: Vec<u8>,
    /// The media type of the config.
    pub config_type: String,
    /// The media type of the file.
    pub file_type: String,
    /// The digest of the file, by which a box is known.
    pub content: Digest,
    /// The size of the file, in bytes.
    pub size: u64,
}

impl Registry {
    /// Pushes a file as an artifact under a tag. What the repository has already is not sent again. A transfer that is
    /// cut goes on where it was, as long as the registry lets it and something comes through. It may be repeated.
    ///
    /// # Errors
    /// The file cannot be read, or the registry does not take it.
    pub async fn push_artifact(&self, push: &Push<'_>, progress: Progress<'_>) -> Result<Pushed, Error> {
        let (config, file) = (Source::of_bytes(push.config), Source::of_file(push.file).await?);
        let mut session = self.session(push.repository, push.credentials, Purpose::Write)?;
        Upload::new(&mut session, &file, &|done| progress(done, file.size)).run().await?;
        Upload::new(&mut session, &config, &|_| {}).run().await?;
        let body = written(push, &config, &file);
        let mut tries = Tries::new(session.settings().pause);
        while let Err(error) = session.put(&push.tag.to_string(), manifest::IMAGE, &body).await {
            tries.again(error).await?;
        }
        Ok(Pushed { digest: Digest::of(&body), content: file.digest, size: file.size })
    }

    /// Pulls the file of an artifact. A transfer that is cut goes on where it was, as long as something comes through.
    /// Once it has begun, there is no file at the path unless all of it came and has its digest.
    ///
    /// # Errors
    /// There is no such artifact, it is of another type or too large, the registry does not give it, or the file
    /// cannot be written.
    pub async fn pull_artifact(&self, pull: &Pull<'_>, path: &Path, progress: Progress<'_>) -> Result<Pulled, Error> {
        let Some((mirror, label)) = self.mirror(pull.repository) else {
            return self.pull_at(pull.repository, "", pull, path, progress).await;
        };
        let at_mirror = self.pull_at(&mirror, &label, pull, path, progress).await;
        if at_mirror.as_ref().map_or_else(Error::is_of_the_artifact, |_| true) {
            return at_mirror;
        }
        match self.pull_at(pull.repository, "", pull, path, progress).await {
            // As with images: the mirror's answer says more than that of a registry that is out of reach.
            Err(Error::Unavailable { .. }) => at_mirror,
            answer => answer,
        }
    }

    async fn pull_at(
        &self,
        repository: &Repository,
        label: &str,
        pull: &Pull<'_>,
        path: &Path,
        progress: Progress<'_>,
    ) -> Result<Pulled, Error> {
        let name = format!("{}@{}{label}", pull.repository, pull.digest);
        let mut session = self.session(repository, pull.credentials, Purpose::Read)?.named(name.clone());
        let Parts { config, layers, .. } = pull.parts(&mut session, &name).await?;
        let [file] = layers.as_slice() else { return Err(session.unsupported(NOT_ONE_FILE)) };
        if file.size > pull.most {
            return Err(Error::TooLarge { place: name, size: file.size, most: pull.most });
        }
        if config.size > LONGEST_CONFIG as u64 {
            return Err(session.unsupported(LONG_CONFIG));
        }
        let content = session.config(&config.digest, LONGEST_CONFIG).await?;
        Download::new(&mut session, file, &|done| progress(done, file.size)).into(path).await?;
        Ok(Pulled {
            config: content,
            config_type: config.media_type,
            file_type: file.media_type.clone(),
            content: file.digest.clone(),
            size: file.size,
        })
    }
}

impl Pull<'_> {
    /// What the manifest refers to, which is of the right digest and type.
    async fn parts(&self, session: &mut Session<'_>, name: &str) -> Result<Parts, Error> {
        let found = session.manifest(&self.digest.to_string()).await?;
        let found = found.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        session.expect(found.digest, Some(self.digest))?;
        match found.manifest {
            Manifest::Image(parts) if parts.artifact_type.as_deref() == Some(self.artifact_type) => Ok(parts),
            _ => Err(Error::OtherType { place: name.to_owned(), expected: self.artifact_type.to_owned() }),
        }
    }
}

/// The manifest: an image manifest with `artifactType` (OCI image specification 1.1, "Guidelines for Artifact Usage").
fn written(push: &Push<'_>, config: &Source, file: &Source) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest::IMAGE,
        "artifactType": push.artifact_type,
        "config": {"mediaType": push.config_type, "digest": config.digest.to_string(), "size": config.size},
        "layers": [{
            "mediaType": push.file_type,
            "digest": file.digest.to_string(),
            "size": file.size,
            "annotations": {TITLE: push.title},
        }],
        "annotations": push.annotations,
    });
    manifest.to_string().into_bytes()
}

//! What the stages of a build pod are to do: a JSON document that `render` writes and the runner reads.
//!
//! Everything is filled in: it holds no placeholder. It holds no secret value either: those are in files
//! ([`super::recipe::SecretFile`]), each in the one container that needs it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    network::Proxy,
    recipe::{Scope, Steps},
};
use crate::api::{boxes::ArtifactKind, profile::Engine, recipe::Layers};

/// The number of the form that this program writes and reads.
pub const FORMAT: u32 = 2;

/// Where stages keep what they need. It has the same path in the engine:
/// packer's docker builder mounts its folders into containers by path.
pub const WORKSPACE: &str = "/workspace";
/// Where the source is fetched to.
pub const SOURCE_FOLDER: &str = "/workspace/source";
/// The box that the build stands on, as it was pulled.
pub const PARENT_BOX: &str = "/workspace/parent/box";
/// Its disk.
pub const PARENT_DISK: &str = "/workspace/parent/disk";
/// The file with the SHA-256 of that disk and its name, as `sha256sum` writes it.
pub const PARENT_CHECKSUM: &str = "/workspace/parent/disk.sha256";
/// The folder of the files of other servers, below [`WORKSPACE`].
pub const FILES_FOLDER: &str = "files";
/// The box that the build stands on, below [`WORKSPACE`].
pub const BOX_FILE: &str = "parent/box";
/// The folder that the program is copied to, since the builder image does not have it.
pub const PROGRAM_FOLDER: &str = "/imagechain/bin";
/// The program.
pub const PROGRAM: &str = "/imagechain/bin/imagechain";
/// The folder of [`JOB_FILE`].
pub const JOB_FOLDER: &str = "/imagechain/job";
/// This document.
pub const JOB_FILE: &str = "/imagechain/job/job.json";
/// The folder of all files with secrets.
pub const SECRETS: &str = "/imagechain/secrets";
/// The folder of the engine's socket and of the marker that the engine leaves beside it.
pub const ENGINE_FOLDER: &str = "/run/docker";
/// Where the engine keeps images and containers.
pub const GRAPH_ROOT: &str = "/var/lib/docker";

/// What the stages are to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// [`FORMAT`].
    pub format: u32,
    /// The name of the build.
    pub build: String,
    /// The name of the chain; absent in a single build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The name of the link; absent in a single build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Where the files come from.
    pub source: Source,
    /// The commit of a git source, or the hash of another's content.
    pub revision: String,
    /// The hash of the files that decide the result.
    pub files: String,
    /// The files that are used, by paths as those of the steps; absent: all of the source.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub uses: Scope,
    /// The files of other servers to fetch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<RemoteFile>,
    /// The URL of the cache of files on the node of the pod; absent where there is none, or nothing to fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_cache: Option<String>,
    /// What it is built on; absent where the build brings its own base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How it is built and tested.
    pub steps: Steps<String>,
    /// The container engine that runs beside the stages.
    pub engine: Engine,
    /// The machines that stages boot; absent where images are built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// The name that the image gets in the engine when it is built.
    pub image: String,
    /// Where it is pushed: a repository and a tag that no other attempt uses.
    pub staging: Staging,
    /// How registries are reached.
    pub registry: Registry,
    /// How servers are reached, registries among them.
    #[serde(default, skip_serializing_if = "Network::is_plain")]
    pub network: Network,
    /// How long the stages may take.
    pub timeouts: Timeouts,
}

/// Where the files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Source {
    /// A git repository, at [`Job::revision`].
    Git {
        /// Its URL.
        url: String,
        /// The revision as it is written, for servers that give no commit by its hash.
        written: String,
        /// The folder that all paths are relative to; absent: the root.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        directory: Option<String>,
        /// The folder with `username` and `password`, or with `identity` and `known_hosts`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials: Option<String>,
    },
    /// Files that were copied for the attempt: the path of a document of the type [`Files`].
    Files(String),
}

/// Files by path, each with its content in base 64: none of them has to be text.
pub type Files = BTreeMap<String, ByteString>;

/// A file of another server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteFile {
    /// Where it is.
    pub url: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Where it is put, below [`WORKSPACE`].
    pub path: String,
}

/// What a build is built on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parent {
    /// Its kind.
    #[serde(default, skip_serializing_if = "ArtifactKind::is_image")]
    pub kind: ArtifactKind,
    /// Where it is, as repository@digest; of a file of another server, its URL.
    pub reference: String,
    /// Whether it is one of [`Job::fetch`], and in no registry.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_fetched: bool,
    /// The name that an image gets in the engine.
    pub local_name: String,
    /// What the product has in common with it.
    #[serde(default, skip_serializing_if = "Layers::is_inherited")]
    pub layers: Layers,
    /// The folder with Docker's `config.json` for the pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// The file with the certificates that the Secret of the pull adds, for a stage that pulls by itself; it may be
    /// empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

/// What a machine of a stage may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// Its memory, in MiB.
    pub memory: u64,
    /// Its processors.
    pub processors: u64,
    /// The most of its disk, in bytes.
    pub storage: u64,
}

/// Where an attempt pushes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Staging {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The folder with Docker's `config.json` for the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// The file with the certificates that the Secret of the push adds; it may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

/// How registries are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// The platform of the images, for example `linux/amd64`.
    pub platform: String,
    /// The registries to ask instead of others.
    pub mirrors: BTreeMap<String, String>,
    /// The registries that are reached by plain HTTP.
    pub insecure: Vec<String>,
    /// The file with the certificates that registries are trusted by besides the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

/// How servers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The file with the certificates that servers are trusted by besides the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// By which proxies.
    #[serde(default, skip_serializing_if = "Proxy::is_none")]
    pub proxy: Proxy,
}

impl Network {
    /// Whether servers are reached directly, and trusted as usual.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.certificate_authority.is_none() && self.proxy.is_none()
    }
}

/// How long the stages may take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// Fetching the source.
    pub source: u64,
    /// The build.
    pub build: u64,
    /// All tests together.
    pub verify: u64,
    /// Pushing the image.
    pub publish: u64,
}

/// Why a document is no job.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    /// It is not JSON of our form.
    #[error("what the stages are to do cannot be read: {0}")]
    Malformed(String),
    /// It is of another form.
    #[error(
        "what the stages are to do is of the form {0}, and this program reads {FORMAT}: operator and runner must be of the same version"
    )]
    OtherFormat(u32),
}

impl Source {
    /// The folder in the pod that all paths are relative to.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Git { directory: Some(directory), .. } => format!("{SOURCE_FOLDER}/{directory}"),
            Self::Git { directory: None, .. } | Self::Files(_) => SOURCE_FOLDER.to_owned(),
        }
    }
}

impl Job {
    /// Reads a job.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, JobError> {
        // The number first: of another form, nothing else may be as expected.
        let Versioned { format } = read(text)?;
        if format == FORMAT { read(text) } else { Err(JobError::OtherFormat(format)) }
    }

    /// The job as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Structures, texts and maps by text: there is nothing in them that JSON could not write.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, JobError> {
    serde_json::from_str(text).map_err(|error| JobError::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_form_is_told_before_anything_else() {
        assert_eq!(Job::parse(r#"{"format": 3, "new": true}"#), Err(JobError::OtherFormat(3)));
        assert!(matches!(Job::parse(r#"{"format": 2}"#), Err(JobError::Malformed(why)) if why.contains("build")));
        assert!(matches!(Job::parse(""), Err(JobError::Malformed(_))));
    }
}

//! Where files come from.

use std::collections::BTreeMap;

use super::fields::Fields;
use crate::{
    api::common,
    plan::{
        dependency::Dependency,
        git::{check_revision, check_url},
        object::ObjectRef,
        path::SourcePath,
    },
};

/// The most that all inline files may have together, in bytes: they are stored in the object itself.
const MOST_INLINE: usize = 512 << 10;

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A git repository.
    Git {
        /// Its URL.
        url: String,
        /// The revision as it is written.
        revision: String,
        /// The folder that paths are relative to; `None`: the root.
        directory: Option<SourcePath>,
        /// The Secret with the credentials.
        secret: Option<String>,
    },
    /// A `ConfigMap`, by name.
    ConfigMap(String),
    /// Files written into the object.
    Inline(BTreeMap<SourcePath, String>),
}

impl Source {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(written: &common::Source, mut fields: Fields<'_>) -> Option<Self> {
        match (&written.git, &written.config_map, &written.inline) {
            (Some(git), None, None) => validate_git(git, fields.below("git")),
            (None, Some(map), None) => Some(Self::ConfigMap(map.name.to_string())),
            (None, None, Some(inline)) => inline_files(&inline.files, fields.below("inline")).map(Self::Inline),
            _ => {
                fields.add("set exactly one of git, configMap, inline");
                None
            }
        }
    }

    /// The object that it names: what holds it, or what holds the credentials for it.
    #[must_use]
    pub fn object(&self) -> Option<ObjectRef> {
        match self {
            Self::Git { secret, .. } => secret.as_deref().map(ObjectRef::secret),
            Self::ConfigMap(name) => Some(ObjectRef::config_map(name)),
            Self::Inline(_) => None,
        }
    }

    /// What it leads to outside the cluster.
    #[must_use]
    pub fn dependency(&self) -> Option<Dependency> {
        match self {
            Self::Git { url, revision, .. } => Some(Dependency::Git { url: url.clone(), revision: revision.clone() }),
            Self::ConfigMap(_) | Self::Inline(_) => None,
        }
    }
}

fn inline_files<'t, T: ToString + 't>(
    written: impl IntoIterator<Item = (&'t String, &'t T)>,
    mut fields: Fields<'_>,
) -> Option<BTreeMap<SourcePath, String>> {
    let mut files = BTreeMap::new();
    for (name, content) in written {
        files.insert(fields.parse(&format!("files[{name:?}]"), name)?, content.to_string());
    }
    let mut fields = fields.below("files");
    if files.is_empty() {
        fields.add("must hold at least one file");
    }
    if files.values().map(String::len).sum::<usize>() > MOST_INLINE {
        fields.add("must not hold more than 512 KiB in all: use git or a ConfigMap");
    }
    Some(files)
}

fn validate_git(written: &common::GitSource, mut fields: Fields<'_>) -> Option<Source> {
    fields.take("url", check_url(&written.url.0));
    fields.take("revision", check_revision(&written.revision.0));
    Some(Source::Git {
        url: written.url.to_string(),
        revision: written.revision.to_string(),
        directory: fields.optional_path("directory", written.directory.as_ref())?,
        secret: written.secret_ref.as_ref().map(|secret| secret.name.to_string()),
    })
}

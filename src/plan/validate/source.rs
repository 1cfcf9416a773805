//! Sources.

use crate::{
    api::common::{GitSource, Source},
    plan::{
        git::{check_revision, check_url},
        path::SourcePath,
        valid::ValidSource,
        validate::problem::Problems,
    },
};

/// The most that all inline files may have together, in bytes: they are stored in the object itself.
const MOST_INLINE: usize = 512 << 10;

pub(super) fn validate(source: &Source, path: &str, problems: &mut Problems) -> Option<ValidSource> {
    match (&source.git, &source.config_map, &source.inline) {
        (Some(written), None, None) => git(written, &format!("{path}.git"), problems),
        (None, Some(map), None) => Some(ValidSource::ConfigMap(map.name.to_string())),
        (None, None, Some(inline)) => {
            let path = format!("{path}.inline.files");
            let mut files = std::collections::BTreeMap::new();
            for (name, content) in &inline.files {
                let file = problems.take(format_args!("{path}[{name:?}]"), name.parse::<SourcePath>())?;
                files.insert(file, content.to_string());
            }
            if files.is_empty() {
                problems.add(&path, "must hold at least one file");
            }
            if files.values().map(String::len).sum::<usize>() > MOST_INLINE {
                problems.add(&path, "must not hold more than 512 KiB in all: use git or a ConfigMap");
            }
            Some(ValidSource::Inline(files))
        }
        _ => {
            problems.add(path, "set exactly one of git, configMap, inline");
            None
        }
    }
}

fn git(written: &GitSource, path: &str, problems: &mut Problems) -> Option<ValidSource> {
    if let Err(message) = check_url(&written.url.0) {
        problems.add(format_args!("{path}.url"), message);
    }
    if let Err(message) = check_revision(&written.revision.0) {
        problems.add(format_args!("{path}.revision"), message);
    }
    let directory = match &written.directory {
        Some(text) => Some(problems.take(format_args!("{path}.directory"), text.0.parse::<SourcePath>())?),
        None => None,
    };
    Some(ValidSource::Git {
        url: written.url.to_string(),
        revision: written.revision.to_string(),
        directory,
        secret: written.secret_ref.as_ref().map(|secret| secret.name.to_string()),
    })
}

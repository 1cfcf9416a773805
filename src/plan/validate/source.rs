//! Sources.

use crate::{
    api::common::{GitSource, Source},
    plan::{path::SourcePath, problem::Problems, valid::ValidSource},
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

/// What git would take for something else than an address, or send a password in, is refused.
pub(crate) fn check_url(url: &str) -> Result<(), &'static str> {
    const SCHEMES: [&str; 3] = ["https://", "http://", "ssh://"];
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("must begin with https://, http:// or ssh://")?;
    if url.len() > 1024 || url.contains(|letter: char| !letter.is_ascii_graphic()) {
        return Err("must not be longer than 1024 characters, nor hold spaces or control characters");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err("must not hold a password: put it into the Secret of secretRef");
    }
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
        return Err("must name a host");
    }
    Ok(())
}

/// The part of git's rules for refs (`git check-ref-format`) that keeps a revision from being an option,
/// an expression or a range.
pub(crate) fn check_revision(revision: &str) -> Result<(), &'static str> {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._/+-".contains(&letter);
    let first = revision.bytes().next().is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == b'_');
    if first
        && revision.len() <= 255
        && revision.bytes().all(|letter| is_plain(letter) || letter == b'_')
        && !revision.contains("..")
        && !revision.ends_with('.')
        && revision
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none())
    {
        return Ok(());
    }
    Err(
        "must be a branch, a tag, a full ref name or a commit: letters, digits and . _ / + -, a letter, digit or _ first; no .. or //, no part that begins with . or ends with .lock, neither . nor / at the end",
    )
}

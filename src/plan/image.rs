//! Names of images in registries, after the grammar of the distribution project (its package `reference`)
//! and with Docker's short forms: `debian:13` is `docker.io/library/debian:13`.

use std::{fmt, str::FromStr};

use ring::digest::{Context, SHA256, digest};
use thiserror::Error;

use super::key::hexadecimal;

/// Docker Hub: the registry that short names mean, the folder of it that they mean, and its other names. The first
/// is that of its former protocol, which Docker's package `reference` reads as `docker.io` too; the second is the
/// address at which it answers.
pub const DOCKER_HUB: &str = "docker.io";
const DEFAULT_FOLDER: &str = "library";
const OTHER_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// The one name of a registry that has several.
#[must_use]
pub fn canonical(registry: &str) -> &str {
    if OTHER_NAMES.contains(&registry) { DOCKER_HUB } else { registry }
}

/// A repository of a registry: where, without saying which of its images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// The registry as host or host:port.
    pub registry: String,
    /// The path within it.
    pub path: String,
}

impl Repository {
    /// One that somebody writes as the place of images: the registry must not be left out, so that nobody publishes
    /// to Docker Hub by a name that is too short.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn written(text: &str) -> Result<Self, ImageError> {
        if text.contains('/') { text.parse() } else { Err(ImageError::NoRegistry) }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.path)
    }
}

/// The digest of a manifest or of a file: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// The digest of a manifest with these bytes.
    #[must_use]
    pub fn of(manifest: &[u8]) -> Self {
        Self(format!("sha256:{}", hexadecimal(digest(&SHA256, manifest).as_ref())))
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

/// Makes the digest of what comes in parts, such as a file that is never whole in memory.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// A hasher of nothing so far.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(format!("sha256:{}", hexadecimal(self.0.finish().as_ref())))
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An image: a repository with a tag, a digest, or both. Without either, the tag `latest` is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// The tag as it is written.
    pub tag: Option<Tag>,
    /// The digest, which wins over the tag.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask a registry for: the digest, or the tag, or `latest`.
    #[must_use]
    pub fn manifest(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => &digest.0,
            (None, Some(tag)) => &tag.0,
            (None, None) => "latest",
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(formatter)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with the name of an image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImageError {
    /// There is no path, or a part of it is malformed.
    #[error("is not the name of an image: «{0}» must be lower case letters and digits, with one of . _ - between them")]
    Path(String),
    /// The registry is malformed.
    #[error("is not the name of an image: «{0}» is not a registry (host or host:port)")]
    Registry(String),
    /// The tag is malformed.
    #[error("«{0}» is not a tag (up to 128 letters, digits, _ . -, neither . nor - first){hint}", hint = hint(.0))]
    Tag(String),
    /// A tag is malformed that is written as the place of what is published.
    #[error(
        "«{0}» is not a tag (up to 128 letters, digits, _ . -, neither . nor - first; {{{{timestamp}}}} once at most, for \
         the ten digits of the time of the build){hint}",
        hint = hint_of_written(.0)
    )]
    WrittenTag(String),
    /// The digest is malformed.
    #[error("is not the name of an image: «{0}» is not a digest (sha256: and 64 hexadecimal digits)")]
    Digest(String),
    /// A repository was asked for, and this says more.
    #[error("must be a repository: leave the tag or digest out")]
    NotARepository,
    /// A repository was asked for, and this names no registry.
    #[error("must be a repository with its registry, as in registry.example/team/web")]
    NoRegistry,
    /// It is too long.
    #[error("must not be longer than 512 bytes")]
    TooLong,
}

/// What to say of a placeholder where none is filled.
fn hint(text: &str) -> &'static str {
    if text.contains("$(") { ": tags hold no placeholders" } else { "" }
}

/// The same where the time of the build is filled in.
fn hint_of_written(text: &str) -> &'static str {
    match text {
        _ if text.contains("$(") => ": tags hold no other placeholders",
        _ if text.contains("{{") => ": of packer's words, tags hold {{timestamp}} alone, without spaces",
        _ => "",
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let is_hexadecimal = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
        if digits.len() == 64 && digits.bytes().all(is_hexadecimal) {
            return Ok(Self(text.to_owned()));
        }
        Err(ImageError::Digest(text.to_owned()))
    }
}

impl FromStr for Tag {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let is_word = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        let good = matches!(text.as_bytes(), [first, rest @ ..] if rest.len() < 128 && is_word(*first)
            && rest.iter().all(|letter| is_word(*letter) || matches!(letter, b'.' | b'-')));
        if good { Ok(Self(text.to_owned())) } else { Err(ImageError::Tag(text.to_owned())) }
    }
}

impl FromStr for Repository {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let reference: Reference = text.parse()?;
        match reference {
            Reference { repository, tag: None, digest: None } => Ok(repository),
            _ => Err(ImageError::NotARepository),
        }
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.len() > 512 {
            return Err(ImageError::TooLong);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash is that of a port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        Ok(Self { repository: repository(name)?, tag, digest })
    }
}

fn repository(name: &str) -> Result<Repository, ImageError> {
    let (registry, path) = match name.split_once('/') {
        // Docker's rule: what cannot be part of a path is a registry.
        Some((first, rest)) if is_registry(first) => (canonical(first), rest),
        _ => (DOCKER_HUB, name),
    };
    check_registry(registry)?;
    if let Some(part) = path.split('/').find(|part| !is_part(part)) {
        return Err(ImageError::Path(part.to_owned()));
    }
    // `docker.io/debian` is short, too.
    let is_short = registry == DOCKER_HUB && !path.contains('/');
    let path = if is_short { format!("{DEFAULT_FOLDER}/{path}") } else { path.to_owned() };
    Ok(Repository { registry: registry.to_owned(), path })
}

fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.contains(|letter: char| letter.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), ImageError> {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "0"));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-')
    };
    if host.split('.').all(is_label) && port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok()
    {
        return Ok(());
    }
    Err(ImageError::Registry(registry.to_owned()))
}

/// A part of a path: runs of letters and digits, between them one `.`, one or two `_`, or any number of `-`.
fn is_part(part: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let starts_and_ends = part.starts_with(is_letter) && part.ends_with(is_letter);
    let is_separator = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|letter| letter == b'-');
    starts_and_ends && part.split(is_letter).all(is_separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_read() {
        for (text, full, manifest) in [
            ("debian", "docker.io/library/debian".to_owned(), "latest".to_owned()),
            ("debian:13-slim", "docker.io/library/debian:13-slim".to_owned(), "13-slim".to_owned()),
            ("team/web", "docker.io/team/web".to_owned(), "latest".to_owned()),
            ("docker.io/debian:13-slim", "docker.io/library/debian:13-slim".to_owned(), "13-slim".to_owned()),
            ("docker.io/team/web", "docker.io/team/web".to_owned(), "latest".to_owned()),
            ("index.docker.io/debian", "docker.io/library/debian".to_owned(), "latest".to_owned()),
            ("index.docker.io/team/web", "docker.io/team/web".to_owned(), "latest".to_owned()),
            ("registry-1.docker.io/library/debian:13", "docker.io/library/debian:13".to_owned(), "13".to_owned()),
            ("hub.docker.io/debian", "hub.docker.io/debian".to_owned(), "latest".to_owned()),
            ("docker.io:443/debian", "docker.io:443/debian".to_owned(), "latest".to_owned()),
            ("localhost/web", "localhost/web".to_owned(), "latest".to_owned()),
            ("registry.example/a/b:1", "registry.example/a/b:1".to_owned(), "1".to_owned()),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a".to_owned(), "latest".to_owned()),
            ("r:5000/a:5000", "r:5000/a:5000".to_owned(), "5000".to_owned()),
            ("r.example/a__b--c.d:T_1", "r.example/a__b--c.d:T_1".to_owned(), "T_1".to_owned()),
            (&format!("r.example/a:1@sha256:{HEX}"), format!("r.example/a:1@sha256:{HEX}"), format!("sha256:{HEX}")),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!((read.to_string(), read.manifest().to_owned()), (full, manifest), "{text}");
        }
    }

    #[test]
    fn the_digest_of_bytes_is_their_sha256() {
        // That of no bytes, as everybody knows it.
        let expected = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b""), expected.parse().unwrap());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a@",
            "a@sha256:0",
            "A",
            "a b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a:b:c",
            "a:-1",
            "r.example/",
            "r.example/A",
            "r..example/a",
            "-r.example/a",
            "r.example:port/a",
            "r.example:99999/a",
            "a\0",
            "https://r.example/a",
            "a@sha256:0@sha256:0",
            "ä",
            "$(id)",
            "r.example/a:$(id)",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert_eq!("r.example/a:1".parse::<Repository>(), Err(ImageError::NotARepository));
        assert_eq!(Repository::written("web"), Err(ImageError::NoRegistry));
        let tag = "$(source.revision)".parse::<Tag>().unwrap_err().to_string();
        assert!(
            tag.starts_with("«$(source.revision)» is not a tag") && tag.ends_with("tags hold no placeholders"),
            "{tag}"
        );
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = text.parse::<Reference>();
        }

        #[test]
        fn what_is_written_is_read_again(
            text in "[a-z]{1,4}\\.[a-z]{2}(:[1-9][0-9]{0,3})?/[a-z0-9]{1,3}([._-][a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}){0,2}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,8})?(@sha256:[0-9a-f]{64})?"
        ) {
            let read: Reference = text.parse().unwrap();
            prop_assert_eq!(read.to_string(), text);
            prop_assert_eq!(read.to_string().parse::<Reference>().unwrap(), read);
        }
    }
}

//! Addresses of the catalog: what is asked for, and whether it is shown.

use std::{fmt, str::FromStr};

use crate::plan::image::{Digest, ImageError, Repository};

/// Between a repository and the digits of a file.
const FILES: &str = "/blobs/sha256-";
/// What stands there in a digest.
const DIGEST: &str = "sha256:";
/// What names of files end with.
const ENDING: &str = ".box";

/// What an address leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `/REGISTRY/REPOSITORY`: which boxes a repository has.
    Metadata(Repository),
    /// `/REGISTRY/REPOSITORY/blobs/sha256-DIGITS.box`: the file of one of them.
    File(Repository, Digest),
}

impl Wanted {
    /// Reads the path of a URL.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let repository = |text: &str| Repository::written(text).ok();
        match path.rsplit_once(FILES) {
            Some((place, file)) => Some(Self::File(repository(place)?, digest(file)?)),
            None => repository(path).map(Self::Metadata),
        }
    }

    /// The repository that it is of.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        match self {
            Self::Metadata(repository) | Self::File(repository, _) => repository,
        }
    }
}

/// The path of the URL of a file: what [`Wanted::of`] reads.
#[must_use]
pub fn file_path(repository: &Repository, file: &Digest) -> String {
    format!("/{repository}{}{ENDING}", file.to_string().replacen(DIGEST, FILES, 1))
}

fn digest(file: &str) -> Option<Digest> {
    format!("{DIGEST}{}", file.strip_suffix(ENDING)?).parse().ok()
}

/// A repository that is shown, with all below it: `registry.example/team-a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    registry: String,
    path: String,
}

impl Prefix {
    /// Whether a repository is it, or below it.
    #[must_use]
    pub fn holds(&self, repository: &Repository) -> bool {
        let below = repository.path.strip_prefix(&self.path);
        self.registry == repository.registry && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Prefix {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        const BELOW: &str = "/below";
        if !text.contains('/') {
            return Err(ImageError::NoRegistry);
        }
        // As something below it is read: of Docker Hub, `docker.io/team` alone would be the image of that name.
        let Repository { registry, path } = format!("{text}{BELOW}").parse()?;
        let path = path.strip_suffix(BELOW).map(str::to_owned);
        Ok(Self { registry, path: path.ok_or(ImageError::NoRegistry)? })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_that_of_a_repository_or_of_a_file() {
        let file = Digest::of(b"a box");
        for place in ["registry.example/team-a/box", "127.0.0.1:5000/box", "registry.example/blobs/blobs"] {
            assert_eq!(Wanted::of(&format!("/{place}")), Some(Wanted::Metadata(repository(place))));
            let path = file_path(&repository(place), &file);
            let digits = file.to_string().replace("sha256:", "");
            assert_eq!(path, format!("/{place}/blobs/sha256-{digits}.box"));
            assert_eq!(Wanted::of(&path), Some(Wanted::File(repository(place), file.clone())));
        }
        for path in [
            "",
            "/",
            "/box",
            "registry.example/box",
            "/registry.example/",
            "/registry.example/box/",
            "/registry.example/box:1",
            "/registry.example/../box",
            "/registry.example/%2e%2e/box",
            "/registry.example//box",
            "/user@registry.example/box",
            "/registry.example/box/blobs/sha256-0.box",
            &format!("/registry.example/box/blobs/{file}"),
            &file_path(&repository("registry.example/box"), &file).replace(".box", ""),
        ] {
            assert_eq!(Wanted::of(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_below_a_prefix_is_shown_and_nothing_beside_it() {
        for (prefix, shown, hidden) in [
            (
                "registry.example/team-a",
                &["registry.example/team-a", "registry.example/team-a/box", "registry.example/team-a/b/c"][..],
                &["registry.example/team-ab", "registry.example/team-b/team-a", "other.example/team-a/box"][..],
            ),
            ("docker.io/team", &["docker.io/team/box", "registry-1.docker.io/team/box"], &["docker.io/library/team"]),
            (
                "registry.example:5000/a/b",
                &["registry.example:5000/a/b/c"],
                &["registry.example/a/b", "registry.example:5000/a"],
            ),
        ] {
            let read: Prefix = prefix.parse().unwrap();
            assert_eq!(read.to_string(), prefix);
            for (texts, expected) in [(shown, true), (hidden, false)] {
                for text in texts {
                    assert_eq!(read.holds(&repository(text)), expected, "{prefix} {text}");
                }
            }
        }
        for text in [
            "",
            "registry.example",
            "registry.example/",
            "registry.example/a/",
            "registry.example/A",
            "https://r.example/a",
            "r.example/a:1",
            "r.example/a@b",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}

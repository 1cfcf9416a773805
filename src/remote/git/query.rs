//! What is looked up in a git repository, and within which limits.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::credentials::Credentials;
use crate::{
    plan::git::{GitError, check_revision, check_url},
    remote::secret::SecretName,
};

/// How look-ups are done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that temporary folders are made in.
    pub scratch: PathBuf,
    /// The limit of a look-up.
    pub time: Duration,
    /// The most of a repository that is fetched, in bytes.
    pub bytes: u64,
}

impl Settings {
    /// The usual limits: ten minutes, and 1 GiB for servers that cannot leave files out.
    #[must_use]
    pub const fn new(scratch: PathBuf) -> Self {
        Self { scratch, time: Duration::from_mins(10), bytes: 1 << 30 }
    }
}

/// What to look up. Its URL and revision are such that git takes them for nothing else.
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) url: String,
    pub(super) revision: String,
    /// Paths from the root of the repository; the empty one is the root.
    pub(super) paths: BTreeSet<String>,
    pub(super) credentials: Option<Credentials>,
    /// The Secret that the credentials are from.
    pub(super) secret: SecretName,
}

impl Query {
    /// A query.
    ///
    /// # Errors
    /// What is wrong with the URL or the revision.
    pub fn new(
        url: &str,
        revision: &str,
        paths: BTreeSet<String>,
        credentials: Option<Credentials>,
    ) -> Result<Self, GitError> {
        check_url(url)?;
        check_revision(revision)?;
        let (url, revision) = (url.to_owned(), revision.to_owned());
        Ok(Self { url, revision, paths, credentials, secret: SecretName::default() })
    }

    /// The same, with the name of the Secret that the credentials are from: errors name it.
    #[must_use]
    pub fn with_secret_name(self, name: Option<&str>) -> Self {
        Self { secret: SecretName::new(name), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_would_take_for_something_else_is_no_query() {
        let query = |url: &str, revision: &str| Query::new(url, revision, BTreeSet::new(), None);
        assert!(query("https://git.example/shop.git", "main").is_ok());
        for (url, revision) in [
            ("https://git.example/shop.git", "--upload-pack=x"),
            ("https://git.example/shop.git", "-c"),
            ("https://git.example/shop.git", "a..b"),
            ("https://git.example/shop.git", ":/x"),
            ("https://git.example/shop.git", "main^{/x}"),
            ("https://git.example/shop.git", ""),
            ("--upload-pack=x", "main"),
            ("ext::sh -c id", "main"),
            ("file:///etc", "main"),
            ("ssh://-oProxyCommand=id/x", "main"),
            ("https://bob:canary@git.example/x", "main"),
        ] {
            assert!(query(url, revision).is_err(), "{url} {revision}");
        }
    }
}

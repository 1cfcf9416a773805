//! Git servers: which commit a revision leads to, and which objects are at some paths of it. Files are not
//! fetched where the server can leave them out, unless they are what is wanted.
//!
//! All is done by the `git` command line: it knows every protocol and server that users have.

mod command;
mod credentials;
mod error;
mod probe;
mod workplace;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::timeout;

pub use self::{credentials::Credentials, error::Error};
use self::{
    error::Failure,
    workplace::{Content, Workplace, fetched, objects},
};
use crate::plan::git::{check_revision, check_url};

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
    url: String,
    revision: String,
    /// Paths from the root of the repository; the empty one is the root.
    paths: BTreeSet<String>,
    credentials: Option<Credentials>,
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
    ) -> Result<Self, &'static str> {
        check_url(url)?;
        check_revision(revision)?;
        Ok(Self { url: url.to_owned(), revision: revision.to_owned(), paths, credentials })
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The hash of the commit.
    pub commit: String,
    /// The object IDs of the paths; `None` where the commit has nothing at a path.
    pub objects: BTreeMap<String, Option<String>>,
}

/// Looks up a revision and the objects at paths of it. A branch wins over a tag of the same name, as with
/// `git clone --branch`; an annotated tag stands for its commit.
///
/// Nothing of it is left when the future ends or is dropped: neither processes nor files.
///
/// # Errors
/// The revision does not exist, or the server does not give it.
pub async fn look_up(query: &Query, settings: &Settings) -> Result<Found, Error> {
    let work = async {
        let workplace = Workplace::new(query, settings)?;
        match find(&workplace, query).await {
            Ok(found) => Ok(found),
            Err(failure) => Err(probe::explain(failure, query, settings).await),
        }
    };
    match timeout(settings.time, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Slow { url: query.url.clone(), limit: settings.time }),
    }
}

/// Fetches a commit with its files into a new folder, which is a repository of that commit alone. Submodules
/// are not fetched. What a server cannot give within the limits is an error, as with [`look_up`].
///
/// # Errors
/// The revision does not exist, the server does not give it, or the files cannot be written.
pub async fn check_out(query: &Query, settings: &Settings, folder: &Path) -> Result<(), Error> {
    let work = async {
        let workplace = Workplace::new(query, settings)?;
        match unpack(&workplace, query, folder).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(probe::explain(failure, query, settings).await),
        }
    };
    match timeout(settings.time, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Slow { url: query.url.clone(), limit: settings.time }),
    }
}

async fn unpack(workplace: &Workplace, query: &Query, folder: &Path) -> Result<(), Failure> {
    let wanted = wanted(workplace, query).await?;
    let commit = fetched(workplace, query, &wanted, Content::Files).await?;
    workplace.unpack(&commit, folder).await
}

async fn find(workplace: &Workplace, query: &Query) -> Result<Found, Failure> {
    let wanted = wanted(workplace, query).await?;
    let commit = fetched(workplace, query, &wanted, Content::Names).await?;
    let objects = objects(workplace, &commit, &query.paths).await?;
    Ok(Found { commit, objects })
}

/// What to fetch.
struct Wanted {
    hash: String,
    /// The ref that led to it.
    name: Option<String>,
}

async fn wanted(workplace: &Workplace, query: &Query) -> Result<Wanted, Failure> {
    if is_hash(&query.revision) {
        return Ok(Wanted { hash: query.revision.clone(), name: None });
    }
    let names = names(&query.revision);
    let listed = workplace.refs(query, &names).await?;
    let found = names.iter().find_map(|name| listed.get_key_value(name));
    let (name, hash) = found.ok_or(Failure::NoRevision)?;
    Ok(Wanted { hash: hash.clone(), name: Some(name.trim_end_matches("^{}").to_owned()) })
}

/// Whether a revision is a whole hash, of SHA-1 or SHA-256.
fn is_hash(revision: &str) -> bool {
    let is_hexadecimal = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
    matches!(revision.len(), 40 | 64) && revision.bytes().all(is_hexadecimal)
}

/// The refs that a revision may mean, the likeliest first. `^{}` is the commit of an annotated tag.
fn names(revision: &str) -> Vec<String> {
    if revision == "HEAD" {
        return vec![revision.to_owned()];
    }
    let places: &[&str] = if revision.starts_with("refs/") { &[""] } else { &["refs/heads/", "refs/tags/", "refs/"] };
    places.iter().flat_map(|place| [format!("{place}{revision}^{{}}"), format!("{place}{revision}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_means_a_branch_before_a_tag() {
        for (revision, expected) in [
            ("HEAD", "HEAD"),
            ("refs/tags/v1", "refs/tags/v1^{} refs/tags/v1"),
            ("main", "refs/heads/main^{} refs/heads/main refs/tags/main^{} refs/tags/main refs/main^{} refs/main"),
        ] {
            assert_eq!(names(revision).join(" "), expected);
        }
    }

    #[test]
    fn a_hash_is_a_whole_one_in_lower_case() {
        for (revision, expected) in [
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("0123456789abcdef0123456789abcdef0123456", false),
            ("0123456789ABCDEF0123456789abcdef01234567", false),
            (&"a".repeat(64), true),
            ("main", false),
        ] {
            assert_eq!(is_hash(revision), expected, "{revision}");
        }
    }

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

//! Git servers: which commit a revision leads to, and which objects are at some paths of it. Files are not
//! fetched where the server can leave them out, unless they are what is wanted.
//!
//! All is done by the `git` command line: it knows every protocol and server that users have.

mod command;
mod error;
mod probe;
mod query;
mod revision;
mod workplace;

use std::{collections::BTreeMap, path::Path};

use tokio::time::timeout;

use self::{
    error::Failure,
    revision::{Wanted, is_hash, names},
    workplace::{Content, Objects, Workplace, fetched, objects},
};
pub use self::{
    error::{Denial, Error},
    query::{Query, Settings},
};
pub use crate::plan::credentials::git::{Credentials, GitSecret};
use crate::plan::git::Obstacle;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The hash of the commit.
    pub commit: String,
    /// The object IDs of the paths; `None` where the commit has nothing at a path, or nothing that is fetched.
    pub objects: BTreeMap<String, Option<String>>,
    /// Why the commit has nothing at some of these paths.
    pub obstacles: BTreeMap<String, Obstacle>,
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

/// Fetches a commit with its files into a new folder. `repository`, in a folder above that one, becomes a repository of
/// that commit alone: git finds it from there when it is named `.git`. Submodules are not fetched. What a server cannot give within the limits is an error, as with [`look_up`].
///
/// # Errors
/// The revision does not exist, the server does not give it, or the files cannot be written.
pub async fn check_out(query: &Query, settings: &Settings, folder: &Path, repository: &Path) -> Result<(), Error> {
    let work = async {
        let workplace = Workplace::new(query, settings)?;
        match unpack(&workplace, query, folder, repository).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(probe::explain(failure, query, settings).await),
        }
    };
    match timeout(settings.time, work).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Slow { url: query.url.clone(), limit: settings.time }),
    }
}

async fn unpack(workplace: &Workplace, query: &Query, folder: &Path, repository: &Path) -> Result<(), Failure> {
    let wanted = wanted(workplace, query).await?;
    let commit = fetched(workplace, query, &wanted, Content::Files).await?;
    workplace.unpack(&commit, folder, repository).await
}

async fn find(workplace: &Workplace, query: &Query) -> Result<Found, Failure> {
    let wanted = wanted(workplace, query).await?;
    let commit = fetched(workplace, query, &wanted, Content::Names).await?;
    let Objects { objects, obstacles } = objects(workplace, &commit, &query.paths).await?;
    Ok(Found { commit, objects, obstacles })
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

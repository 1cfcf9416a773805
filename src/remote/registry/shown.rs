//! What a repository has, for whoever shows it to others: its tags, its boxes, and their files.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use hyper::body::Bytes;
use reqwest::{Method, Response, StatusCode, Url, header::LINK};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    artifact::LONGEST_CONFIG,
    client::Registry,
    credentials::Credentials,
    download::open,
    error::Error,
    manifest::{Blob, Manifest, Parts},
    session::{LONGEST_MANIFEST, Purpose, Session},
};
use crate::{
    api::boxes::{ArtifactKind, BoxConfig},
    plan::image::{Digest, Repository, Tag},
    remote::{network::cause, transfer::size},
};

/// How many tags are asked for at once. Registries give fewer where they want to.
const PAGE: &str = "tags/list?n=1000";
/// The most pages that are asked for.
const MOST_PAGES: usize = 64;
const IN_VAIN: &str = "does not answer in time";
const TOO_MANY: &str = "gives more than 64 pages of tags: delete old ones";

/// What a manifest is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A machine box.
    Box(BoxFile),
    /// Something else, or a box that nobody can read.
    Other,
}

/// A machine box, as it is known without its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxFile {
    /// What it is.
    pub config: BoxConfig,
    /// The digest of its file.
    pub file: Digest,
    /// The size of its file, in bytes.
    pub size: u64,
}

impl Registry {
    /// The tags of a repository; `None` where there is none of that name.
    ///
    /// # Errors
    /// The registry does not say, or has too many.
    pub async fn tags(
        &self,
        repository: &Repository,
        credentials: &Credentials,
    ) -> Result<Option<BTreeSet<Tag>>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let mut url = session.request(Method::GET, PAGE)?.url().clone();
        let mut tags = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let Some(page) = session.page(&url).await? else { return Ok(None) };
            // What is no tag is none that we have pushed.
            tags.extend(page.tags.iter().filter_map(|tag| tag.parse().ok()));
            let Some(next) = page.next else { return Ok(Some(tags)) };
            // Nothing but its query is taken: the next page is at the same place.
            url.set_query(Some(&next));
        }
        Err(session.unavailable(TOO_MANY.to_owned(), None))
    }

    /// What the manifest of a digest is of; `None` where there is none.
    ///
    /// # Errors
    /// The registry does not give it.
    pub async fn stored(
        &self,
        repository: &Repository,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<Option<Stored>, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let found = match session.manifest(&digest.to_string()).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(Error::Unsupported { .. }) => return Ok(Some(Stored::Other)),
            Err(error) => return Err(error),
        };
        session.expect(found.digest, Some(digest))?;
        let Manifest::Image(parts) = found.manifest else { return Ok(Some(Stored::Other)) };
        Ok(Some(session.box_of(&parts).await?.map_or(Stored::Other, Stored::Box)))
    }

    /// Some bytes of the file of a box: as they come, and no others.
    ///
    /// # Errors
    /// The registry does not give them.
    pub async fn content(
        &self,
        repository: &Repository,
        stored: &BoxFile,
        bytes: Range<u64>,
        credentials: &Credentials,
    ) -> Result<Content, Error> {
        let mut session = self.session(repository, credentials, Purpose::Read)?;
        let blob = Blob { media_type: String::new(), digest: stored.file.clone(), size: stored.size };
        let idle = session.settings().request;
        // The limit of a transfer is that of all of it: somebody waits for the first byte.
        let Ok(opened) = timeout(idle, open(&mut session, &blob, bytes.clone())).await else {
            return Err(session.unavailable(IN_VAIN.to_owned(), None));
        };
        let answer = opened?;
        // Not every registry gives a part.
        let skip = if answer.status() == StatusCode::OK { bytes.start } else { 0 };
        let left = bytes.end.saturating_sub(bytes.start);
        Ok(Content { answer, skip, left, idle, place: repository.to_string() })
    }
}

/// A page of tags.
struct Page {
    tags: Vec<String>,
    /// The query of the next one.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    /// `null` where there are none.
    tags: Option<Vec<String>>,
}

impl Session<'_> {
    /// Tags; `None` where the repository is not there ("Listing Tags" of the distribution specification).
    async fn page(&mut self, url: &Url) -> Result<Option<Page>, Error> {
        let answer = self.send(self.request_at(Method::GET, url.clone())).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refusal(answer).await),
        }
        let next = next(&answer);
        let body = self.read(answer, LONGEST_MANIFEST).await?;
        let listed: Listed =
            serde_json::from_slice(&body).map_err(|_| self.no_registry("gives something that is no list of tags"))?;
        Ok(Some(Page { tags: listed.tags.unwrap_or_default(), next }))
    }

    /// The box of a manifest, if it is one of one file, whose config is what we write.
    pub(super) async fn box_of(&mut self, parts: &Parts) -> Result<Option<BoxFile>, Error> {
        let (ArtifactKind::Box, [file]) = (parts.kind(), parts.layers.as_slice()) else { return Ok(None) };
        if parts.config.size > LONGEST_CONFIG as u64 {
            return Ok(None);
        }
        let config = self.config(&parts.config.digest, LONGEST_CONFIG).await?;
        let known = |config| BoxFile { config, file: file.digest.clone(), size: file.size };
        Ok(serde_json::from_slice(&config).ok().map(known))
    }
}

/// The query of the page that a `Link` with `rel="next"` leads to (RFC 8288).
fn next(answer: &Response) -> Option<String> {
    let links = answer.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| query_of_next(link, answer.url()))
}

fn query_of_next(link: &str, base: &Url) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    };
    parameters.split(';').any(is_next).then(|| base.join(target).ok()?.query().map(str::to_owned))?
}

/// Bytes of a file, as they come.
#[derive(Debug)]
pub struct Content {
    answer: Response,
    /// How many of those that come are not asked for, before the others.
    skip: u64,
    /// How many are to come.
    left: u64,
    /// How long nothing may come.
    idle: Duration,
    place: String,
}

impl Content {
    /// The next bytes; `None` after the last one.
    ///
    /// # Errors
    /// They do not come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left > 0 {
            let mut part = self.part().await?;
            let skipped = size(&part).min(self.skip);
            self.skip -= skipped;
            drop(part.split_to(place(skipped).min(part.len())));
            part.truncate(place(self.left));
            self.left -= size(&part);
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    async fn part(&mut self) -> Result<Bytes, Error> {
        let cause = match timeout(self.idle, self.answer.chunk()).await {
            Ok(Ok(Some(part))) => return Ok(part),
            Ok(Ok(None)) => "ends a layer in the middle".to_owned(),
            Ok(Err(error)) => format!("fails: {}", cause(&error)),
            Err(_) => "does not go on in time".to_owned(),
        };
        Err(Error::Unavailable { place: self.place.clone(), cause, retry_after: None })
    }
}

/// A size in memory.
fn place(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_next_page_the_query_is_taken() {
        let base = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        for (link, expected) in [
            ("</v2/a/tags/list?n=2&last=1>; rel=\"next\"", Some("n=2&last=1")),
            (" <https://elsewhere.example/x?last=1> ; REL=next", Some("last=1")),
            ("<?last=%2F>; title=x; rel=\"next\"", Some("last=%2F")),
            ("</v2/a/tags/list>; rel=\"next\"", None),
            ("</v2/a/tags/list?last=1>; rel=\"prev\"", None),
            ("</v2/a/tags/list?last=1>", None),
            ("/v2/a/tags/list?last=1; rel=next", None),
            ("", None),
        ] {
            assert_eq!(query_of_next(link, &base).as_deref(), expected, "{link}");
        }
    }
}

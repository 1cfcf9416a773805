//! Promotion: the published tags are put on the digest that was tested.

use std::collections::BTreeSet;

use reqwest::{
    Body, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};

use super::{
    client::Registry,
    credentials::Credentials,
    error::Error,
    manifest::Blob,
    session::{Purpose, Session},
    staged::{Staged, Tested},
};
use crate::plan::image::{Digest, Repository, Tag};

/// What to publish where.
#[derive(Clone, Copy, Debug)]
pub struct Promotion<'a> {
    /// What was tested.
    pub tested: Tested<'a>,
    /// The published repository; it may be the staging repository itself.
    pub target: &'a Repository,
    /// The published tags.
    pub tags: &'a BTreeSet<Tag>,
    /// Credentials that may write the target.
    pub target_credentials: &'a Credentials,
}

/// What a promotion has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The tags that were moved. The others led to the digest already.
    pub moved: BTreeSet<Tag>,
}

impl Registry {
    /// Puts the tags on the digest, after a look at what it is, and reads them back. May be repeated: what
    /// is there already is not written again, and nothing is written before all is found to be right.
    ///
    /// # Errors
    /// What was staged is gone or is not what was tested; or the registry does not do it. Some of the tags
    /// may have been moved: a repetition moves the others.
    pub async fn promote(&self, promotion: &Promotion<'_>) -> Result<Promoted, Error> {
        let Promotion { tested, target: to, .. } = *promotion;
        let from = tested.repository;
        if from.registry != to.registry {
            return Err(Error::NotMountable { from: from.clone(), to: to.clone() });
        }
        let mut source = self.session(from, tested.credentials, Purpose::Read)?;
        let staged = Staged::read(&mut source, &tested).await?;
        let mut target = self.session(to, promotion.target_credentials, Purpose::Write)?;
        if from != to {
            // Before the first request: a token is for what it was asked for.
            target.and_read(&from.path);
        }
        let mut moved = BTreeSet::new();
        for tag in promotion.tags {
            if target.leads_to(tag).await?.as_ref() != Some(tested.digest) {
                moved.insert(tag.clone());
            }
        }
        if from != to && !moved.is_empty() {
            Copying { source, target: &mut target, from: &from.path }.all(&staged).await?;
        }
        for tag in &moved {
            target.put(&tag.to_string(), &staged.root.media_type, &staged.root.body).await?;
        }
        for tag in &moved {
            check(&mut target, to, tag, tested.digest).await?;
        }
        Ok(Promoted { moved })
    }
}

/// Reads a tag back, whole: the digest is that of the bytes and not what the registry says it is.
async fn check(target: &mut Session<'_>, repository: &Repository, tag: &Tag, expected: &Digest) -> Result<(), Error> {
    let found = target.manifest(&tag.to_string()).await?;
    if found.as_ref().is_some_and(|found| found.digest == *expected) {
        return Ok(());
    }
    let found = found.map_or_else(|| "nothing".to_owned(), |found| found.digest.to_string());
    Err(Error::Moved { repository: repository.clone(), tag: tag.clone(), expected: expected.clone(), found })
}

/// Brings blobs and the images of an index into the target.
struct Copying<'a, 'b> {
    source: Session<'a>,
    target: &'b mut Session<'a>,
    /// The path of the source.
    from: &'a str,
}

impl Copying<'_, '_> {
    async fn all(mut self, staged: &Staged) -> Result<(), Error> {
        for blob in staged.blobs() {
            self.blob(blob).await?;
        }
        for child in &staged.children {
            self.target.put(&child.digest.to_string(), &child.media_type, &child.body).await?;
        }
        Ok(())
    }

    async fn blob(&mut self, blob: &Blob) -> Result<(), Error> {
        if self.target.has(&blob.digest).await? {
            return Ok(());
        }
        let path = format!("blobs/uploads/?mount={}&from={}", blob.digest, self.from);
        let mount = self.target.request(Method::POST, &path)?;
        let answer = self.target.send(mount).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            StatusCode::ACCEPTED => self.upload(&answer, blob).await,
            _ => Err(self.target.refusal(answer).await),
        }
    }

    /// Takes a refused mount further, as an upload of what is read at the same time: no more of it is in
    /// memory than the connections hold. The registry checks the digest.
    async fn upload(&mut self, opened: &Response, blob: &Blob) -> Result<(), Error> {
        let mut url = self.target.location(opened)?;
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let content = self.content(blob).await?;
        let mut request = self.target.transfer(Method::PUT, url);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        *request.body_mut() = Some(Body::from(content));
        let answer = self.target.send(request).await?;
        if answer.status().is_success() { Ok(()) } else { Err(self.target.refusal(answer).await) }
    }

    async fn content(&mut self, blob: &Blob) -> Result<Response, Error> {
        let url = self.source.request(Method::GET, &format!("blobs/{}", blob.digest))?.url().clone();
        let answer = self.source.send(self.source.transfer(Method::GET, url)).await?;
        match answer.status() {
            StatusCode::OK if answer.content_length().is_none_or(|length| length == blob.size) => Ok(answer),
            StatusCode::OK => Err(self.source.no_registry("gives a layer of another size than its manifest says")),
            _ => Err(self.source.refusal(answer).await),
        }
    }
}

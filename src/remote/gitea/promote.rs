//! Promotion: the tested box is uploaded, as a file that is never replaced.

use std::{io, pin::pin};

use hyper::body::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::sync::mpsc;

use super::{
    client::{Credentials, Gitea, Package, failure, refused},
    error::{Error, Refusal},
};
use crate::{
    api::boxes::{BoxConfig, BoxFormat},
    plan::image::{Digest, Hasher},
    remote::{
        registry::{self, BoxFile, Content, Registry, Tested},
        transfer::Parts,
    },
};

/// How many parts of a box wait to be sent. Each is as large as what a connection gives at once.
const WAITING: usize = 4;

/// What to publish where.
#[derive(Clone, Copy, Debug)]
pub struct Promotion<'a> {
    /// The registry where it is staged.
    pub registry: &'a Registry,
    /// What was tested.
    pub tested: Tested<'a>,
    /// The file that it is to be.
    pub package: Package<'a>,
    /// Credentials that may upload it.
    pub credentials: &'a Credentials,
}

/// What a promotion has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promoted {
    /// The box was uploaded.
    Uploaded,
    /// It was there already.
    Known,
}

impl Gitea {
    /// Uploads a box, after a look at what it is and at what is there, and looks again. May be repeated: what is there
    /// is not uploaded again, whoever has done it, and whatever became of the answer.
    ///
    /// # Errors
    /// What was staged is gone or is not what was tested; the version has another file; or the server does not take it.
    pub async fn promote(&self, promotion: &Promotion<'_>) -> Result<Promoted, Error> {
        let staged = match promotion.registry.tested_box(&promotion.tested).await {
            Ok(staged) => staged,
            // What was published once is there still, whatever became of the staging repository.
            Err(registry::Error::Gone { .. }) if self.has(promotion).await? => return Ok(Promoted::Known),
            Err(error) => return Err(error.into()),
        };
        check(promotion, &staged.config)?;
        if self.has(promotion).await? {
            return Ok(Promoted::Known);
        }
        let sent = self.upload(promotion, &staged).await;
        match (self.has(promotion).await, sent) {
            (Ok(true), _) => Ok(Promoted::Uploaded),
            (Err(conflict @ Error::Conflict { .. }), _) => Err(conflict),
            (_, Err(error)) | (Err(error), Ok(())) => Err(error),
            (Ok(false), Ok(())) => {
                let cause = "takes it, and does not have it right after".to_owned();
                Err(Error::Unavailable { file: promotion.package.file(), cause, retry_after: None })
            }
        }
    }

    /// Whether the file is the box. Another one in its place is an error.
    async fn has(&self, promotion: &Promotion<'_>) -> Result<bool, Error> {
        let expected = promotion.tested.content;
        match self.file(&promotion.package, promotion.credentials).await? {
            Some(found) if found == *expected => Ok(true),
            Some(found) => Err(Error::Conflict { file: promotion.package.file(), found, expected: expected.clone() }),
            None => Ok(false),
        }
    }

    /// Sends what is read at the same time: no more of it is in memory than the connections hold. A connection that
    /// ends before the last part leaves nothing on the server.
    async fn upload(&self, promotion: &Promotion<'_>, staged: &BoxFile) -> Result<(), Error> {
        let Promotion { registry, tested, package, credentials } = promotion;
        let content = registry.content(tested.repository, staged, 0..staged.size, tested.credentials).await?;
        let (sender, parts) = mpsc::channel(WAITING);
        let request = self.request(Method::PUT, &package.file(), credentials).timeout(self.settings.transfer);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, staged.size);
        let mut answer = pin!(request.body(reqwest::Body::wrap(Parts::new(parts, staged.size))).send());
        let mut passing = pin!(pass_on(content, tested, sender));
        let answer = tokio::select! {
            // A server that refuses need not read what is sent.
            biased;
            answer = &mut answer => answer,
            passed = &mut passing => {
                passed?;
                answer.await
            }
        };
        let answer = answer.map_err(|error| failure(package, credentials, &error))?;
        check_answer(promotion, staged.size, &answer)
    }
}

/// Whether what is staged is what the file is to be.
fn check(promotion: &Promotion<'_>, config: &BoxConfig) -> Result<(), Error> {
    let Promotion { tested, package, .. } = promotion;
    let found = match (config.format, config.provider) {
        (BoxFormat::Vagrant, Some(provider)) if provider == package.provider => return Ok(()),
        (BoxFormat::Vagrant, Some(provider)) => {
            format!("one for {}: write provider: {provider:?}, and a version that is free for it", provider.name())
        }
        (BoxFormat::Vagrant, None) => "one for nobody knows whom: build it again".to_owned(),
        (BoxFormat::Qcow2 | BoxFormat::Raw, _) => {
            format!(
                "a disk ({:?}): write publish.box, or make a Vagrant box of it by a link with build.box",
                config.format
            )
        }
    };
    let staged = format!("{}@{}", tested.repository, tested.digest);
    Err(Error::OtherBox { file: package.file(), wanted: package.provider.name(), staged, found })
}

fn check_answer(promotion: &Promotion<'_>, size: u64, answer: &Response) -> Result<(), Error> {
    let Promotion { package, credentials, .. } = promotion;
    let file = package.file();
    match answer.status() {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST => Err(Error::BadVersion { file }),
        StatusCode::NOT_FOUND => Err(Error::NoOwner { file, secret: credentials.secret.clone() }),
        StatusCode::PAYLOAD_TOO_LARGE => Err(Error::TooLarge { file, size }),
        _ => Err(refused(package, credentials, answer, Refusal::Write)),
    }
}

/// Passes a box on as it comes. The last part waits until the digest of all is found to be right, so that nothing else
/// is ever whole on the server. Whoever takes no more of it says why himself.
async fn pass_on(
    mut content: Content,
    tested: &Tested<'_>,
    parts: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), registry::Error> {
    let (mut hasher, mut last) = (Hasher::new(), None);
    while let Some(part) = content.next().await? {
        hasher.update(&part);
        if let Some(part) = last.replace(part)
            && parts.send(Ok(part)).await.is_err()
        {
            return Ok(());
        }
    }
    expect(tested, hasher.finish())?;
    if let Some(part) = last {
        let _ = parts.send(Ok(part)).await;
    }
    Ok(())
}

fn expect(tested: &Tested<'_>, found: Digest) -> Result<(), registry::Error> {
    if found == *tested.content {
        return Ok(());
    }
    let (place, expected) = (tested.repository.to_string(), tested.content.to_string());
    Err(registry::Error::WrongDigest { place, expected, found })
}

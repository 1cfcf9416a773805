//! Requests to the catalog, and their answers.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, header::HOST, request, uri::Authority};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use tokio::sync::Semaphore;

use super::{
    file::{Asked, Stream, stream},
    shelf::Shelf,
};
use crate::{
    catalog::{Prefix, Wanted, metadata},
    plan::image::{Digest, Repository},
    serve::{
        listener::Answer,
        refusal::Refusal,
        text::{answer, text},
    },
};

/// How long a download may take.
pub(super) const DOWNLOADED_WITHIN: Duration = Duration::from_hours(6);
/// Whether the process answers: no registry is asked for that.
const HEALTH: &str = "/healthz";
const FORM: &str = "there is /REGISTRY/REPOSITORY, as in /registry.example/team-a/box";

type Content = Either<Full<Bytes>, Stream>;

/// What answers requests to the catalog.
#[derive(Clone)]
pub struct Boxes(Arc<Inner>);

struct Inner {
    prefixes: Vec<Prefix>,
    url: Option<String>,
    shelf: Shelf,
    downloads: Arc<Semaphore>,
}

impl fmt::Debug for Boxes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Boxes").field("prefixes", &self.0.prefixes).finish_non_exhaustive()
    }
}

impl Boxes {
    pub(super) fn new(prefixes: Vec<Prefix>, url: Option<String>, shelf: Shelf, downloads: usize) -> Self {
        let (url, downloads) =
            (url.map(|url| url.trim_end_matches('/').to_owned()), Arc::new(Semaphore::new(downloads)));
        Self(Arc::new(Inner { prefixes, url, shelf, downloads }))
    }
}

impl Answer for Boxes {
    /// More than may be at work at once: whether the process answers can be asked all the same.
    const CONNECTIONS: u32 = 256;
    const WITHIN: Duration = DOWNLOADED_WITHIN;
    type Body = Content;

    async fn answer(self, request: Request<Incoming>) -> Response<Content> {
        let (head, _) = request.into_parts();
        let answered = self.0.answer_to(&head).await;
        answered.unwrap_or_else(|refusal| refusal.told(head.uri.path()).map(Either::Left))
    }
}

impl Inner {
    async fn answer_to(&self, head: &request::Parts) -> Result<Response<Content>, Refusal> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Refusal::method("GET, HEAD", "only GET and HEAD: boxes are published by chains"));
        }
        if head.uri.path() == HEALTH {
            return Ok(text(StatusCode::OK, "alive\n".to_owned()).map(Either::Left));
        }
        match self.wanted(head.uri.path())? {
            Wanted::Metadata(repository) => self.metadata(&repository, &head.headers).await,
            Wanted::File(repository, file) => self.file(&repository, &file, head).await,
        }
    }

    /// What is asked for, if it is shown. No registry is asked for anything else.
    fn wanted(&self, path: &str) -> Result<Wanted, Refusal> {
        let wanted = Wanted::of(path).ok_or_else(|| Refusal::unknown(FORM))?;
        let repository = wanted.repository();
        if self.prefixes.iter().any(|prefix| prefix.holds(repository)) {
            return Ok(wanted);
        }
        Err(Refusal::unknown(format!(
            "{repository} is not shown here: correct the name, or start the service with --repository {repository}"
        )))
    }

    async fn metadata(&self, repository: &Repository, headers: &HeaderMap) -> Result<Response<Content>, Refusal> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => format!("http://{}", host(headers)?),
        };
        let absent =
            || Refusal::unknown(format!("{repository} does not exist: correct the name, or publish a box there"));
        let boxes = self.shelf.boxes(repository).await?.ok_or_else(absent)?;
        // Structures of strings: there is nothing in them that JSON could not write.
        let body = serde_json::to_string(&metadata(repository, &url, &boxes)).unwrap_or_default();
        Ok(answer(StatusCode::OK, "application/json", body).map(Either::Left))
    }

    async fn file(
        &self,
        repository: &Repository,
        file: &Digest,
        head: &request::Parts,
    ) -> Result<Response<Content>, Refusal> {
        let absent =
            || Refusal::unknown(format!("{repository} has no box of this checksum: ask for its versions again"));
        let found = self.shelf.file(repository, file).await?.ok_or_else(absent)?;
        if head.method == Method::HEAD {
            return Ok(Asked::whole(file, found.size).answer(Either::Left(Full::default())));
        }
        let asked = Asked::of(&head.headers, file, found.size)?;
        let place = Arc::clone(&self.downloads).try_acquire_owned().map_err(|_| Refusal::busy("downloads"))?;
        let credentials = self.shelf.credentials_now()?;
        let content = self.shelf.registry.content(repository, &found, asked.bytes.clone(), &credentials).await?;
        tracing::info!(%repository, %file, from = asked.bytes.start, "a download");
        Ok(asked.answer(Either::Right(stream(content, place))))
    }
}

/// The name by which the service was asked.
fn host(headers: &HeaderMap) -> Result<Authority, Refusal> {
    let named = headers.get(HOST).and_then(|value| value.to_str().ok()?.parse::<Authority>().ok());
    let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "the request names no host: send the header Host");
    named.filter(|host| !host.as_str().contains('@')).ok_or_else(wrong)
}

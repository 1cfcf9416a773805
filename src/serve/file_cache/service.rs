//! Requests to the cache, and their answers.

use std::{fmt, future::ready, io, path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    request,
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use tempfile::TempPath;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    leases::{Lease, Leases, Told},
    store::{Opened, Store},
};
use crate::{
    cache::{LARGEST, NoRoom, brought_within, digest_of},
    plan::image::Digest,
    remote::transfer::{Target, file_body, is_full},
    serve::{listener::Answer, refusal::Refusal, text::text},
};

/// Whether the process answers.
const HEALTH: &str = "/healthz";
const FORM: &str = "there is /sha256/DIGITS, with the 64 digits of a SHA-256 in lower case";
/// How long somebody waits for a place among those who bring or take files.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing may come of a file.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon somebody asks again who waits for another one.
const SOON: u64 = 2;

type Content = UnsyncBoxBody<Bytes, io::Error>;

/// What answers requests to the cache.
#[derive(Clone)]
pub struct FileCache(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    leases: Leases,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
}

impl fmt::Debug for FileCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FileCache").finish_non_exhaustive()
    }
}

impl FileCache {
    pub(super) fn new(store: Arc<Store>, uploads: usize, downloads: usize) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        let (uploads, downloads) = (places(uploads), places(downloads));
        Self(Arc::new(Inner { store, leases: Leases::default(), uploads, downloads }))
    }
}

impl Answer for FileCache {
    /// More than bring, take and fetch files at once: whether the process answers can be asked all the same.
    const CONNECTIONS: u32 = 256;
    const WITHIN: Duration = Duration::from_hours(6);
    type Body = Content;

    async fn answer(self, request: Request<Incoming>) -> Response<Content> {
        let (head, body) = request.into_parts();
        let answered = self.0.answer_to(&head, body).await;
        answered.unwrap_or_else(|refusal| refusal.told(head.uri.path()).map(words))
    }
}

impl Inner {
    async fn answer_to(&self, head: &request::Parts, body: Incoming) -> Result<Response<Content>, Refusal> {
        if head.uri.path() == HEALTH {
            return Ok(said(StatusCode::OK, "alive\n"));
        }
        let file = digest_of(head.uri.path()).ok_or_else(|| Refusal::unknown(FORM))?;
        match head.method {
            Method::GET => self.give(&file).await,
            Method::PUT => self.take(&file, &head.headers, body).await,
            _ => Err(Refusal::method("GET, PUT", "only GET and PUT: files go by themselves, to make room")),
        }
    }

    async fn give(&self, file: &Digest) -> Result<Response<Content>, Refusal> {
        if let Some(opened) = self.opened(file).await? {
            return self.send(file, opened).await;
        }
        let told = self.leases.ask(file);
        // It may have come between the two questions.
        match self.opened(file).await? {
            Some(opened) => self.send(file, opened).await,
            None => Ok(self.absent(file, told)),
        }
    }

    async fn opened(&self, file: &Digest) -> Result<Option<Opened>, Refusal> {
        let (store, wanted) = (Arc::clone(&self.store), file.clone());
        apart(move || store.read(&wanted)).await
    }

    async fn send(&self, file: &Digest, opened: Opened) -> Result<Response<Content>, Refusal> {
        let place = place(&self.downloads, "downloads").await?;
        let Opened { content, size, reader } = opened;
        tracing::info!(%file, size, "a file is sent");
        let mut answer = Response::new(holding(file_body(content, size), (reader, place)));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
        Ok(answer)
    }

    /// What somebody is told who asks for what is not here. The first one fetches it, and keeps the connection of this
    /// answer open: its end, for whatever reason, is the end of the others' wait.
    fn absent(&self, file: &Digest, told: Told) -> Response<Content> {
        if matches!(told, Told::Later) {
            let mut answer = said(StatusCode::ACCEPTED, "another build fetches it: ask again soon\n");
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(SOON));
            return answer;
        }
        let mut answer = said(StatusCode::NOT_FOUND, "it is not here\n");
        if let Told::First(lease) = told {
            tracing::info!(%file, "a file is not here: the first who asks fetches it");
            *answer.body_mut() = open(lease);
        }
        answer.headers_mut().insert(LARGEST, HeaderValue::from(self.store.largest()));
        answer
    }

    async fn take(&self, file: &Digest, headers: &HeaderMap, body: Incoming) -> Result<Response<Content>, Refusal> {
        let size = length(headers)?;
        let _place = place(&self.uploads, "uploads").await?;
        let store = Arc::clone(&self.store);
        let room = apart(move || store.make_room(size)).await?.map_err(|why| self.no_room(file, why))?;
        let received = timeout(brought_within(size), receive(body, &room.path));
        let (found, received) = received.await.map_err(|_| slow())??;
        if found != *file {
            let sentence = format!("what came has the SHA-256 {found}: nothing is kept");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, sentence));
        }
        let kept = file.clone();
        if apart(move || room.keep(&kept, received)).await?.map_err(|why| disk(&why))? {
            tracing::info!(%file, size, "a file is kept");
            return Ok(said(StatusCode::CREATED, "it is kept\n"));
        }
        Ok(said(StatusCode::OK, "it is here already\n"))
    }

    fn no_room(&self, file: &Digest, why: NoRoom) -> Refusal {
        match why {
            NoRoom::TooLarge(_) => {
                self.leases.is_too_large(file);
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why.to_string())
            }
            NoRoom::InUse => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
        }
    }
}

/// Brings what comes into a file.
async fn receive(mut body: Incoming, path: &Path) -> Result<(Digest, TempPath), Refusal> {
    let mut target = Target::create(path).map_err(|why| disk(&why))?;
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| slow())? {
        let cut = |error| Refusal::new(StatusCode::BAD_REQUEST, format!("the file is cut: {error}"));
        if let Ok(part) = frame.map_err(cut)?.into_data() {
            target.write(part).await.map_err(|why| disk(&why))?;
        }
    }
    target.finish().await.map_err(|why| disk(&why))
}

/// The size of what comes, which is how much room it needs.
fn length(headers: &HeaderMap) -> Result<u64, Refusal> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or_else(|| Refusal::new(StatusCode::LENGTH_REQUIRED, "the size is missing: send Content-Length"))
}

/// A place among those who bring or take files.
async fn place(places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Refusal> {
    let place = timeout(PLACE_WITHIN, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or_else(|| Refusal::busy(what))
}

/// Does something with the disk beside the runtime.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let stopped =
        |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the cache cannot use its disk: its log says why");
    spawn_blocking(work).await.map_err(stopped)
}

fn slow() -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file comes too slowly")
}

fn disk(why: &io::Error) -> Refusal {
    let status = if is_full(why) { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::INTERNAL_SERVER_ERROR };
    Refusal::new(status, format!("the file cannot be written: {why}"))
}

/// A body that does not end before the connection does.
fn open(lease: Lease) -> Content {
    let sentence = Bytes::from_static(b"it is not here: bring it by PUT, and end this connection then\n");
    let sentence = stream::once(ready(Ok(Frame::data(sentence))));
    holding(StreamBody::new(sentence.chain(stream::pending())), lease)
}

/// A body that holds something until its last part is sent, or the connection ends.
fn holding<B, H>(body: B, held: H) -> Content
where
    B: Body<Data = Bytes, Error = io::Error> + Send + Unpin + 'static,
    H: Send + 'static,
{
    let next = async |(mut body, held): (B, Option<H>)| {
        let Some(frame) = BodyExt::frame(&mut body).await.transpose()? else { return Ok(None) };
        // The last part is in memory.
        let held = held.filter(|_| !body.is_end_stream());
        Ok(Some((frame, (body, held))))
    };
    StreamBody::new(stream::try_unfold((body, Some(held)), next)).boxed_unsync()
}

fn said(status: StatusCode, sentence: &str) -> Response<Content> {
    text(status, sentence.to_owned()).map(words)
}

fn words(body: Full<Bytes>) -> Content {
    body.map_err(|never| match never {}).boxed_unsync()
}

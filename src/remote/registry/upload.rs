//! An upload that goes on where it was cut.
//!
//! Facts of the protocol are from the OCI distribution specification 1.1, "Pushing a blob in chunks" and "Resuming a
//! push". Not every registry can tell how far an upload is: CNCF distribution before version 3 gives one up when it is
//! asked after a part of a chunk, or after a chunk whose answer was lost. Such an upload begins anew.

use reqwest::{
    Body, Method, Response, StatusCode, Url,
    header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE},
};

use super::{error::Error, session::Session, source::Source};
use crate::remote::transfer::Tries;

/// The largest chunk that a registry can ask for, in bytes. Where it wants more, it gets all at once.
const LARGEST_CHUNK: u64 = 64 << 20;
/// The header by which a registry asks for larger chunks.
const LEAST_CHUNK: &str = "oci-chunk-min-length";
/// How often an upload may begin.
const MOST_BEGUN: u32 = 4;

/// An upload of one blob.
pub(super) struct Upload<'u, 's> {
    session: &'u mut Session<'s>,
    source: &'u Source,
    /// Is told how many bytes the registry has.
    progress: &'u (dyn Fn(u64) + Sync),
    tries: Tries,
    begun: u32,
    /// The registry takes no chunks.
    whole: bool,
}

/// Where an upload is.
#[derive(Clone)]
struct Place {
    url: Url,
    /// How many bytes the registry has.
    at: u64,
    /// The size of a chunk, in bytes.
    chunk: u64,
    /// Nothing was sent yet.
    is_new: bool,
}

enum Next {
    /// It begins, if the blob is not there.
    Begin,
    /// The registry is asked how far it is.
    Ask(Place),
    /// The next chunk is sent, or the end of all.
    Send(Place),
    Done,
}

impl<'u, 's> Upload<'u, 's> {
    pub(super) fn new(session: &'u mut Session<'s>, source: &'u Source, progress: &'u (dyn Fn(u64) + Sync)) -> Self {
        let tries = Tries::new(session.settings().pause);
        Self { session, source, progress, tries, begun: 0, whole: false }
    }

    /// Brings the blob into the repository, unless it is there.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut next = Next::Begin;
        loop {
            let place = next.place();
            next = match self.step(next).await {
                Ok(Next::Done) => break,
                Ok(next) => next,
                Err(error) if place.is_none() && self.begun >= MOST_BEGUN => return Err(error),
                Err(error) => {
                    self.tries.again(error).await?;
                    place.map_or(Next::Begin, Next::Ask)
                }
            };
        }
        (self.progress)(self.source.size);
        Ok(())
    }

    async fn step(&mut self, next: Next) -> Result<Next, Error> {
        match next {
            Next::Begin => self.begin().await,
            Next::Ask(place) => self.ask(place).await,
            Next::Send(place) if place.at < self.source.size => self.chunk(place).await,
            Next::Send(place) => self.close(place, Body::default(), 0).await,
            Next::Done => Ok(Next::Done),
        }
    }

    async fn begin(&mut self) -> Result<Next, Error> {
        if self.session.has(&self.source.digest).await? {
            return Ok(Next::Done);
        }
        let request = self.session.request(Method::POST, "blobs/uploads/")?;
        let answer = self.session.send(request).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.session.refusal(answer).await);
        }
        self.begun += 1;
        if self.begun > MOST_BEGUN {
            return Err(self.session.unavailable(format!("has lost an upload {MOST_BEGUN} times"), None));
        }
        let usual = self.session.settings().chunk.max(1);
        let chunk = usual.max(least_chunk(answer.headers()));
        let place = Place { url: self.session.location(&answer)?, at: 0, chunk, is_new: true };
        let is_one = self.source.size <= usual;
        if !is_one && !self.whole && chunk <= LARGEST_CHUNK {
            return Ok(Next::Send(place));
        }
        // What is in memory can be sent a second time, if the registry asks who we are.
        let body = if is_one { Body::from(self.source.part(0, self.source.size).await?) } else { self.source.stream() };
        self.close(place, body, self.source.size).await
    }

    async fn chunk(&mut self, place: Place) -> Result<Next, Error> {
        let length = place.chunk.min(self.source.size - place.at);
        let end = place.at + length;
        let body = self.source.part(place.at, length).await?;
        let mut request = self.session.transfer(Method::PATCH, place.url.clone());
        request.headers_mut().extend(content(length));
        if let Ok(range) = HeaderValue::try_from(format!("{}-{}", place.at, end - 1)) {
            request.headers_mut().insert(CONTENT_RANGE, range);
        }
        *request.body_mut() = Some(Body::from(body));
        let answer = self.session.send(request).await?;
        match answer.status() {
            status if status.is_success() => self.went_on(place, end, &answer),
            status if place.is_new && refuses_chunks(status) => {
                self.whole = true;
                Ok(Next::Begin)
            }
            StatusCode::NOT_FOUND => Ok(Next::Begin),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(self.session.unavailable("does not take the next chunk of an upload".to_owned(), None))
            }
            _ => Err(self.session.refusal(answer).await),
        }
    }

    /// A chunk was taken, or the first part of one.
    fn went_on(&mut self, place: Place, end: u64, answer: &Response) -> Result<Next, Error> {
        let at = received(answer.headers()).unwrap_or(end).min(end);
        if at <= place.at {
            return Err(self.session.unavailable("takes nothing of a chunk".to_owned(), None));
        }
        Ok(self.go_on(place, at, answer))
    }

    fn go_on(&mut self, place: Place, at: u64, answer: &Response) -> Next {
        self.tries.reached(at);
        (self.progress)(at);
        // The last address that was given is the one to use.
        let url = self.session.location(answer).unwrap_or(place.url);
        Next::Send(Place { url, at, is_new: false, ..place })
    }

    async fn ask(&mut self, place: Place) -> Result<Next, Error> {
        let request = self.session.request_at(Method::GET, place.url.clone());
        let answer = self.session.send(request).await?;
        let sent = place.at.saturating_add(place.chunk).min(self.source.size);
        match answer.status() {
            status if status.is_success() => Ok(match received(answer.headers()) {
                Some(at) if at <= sent => self.go_on(place, at, &answer),
                _ => Next::Begin,
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                Err(self.session.refusal(answer).await)
            }
            // It does not know the upload any more, or cannot tell.
            status if status.is_client_error() => Ok(Next::Begin),
            _ => Err(self.session.refusal(answer).await),
        }
    }

    /// Ends the upload with what is left of it. The registry checks the digest.
    async fn close(&mut self, place: Place, body: Body, length: u64) -> Result<Next, Error> {
        let mut url = place.url;
        url.query_pairs_mut().append_pair("digest", &self.source.digest.to_string());
        let mut request = self.session.transfer(Method::PUT, url);
        request.headers_mut().extend(content(length));
        *request.body_mut() = Some(body);
        let answer = self.session.send(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(Next::Done),
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE if place.at > 0 => Ok(Next::Begin),
            _ => Err(self.session.refusal(answer).await),
        }
    }
}

impl Next {
    fn place(&self) -> Option<Place> {
        match self {
            Self::Ask(place) | Self::Send(place) => Some(place.clone()),
            Self::Begin | Self::Done => None,
        }
    }
}

fn content(length: u64) -> HeaderMap {
    let octets = HeaderValue::from_static("application/octet-stream");
    HeaderMap::from_iter([(CONTENT_TYPE, octets), (CONTENT_LENGTH, HeaderValue::from(length))])
}

/// Whether an answer to the first chunk says that the registry, or what is before it, takes none of them.
fn refuses_chunks(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::LENGTH_REQUIRED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::NOT_IMPLEMENTED
    )
}

/// The smallest chunk that a registry takes, in bytes.
fn least_chunk(headers: &HeaderMap) -> u64 {
    let text = headers.get(LEAST_CHUNK).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

/// How many bytes of an upload a registry has: its `Range` names the first and the last one. `0-0` is said of one
/// that has none.
fn received(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let last = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?;
    let last: u64 = last.trim().parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_much_a_registry_has() {
        for (text, expected) in [
            ("0-0", Some(0)),
            ("0-1", Some(2)),
            ("bytes=0-1023", Some(1024)),
            ("0-18446744073709551615", None),
            ("5-10", None),
            ("0-", None),
            ("0--1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(text))]);
            assert_eq!(received(&headers), expected, "{text:?}");
        }
        assert_eq!(received(&HeaderMap::new()), None);
    }

    #[test]
    fn a_registry_may_ask_for_larger_chunks() {
        let name = reqwest::header::HeaderName::from_static(LEAST_CHUNK);
        for (text, expected) in [("1024", 1024), (" 5 ", 5), ("-1", 0), ("much", 0)] {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(text))]);
            assert_eq!(least_chunk(&headers), expected, "{text:?}");
        }
    }
}

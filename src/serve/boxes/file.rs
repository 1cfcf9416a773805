//! Files of boxes as answers: all of one, or a part.

use std::{io, ops::Range};

use futures::{
    StreamExt,
    stream::{BoxStream, try_unfold},
};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE},
};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use tokio::sync::OwnedSemaphorePermit;

use super::refusal::beyond;
use crate::{
    catalog::{Part, part},
    plan::image::Digest,
    remote::registry::Content,
    serve::refusal::Refusal,
};

/// A file, as it comes.
pub(super) type Stream = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

/// What of a file is asked for.
pub(super) struct Asked {
    pub bytes: Range<u64>,
    is_part: bool,
    size: u64,
    tag: String,
}

impl Asked {
    /// What the headers of a GET ask for.
    pub fn of(headers: &HeaderMap, file: &Digest, size: u64) -> Result<Self, Refusal> {
        let whole = Self::whole(file, size);
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // A part of something else is of no use: whoever has that gets all of this.
        let is_same = text(IF_RANGE).is_none_or(|tag| tag == whole.tag);
        match part(text(RANGE).filter(|_| is_same), size) {
            Part::Whole => Ok(whole),
            Part::Bytes(bytes) => Ok(Self { bytes, is_part: true, ..whole }),
            Part::Nothing => Err(beyond(size)),
        }
    }

    /// All of a file.
    pub fn whole(file: &Digest, size: u64) -> Self {
        Self { bytes: 0..size, is_part: false, size, tag: format!("\"{file}\"") }
    }

    /// The answer with that content.
    pub fn answer<B>(&self, content: B) -> Response<B> {
        let mut answer = Response::new(content);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes.end.saturating_sub(self.bytes.start)));
        headers.extend(HeaderValue::try_from(self.tag.as_str()).ok().map(|tag| (ETAG, tag)));
        if self.is_part {
            let last = self.bytes.end.saturating_sub(1);
            let range = format!("bytes {}-{last}/{}", self.bytes.start, self.size);
            headers.extend(HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        answer
    }
}

/// The content of a file. Where it does not come, the connection ends before its announced length.
pub(super) fn stream(content: Content, place: OwnedSemaphorePermit) -> Stream {
    let next = async |(mut content, place): (Content, OwnedSemaphorePermit)| match content.next().await {
        Ok(part) => Ok(part.map(|part| (Frame::data(part), (content, place)))),
        Err(error) => {
            tracing::warn!(%error, "a download is cut");
            Err(io::Error::other(error))
        }
    };
    StreamBody::new(try_unfold((content, place), next).boxed())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asked(headers: &[(HeaderName, &str)]) -> Result<(StatusCode, String, String), Refusal> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::try_from(*value).unwrap()));
        let asked = Asked::of(&headers.collect(), &Digest::of(b"a box"), 10)?;
        let answer = asked.answer(());
        let text = |name: HeaderName| {
            answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        Ok((answer.status(), text(CONTENT_LENGTH), text(CONTENT_RANGE)))
    }

    #[test]
    fn a_part_is_given_of_the_file_that_is_meant() {
        let (tag, other) = (format!("\"{}\"", Digest::of(b"a box")), format!("\"{}\"", Digest::of(b"another")));
        let whole = || (StatusCode::OK, "10".to_owned(), String::new());
        let part = || (StatusCode::PARTIAL_CONTENT, "7".to_owned(), "bytes 3-9/10".to_owned());
        assert_eq!(asked(&[]), Ok(whole()));
        assert_eq!(asked(&[(RANGE, "bytes=3-")]), Ok(part()));
        assert_eq!(asked(&[(RANGE, "bytes=3-"), (IF_RANGE, &tag)]), Ok(part()));
        assert_eq!(asked(&[(RANGE, "bytes=3-"), (IF_RANGE, &other)]), Ok(whole()));
        let refused = asked(&[(RANGE, "bytes=10-")]).unwrap_err().answer();
        assert_eq!(refused.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(refused.headers()[CONTENT_RANGE], "bytes */10");
    }
}

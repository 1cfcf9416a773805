//! Requests that are not answered with what they ask for: why, for whoever can change that.

use std::{fmt, time::Duration};

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use http_body_util::Full;
use hyper::body::Bytes;

use super::text::text;

/// How soon somebody may come back for whom there is no place.
const SOON: Duration = Duration::from_secs(10);

/// Why a request is not answered with what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    sentence: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into(), header: None }
    }

    pub fn unknown(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    /// There are other methods.
    pub fn method(allowed: &'static str, sentence: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, sentence).with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// There are as many at work as may be.
    pub fn busy(what: &str) -> Self {
        let sentence = format!("too many {what} at once: try again in {} seconds", SOON.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence).again(SOON)
    }

    /// The same, with a header.
    pub fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The same, for somebody who may come back.
    pub fn again(self, after: Duration) -> Self {
        self.with(RETRY_AFTER, HeaderValue::from(after.as_secs()))
    }

    pub fn answer(self) -> Response<Full<Bytes>> {
        let mut answer = text(self.status, format!("{}\n", self.sentence));
        answer.headers_mut().extend(self.header);
        answer
    }

    /// The answer to a request for a path, which the log has, too.
    pub fn told(self, path: &str) -> Response<Full<Bytes>> {
        let (refusal, status) = (&self, self.status.as_u16());
        if self.status.is_server_error() {
            tracing::warn!(path, status, %refusal);
        } else {
            tracing::info!(path, status, %refusal);
        }
        self.answer()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

//! Requests that are not answered with what they ask for: why, for whoever can change that.

use std::{fmt, time::Duration};

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_RANGE, RETRY_AFTER},
};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::{
    remote::registry::{Error, Identity},
    serve::text::text,
};

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

    pub fn method() -> Self {
        let header = Some((ALLOW, HeaderValue::from_static("GET, HEAD")));
        Self { header, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: boxes are published by chains") }
    }

    /// There are as many at work as may be.
    pub fn busy(what: &str) -> Self {
        let sentence = format!("too many {what} at once: try again in {} seconds", SOON.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence).again(SOON)
    }

    /// A file of that size has nothing of what is asked for.
    pub fn beyond(size: u64) -> Self {
        let sentence = format!("the file has {size} bytes: ask for some of them");
        let header = HeaderValue::try_from(format!("bytes */{size}")).ok();
        let header = header.map(|value| (CONTENT_RANGE, value));
        Self { header, ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, sentence) }
    }

    fn again(self, after: Duration) -> Self {
        Self { header: Some((RETRY_AFTER, HeaderValue::from(after.as_secs()))), ..self }
    }

    pub fn answer(self) -> Response<Full<Bytes>> {
        let mut answer = text(self.status, format!("{}\n", self.sentence));
        answer.headers_mut().extend(self.header);
        answer
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

/// Of a registry. Its own sentences name Secrets and profiles, which there are none of here.
impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let sentence = match &error {
            Error::AccessDenied { place, identity: Identity::Anonymous } => format!(
                "{place} does not exist, or not everybody may read it: correct the name, let everybody read it, or start \
                 the service with --registry-config"
            ),
            Error::AccessDenied { place, .. } => format!(
                "{place} does not exist, or the credentials of --registry-config may not read it: correct the name or the \
                 credentials"
            ),
            Error::Unusable { place, why, .. } => {
                format!("{place} cannot be reached: the file of --registry-config cannot be used: {why}: correct it")
            }
            Error::Untrusted { place, why } => format!(
                "{place} cannot be reached: the certificate of its registry is not trusted: {why}: start the service with \
                 --certificate-authority"
            ),
            other => other.to_string(),
        };
        let refusal = Self::new(StatusCode::BAD_GATEWAY, sentence);
        match error.retry_after() {
            Some(after) => refusal.again(after),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_a_registry_names_the_flag_that_helps() {
        let place = || "r.example/a".to_owned();
        for (error, flag) in [
            (Error::AccessDenied { place: place(), identity: Identity::Anonymous }, "--registry-config"),
            (Error::Untrusted { place: place(), why: "its issuer is unknown".to_owned() }, "--certificate-authority"),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.status, StatusCode::BAD_GATEWAY);
            let said = refusal.to_string();
            assert!(said.starts_with("r.example/a ") && said.contains(flag) && !said.contains("Secret"), "{said}");
        }
        let busy = Error::Unavailable {
            place: place(),
            cause: "answers 429".to_owned(),
            retry_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(Refusal::from(busy).answer().headers()[RETRY_AFTER], "7");
    }
}

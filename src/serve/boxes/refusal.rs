//! Requests that are not answered since a registry does not answer, or not as it should.

use http::{HeaderValue, StatusCode, header::CONTENT_RANGE};

use crate::{
    remote::registry::{Error, Identity},
    serve::refusal::Refusal,
};

/// A file of that size has nothing of what is asked for.
pub(super) fn beyond(size: u64) -> Refusal {
    let sentence = format!("the file has {size} bytes: ask for some of them");
    let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, sentence);
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(range) => refusal.with(CONTENT_RANGE, range),
        Err(_) => refusal,
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
    use std::time::Duration;

    use http::header::RETRY_AFTER;

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

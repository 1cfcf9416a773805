//! How servers are reached: by which proxies, and trusted by whom.

use std::{
    error::{self, Error as _},
    fs, io,
    time::Duration,
};

use reqwest::{
    Certificate, ClientBuilder, NoProxy,
    header::{HeaderMap, RETRY_AFTER},
    redirect::{Action, Attempt, Policy},
};
use rustls::crypto::ring;
use thiserror::Error;

use crate::plan::network::Proxy;

/// The longest that a server can make us wait: what it says beyond that is cut.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);
/// The most redirects that are followed.
const MOST_REDIRECTS: usize = 5;
/// How long it may take to get a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How servers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Certificates of authorities, as PEM, that servers are trusted by besides those of the system.
    pub authority: Option<String>,
    /// The proxies on the way.
    pub proxy: Proxy,
}

/// Why nothing can be reached in that way.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// The certificates are none.
    #[error("the certificate authority is not a certificate in PEM: correct `ca.crt`")]
    Certificates,
    /// Our own certificate, or its key, is none.
    #[error("`tls.crt` and `tls.key` of the Secret are not a certificate and its private key in PEM: correct them")]
    ClientCertificate,
    /// The URL of a proxy is none.
    #[error("the URL of the proxy cannot be used: correct `network.proxy`")]
    Proxy,
}

impl Network {
    /// The same, with an authority more.
    #[must_use]
    pub fn trusting(&self, authority: Option<&str>) -> Self {
        let authorities: Vec<&str> = self.authority.as_deref().into_iter().chain(authority).collect();
        let authority = (!authorities.is_empty()).then(|| authorities.join("\n"));
        Self { authority, ..self.clone() }
    }

    /// All certificates that servers are trusted by, as PEM, for programs that take a file instead of those of the
    /// system; `None` where these are enough.
    ///
    /// # Errors
    /// Those of the system cannot be read.
    pub fn bundle(&self) -> io::Result<Option<String>> {
        let Some(authority) = &self.authority else { return Ok(None) };
        let system = openssl_probe::probe().cert_file.map(fs::read_to_string).transpose()?;
        Ok(Some(format!("{}\n{authority}\n", system.unwrap_or_default())))
    }

    /// A client that reaches servers in this way. What the environment says of proxies is for `cli` to read.
    pub(super) fn client(&self) -> Result<ClientBuilder, NetworkError> {
        // Fails where a provider is installed already, which is as good.
        let _ = ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .user_agent(concat!("imagechain/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::custom(redirect))
            .connect_timeout(CONNECT)
            // An address that leads elsewhere must not tell where somebody came from.
            .referer(false);
        if let Some(pem) = &self.authority {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if certificates.is_empty() {
                return Err(NetworkError::Certificates);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let exceptions = NoProxy::from_string(&self.proxy.exceptions());
        let http = self.proxy.http.as_ref().map(reqwest::Proxy::http);
        let https = self.proxy.https.as_ref().map(reqwest::Proxy::https);
        for proxy in http.into_iter().chain(https) {
            builder = builder.proxy(proxy.map_err(|_| NetworkError::Proxy)?.no_proxy(exceptions.clone()));
        }
        Ok(builder)
    }
}

/// Servers keep large files elsewhere. A request that leaves its host leaves its credentials there (reqwest).
fn redirect(attempt: Attempt<'_>) -> Action {
    let was_secure = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("too many redirects")
    } else if was_secure && attempt.url().scheme() != "https" {
        attempt.error("a redirect to an address without TLS")
    } else {
        attempt.follow()
    }
}

/// The innermost cause: the outer ones hold addresses, and those may hold secrets of the server.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut innermost: Option<&dyn std::error::Error> = error.source();
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    innermost.map_or_else(|| "the connection was lost".to_owned(), ToString::to_string)
}

/// The form in seconds; the other, a date, says nothing without a clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let digits = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // What is too large for a number is larger than the limit.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    is_number.then(|| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// Why the certificate of a server is not trusted, if that is what an error is about.
pub(super) fn distrust(error: &reqwest::Error) -> Option<String> {
    find(error).map(|why| match why {
        rustls::CertificateError::UnknownIssuer => "its issuer is unknown".to_owned(),
        why => why.to_string(),
    })
}

fn find<'e>(error: &'e (dyn error::Error + 'static)) -> Option<&'e rustls::CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
        return Some(why);
    }
    // What an error of IO holds is not its source, but that of which it is the source.
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.and_then(|held| find(held)).or_else(|| find(error.source()?))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_and_bounded() {
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("1000000000", Some(300)),
            ("99999999999999999999999999", Some(300)),
            ("-1", None),
            ("", None),
            ("soon", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn an_authority_is_added_to_what_there_is() {
        let none = Network::default();
        assert_eq!(none.trusting(None), none);
        let one = none.trusting(Some("A"));
        assert_eq!(one.authority.as_deref(), Some("A"));
        assert_eq!(one.trusting(Some("B")).authority.as_deref(), Some("A\nB"));
        assert_eq!(one.trusting(None), one);
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let authority = |pem: &str| Network { authority: Some(pem.to_owned()), ..Network::default() };
        assert_eq!(authority("").client().err(), Some(NetworkError::Certificates));
        assert_eq!(authority("no PEM").client().err(), Some(NetworkError::Certificates));
        let proxy = Proxy { http: Some("http://".to_owned()), ..Proxy::default() };
        let network = Network { proxy, ..Network::default() };
        assert_eq!(network.client().err(), Some(NetworkError::Proxy));
    }
}

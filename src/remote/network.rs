//! How servers are reached: by which proxies, and trusted by whom.

use std::{error, fs, io};

use reqwest::{Certificate, ClientBuilder, NoProxy};
use rustls::crypto::ring;
use thiserror::Error;

use crate::plan::network::Proxy;

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
        let mut builder = reqwest::Client::builder().no_proxy();
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
    use super::*;

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

//! Flags that several commands have.

use std::{fs, io, path::PathBuf};

use clap::Args;

use crate::{
    plan::network::Proxy,
    remote::network::Network,
    runtime::telemetry::{self, Format},
};

/// How logs are written.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// How logs look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Which logs there are, for example info,imagechain=debug.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

impl Logs {
    /// Writes them from now on.
    pub fn start(&self) -> io::Result<()> {
        telemetry::start(self.log_format, &self.log).map_err(io::Error::other)
    }
}

/// How git servers and registries are reached.
#[derive(Debug, Args)]
pub(super) struct Servers {
    /// The proxy by which servers are asked for http.
    #[arg(long, env = "IMAGECHAIN_HTTP_PROXY", value_name = "URL")]
    http_proxy: Option<String>,
    /// The proxy by which servers are asked for https.
    #[arg(long, env = "IMAGECHAIN_HTTPS_PROXY", value_name = "URL")]
    https_proxy: Option<String>,
    /// What is asked for directly, separated by commas.
    #[arg(long, env = "IMAGECHAIN_NO_PROXY", value_name = "LIST", value_delimiter = ',')]
    no_proxy: Vec<String>,
    /// Certificates, as PEM, that servers are trusted by besides those of the system.
    #[arg(long, env = "IMAGECHAIN_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
}

impl Servers {
    /// The same, with what the files hold.
    pub fn network(&self) -> io::Result<Network> {
        let unreadable = |path: &PathBuf, error| io::Error::other(format!("{}: {error}", path.display()));
        let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| unreadable(path, error));
        let no_proxy = self.no_proxy.iter().filter(|each| !each.is_empty()).cloned().collect();
        Ok(Network {
            authority: self.certificate_authority.as_ref().map(read).transpose()?,
            proxy: Proxy { http: self.http_proxy.clone(), https: self.https_proxy.clone(), no_proxy },
        })
    }
}

/// The URL of a service, without credentials or anything behind its path.
pub(super) fn url(text: &str) -> Result<String, String> {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or_default();
    let is_plain = !host.contains(['?', '#', '@', ' ']) && !host.starts_with('/') && !host.is_empty();
    if is_plain { Ok(text.to_owned()) } else { Err("must be as https://service.example".to_owned()) }
}

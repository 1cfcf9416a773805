//! `imagechain boxes`: flags in, a service out.

use std::{collections::BTreeSet, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::flags::{Logs, Servers, url};
use crate::{
    catalog::Prefix,
    remote::registry,
    runtime::supervisor,
    serve::boxes::{self, Settings},
};

/// How long downloads may go on after a signal. The chart gives the pod a little more.
const DRAIN: Duration = Duration::from_mins(5);

/// What is shown, and how.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// A repository whose boxes are shown, and all that are below it; may be repeated.
    #[arg(long = "repository", required = true, value_name = "REGISTRY/PATH")]
    repositories: Vec<Prefix>,
    /// A file of credentials for registries, as `docker login` writes it and a Secret of the type
    /// kubernetes.io/dockerconfigjson holds it. Whoever reaches this service gets the boxes that it opens. Default: only
    /// what everybody may read.
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,
    /// A registry that is reached by plain HTTP, as host or host:port; may be repeated.
    #[arg(long = "insecure-registry", value_name = "REGISTRY")]
    insecure: Vec<String>,
    /// What the addresses of files begin with, where a proxy stands before the service, such as `https://boxes.example`.
    /// Default: http:// and the name by which it was asked.
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Option<String>,
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How many files are sent at once; whoever comes then is told to come back.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    downloads: u16,
    #[command(flatten)]
    logs: Logs,
    #[command(flatten, next_help_heading = "Options for registries")]
    servers: Servers,
}

impl Flags {
    fn settings(&self) -> io::Result<Settings> {
        let insecure: BTreeSet<String> = self.insecure.iter().cloned().collect();
        let registries =
            registry::Settings { insecure, network: self.servers.network()?, ..registry::Settings::default() };
        Ok(Settings {
            listen: self.listen,
            prefixes: self.repositories.clone(),
            url: self.url.clone(),
            registries,
            credentials: self.registry_config.clone(),
            downloads: usize::from(self.downloads.max(1)),
        })
    }
}

/// Runs the service until a signal comes.
pub(super) fn run(flags: &Flags) -> io::Result<()> {
    flags.logs.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (signal, server) = (supervisor::next_signal()?, boxes::start(flags.settings()?).await?);
        let shown: Vec<_> = flags.repositories.iter().map(ToString::to_string).collect();
        tracing::info!(address = %server.address()?, repositories = shown.join(", "), "the catalog of boxes begins");
        server.run_until(signal, DRAIN).await
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(arguments: &[&str]) -> Option<Settings> {
        let line = [&["boxes"], arguments].concat();
        Some(Line::try_parse_from(line).ok()?.flags.settings().unwrap())
    }

    #[test]
    fn flags_become_settings() {
        let usual = settings(&["--repository", "registry.example/team-a", "--repository", "r.example:5000/b"]).unwrap();
        let shown: Vec<_> = usual.prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["registry.example/team-a", "r.example:5000/b"]);
        assert_eq!((usual.url, usual.credentials, usual.downloads, usual.listen.port()), (None, None, 16, 8080));
        let all = ["--repository", "r/a/b", "--insecure-registry", "r.example:5000", "--downloads", "0"];
        let behind = settings(&[&all[..], &["--url", "https://boxes.example/a"]].concat()).unwrap();
        assert_eq!(behind.url.as_deref(), Some("https://boxes.example/a"));
        assert_eq!((behind.downloads, behind.registries.insecure.len()), (1, 1));
    }

    #[test]
    fn wrong_flags_are_refused() {
        let repository = ["--repository", "registry.example/team-a"];
        assert!(settings(&[]).is_none(), "nothing is shown unless it is named");
        assert!(settings(&["--repository", "registry.example"]).is_none());
        for url in [
            "boxes.example",
            "ftp://boxes.example",
            "https://",
            "https:///a",
            "https://u:p@boxes.example",
            "https://b?a",
        ] {
            assert!(settings(&[&repository[..], &["--url", url]].concat()).is_none(), "{url}");
        }
    }
}

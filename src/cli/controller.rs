//! `imagechain controller`: flags and environment in, settings out.

use std::{env, io, net::SocketAddr, path::PathBuf};

use clap::Args;

use super::flags::{Logs, Servers, url};
use crate::runtime::{
    client::{self, Cluster},
    context::Brought,
    controller::{self, Settings},
};

/// How the controller runs. In a pod of the chart nothing needs to be said.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The cluster, when not in a pod of it. Default: the pod's own, else where kubectl looks.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Only the leader of several replicas works. Without it there must be one process alone.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// The namespace of the lease.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", default_value = "imagechain-system")]
    namespace: String,
    /// Who this process is, in the lease and in events; something of its own is added to it.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "imagechain")]
    identity: String,
    /// The operator's own image, which build pods run too.
    #[arg(long, env = "IMAGECHAIN_IMAGE", value_name = "IMAGE")]
    image: String,
    /// The cache of files on each node, which build pods ask before they fetch files of other servers, such as
    /// `http://imagechain-file-cache.imagechain-system.svc`. Default: none.
    #[arg(long, env = "IMAGECHAIN_FILE_CACHE", value_name = "URL", value_parser = url)]
    file_cache: Option<String>,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    logs: Logs,
    /// How many objects of each kind are looked at at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    workers: u16,
    #[command(flatten, next_help_heading = "Options for servers, where a BuildProfile does not say otherwise")]
    servers: Servers,
}

impl Flags {
    fn settings(&self) -> io::Result<Settings> {
        Ok(Settings {
            cluster: self.cluster(),
            lease: self.leader_elect.then(|| self.namespace.clone()),
            identity: format!("{}-{:08x}", self.identity, fastrand::u32(..)),
            brought: Brought { image: self.image.clone(), file_cache: self.file_cache.clone() },
            listen: self.listen,
            workers: usize::from(self.workers.max(1)),
            scratch: env::temp_dir(),
            network: self.servers.network()?,
        })
    }

    fn cluster(&self) -> Cluster {
        let (path, context) = (self.kubeconfig.clone(), self.context.clone());
        if path.is_some() || context.is_some() || !client::is_in_cluster() {
            Cluster::Kubeconfig { path, context }
        } else {
            Cluster::Own
        }
    }
}

/// Runs the controller until a signal comes.
pub(super) fn run(flags: &Flags) -> io::Result<bool> {
    flags.logs.start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(controller::run(flags.settings()?));
    ended.map(|()| true).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{plan::network::Proxy, remote::network::Network};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn settings(arguments: &[&str]) -> Settings {
        let line = [&["controller", "--image", "i", "--kubeconfig", "/k"], arguments].concat();
        Line::try_parse_from(line).unwrap().flags.settings().unwrap()
    }

    #[test]
    fn flags_become_settings() {
        let usual = settings(&["--namespace", "a"]);
        assert_eq!(usual.lease.as_deref(), Some("a"));
        assert_eq!(usual.cluster, Cluster::Kubeconfig { path: Some("/k".into()), context: None });
        assert_eq!(usual.listen.port(), 8080);
        let alone = settings(&["--leader-elect=false", "--workers", "0"]);
        assert_eq!((alone.lease, alone.workers), (None, 1));
        let direct = Proxy::default();
        assert_eq!(usual.network, Network { authority: None, proxy: direct });
        let proxied = settings(&["--https-proxy", "http://p.example:3128", "--no-proxy", ".a.example,10.0.0.0/8"]);
        assert_eq!(proxied.network.proxy.https.as_deref(), Some("http://p.example:3128"));
        assert_eq!(proxied.network.proxy.no_proxy, [".a.example", "10.0.0.0/8"]);
        assert_eq!(usual.brought, Brought { image: "i".to_owned(), file_cache: None });
        let cached = settings(&["--file-cache", "http://cache.example"]);
        assert_eq!(cached.brought.file_cache.as_deref(), Some("http://cache.example"));
        assert_ne!(settings(&["--identity", "p"]).identity, settings(&["--identity", "p"]).identity);
    }
}

//! `imagechain controller`: flags and environment in, settings out.

use std::{env, fs, io, net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::{
    plan::network::Proxy,
    remote::network::Network,
    runtime::{
        client::{self, Cluster},
        controller::{self, Settings},
        telemetry::{self, Format},
    },
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
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How logs look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Which logs there are, for example info,imagechain=debug.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// The proxy by which look-ups ask for http, where their profile names none.
    #[arg(long, env = "IMAGECHAIN_HTTP_PROXY", value_name = "URL")]
    http_proxy: Option<String>,
    /// The proxy by which look-ups ask for https, where their profile names none.
    #[arg(long, env = "IMAGECHAIN_HTTPS_PROXY", value_name = "URL")]
    https_proxy: Option<String>,
    /// What is asked for directly, separated by commas.
    #[arg(long, env = "IMAGECHAIN_NO_PROXY", value_name = "LIST", value_delimiter = ',')]
    no_proxy: Vec<String>,
    /// Certificates, as PEM, that look-ups trust besides those of the system and of their profile.
    #[arg(long, env = "IMAGECHAIN_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// How many objects of each kind are looked at at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    workers: u16,
}

impl Flags {
    fn settings(&self) -> io::Result<Settings> {
        Ok(Settings {
            cluster: self.cluster(),
            lease: self.leader_elect.then(|| self.namespace.clone()),
            identity: format!("{}-{:08x}", self.identity, fastrand::u32(..)),
            image: self.image.clone(),
            listen: self.listen,
            workers: usize::from(self.workers.max(1)),
            scratch: env::temp_dir(),
            network: self.network()?,
        })
    }

    fn network(&self) -> io::Result<Network> {
        let unreadable = |path: &PathBuf, error| io::Error::other(format!("{}: {error}", path.display()));
        let read = |path: &PathBuf| fs::read_to_string(path).map_err(|error| unreadable(path, error));
        let no_proxy = self.no_proxy.iter().filter(|each| !each.is_empty()).cloned().collect();
        Ok(Network {
            authority: self.certificate_authority.as_ref().map(read).transpose()?,
            proxy: Proxy { http: self.http_proxy.clone(), https: self.https_proxy.clone(), no_proxy },
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
    telemetry::start(flags.log_format, &flags.log).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(controller::run(flags.settings()?));
    ended.map(|()| true).map_err(io::Error::other)
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
        assert_ne!(settings(&["--identity", "p"]).identity, settings(&["--identity", "p"]).identity);
    }
}

//! How dockerd is called.

use std::path::Path;

use serde_json::{Value, json};

use crate::plan::{
    job::{GRAPH_ROOT, Registry},
    network::Proxy,
};

/// Its own files: not on the volume that the stages see.
pub(super) const FOLDER: &str = "/run/imagechain-engine";
/// The registry whose mirror dockerd asks by itself; it does so for no other.
pub(crate) const HUB: &str = "docker.io";

/// Its arguments. Nothing is read from the image's own `daemon.json`: it could not be told what came from where.
pub(super) fn arguments(registry: &Registry, socket: &Path, mtu: Option<u32>) -> Vec<String> {
    let mut arguments = vec![
        format!("--host=unix://{}", socket.display()),
        format!("--config-file={FOLDER}/daemon.json"),
        format!("--data-root={GRAPH_ROOT}"),
        format!("--exec-root={FOLDER}/exec"),
        format!("--pidfile={FOLDER}/docker.pid"),
        // What it picks by itself without systemd, and must not pick otherwise.
        "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
        "--default-cgroupns-mode=private".to_owned(),
        // The kubelet gives the pod a minute for everything.
        "--shutdown-timeout=10".to_owned(),
    ];
    arguments.extend(mtu.map(|mtu| format!("--mtu={mtu}")));
    arguments.extend(registry.insecure.iter().map(|host| format!("--insecure-registry={host}")));
    arguments.extend(registry.mirrors.get(HUB).map(|mirror| {
        let scheme = if registry.insecure.contains(mirror) { "http" } else { "https" };
        format!("--registry-mirror={scheme}://{mirror}")
    }));
    arguments
}

/// Its `daemon.json`: with containerd's image store, an image's ID would not be the digest of its config.
pub(super) fn config() -> Value {
    json!({"features": {"containerd-snapshotter": false}})
}

/// Its environment: the folders that it reads certificates from, besides the bundle of the system, and proxies. Those
/// folders are what programs in Go read without being told, and that of the files that a container of a pod gets.
pub(super) fn environment(proxy: &Proxy, files: &Path) -> Vec<(&'static str, String)> {
    let folders = format!("/etc/ssl/certs:/etc/pki/tls/certs:{}", files.display());
    proxy.environment().into_iter().chain([("SSL_CERT_DIR", folders)]).collect()
}

/// The interface of the default route, by `/proc/net/route`.
pub(super) fn default_interface(routes: &str) -> Option<&str> {
    let fields = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let line = routes.lines().skip(1).find(|line| fields(line).get(1).is_some_and(|to| to == "00000000"))?;
    line.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn registry(mirrors: &[(&str, &str)], insecure: &[&str]) -> Registry {
        Registry {
            platform: "linux/amd64".to_owned(),
            mirrors: mirrors.iter().map(|(of, at)| ((*of).to_owned(), (*at).to_owned())).collect::<BTreeMap<_, _>>(),
            insecure: insecure.iter().map(|host| (*host).to_owned()).collect(),
            certificate_authority: None,
        }
    }

    #[test]
    fn the_call_says_what_the_profile_says() {
        let all = |registry: &Registry, mtu| arguments(registry, Path::new("/run/docker/docker.sock"), mtu);
        let plain = all(&registry(&[], &[]), None);
        assert_eq!(
            plain,
            [
                "--host=unix:///run/docker/docker.sock",
                "--config-file=/run/imagechain-engine/daemon.json",
                "--data-root=/var/lib/docker",
                "--exec-root=/run/imagechain-engine/exec",
                "--pidfile=/run/imagechain-engine/docker.pid",
                "--exec-opt=native.cgroupdriver=cgroupfs",
                "--default-cgroupns-mode=private",
                "--shutdown-timeout=10",
            ]
        );
        let mirrors = [("docker.io", "mirror.example:5000"), ("quay.io", "other.example")];
        let more = all(&registry(&mirrors, &["mirror.example:5000", "b.example"]), Some(1410));
        assert_eq!(
            more[plain.len()..],
            [
                "--mtu=1410",
                "--insecure-registry=mirror.example:5000",
                "--insecure-registry=b.example",
                "--registry-mirror=http://mirror.example:5000",
            ]
        );
        let secure = all(&registry(&mirrors, &[]), None);
        assert_eq!(secure.last().unwrap(), "--registry-mirror=https://mirror.example:5000");
    }

    #[test]
    fn certificates_are_added_to_those_of_the_system_and_proxies_are_told() {
        let proxy = Proxy { https: Some("http://p.example:3128".to_owned()), ..Proxy::default() };
        let environment = environment(&proxy, Path::new("/imagechain/secrets"));
        let value = |name| environment.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str());
        assert_eq!(value("SSL_CERT_DIR"), Some("/etc/ssl/certs:/etc/pki/tls/certs:/imagechain/secrets"));
        assert_eq!(value("HTTPS_PROXY"), Some("http://p.example:3128"));
    }

    #[test]
    fn the_default_route_has_an_interface() {
        // As Linux 6.1 writes it.
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth1\t0000CA0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                      eth0\t00000000\t0100CA0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_interface(routes), Some("eth0"));
        assert_eq!(default_interface("Iface\tDestination\n"), None);
    }
}

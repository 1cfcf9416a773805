//! What the engine's daemon says of itself, asked over its socket.

use std::{io, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    marker::{Marker, Mode},
    socket::{self, Answer},
};

/// The part of `docker info` that we look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    pub(super) server_version: String,
    pub(super) driver: String,
    driver_status: Vec<Vec<String>>,
    cgroup_driver: String,
    cgroup_version: String,
    security_options: Vec<String>,
}

/// The versions of its API that it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Versions {
    /// The latest.
    #[serde(rename = "ApiVersion")]
    pub(super) api_version: String,
    /// The earliest.
    #[serde(rename = "MinAPIVersion")]
    pub(super) min_api_version: String,
}

/// Asks the daemon.
///
/// # Errors
/// It does not answer, or not as dockerd does.
pub(super) async fn ask(socket: &Path) -> io::Result<Info> {
    read(&socket::ask(socket, "GET", "/info").await?)
}

/// Asks which versions of its API it speaks.
///
/// # Errors
/// It does not answer, or not as dockerd does.
pub(super) async fn versions(socket: &Path) -> io::Result<Versions> {
    read(&socket::ask(socket, "GET", "/version").await?)
}

fn read<T: DeserializeOwned>(answer: &Answer) -> io::Result<T> {
    if answer.code() != Some(200) {
        return Err(io::Error::other(format!("the engine answers {}", answer.status)));
    }
    serde_json::from_str(&answer.body).map_err(io::Error::other)
}

/// Whether it is the engine that a build needs.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(marker: &Marker, info: &Info) -> Result<(), String> {
    let version = match marker.mode {
        Mode::V1 => "1",
        Mode::V2 => "2",
    };
    if info.cgroup_version != version {
        return Err(format!(
            "the engine says that it uses cgroup v{}, and this node has v{version}: its containers would run outside \
             the pod's limits",
            info.cgroup_version
        ));
    }
    if info.cgroup_driver != "cgroupfs" {
        return Err(format!(
            "the engine's cgroup driver is {}, not cgroupfs: its containers would run outside the pod's limits",
            info.cgroup_driver
        ));
    }
    if !info.security_options.iter().any(|option| option == "name=cgroupns") {
        return Err(
            "the engine has no cgroup namespaces: containers with systemd would see the node's groups".to_owned()
        );
    }
    if info.driver_status.iter().flatten().any(|word| word.starts_with("io.containerd.snapshotter")) {
        return Err("the engine uses containerd's image store, with which an image's ID is not the digest of its \
                    config: switch it off (features: containerd-snapshotter: false)"
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of what docker.io 26.1.5 of Debian 13 answers, shortened to what is read.
    const ANSWER: &str = "HTTP/1.0 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\n\r\n\
        {\"ID\":\"x\",\"Containers\":0,\"Driver\":\"overlay2\",\"DriverStatus\":[[\"Backing Filesystem\",\"extfs\"]],\
        \"CgroupDriver\":\"cgroupfs\",\"CgroupVersion\":\"2\",\"ServerVersion\":\"26.1.5+dfsg1\",\
        \"SecurityOptions\":[\"name=seccomp,profile=builtin\",\"name=cgroupns\"]}";

    /// The same of `/version`.
    const VERSION: &str = "HTTP/1.0 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\n\r\n\
        {\"Platform\":{\"Name\":\"\"},\"Version\":\"26.1.5+dfsg1\",\"ApiVersion\":\"1.45\",\"MinAPIVersion\":\"1.24\",\
        \"GitCommit\":\"411e817\",\"Os\":\"linux\",\"Arch\":\"amd64\"}";

    #[test]
    fn an_answer_is_read() {
        let info: Info = read(&socket::read(ANSWER)).unwrap();
        assert_eq!((info.driver.as_str(), info.server_version.as_str()), ("overlay2", "26.1.5+dfsg1"));
        for other in ["HTTP/1.0 503 Service Unavailable\r\n\r\n", "", "HTTP/1.0 200 OK\r\n\r\n<html>"] {
            assert!(read::<Info>(&socket::read(other)).is_err(), "{other}");
        }
        let versions: Versions = read(&socket::read(VERSION)).unwrap();
        assert_eq!((versions.api_version.as_str(), versions.min_api_version.as_str()), ("1.45", "1.24"));
    }

    #[test]
    fn an_engine_must_fit_its_node() {
        let good = read(&socket::read(ANSWER)).unwrap();
        let marker = Marker::new(Mode::V2);
        assert_eq!(check(&marker, &good), Ok(()));
        let changed = |change: &dyn Fn(&mut Info)| {
            let mut info = good.clone();
            change(&mut info);
            check(&marker, &info).unwrap_err()
        };
        assert!(check(&Marker::new(Mode::V1), &good).unwrap_err().contains("cgroup v2, and this node has v1"));
        assert!(changed(&|info| info.cgroup_driver = "systemd".to_owned()).contains("driver is systemd"));
        assert!(changed(&|info| info.security_options.clear()).contains("no cgroup namespaces"));
        let store = || vec!["driver-type".to_owned(), "io.containerd.snapshotter.v1".to_owned()];
        assert!(changed(&|info| info.driver_status.push(store())).contains("containerd-snapshotter: false"));
    }
}

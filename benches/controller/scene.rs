//! The cluster in which both controllers work, and the chains that they are given.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    time::Duration,
};

use futures::{StreamExt, stream};
use imagechain::api::chain::ImageChain;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    floor,
    kubelet::Kubelet,
    support::{
        chart::{BUILDS, Chart, NAME, SYSTEM, digest},
        cluster,
        images::Pusher,
        servers::Servers,
    },
};

/// No proof of anything: what takes longer hangs.
const HANGS: Duration = Duration::from_mins(15);
/// So many requests of the user are open at once.
const AT_ONCE: usize = 16;
/// The label of chains with the prefix of their work.
const LABEL: &str = "work";
/// The namespace of the operator's chains.
pub const TENANT: &str = "team-a";

/// How much of everything.
pub struct Sizes {
    /// Chains for links per second.
    pub chains: usize,
    /// The links of each.
    pub links: usize,
    /// Chains that hand over at once, and the links of each.
    pub hand_off: (usize, usize),
    /// Finished builds at the restart.
    pub builds: usize,
    /// How long a cluster at rest is watched.
    pub rest: Duration,
}

impl Sizes {
    /// Those of the design, or a tenth.
    pub fn of(quick: bool) -> Self {
        if quick {
            Self { chains: 30, links: 3, hand_off: (5, 5), builds: 400, rest: Duration::from_secs(5) }
        } else {
            Self { chains: 300, links: 3, hand_off: (20, 10), builds: 4_000, rest: Duration::from_mins(1) }
        }
    }
}

/// A cluster, a registry and a kubelet.
pub struct Scene {
    pub chart: Chart,
    pub kubelet: Kubelet,
    /// The operator's way to the API server.
    pub kubeconfig: PathBuf,
    /// Host and port.
    registry: String,
    _servers: Servers,
}

/// Chains to be made.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    pub namespace: &'static str,
    /// How their names begin, and their label.
    pub prefix: &'a str,
    pub chains: usize,
    pub links: usize,
    /// Whether their images are published, or only staged.
    pub publish: bool,
}

impl Scene {
    /// Starts everything but the controllers.
    pub async fn start() -> Self {
        let servers = Servers::start();
        let registry = servers.registry().to_owned();
        Pusher::new(&registry, "base", None).image(b"base", "1").await;
        let image = Pusher::new(&registry, "staging/builds", None).image(b"made", "any").await;
        let profile = json!({
            "images": {"builder": format!("{registry}/builder@{}", digest('a'))},
            "executionNamespace": BUILDS,
            "registry": {"staging": {"repository": format!("{registry}/staging/builds")}, "insecure": [registry]},
        });
        let chart = Chart::installed(&json!({"profiles": {"docker": profile}})).await;
        chart.make(&users()).await;
        let kubeconfig = cluster::kubeconfig(&chart).await;
        let kubelet = Kubelet::start(chart.server.admin().await, image);
        Self { chart, kubelet, kubeconfig, registry, _servers: servers }
    }

    /// The process of the API server.
    pub fn api_server(&self) -> u32 {
        let started = self.chart.server.started().expect("our own");
        u32::try_from(started.ready.processes["kube-apiserver"]).expect("a process")
    }

    pub fn folder(&self) -> &PathBuf {
        &self.chart.server.started().expect("our own").ready.folder
    }

    /// Makes chains and waits until each is ready.
    pub async fn work(&self, work: Work<'_>) {
        let chains: Api<ImageChain> = Api::namespaced(self.chart.admin.clone(), work.namespace);
        let ready = timeout(HANGS, all_ready(chains.clone(), work));
        let makes = stream::iter(0..work.chains).map(|ordinal| self.make(&chains, work, ordinal));
        let ((), ready) = tokio::join!(makes.buffer_unordered(AT_ONCE).collect::<()>(), ready);
        ready.unwrap_or_else(|_| panic!("{} chains {} are not ready", work.chains, work.prefix));
    }

    async fn make(&self, chains: &Api<ImageChain>, work: Work<'_>, ordinal: usize) {
        let chain = serde_json::from_value(self.chain(work, ordinal)).expect("a chain");
        chains.create(&PostParams::default(), &chain).await.expect("a chain");
    }

    /// A chain of links that stand on each other, called by their places.
    fn chain(&self, work: Work<'_>, ordinal: usize) -> Value {
        let registry = &self.registry;
        let name = format!("{}-{ordinal:04}", work.prefix);
        let link = |place: usize| {
            let from = match place.checked_sub(1) {
                Some(below) => json!({"link": format!("l{below}")}),
                None => json!({"image": format!("{registry}/base:1")}),
            };
            let repository = format!("{registry}/{name}/l{place}");
            let mut link = json!({
                "name": format!("l{place}"), "from": from, "paths": [format!("l{place}")],
                "build": {"packer": {"template": format!("l{place}/a.json")}},
                "verify": [{"command": {"arguments": ["true"], "directory": format!("l{place}")}}],
            });
            if work.publish {
                link["publish"] = json!({"image": {"repository": repository, "tags": ["1", "latest"]}});
            }
            link
        };
        let files: BTreeMap<String, &str> = (0..work.links).map(|place| (format!("l{place}/a.json"), "{}")).collect();
        json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
            "metadata": {"name": name, "namespace": work.namespace, "labels": {LABEL: work.prefix}},
            "spec": {"profiles": ["docker"], "source": {"inline": {"files": files}},
                "links": (0..work.links).map(link).collect::<Vec<_>>()},
        })
    }

    /// Removes all that the floor has made.
    pub async fn without_floor(&self) {
        let chains: Api<ImageChain> = Api::namespaced(self.chart.admin.clone(), floor::NAMESPACE);
        chains.delete_collection(&DeleteParams::background(), &ListParams::default()).await.expect("a deletion");
        self.without_pods(floor::NAMESPACE).await;
    }

    /// Removes all pods of a namespace. First the Secrets that go with them: the garbage collector would remove them
    /// too, but no more than twenty in a second.
    pub async fn without_pods(&self, namespace: &str) {
        let pods: Api<Pod> = Api::namespaced(self.chart.admin.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(self.chart.admin.clone(), namespace);
        let (now, all) = (DeleteParams::default().grace_period(0), ListParams::default());
        secrets.delete_collection(&now, &all).await.expect("a deletion");
        pods.delete_collection(&now, &all).await.expect("a deletion");
    }
}

/// Waits until so many chains of a prefix are ready.
async fn all_ready(chains: Api<ImageChain>, work: Work<'_>) {
    let mut ready = HashSet::new();
    // A list of all chains would take the processor from whoever is measured.
    let of_this_work = watcher::Config::default().labels(&format!("{LABEL}={}", work.prefix));
    let mut changes = watcher(chains, of_this_work).default_backoff().applied_objects().boxed();
    while ready.len() < work.chains {
        let chain = changes.next().await.expect("a watch without end");
        let Ok(chain) = chain else { continue };
        let is_ready = chain
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if is_ready {
            ready.insert(chain.name_any());
        }
    }
}

/// The namespaces, the right of the tenant to use the profile, and that of the floor to make pods: it works with the
/// operator's account, since the gates let nobody else write a status.
fn users() -> Vec<Value> {
    let namespace = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let access = "rbac.authorization.k8s.io";
    let version = format!("{access}/v1");
    let group = format!("system:serviceaccounts:{TENANT}");
    vec![
        namespace(TENANT),
        namespace(floor::NAMESPACE),
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "use-docker"},
            "rules": [{"apiGroups": ["imagechain.dev"], "resources": ["buildprofiles"], "verbs": ["use"]}]}),
        json!({"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": "use-docker"},
            "roleRef": {"apiGroup": access, "kind": "ClusterRole", "name": "use-docker"},
            "subjects": [{"kind": "Group", "apiGroup": access, "name": group}]}),
        json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "pods", "namespace": floor::NAMESPACE},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "list", "watch"]}]}),
        json!({"apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "pods", "namespace": floor::NAMESPACE},
            "roleRef": {"apiGroup": access, "kind": "Role", "name": "pods"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}]}),
    ]
}

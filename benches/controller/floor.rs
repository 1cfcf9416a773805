//! The floor: the simplest controller that makes one bare pod after the other for the links of a chain, and
//! writes the chain's status once for each pod that is over. It looks nothing up, publishes nothing, reads nothing
//! live and survives nothing: what no controller of chains can do with less.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex},
};

use futures::StreamExt;
use http::{HeaderValue, header::USER_AGENT};
use imagechain::api::chain::ImageChain;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config, Error, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde_json::json;

/// The namespace of its chains and pods.
pub const NAMESPACE: &str = "floor";
/// By which it is known in the audit log.
pub const AGENT: &str = "bare-pod-floor";

/// What it remembers: without it, a copy that lags behind would let it write twice.
struct Floor {
    client: Client,
    pods: Store<Pod>,
    made: Mutex<HashSet<String>>,
    told: Mutex<HashMap<String, usize>>,
}

/// Runs until it is killed.
pub async fn run(kubeconfig: &str) {
    let kubeconfig = Kubeconfig::read_from(Path::new(kubeconfig)).expect("a kubeconfig");
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a kubeconfig");
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let client = Client::try_from(config).expect("a client");
    let (pods, writer) = reflector::store();
    let watched = watcher(Api::<Pod>::namespaced(client.clone(), NAMESPACE), watcher::Config::default())
        .default_backoff()
        .modify(|pod| (pod.metadata.managed_fields, pod.spec) = (None, None))
        .reflect(writer)
        .touched_objects();
    let floor = Floor { client: client.clone(), pods, made: Mutex::default(), told: Mutex::default() };
    Controller::new(Api::<ImageChain>::namespaced(client, NAMESPACE), watcher::Config::default())
        .owns_stream(watched)
        .with_config(controller::Config::default().concurrency(16))
        .run(reconcile, |_, error, _| panic!("the floor: {error}"), Arc::new(floor))
        .for_each(|_| async {})
        .await;
}

async fn reconcile(chain: Arc<ImageChain>, floor: Arc<Floor>) -> Result<Action, Error> {
    let (name, links) = (chain.name_any(), chain.spec.links.len());
    let done = (0..links).take_while(|link| floor.is_over(&pod_name(&name, *link))).count();
    if done < links && floor.made.lock().expect("a lock").insert(pod_name(&name, done)) {
        floor.make(&chain, &pod_name(&name, done)).await?;
    }
    if done > 0 && floor.told.lock().expect("a lock").insert(name.clone(), done) != Some(done) {
        floor.tell(&chain, &name, done, links).await?;
    }
    Ok(Action::await_change())
}

/// The pod of a link, by its place.
pub fn pod_name(chain: &str, link: usize) -> String {
    format!("{chain}-{link}")
}

impl Floor {
    fn is_over(&self, name: &str) -> bool {
        let pod = self.pods.get(&ObjectRef::new(name).within(NAMESPACE));
        pod.is_some_and(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded"))
    }

    async fn make(&self, chain: &ImageChain, name: &str) -> Result<(), Error> {
        let owner = chain.controller_owner_ref(&()).expect("a chain of the API server");
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "build", "image": "i"}]},
        }));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        pods.create(&PostParams::default(), &pod.expect("a pod")).await.map(drop)
    }

    async fn tell(&self, chain: &ImageChain, name: &str, done: usize, links: usize) -> Result<(), Error> {
        let generation = chain.metadata.generation;
        let (status, reason) = if done == links { ("True", "LinksReady") } else { ("Unknown", "Building") };
        let ready = json!({"type": "Ready", "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation});
        let status =
            json!({"observedGeneration": generation, "conditions": [ready], "ready": format!("{done}/{links}")});
        let chains: Api<ImageChain> = Api::namespaced(self.client.clone(), NAMESPACE);
        chains.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.map(drop)
    }
}

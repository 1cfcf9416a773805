//! A scripted kubelet: it plays what build pods do by writing their statuses, and pushes the images that they
//! would push.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use imagechain::{
    api::{
        JOB_ANNOTATION,
        build::{Stage, Verification},
        condition::Reason,
    },
    plan::{job::Job, observed::Report},
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        wait::await_condition,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    images::Pusher,
    statuses::{failed, status},
};

/// What a pod does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// It builds, tests and pushes.
    Succeed,
    /// A stage fails, with this reason.
    Fail(Stage, Reason),
    /// It builds on and on, until it is told something else.
    Hold,
    /// The first attempt ends with this status, the next ones succeed.
    First(Value),
    /// It ends with this status, every time.
    Always(Value),
    /// The first attempt's pod is gone all at once, as with its node; the next ones succeed.
    Vanish,
}

/// The scripts by chain and link, the latest of which counts.
#[derive(Clone)]
pub struct Kubelet {
    scripts: Arc<watch::Sender<HashMap<(String, String), Script>>>,
    /// The names of the pods that were seen, in order.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Kubelet {
    /// Plays all pods of a namespace, on a thread of its own, as long as the process lives.
    pub fn start(client: impl FnOnce() -> Client + Send + 'static, namespace: &'static str) -> Self {
        let kubelet = Self { scripts: Arc::new(watch::Sender::default()), seen: Arc::default() };
        let player = kubelet.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move { player.run(Api::namespaced(client(), namespace)).await });
        });
        kubelet
    }

    /// From now on, pods of that link do this.
    pub fn script(&self, namespace: &str, link: &str, script: Script) {
        let place = (namespace.to_owned(), link.to_owned());
        self.scripts.send_modify(|all| {
            all.insert(place, script);
        });
    }

    /// The pods of the builds of a chain that were ever there, by name.
    pub fn pods_of(&self, prefix: &str) -> Vec<String> {
        self.seen.lock().expect("pods").iter().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    async fn run(self, pods: Api<Pod>) {
        let mut events = watcher(pods.clone(), watcher::Config::default()).boxed();
        let mut known = HashSet::new();
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
            if known.insert(pod.uid()) {
                self.seen.lock().expect("pods").push(pod.name_any());
                tokio::spawn(self.clone().play(pods.clone(), pod));
            }
        }
    }

    async fn play(self, pods: Api<Pod>, pod: Pod) {
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let place = (label("imagechain.dev/buildNamespace"), label("imagechain.dev/link"));
        // A stranger's pod does nothing.
        let Some(job) = pod.annotations().get(JOB_ANNOTATION) else { return };
        let job = Job::parse(job).expect("a job");
        let mut scripts = self.scripts.subscribe();
        let script = scripts.borrow_and_update().get(&place).cloned();
        if let Some(Script::First(status) | Script::Always(status)) = script
            && status["phase"] == "Pending"
            && job.attempt == 1
        {
            return write(&pods, &pod, status).await;
        }
        if !has_secrets(&pods, &pod).await {
            return;
        }
        write(&pods, &pod, status("Running", &[(Stage::Source, None)])).await;
        let source = Some(report(Stage::Source));
        write(&pods, &pod, status("Running", &[(Stage::Source, source.clone()), (Stage::Build, None)])).await;
        let script = loop {
            let script = scripts.borrow_and_update().get(&place).cloned().unwrap_or(Script::Succeed);
            if script != Script::Hold || pods.get_opt(&pod.name_any()).await.expect("an answer").is_none() {
                break script;
            }
            // A pod that is deleted meanwhile plays on for nobody.
            let _ = tokio::time::timeout(Duration::from_secs(5), scripts.changed()).await;
        };
        let end = match script {
            Script::Fail(stage, reason) => failed(stage, reason),
            Script::First(status) if job.attempt == 1 => status,
            Script::Always(status) => status,
            Script::Vanish if job.attempt == 1 => {
                let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                return drop(pods.delete(&pod.name_any(), &parameters).await.expect("a deletion"));
            }
            _ => succeeded(&job).await,
        };
        write(&pods, &pod, end).await;
    }
}

/// Waits for the Secrets that a pod mounts, as a kubelet does; false if the pod goes before they come.
async fn has_secrets(pods: &Api<Pod>, pod: &Pod) -> bool {
    let place = pod.namespace().expect("a namespace");
    let secrets: Api<Secret> = Api::namespaced(pods.clone().into_client(), &place);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = volumes.filter_map(|volume| volume.secret.as_ref()).filter(|secret| secret.optional != Some(true));
    for name in mounted.filter_map(|secret| secret.secret_name.as_ref()) {
        let there = await_condition(secrets.clone(), name, |secret: Option<&Secret>| secret.is_some());
        let (own, uid) = (pod.name_any(), pod.uid());
        let gone = await_condition(pods.clone(), &own, |now: Option<&Pod>| now.is_none_or(|now| now.uid() != uid));
        tokio::select! {
            found = there => drop(found.expect("a watch")),
            _ = gone => return false,
        }
    }
    true
}

/// A stage that says that all went well.
pub(super) fn report(stage: Stage) -> Report {
    Report { stage, failure: None, content: None, repository: None, digest: None, size: None, verification: vec![] }
}

/// Pushes an image that is a function of what it is made from, as a build does that can be repeated, and
/// reports it.
async fn succeeded(job: &Job) -> Value {
    let (registry, repository) = job.staging.repository.split_once('/').expect("a repository");
    let parent = job.parent.as_ref().map(|parent| parent.reference.clone());
    let content = json!([job.chain, job.link, job.files, parent, job.steps]).to_string();
    let pushed = Pusher::new(registry, repository, None).image(content.as_bytes(), &job.staging.tag).await;
    let image = pushed.image.map(|image| image.to_string());
    let of = |stage| Report { content: image.clone(), ..report(stage) };
    let step = |number: usize| Verification {
        step: format!("{number} test"),
        passed: true,
        tests: Some(1),
        failures: Some(0),
        seconds: 1,
    };
    let verify = Report { verification: (1..=job.steps.verify.len()).map(step).collect(), ..of(Stage::Verify) };
    let publish = Report {
        repository: Some(job.staging.repository.clone()),
        digest: Some(pushed.digest.to_string()),
        size: Some(1),
        ..of(Stage::Publish)
    };
    let stages = [report(Stage::Source), of(Stage::Build), verify, publish];
    status("Succeeded", &stages.map(|report| (report.stage, Some(report))))
}

/// Writes a status; of a pod that is gone nothing.
async fn write(pods: &Api<Pod>, pod: &Pod, status: Value) {
    let body = Patch::Merge(json!({"metadata": {"uid": pod.uid()}, "status": status}));
    match pods.patch_status(&pod.name_any(), &PatchParams::default(), &body).await {
        Ok(_) => {}
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
        Err(error) => panic!("the kubelet: {error}"),
    }
}

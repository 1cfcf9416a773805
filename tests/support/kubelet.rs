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
    plan::{
        job::Job,
        observed::{Report, ReportedFailure},
    },
};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::images::Pusher;

/// What a pod does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// It builds, tests and pushes.
    Succeed,
    /// A stage fails, with this reason.
    Fail(Stage, Reason),
    /// It builds on and on, until it is told something else.
    Hold,
    /// The first attempt is disrupted, as by a drain of its node; the next ones succeed.
    Disrupt,
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
        let job = Job::parse(&pod.annotations()[JOB_ANNOTATION]).expect("a job");
        let mut scripts = self.scripts.subscribe();
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
            Script::Disrupt if job.attempt == 1 => disrupted(),
            _ => succeeded(&job).await,
        };
        write(&pods, &pod, end).await;
    }
}

fn report(stage: Stage) -> Report {
    Report { stage, failure: None, image_id: None, repository: None, digest: None, size: None, verification: vec![] }
}

/// Pushes an image that is a function of what it is made from, and reports it.
async fn succeeded(job: &Job) -> Value {
    let (registry, repository) = job.staging.repository.split_once('/').expect("a repository");
    let parent = job.parent.as_ref().map(|parent| parent.reference.clone());
    let content = json!([job.chain, job.link, job.files, parent, job.build]).to_string();
    let pushed = Pusher::new(registry, repository, None).image(content.as_bytes(), &job.staging.tag).await;
    let image = pushed.image.map(|image| image.to_string());
    let of = |stage| Report { image_id: image.clone(), ..report(stage) };
    let step = |number: usize| Verification {
        step: format!("{number} test"),
        passed: true,
        tests: Some(1),
        failures: Some(0),
        seconds: 1,
    };
    let verify = Report { verification: (1..=job.verify.len()).map(step).collect(), ..of(Stage::Verify) };
    let publish = Report {
        repository: Some(job.staging.repository.clone()),
        digest: Some(pushed.digest.to_string()),
        size: Some(1),
        ..of(Stage::Publish)
    };
    let stages = [report(Stage::Source), of(Stage::Build), verify, publish];
    status("Succeeded", &stages.map(|report| (report.stage, Some(report))))
}

fn failed(at: Stage, reason: Reason) -> Value {
    let before = [Stage::Source, Stage::Build, Stage::Verify].into_iter().take_while(|stage| *stage != at);
    let mut stages: Vec<_> = before.map(|stage| (stage, Some(report(stage)))).collect();
    let failure = ReportedFailure {
        reason,
        message: "what the stage says".to_owned(),
        task: Some("the task".to_owned()),
        lacked: None,
    };
    stages.push((at, Some(Report { failure: Some(failure), ..report(at) })));
    status("Failed", &stages)
}

fn disrupted() -> Value {
    let mut status = status("Failed", &[(Stage::Source, Some(report(Stage::Source)))]);
    status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True", "reason": "Drained", "message": "drained",
        "lastTransitionTime": Timestamp::now().to_string()}]);
    status
}

/// The status of a pod whose stages have ended with a report, or run still.
fn status(phase: &str, stages: &[(Stage, Option<Report>)]) -> Value {
    let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time").to_string();
    let container = |(stage, report): &(Stage, Option<Report>)| {
        let state = match report {
            None => json!({"running": {"startedAt": now}}),
            Some(report) => json!({"terminated": {
                "exitCode": i32::from(report.failure.is_some()), "startedAt": now, "finishedAt": now,
                "message": serde_json::to_string(report).expect("JSON"),
            }}),
        };
        json!({"name": stage.container(), "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    };
    let of = |main: bool| -> Vec<Value> {
        stages.iter().filter(|(stage, _)| (*stage == Stage::Publish) == main).map(container).collect()
    };
    json!({"phase": phase, "startTime": now, "initContainerStatuses": of(false), "containerStatuses": of(true)})
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

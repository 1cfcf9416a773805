//! The kubelet of both controllers: it plays pods that do well, in as much time as they are told to take.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use imagechain::{
    api::{
        BUILD_NAMESPACE_LABEL, JOB_ANNOTATION,
        build::{Stage, Verification},
    },
    plan::{job::Job, observed::Report},
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use super::{
    floor,
    support::{chart::BUILDS, images::Pushed, statuses::status},
};

/// Which link a pod was of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub namespace: String,
    pub chain: String,
    pub link: usize,
}

/// The kubelet; clones are the same.
#[derive(Clone)]
pub struct Kubelet {
    client: Client,
    /// The image that every build has pushed already, whatever it builds.
    image: Arc<Pushed>,
    /// How long a stage takes, in milliseconds; 0: a pod is over as soon as it has begun.
    stage: Arc<AtomicU64>,
    /// The pods that were played, with their links.
    played: Arc<Mutex<Vec<(String, Place)>>>,
    /// The Secrets that are there, by name.
    secrets: Arc<watch::Sender<HashSet<String>>>,
}

impl Kubelet {
    /// Plays the pods of both controllers from now on.
    pub fn start(client: Client, image: Pushed) -> Self {
        let kubelet = Self {
            client,
            image: Arc::new(image),
            stage: Arc::default(),
            played: Arc::default(),
            secrets: Arc::default(),
        };
        for namespace in [BUILDS, floor::NAMESPACE] {
            tokio::spawn(kubelet.clone().follow(namespace));
        }
        tokio::spawn(kubelet.clone().follow_secrets());
        kubelet
    }

    /// From now on a stage takes so long.
    pub fn stages_take(&self, time: Duration) {
        self.stage.store(u64::try_from(time.as_millis()).expect("a short time"), Ordering::Relaxed);
    }

    /// The pods that were played so far, with their links.
    pub fn played(&self) -> Vec<(String, Place)> {
        self.played.lock().expect("a lock").clone()
    }

    async fn follow(self, namespace: &'static str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut events = watcher(pods.clone(), watcher::Config::default()).default_backoff().boxed();
        let mut known = HashSet::new();
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
            if known.insert(pod.uid()) {
                tokio::spawn(self.clone().play(pods.clone(), pod));
            }
        }
    }

    async fn follow_secrets(self) {
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), BUILDS);
        let mut events = watcher(secrets, watcher::Config::default()).default_backoff().applied_objects().boxed();
        while let Some(event) = events.next().await {
            let Ok(secret) = event else { continue };
            self.secrets.send_modify(|there| {
                there.insert(secret.name_any());
            });
        }
    }

    async fn play(self, pods: Api<Pod>, pod: Pod) {
        let job = pod.annotations().get(JOB_ANNOTATION).map(|job| Job::parse(job).expect("a job"));
        let Some(place) = place(&pod, job.as_ref()) else { return };
        self.played.lock().expect("a lock").push((pod.name_any(), place));
        self.mount(&pod).await;
        let stage = Duration::from_millis(self.stage.load(Ordering::Relaxed));
        let statuses = match &job {
            Some(job) => of_stages(&self.reports(job), stage),
            None => vec![(json!({"phase": "Running"}), 4 * stage), (json!({"phase": "Succeeded"}), Duration::ZERO)],
        };
        for (status, pause) in statuses {
            write(&pods, &pod, status).await;
            sleep(pause).await;
        }
    }

    /// Waits for the Secrets that a pod mounts, as a kubelet does.
    async fn mount(&self, pod: &Pod) {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        for name in volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone()) {
            let mut there = self.secrets.subscribe();
            there.wait_for(|there| there.contains(&name)).await.expect("a kubelet");
        }
    }

    /// What the stages of a build say that went well.
    fn reports(&self, job: &Job) -> [Report; 4] {
        let image_id = self.image.image.as_ref().map(ToString::to_string);
        let of = |stage| Report {
            stage,
            failure: None,
            content: image_id.clone(),
            repository: None,
            digest: None,
            size: None,
            verification: Vec::new(),
            left_out: Vec::new(),
        };
        let step = |number: usize| Verification {
            step: format!("{number} test"),
            passed: true,
            tests: Some(1),
            failures: Some(0),
            seconds: 1,
            image_ran: Some(true),
        };
        let verify = Report { verification: (1..=job.steps.verify.len()).map(step).collect(), ..of(Stage::Verify) };
        let publish = Report {
            repository: Some(job.staging.repository.clone()),
            digest: Some(self.image.digest.to_string()),
            size: Some(1),
            ..of(Stage::Publish)
        };
        [of(Stage::Source), of(Stage::Build), verify, publish]
    }
}

fn finished(report: Report) -> (Stage, Option<Report>) {
    (report.stage, Some(report))
}

/// The statuses of a pod, each with the time until the next. Where stages take no time, nobody sees more than the
/// first of them begin.
fn of_stages(reports: &[Report], time: Duration) -> Vec<(Value, Duration)> {
    let seen = if time.is_zero() { 1 } else { reports.len() };
    let running = (0..seen).map(|done| {
        let mut stages: Vec<_> = reports[..done].iter().cloned().map(finished).collect();
        stages.push((reports[done].stage, None));
        (status("Running", &stages), time)
    });
    let over: Vec<_> = reports.iter().cloned().map(finished).collect();
    running.chain([(status("Succeeded", &over), Duration::ZERO)]).collect()
}

/// The link of a pod: links are called by their places.
fn place(pod: &Pod, job: Option<&Job>) -> Option<Place> {
    if let Some(job) = job {
        let namespace = pod.labels().get(BUILD_NAMESPACE_LABEL)?.clone();
        let link = job.link.as_ref()?.trim_start_matches('l').parse().ok()?;
        return Some(Place { namespace, chain: job.chain.clone()?, link });
    }
    let name = pod.name_any();
    let (chain, link) = name.rsplit_once('-')?;
    Some(Place { namespace: pod.namespace()?, chain: chain.to_owned(), link: link.parse().ok()? })
}

async fn write(pods: &Api<Pod>, pod: &Pod, status: Value) {
    let body = Patch::Merge(json!({"metadata": {"uid": pod.uid()}, "status": status}));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &body).await.expect("the kubelet writes");
}

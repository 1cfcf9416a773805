//! A scripted kubelet: it plays what build pods do by writing their statuses, and pushes the images and boxes that
//! they would push.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use imagechain::{
    api::{
        ATTEMPT_LABEL, JOB_ANNOTATION,
        boxes::{ArtifactKind, BoxProvider},
        build::{Stage, Verification},
        condition::Reason,
    },
    plan::{image::Digest, observed::Report},
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{
        wait::await_condition,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    images::{Pusher, image_id, vagrant_box},
    statuses::{failed, in_words_before, status, unschedulable},
};

/// The label of a profile's `nodeSelector` whose value is the name of the node that its pods get.
pub const NODE_LABEL: &str = "kubernetes.io/hostname";

/// What a pod does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// It builds, tests and pushes.
    Succeed,
    /// A stage fails, with this reason.
    Fail(Stage, Reason),
    /// It builds on and on, until it is told something else.
    Hold,
    /// The same in another stage.
    HoldAt(Stage),
    /// It waits for its node, until another script counts.
    Pend,
    /// The same, and the scheduler says that it finds none.
    Unplaced,
    /// The first attempt ends with this status, the next ones succeed.
    First(Value),
    /// It ends with this status, every time.
    Always(Value),
    /// The first attempt's pod is gone all at once, as with its node; the next ones succeed.
    Vanish,
}

impl Script {
    fn holds_at(&self) -> Option<Stage> {
        match self {
            Self::Hold => Some(Stage::Build),
            Self::HoldAt(stage) => Some(*stage),
            _ => None,
        }
    }
}

/// Whose runner a pod has, and so how its stages report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// That of the present version.
    Present,
    /// That of the version before ([`in_words_before`]).
    Before,
}

/// The scripts by chain and link, the latest of which counts.
#[derive(Clone)]
pub struct Kubelet {
    scripts: Arc<watch::Sender<HashMap<(String, String), Script>>>,
    /// The names of the pods that were seen, in order.
    seen: Arc<Mutex<Vec<String>>>,
    /// That of the pods which are seen from now on.
    runner: Arc<Mutex<Runner>>,
}

impl Kubelet {
    /// Plays all pods of a namespace, on a thread of its own, as long as the process lives.
    pub fn start(client: impl FnOnce() -> Client + Send + 'static, namespace: &'static str) -> Self {
        let kubelet = Self {
            scripts: Arc::new(watch::Sender::default()),
            seen: Arc::default(),
            runner: Arc::new(Mutex::new(Runner::Present)),
        };
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

    /// From now on, pods that appear have this runner.
    pub fn runner(&self, runner: Runner) {
        *self.runner.lock().expect("a runner") = runner;
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
                // A stranger's pod does nothing.
                let Some(work) = Work::of(&pod) else { continue };
                let runner = *self.runner.lock().expect("a runner");
                let scripts = self.scripts.subscribe();
                tokio::spawn(Player { pods: pods.clone(), pod, work, runner, scripts }.play());
            }
        }
    }
}

/// What a pod is to do. It is read from JSON and labels, not by our types: a pod of another version is played, too.
struct Work {
    attempt: i32,
    /// Where it pushes: registry, repository and tag.
    staging: (String, String, String),
    /// How many test steps there are.
    steps: usize,
    /// What it makes: a pod that boots machines makes a box.
    kind: ArtifactKind,
    /// The provider of a Vagrant box.
    provider: Option<BoxProvider>,
    /// What the product is a function of, as of a build that can be repeated.
    content: String,
}

impl Work {
    fn of(pod: &Pod) -> Option<Self> {
        let job: Value = serde_json::from_str(pod.annotations().get(JOB_ANNOTATION)?).expect("a job");
        let text = |pointer: &str| job.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
        let (staging, tag) = (text("/staging/repository"), text("/staging/tag"));
        let (registry, repository) = staging.split_once('/').expect("a repository");
        // The steps, as the version before wrote them and as the present one does.
        let made_from = ["/chain", "/link", "/files", "/parent/reference", "/packer", "/verify", "/steps"];
        let steps = job.pointer("/steps/verify").or_else(|| job.get("verify")).and_then(Value::as_array);
        let is_packer = job.pointer("/steps/build/packer").is_some();
        let provider = job.pointer("/steps/build/box/provider").filter(|provider| !provider.is_null());
        let provider = provider.map(|provider| serde_json::from_value(provider.clone()).expect("a provider"));
        Some(Self {
            attempt: pod.labels()[ATTEMPT_LABEL].parse().expect("a number"),
            staging: (registry.to_owned(), repository.to_owned(), tag),
            steps: steps.expect("steps").len(),
            kind: if job.get("machine").is_some() { ArtifactKind::Box } else { ArtifactKind::Image },
            provider: provider.or_else(|| is_packer.then_some(BoxProvider::Libvirt)),
            content: json!(made_from.map(|pointer| job.pointer(pointer))).to_string(),
        })
    }

    /// The file of a box.
    fn file(&self) -> Vec<u8> {
        let content = self.content.as_bytes();
        self.provider.map_or_else(|| content.to_vec(), |provider| vagrant_box(content, provider))
    }

    /// What the stages report where all goes well, as far as they are known without a push.
    fn reports(&self) -> [Report; 4] {
        let digest = match self.kind {
            ArtifactKind::Image => image_id(self.content.as_bytes()),
            ArtifactKind::Box => Digest::of(&self.file()),
        };
        let content = Some(digest.to_string());
        let of = |stage| Report { content: content.clone(), ..report(stage) };
        let step = |number: usize| Verification {
            step: format!("{number} test"),
            passed: true,
            tests: Some(1),
            failures: Some(0),
            seconds: 1,
            // Of a machine nobody can tell.
            image_ran: self.kind.is_image().then_some(true),
        };
        let verify = Report { verification: (1..=self.steps).map(step).collect(), ..of(Stage::Verify) };
        [report(Stage::Source), of(Stage::Build), verify, of(Stage::Publish)]
    }

    /// The status while a stage runs.
    fn running(&self, stage: Stage) -> Value {
        let before = self.reports().into_iter().take_while(|report| report.stage != stage);
        let ended = before.map(|report| (report.stage, Some(report)));
        status("Running", &ended.chain([(stage, None)]).collect::<Vec<_>>())
    }

    /// Pushes the product, and reports it.
    async fn succeeded(&self) -> Value {
        let (registry, repository, tag) = &self.staging;
        let target = Pusher::new(registry, repository, None);
        let pushed = match self.kind {
            ArtifactKind::Image => target.image(self.content.as_bytes(), tag).await,
            ArtifactKind::Box => target.machine_box(&self.file(), self.provider, tag).await,
        };
        let [source, build, verify, publish] = self.reports();
        let publish = Report {
            repository: Some(format!("{registry}/{repository}")),
            digest: Some(pushed.digest.to_string()),
            size: Some(1),
            ..publish
        };
        status("Succeeded", &[source, build, verify, publish].map(|report| (report.stage, Some(report))))
    }
}

/// A pod that is played.
struct Player {
    pods: Api<Pod>,
    pod: Pod,
    work: Work,
    runner: Runner,
    scripts: watch::Receiver<HashMap<(String, String), Script>>,
}

impl Player {
    async fn play(mut self) {
        if self.script_after(|_| false).await == Script::Unplaced {
            self.write(unschedulable()).await;
        }
        let mut script = self.script_after(|script| matches!(script, Script::Pend | Script::Unplaced)).await;
        self.place().await;
        if let Script::First(status) | Script::Always(status) = &script
            && status["phase"] == "Pending"
            && self.work.attempt == 1
        {
            return self.write(status.clone()).await;
        }
        if !has_secrets(&self.pods, &self.pod).await {
            return;
        }
        for stage in [Stage::Source, Stage::Build, Stage::Verify, Stage::Publish] {
            script = self.script_after(|_| false).await;
            // The last two are over at once, unless they are held.
            if matches!(stage, Stage::Source | Stage::Build) || script.holds_at() == Some(stage) {
                self.write(self.work.running(stage)).await;
                script = self.script_after(|script| script.holds_at() == Some(stage)).await;
            }
        }
        let end = match script {
            Script::Fail(stage, reason) => failed(stage, reason),
            Script::First(status) if self.work.attempt == 1 => status,
            Script::Always(status) => status,
            Script::Vanish if self.work.attempt == 1 => {
                let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                return drop(self.pods.delete(&self.pod.name_any(), &parameters).await.expect("a deletion"));
            }
            _ => self.work.succeeded().await,
        };
        self.write(end).await;
    }

    /// Places the pod on the one node that it names, as a scheduler does. Where a pod names none, no test has a node.
    async fn place(&self) {
        let selector = self.pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
        let Some(node) = selector.and_then(|labels| labels.get(NODE_LABEL)) else { return };
        let name = self.pod.name_any();
        let body = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"kind": "Node", "name": node}});
        let answer: kube::Result<Value> =
            self.pods.create_subresource("binding", &name, &PostParams::default(), &body).await;
        // A pod that is gone gets no node.
        assert!(matches!(&answer, Ok(_) | Err(kube::Error::Api(_))), "the scheduler: {answer:?}");
    }

    /// The script that counts, once it is none that holds the pod.
    async fn script_after(&mut self, holds: impl Fn(&Script) -> bool) -> Script {
        let label = |name: &str| self.pod.labels().get(name).cloned().unwrap_or_default();
        let place = (label("imagechain.dev/buildNamespace"), label("imagechain.dev/link"));
        loop {
            let script = self.scripts.borrow_and_update().get(&place).cloned().unwrap_or(Script::Succeed);
            if !holds(&script) || self.pods.get_opt(&self.pod.name_any()).await.expect("an answer").is_none() {
                return script;
            }
            // A deleted pod plays on to its end.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.scripts.changed()).await;
        }
    }

    /// Writes a status; of a pod that is gone nothing.
    async fn write(&self, status: Value) {
        let status = match self.runner {
            Runner::Present => status,
            Runner::Before => in_words_before(status),
        };
        let body = Patch::Merge(json!({"metadata": {"uid": self.pod.uid()}, "status": status}));
        match self.pods.patch_status(&self.pod.name_any(), &PatchParams::default(), &body).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
            Err(error) => panic!("the kubelet: {error}"),
        }
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
    Report {
        stage,
        failure: None,
        content: None,
        repository: None,
        digest: None,
        size: None,
        verification: vec![],
        left_out: vec![],
    }
}

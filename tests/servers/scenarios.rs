//! What befalls chains in the course of their life, one after the other: shapes and sizes, failures of every
//! class, changes while builds run, what is shared with others, what is forgotten.
//!
//! The program, the chart's rights and gates, the API server, the registry and the git server are real; the
//! kubelet is played. `controller.rs` has what every chain goes through.

mod drift;
mod held;
mod packages;
mod published;
mod queue;
mod roles;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use imagechain::api::{
    BUILD_UID_LABEL, PROFILE_LABEL, REQUESTED_AT,
    build::{ImageBuild, Stage},
    chain::{ImageChain, LinkState},
    condition::{Class, Reason},
};
use k8s_openapi::{
    api::{
        core::v1::{Node, Pod},
        rbac::v1::ClusterRoleBinding,
    },
    jiff,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{
        wait::await_condition,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    chart::{BUILDS, NAME, SYSTEM},
    cluster::shared,
    images::Pusher,
    kubelet::Script,
    servers::Worktree,
    statuses,
    tenant::{Tenant, attempts, build_name, is, message},
};

/// No proof of anything: the largest chain takes a while.
const HANGS: Duration = Duration::from_mins(4);

impl Tenant<'_> {
    /// The builds of a link.
    async fn builds_of(&self, link: &str) -> Vec<ImageBuild> {
        let is_of = |build: &ImageBuild| build.spec.chain_ref.as_ref().is_some_and(|chain| chain.link.0 == link);
        let mut builds = self.builds().await;
        builds.retain(is_of);
        builds
    }

    /// Waits for a build of a link.
    async fn wait_build(&self, link: &str, what: &str, condition: impl Fn(&ImageBuild) -> bool) {
        let name = self.build_of(link).await.name_any();
        let wanted = |build: Option<&ImageBuild>| build.is_some_and(&condition);
        self.wait(self.api::<ImageBuild>(), &name, what, wanted).await;
    }

    /// Waits for a build of a link that comes after another one.
    async fn build_after(&self, old: &ImageBuild) -> ImageBuild {
        let link = &old.spec.chain_ref.as_ref().expect("a chain").link.0;
        let is_new = |name: String| name != old.name_any();
        self.wait_chain("another build", |chain| build_name(chain, link).is_some_and(is_new)).await;
        self.build_of(link).await
    }

    /// Another file of a link that has inline files.
    async fn write(&self, link: &str, text: &str) {
        let path = format!("{link}/a.json");
        self.edit(json!({"spec": {"source": {"inline": {"files": {path: text}}}}})).await;
    }

    /// The chain under another name, with other links.
    fn named(&self, name: &str, links: &[&str]) -> Value {
        let mut chain = self.chain(links);
        chain["metadata"]["name"] = json!(name);
        chain
    }

    async fn wait_other(&self, name: &str, what: &str, condition: impl Fn(&ImageChain) -> bool) {
        let wanted = |chain: Option<&ImageChain>| chain.is_some_and(&condition);
        self.wait(self.api::<ImageChain>(), name, what, wanted).await;
    }

    /// Takes the right to use profiles away, and waits until the API server has learnt of it, by a watch of its
    /// own.
    async fn revoke(&self) -> ClusterRoleBinding {
        let (roles, name) = (Api::<ClusterRoleBinding>::all(self.admin.clone()), format!("use-{}", self.namespace));
        let binding = roles.get(&name).await.expect("a binding");
        roles.delete(&name, &DeleteParams::default()).await.expect("a deletion");
        let user = format!("--as=system:serviceaccount:{}:default", self.namespace);
        let group = format!("--as-group=system:serviceaccounts:{}", self.namespace);
        crate::support::chart::eventually("the right is gone", async || {
            let answer =
                self.stage.chart.kubectl(&["auth", "can-i", "use", "buildprofiles.imagechain.dev", &user, &group]);
            answer.map_or(Ok(()), |_| Err("it is still there".to_owned()))
        })
        .await;
        binding
    }

    /// Gives it back.
    async fn grant(&self, binding: ClusterRoleBinding) {
        let metadata = ObjectMeta { name: binding.metadata.name.clone(), ..ObjectMeta::default() };
        let roles: Api<ClusterRoleBinding> = Api::all(self.admin.clone());
        roles.create(&PostParams::default(), &ClusterRoleBinding { metadata, ..binding }).await.expect("a binding");
    }

    /// A chain with a git source.
    fn on_git(&self, links: &[&str]) -> (Value, Worktree) {
        let url = format!("{}/{}.git", self.stage.servers.git(), self.namespace);
        let mut chain = self.chain(links);
        chain["spec"]["source"] = json!({"git": {"url": url, "revision": "main"}});
        (chain, Worktree::new(&url))
    }

    /// Has all sources and bases looked up anew, as every change of the object does, and changes nothing else.
    async fn look_again(&self, interval: &str) {
        self.edit(json!({"spec": {"triggers": {"interval": interval}}})).await;
    }
}

fn is_done(chain: &ImageChain) -> bool {
    is(chain, "Ready", "True", None) && is(chain, "UpToDate", "True", None)
}

fn reason(build: &ImageBuild) -> Option<Reason> {
    Some(build.status.as_ref()?.failure.as_ref()?.reason)
}

fn has_ended(build: &ImageBuild) -> bool {
    build.status.as_ref().is_some_and(|status| status.finished_at.is_some())
}

/// Whether a build waits for what is missing, or for somebody.
fn is_held(build: &ImageBuild, reason: Reason) -> bool {
    let mut conditions = build.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|each| each.type_ == "Ready" && each.status != "True" && each.reason == reason.to_string())
}

// Shapes and sizes.

#[tokio::test]
async fn a_link_waits_for_its_own_parent_and_for_no_other() {
    let tenant = Tenant::new(shared(), "diamond").await;
    let mut chain = tenant.chain(&["base", "left", "right", "top"]);
    chain["spec"]["links"][2]["from"] = json!({"link": "base"});
    chain["spec"]["links"][3]["from"] = json!({"link": "left"});
    tenant.script("left", Script::Hold);
    tenant.script("right", Script::Hold);
    tenant.make(&chain).await;
    // Both sides at once.
    tenant.running("left").await;
    tenant.running("right").await;
    tenant.script("left", Script::Succeed);
    tenant.wait_build("top", "the top is built beside the right side", has_ended).await;
    let right = tenant.build_of("right").await;
    assert!(!has_ended(&right), "it still runs");
    tenant.script("right", Script::Succeed);
    tenant.ready().await;
    let staged = tenant.staged("left").await;
    let top = tenant.build_of("top").await.spec.inputs.unwrap().parent.unwrap();
    assert!(top.0.ends_with(&staged), "{top} stands on the left side, {staged}");
}

#[tokio::test]
async fn twenty_links_in_a_line_are_built_one_after_the_other() {
    let tenant = Tenant::new(shared(), "twenty").await;
    let names: Vec<String> = (1..=20).map(|number| format!("link{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    tenant.make(&tenant.chain(&names)).await;
    tenant.ready().await;
    let builds = tenant.builds().await;
    assert_eq!(builds.len(), 20);
    for (below, link) in names.iter().zip(&names[1..]) {
        let parent = tenant.builds_of(link).await[0].spec.inputs.clone().unwrap().parent.unwrap();
        assert!(parent.0.ends_with(&tenant.staged(below).await), "{link} stands on {parent}");
    }
}

#[tokio::test]
async fn a_chain_of_256_links_is_built() {
    let tenant = Tenant::new(shared(), "largest").await;
    let names: Vec<String> = (0..256).map(|number| format!("link{number}")).collect();
    let mut chain = tenant.chain(&["link0"]);
    let links: Vec<Value> = (0_usize..256)
        .map(|index| {
            // Each link carries four more: as many at once as a chain may have.
            let below = index.checked_sub(1).map(|before| names[before / 4].as_str());
            let mut link = tenant.link(&names[index], below);
            link["build"]["packer"]["template"] = json!("link0/a.json");
            link["verify"][0]["command"]["directory"] = json!("link0");
            link["publish"]["image"]["tags"] = json!(["1"]);
            link
        })
        .collect();
    chain["spec"]["links"] = json!(links);
    chain["spec"]["parallelism"] = json!(64);
    tenant.make(&chain).await;
    let wanted = |chain: Option<&ImageChain>| chain.is_some_and(is_done);
    let ended = timeout(HANGS, await_condition(tenant.api::<ImageChain>(), "c", wanted)).await;
    let chain = tenant.chain_now().await;
    let ready = chain.status.as_ref().and_then(|status| status.ready.clone());
    assert!(matches!(ended, Ok(Ok(_))), "{ready:?} are ready\n{}", tenant.stage.log());
    assert_eq!((ready.as_deref(), tenant.builds().await.len()), (Some("256/256"), 256));
    for build in tenant.builds().await {
        let pods = tenant.stage.kubelet.pods_of(&build.name_any());
        assert_eq!(pods.len(), 1, "{pods:?}");
    }
    assert_eq!(tenant.published("link255", "1").await, Some(tenant.staged("link255").await));
}

/// The most pods with these labels that were there at once and had not ended, as a watch tells.
async fn most_at_once(tenant: &Tenant<'_>, labels: &str) -> Arc<Mutex<usize>> {
    let most: Arc<Mutex<usize>> = Arc::default();
    let own = watcher::Config::default().labels(labels);
    let (pods, noted) = (tenant.pods(), Arc::clone(&most));
    let (begun, begins) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut events, mut alive, mut begun) = (watcher(pods, own).boxed(), BTreeSet::new(), Some(begun));
        while let Some(event) = events.next().await {
            match event.expect("a watch") {
                Event::Apply(pod) | Event::InitApply(pod) => {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                    let over = matches!(phase.as_str(), "Succeeded" | "Failed");
                    if over {
                        alive.remove(&pod.uid())
                    } else {
                        alive.insert(pod.uid())
                    };
                }
                Event::Delete(pod) => drop(alive.remove(&pod.uid())),
                Event::InitDone => drop(begun.take().map(|begun| begun.send(()))),
                Event::Init => {}
            }
            let mut most = noted.lock().expect("a lock");
            *most = alive.len().max(*most);
        }
    });
    begins.await.expect("a watch");
    most
}

#[tokio::test]
async fn fifty_builds_of_many_chains_keep_to_a_limit_of_four() {
    let tenant = Tenant::new(shared(), "fifty").await;
    let most = most_at_once(&tenant, &format!("{PROFILE_LABEL}=four")).await;
    let links: Vec<String> = (0..5).map(|number| format!("link{number}")).collect();
    for link in &links {
        tenant.script(link, Script::Hold);
    }
    let names: Vec<&str> = links.iter().map(String::as_str).collect();
    let chains: Vec<String> = (0..10).map(|number| format!("chain{number}")).collect();
    for name in &chains {
        let mut chain = tenant.named(name, &names);
        chain["spec"]["profiles"] = json!(["four"]);
        for link in chain["spec"]["links"].as_array_mut().unwrap() {
            link["from"] = json!({"image": format!("{}/base:1", tenant.stage.registry)});
            let repository = format!("{}/fifty/{name}", tenant.stage.registry);
            link["publish"]["image"] = json!({"repository": repository, "tags": [link["name"]]});
        }
        tenant.make(&chain).await;
    }
    for name in &chains {
        // Nothing ends yet, so that all must wait for the four that run.
        let waits = |chain: &ImageChain| {
            let links = chain.status.iter().flat_map(|status| &status.links);
            links.filter(|link| link.reason == Some(Reason::WaitingForSlot)).count() >= 1
        };
        tenant.wait_other(name, "it waits for a slot", waits).await;
    }
    for link in &links {
        tenant.script(link, Script::Succeed);
    }
    for name in &chains {
        tenant.wait_other(name, "its turn", is_done).await;
    }
    assert_eq!(tenant.builds().await.len(), 50);
    assert_eq!(*most.lock().unwrap(), 4, "pods at once");
}

// Failures of every class.

/// What befalls a pod, and the reasons for which its attempts end; the last one is that of the build, unless
/// it succeeds.
fn ends() -> Vec<(&'static str, Script, Vec<Reason>, bool)> {
    use Reason as R;
    let silent = |reason, code| statuses::silent(reason, code);
    vec![
        ("drained", Script::First(statuses::disrupted()), vec![R::PodDisrupted], true),
        ("vanished", Script::Vanish, vec![R::PodLost], true),
        ("node-lost", Script::First(statuses::whole("Failed", "NodeLost")), vec![R::NodeLost], true),
        ("node-shut-down", Script::First(statuses::whole("Failed", "Terminated")), vec![R::NodeLost], true),
        // What a kubelet says after the crash of its machine.
        ("crashed", Script::First(silent("ContainerStatusUnknown", 137)), vec![R::NodeLost], true),
        ("crashed-engine", Script::First(silent("Unknown", 255)), vec![R::NodeLost], true),
        ("lost", Script::First(silent("Error", 255)), vec![R::NodeLost], true),
        ("killed", Script::First(silent("Error", 137)), vec![R::ContainerKilled], true),
        ("engine", Script::First(statuses::engine_restarted("Error", 2)), vec![R::EngineRestarted], true),
        (
            "registry",
            Script::First(statuses::failed(Stage::Publish, R::RegistryUnavailable)),
            vec![R::RegistryUnavailable],
            true,
        ),
        ("git", Script::First(statuses::failed(Stage::Source, R::SourceUnavailable)), vec![R::SourceUnavailable], true),
        ("cut-off", Script::First(silent("Error", 1)), vec![R::StageInterrupted], true),
        ("memory", Script::Always(silent("OOMKilled", 137)), vec![R::OutOfMemory], false),
        ("engine-memory", Script::Always(statuses::engine_restarted("OOMKilled", 137)), vec![R::OutOfMemory], false),
        ("evicted", Script::Always(statuses::evicted()), vec![R::StorageLimitExceeded], false),
        ("disk", Script::Fail(Stage::Build, R::DiskFull), vec![R::DiskFull], false),
        ("task", Script::Fail(Stage::Build, R::TaskFailed), vec![R::TaskFailed], false),
        ("tests", Script::Fail(Stage::Verify, R::TestsFailed), vec![R::TestsFailed], false),
        ("build-time", Script::Fail(Stage::Build, R::BuildTimeout), vec![R::BuildTimeout], false),
        (
            "pod-time",
            Script::Always(statuses::whole("Failed", "DeadlineExceeded")),
            vec![R::PodDeadlineExceeded],
            false,
        ),
        ("no-engine", Script::Always(statuses::engine_restarted("Error", 71)), vec![R::EngineUnavailable], false),
        ("image", Script::Always(statuses::held("ImagePullBackOff")), vec![R::ImagePullFailed], false),
        (
            "container",
            Script::Always(statuses::held("CreateContainerConfigError")),
            vec![R::ContainerConfigInvalid],
            false,
        ),
        ("unschedulable", Script::Always(statuses::unschedulable()), vec![R::Unschedulable], false),
    ]
}

/// What the messages about those must hold who have to act: the container and its limit, or the words of
/// whoever saw it.
fn words_of(link: &str) -> &'static [&'static str] {
    match link {
        "memory" => &["container build", "(limit "],
        "engine-memory" => &["container engine", "(limit "],
        "evicted" => &["Container build", "limit \"5Gi\""],
        "disk" | "task" | "tests" | "build-time" => &["what the stage says"],
        "pod-time" | "image" | "container" => &["what the kubelet says"],
        "unschedulable" => &["0/1 nodes are available"],
        _ => &[],
    }
}

#[tokio::test]
async fn every_failure_is_what_its_class_says() {
    let tenant = Tenant::new(shared(), "classes").await;
    let ends = ends();
    let mut chain = tenant.chain(&ends.iter().map(|(link, ..)| *link).collect::<Vec<_>>());
    for (link, (_, _, reasons, _)) in chain["spec"]["links"].as_array_mut().unwrap().iter_mut().zip(&ends) {
        link["from"] = json!({"image": format!("{}/base:1", tenant.stage.registry)});
        if reasons[0].class() == Class::Configuration {
            // Longer than a busy kubelet takes to say what holds the pod: else nobody knows why it waits.
            link["timeouts"] = json!({"pending": "10s"});
        }
    }
    chain["spec"]["parallelism"] = json!(64);
    chain["spec"]["onFailure"] = json!("Continue");
    for (link, script, ..) in &ends {
        tenant.script(link, script.clone());
    }
    tenant.make(&chain).await;
    for (link, _, reasons, succeeds) in &ends {
        tenant.wait_build(link, &format!("{link} ends"), has_ended).await;
        let build = tenant.build_of(link).await;
        let mut expected: Vec<_> = (1..).zip(reasons.iter().copied().map(Some)).collect();
        expected.extend(succeeds.then_some((i32::try_from(reasons.len()).unwrap() + 1, None)));
        assert_eq!(attempts(&build), expected, "{link}");
        assert_eq!(reason(&build), (!succeeds).then_some(reasons[reasons.len() - 1]), "{link}");
        let classes: BTreeSet<Class> = reasons.iter().map(|reason| reason.class()).collect();
        assert_eq!(classes == BTreeSet::from([Class::Infrastructure]), *succeeds, "{link}");
        if classes.contains(&Class::Configuration) {
            // The kubelet would try for ever.
            tenant.gone(tenant.pods(), &build.status.unwrap().attempts[0].pod.0).await;
        }
    }
    tenant.wait_chain("all has ended", |chain| is(chain, "Stalled", "True", None)).await;
    let chain = tenant.chain_now().await;
    let links = chain.status.unwrap().links.into_iter();
    let failed: Vec<_> = links.filter(|link| link.state == LinkState::Failed).collect();
    assert_eq!(failed.len(), ends.iter().filter(|(.., succeeds)| !succeeds).count());
    for link in failed {
        let told = link.message.unwrap_or_default();
        assert!(words_of(&link.name.0).iter().all(|word| told.contains(word)), "{}: {told}", link.name);
    }
}

#[tokio::test]
async fn attempts_that_are_lost_again_and_again_come_to_an_end() {
    let tenant = Tenant::new(shared(), "spent").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["retry"] = json!({"infrastructure": 1});
    tenant.script("one", Script::Always(statuses::disrupted()));
    tenant.make(&chain).await;
    tenant.wait_chain("it ends", |chain| is(chain, "Stalled", "True", Some("InfrastructureRetriesExhausted"))).await;
    let build = tenant.build_of("one").await;
    assert_eq!(attempts(&build), [(1, Some(Reason::PodDisrupted)), (2, Some(Reason::PodDisrupted))]);
}

#[tokio::test]
async fn a_node_that_dies_takes_its_pods_along() {
    let tenant = Tenant::new(shared(), "dead-node").await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "dying"}});
    let nodes: Api<Node> = Api::all(tenant.admin.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.expect("a node");
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "dying"},
    });
    let bound: Result<Value, _> =
        tenant.pods().create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await;
    bound.expect("a binding");
    // What the control plane says of a kubelet that it no longer hears: since ten minutes.
    let since = jiff::Timestamp::now() - Duration::from_mins(10);
    let ready = json!({"type": "Ready", "status": "Unknown", "lastTransitionTime": since});
    let status = json!({"status": {"conditions": [ready]}});
    nodes.patch_status("dying", &PatchParams::default(), &Patch::Merge(status)).await.expect("a status");
    tenant
        .wait_build("one", "the attempt is lost", |build| attempts(build).first() == Some(&(1, Some(Reason::NodeLost))))
        .await;
    // Nobody there says that it is over, so it goes without that.
    tenant.gone(tenant.pods(), &pod.name_any()).await;
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, Some(Reason::NodeLost)), (2, None)]);
    nodes.delete("dying", &DeleteParams::default()).await.expect("a deletion");
}

#[tokio::test]
async fn a_build_that_may_be_tried_again_is() {
    let tenant = Tenant::new(shared(), "again").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["retry"] = json!({"build": 1});
    tenant.script("one", Script::First(statuses::failed(Stage::Verify, Reason::TestsFailed)));
    tenant.make(&chain).await;
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, Some(Reason::TestsFailed)), (2, None)]);
}

#[tokio::test]
async fn what_is_refused_goes_on_when_its_secret_changes() {
    let tenant = Tenant::new(shared(), "corrected").await;
    let registry = &tenant.stage.registry;
    let secret = |password: &str| {
        let config = json!({"auths": {registry: {"username": "u", "password": password}}}).to_string();
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "corrected"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}})
    };
    tenant.make(&secret("wrong")).await;
    let account = format!("--serviceaccount={SYSTEM}:{NAME}");
    for words in [
        [
            "create",
            "role",
            "pull",
            "-n=corrected",
            "--verb=get,list,watch",
            "--resource=secrets",
            "--resource-name=pull",
        ]
        .as_slice(),
        ["create", "rolebinding", "pull", "-n=corrected", "--role=pull", &account].as_slice(),
    ] {
        tenant.stage.chart.kubectl(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{registry}/base:1"), "secretRef": {"name": "pull"}});
    tenant.script("one", Script::Fail(Stage::Build, Reason::AccessDenied));
    tenant.make(&chain).await;
    tenant.wait_chain("it is stalled", |chain| is(chain, "Ready", "Unknown", Some("AccessDenied"))).await;
    tenant.settled().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, Some(Reason::AccessDenied))], "no attempt without reason");
    tenant.script("one", Script::Succeed);
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = tenant.api();
    secrets.patch("pull", &PatchParams::default(), &Patch::Merge(secret("right"))).await.expect("a change");
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, Some(Reason::AccessDenied)), (2, None)]);
}

#[tokio::test]
async fn a_stranger_who_has_the_name_of_a_pod_is_left_alone() {
    let tenant = Tenant::new(shared(), "stranger-pod").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    // The name is a function of the build's UID: so the build must be there, and its pod not yet.
    let first = tenant.build_of("one").await;
    let binding = tenant.revoke().await;
    tenant.write("one", "{ }").await;
    let build = tenant.build_after(&first).await;
    tenant.wait_build("one", "it is held", |build| is_held(build, Reason::ProfileNotAllowed)).await;
    let name = imagechain::plan::name::pod(&build.name_any(), &build.uid().unwrap(), 1);
    // The gates let nobody but an operator make pods there, of a profile. With all labels of ours it would be swept some
    // day, as one whose build is gone.
    let own = tenant.pods().get(&first.status.unwrap().attempts[0].pod.0).await;
    let Pod { metadata, spec, .. } = own.expect("the pod of the first build");
    let mut labels = metadata.labels.expect("labels");
    labels.retain(|label, _| label == PROFILE_LABEL);
    let metadata = ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() };
    let operator = tenant.stage.chart.server.service_account(SYSTEM, NAME).await;
    let pods: Api<Pod> = Api::namespaced(operator, BUILDS);
    let stranger = Pod { metadata, spec, status: None };
    let stranger = pods.create(&PostParams::default(), &stranger).await.expect("a pod");
    tenant.grant(binding).await;
    tenant.wait_build("one", "a collision", |build| is_held(build, Reason::NameCollision)).await;
    assert_eq!(tenant.pods().get(&name).await.expect("the stranger's pod").uid(), stranger.uid());
}

// Changes while a build runs.

#[tokio::test]
async fn a_request_while_a_build_runs_ends_it() {
    let tenant = Tenant::new(shared(), "urged").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await;
    tenant.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    tenant.gone(tenant.pods(), &pod.name_any()).await;
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    let builds = tenant.builds_of("one").await;
    let first = |build: &ImageBuild| build.uid().as_ref() == pod.labels().get(BUILD_UID_LABEL);
    let reasons: Vec<_> = builds.iter().map(|build| (first(build), reason(build))).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.contains(&(true, Some(Reason::Superseded))) && reasons.contains(&(false, None)), "{reasons:?}");
}

#[tokio::test]
async fn a_suspended_chain_ends_what_runs_and_publishes_nothing() {
    let tenant = Tenant::new(shared(), "paused").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one", "two"])).await;
    tenant.running("one").await;
    tenant.edit(json!({"spec": {"suspend": true}})).await;
    tenant.wait_chain("it is suspended", |chain| is(chain, "Ready", "Unknown", None)).await;
    tenant.script("one", Script::Succeed);
    tenant.wait_build("one", "it ends", has_ended).await;
    tenant
        .wait_chain("nothing goes on", |chain| {
            let links = &chain.status.as_ref().expect("a status").links;
            links[0].reason == Some(Reason::Suspended) && links[1].reason == Some(Reason::Suspended)
        })
        .await;
    tenant.settled().await;
    assert_eq!((tenant.published("one", "1").await, tenant.builds_of("two").await.len()), (None, 0));
    tenant.edit(json!({"spec": {"suspend": false}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_profile_that_may_no_longer_be_used_gets_no_further_attempt() {
    let tenant = Tenant::new(shared(), "revoked").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await;
    let binding = tenant.revoke().await;
    tenant.script("one", Script::First(statuses::disrupted()));
    tenant.wait_build("one", "it is held", |build| is_held(build, Reason::ProfileNotAllowed)).await;
    tenant.wait_chain("its chain says so", |chain| message(chain, "Ready").contains("--verb=use")).await;
    assert_eq!(tenant.stage.kubelet.pods_of(&tenant.build_of("one").await.name_any()), [pod.name_any()]);
    tenant.grant(binding).await;
    tenant.ready().await;
}

// What changes, and what does not.

#[tokio::test]
async fn a_base_image_that_moves_rebuilds_what_stands_on_it() {
    let tenant = Tenant::new(shared(), "base-moves").await;
    let base = Pusher::new(tenant.stage.servers.registry(), "base-moves/base", None);
    base.image(b"one", "1").await;
    let mut chain = tenant.chain(&["one", "two", "other"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{}/base-moves/base:1", tenant.stage.registry)});
    chain["spec"]["links"][2]["from"] = json!({"image": format!("{}/base:1", tenant.stage.registry)});
    tenant.make(&chain).await;
    tenant.ready().await;
    base.image(b"two", "1").await;
    tenant.look_again("1h").await;
    tenant.ready().await;
    assert_eq!(
        tenant.causes().await,
        ["one: BaseImageChanged", "one: FirstBuild", "other: FirstBuild", "two: FirstBuild", "two: ParentChanged"]
    );
}

#[tokio::test]
async fn a_commit_beside_the_paths_of_a_link_changes_nothing() {
    let tenant = Tenant::new(shared(), "beside").await;
    let (chain, work) = tenant.on_git(&["one"]);
    work.commit(&[("one/a.json", "1"), ("README", "1")]);
    work.push(&["main"]);
    tenant.make(&chain).await;
    tenant.ready().await;
    let published = tenant.published("one", "1").await;
    let commit = work.commit(&[("README", "2"), ("two/a.json", "1")]);
    work.push(&["main"]);
    tenant.look_again("1h").await;
    tenant
        .wait_chain("the commit was seen", |chain| {
            let lookups = &chain.status.as_ref().expect("a status").lookups;
            lookups.iter().any(|lookup| lookup.found == commit) && is_done(chain)
        })
        .await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild"]);
    assert_eq!(tenant.published("one", "1").await, published);
}

#[tokio::test]
async fn earlier_inputs_have_their_earlier_image_without_a_pod() {
    let tenant = Tenant::new(shared(), "back").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let first = tenant.published("one", "1").await;
    tenant.write("one", "{ }").await;
    tenant.ready().await;
    assert_ne!(tenant.published("one", "1").await, first);
    tenant.write("one", "{}").await;
    tenant.ready().await;
    assert_eq!(tenant.published("one", "1").await, first);
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: SpecChanged, SourceChanged"]);
}

#[tokio::test]
async fn earlier_inputs_whose_image_is_gone_are_built_again() {
    let tenant = Tenant::new(shared(), "lost-image").await;
    let mut chain = tenant.chain(&["one"]);
    // Images of the same inputs are the same image, whosever they are: this one is nobody else's.
    chain["spec"]["source"]["inline"]["files"]["one/a.json"] = json!("{\"a\": \"lost image\"}");
    tenant.make(&chain).await;
    tenant.ready().await;
    let first = tenant.staged("one").await;
    tenant.write("one", "{\"a\": \"another image\"}").await;
    tenant.ready().await;
    let staging = Pusher::new(tenant.stage.servers.registry(), "staging/builds", None);
    staging.delete(&first.parse().expect("a digest")).await;
    tenant.write("one", "{\"a\": \"lost image\"}").await;
    tenant.ready().await;
    assert_eq!(
        tenant.causes().await,
        ["one: ArtifactGone, SpecChanged, SourceChanged", "one: FirstBuild", "one: SpecChanged, SourceChanged"]
    );
    assert_eq!(tenant.published("one", "1").await, Some(first));
}

#[tokio::test]
async fn a_request_that_is_taken_back_changes_nothing() {
    let tenant = Tenant::new(shared(), "taken-back").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    tenant.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    tenant
        .wait_chain("it is answered", |chain| {
            let handled = chain.status.as_ref().and_then(|status| status.last_handled_request.as_deref());
            handled == Some("now") && is_done(chain)
        })
        .await;
    let before = tenant.chain_now().await;
    tenant.edit(json!({"metadata": {"annotations": {REQUESTED_AT: null}}})).await;
    tenant.settled().await;
    assert_eq!(tenant.chain_now().await.status, before.status);
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: Requested"]);
}

#[tokio::test]
async fn what_is_beyond_the_history_is_forgotten_with_its_staging_tag() {
    let tenant = Tenant::new(shared(), "history").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["history"] = json!({"succeeded": 1, "failed": 1});
    tenant.make(&chain).await;
    tenant.ready().await;
    let tag = |build: &ImageBuild| build.status.as_ref().unwrap().attempts[0].pod.0.clone();
    let first = tenant.build_of("one").await;
    let staging = Pusher::new(tenant.stage.servers.registry(), "staging/builds", None);
    assert!(staging.digest(&tag(&first)).await.is_some(), "it is staged");
    tenant.write("one", "{ }").await;
    tenant.ready().await;
    tenant.gone(tenant.api::<ImageBuild>(), &first.name_any()).await;
    assert_eq!(staging.digest(&tag(&first)).await, None);
    let second = tenant.build_of("one").await;
    assert!(staging.digest(&tag(&second)).await.is_some(), "what is published stays staged");
    assert_eq!(tenant.published("one", "1").await, Some(tenant.staged("one").await));
}

#[tokio::test]
async fn a_chain_that_is_made_again_builds_again() {
    let tenant = Tenant::new(shared(), "made-again").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let old = tenant.build_of("one").await;
    tenant.script("one", Script::Hold);
    tenant.write("one", "{ }").await;
    tenant.build_after(&old).await;
    let pod = tenant.running("one").await;
    // In the middle of a build, and at once.
    tenant.api::<ImageChain>().delete("c", &DeleteParams::background()).await.expect("a deletion");
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.gone(tenant.pods(), &pod.name_any()).await;
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    tenant.gone(tenant.api::<ImageBuild>(), &old.name_any()).await;
    let builds = tenant.builds_of("one").await;
    let uid = tenant.chain_now().await.uid().expect("a UID");
    assert!(builds.iter().all(|build| build.spec.chain_ref.as_ref().unwrap().uid == uid), "{builds:#?}");
    assert_eq!(tenant.causes().await, ["one: FirstBuild"]);
}

/// As Argo CD and Flux do it, by client or by server, each with a look for drift.
#[tokio::test]
async fn what_is_applied_again_and_again_neither_drifts_nor_builds() {
    for (namespace, side) in [("applied", ["--server-side=false"]), ("applied-by-server", ["--server-side=true"])] {
        let tenant = Tenant::new(shared(), namespace).await;
        let file = tempfile::NamedTempFile::new().expect("a file");
        serde_json::to_writer(&file, &tenant.chain(&["one", "two"])).expect("a manifest");
        let path = file.path().to_str().expect("a path");
        let kubectl = |verb: &str| {
            let words = [&[verb], &side[..], &["--filename", path]].concat();
            tenant.stage.chart.kubectl(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
        };
        kubectl("apply");
        tenant.ready().await;
        let before = tenant.chain_now().await;
        for _ in 0..5 {
            kubectl("diff");
            kubectl("apply");
            tenant.settled().await;
        }
        assert_eq!(tenant.chain_now().await.resource_version(), before.resource_version());
        assert_eq!(tenant.causes().await, ["one: FirstBuild", "two: FirstBuild"]);
    }
}

// What is shared with others.

#[tokio::test]
async fn a_link_stands_on_a_link_of_another_chain() {
    let tenant = Tenant::new(shared(), "across").await;
    let mut upper = tenant.named("upper", &["two"]);
    upper["spec"]["links"][0]["from"] = json!({"chain": {"name": "c", "link": "one"}});
    tenant.make(&upper).await;
    tenant
        .wait_other("upper", "there is no such chain", |chain| is(chain, "Ready", "Unknown", Some("ChainNotFound")))
        .await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.wait_other("upper", "its parent is there", is_done).await;
    tenant.write("one", "{ }").await;
    tenant.ready().await;
    let staged = tenant.staged("one").await;
    tenant
        .wait_other("upper", "it is rebuilt", |chain| {
            let lookups = chain.status.iter().flat_map(|status| &status.links);
            lookups.into_iter().any(|link| link.published.is_some()) && is_done(chain)
        })
        .await;
    tenant.settled().await;
    tenant.wait_other("upper", "it is rebuilt", is_done).await;
    assert_eq!(
        tenant.causes().await,
        ["one: FirstBuild", "one: SpecChanged, SourceChanged", "two: FirstBuild", "two: ParentChanged"]
    );
    let parent = |build: ImageBuild| build.spec.inputs.unwrap().parent.unwrap().0;
    let parents: Vec<String> = tenant.builds_of("two").await.into_iter().map(parent).collect();
    assert!(parents.iter().any(|parent| parent.ends_with(&staged)), "{parents:?}");
}

#[tokio::test]
async fn of_two_chains_with_one_tag_the_first_has_it_until_it_goes() {
    let tenant = Tenant::new(shared(), "one-tag").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let published = tenant.published("one", "1").await;
    let mut other = tenant.named("other", &["one"]);
    other["spec"]["source"]["inline"]["files"]["one/a.json"] = json!("{ }");
    tenant.make(&other).await;
    tenant
        .wait_other("other", "a conflict", |chain| {
            is(chain, "Stalled", "True", Some("OutputConflict"))
                && message(chain, "Ready").contains("belongs to the ImageChain «c», which has published it")
        })
        .await;
    tenant.settled().await;
    assert_eq!(tenant.published("one", "1").await, published);
    assert!(is_done(&tenant.chain_now().await), "the first is not disturbed");
    tenant.api::<ImageChain>().delete("c", &DeleteParams::background()).await.expect("a deletion");
    tenant.wait_other("other", "it has the tag", is_done).await;
    assert_ne!(tenant.published("one", "1").await, published);
}

#[tokio::test]
async fn who_has_published_a_tag_keeps_it_from_an_older_chain() {
    let tenant = Tenant::new(shared(), "older").await;
    let mut older = tenant.named("older", &["two"]);
    tenant.make(&older).await;
    tenant.wait_other("older", "it is there", is_done).await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let published = tenant.published("one", "1").await;
    older["spec"]["links"][0]["publish"] = tenant.link("one", None)["publish"].clone();
    let patch = json!({"spec": {"links": older["spec"]["links"]}});
    tenant.api::<ImageChain>().patch("older", &PatchParams::default(), &Patch::Merge(patch)).await.expect("an edit");
    tenant.wait_other("older", "a conflict", |chain| is(chain, "Stalled", "True", Some("OutputConflict"))).await;
    tenant.settled().await;
    assert_eq!(tenant.published("one", "1").await, published);
    assert!(is_done(&tenant.chain_now().await), "who has it is not disturbed");
}

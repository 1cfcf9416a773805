//! The controller as it is shipped: the program, with the chart's rights and gates, on a real API server, with
//! a real registry and git server. Only the kubelet is played.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]
// A test is user and administrator: it writes as they do.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    process::{Child, Command},
    sync::OnceLock,
    time::Duration,
};

use imagechain::api::{
    REQUESTED_AT,
    build::{ImageBuild, Stage},
    chain::ImageChain,
    condition::Reason,
    profile::BuildProfile,
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::Kubeconfig,
    runtime::wait::{Condition, await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{
    chart::{BUILDS, Chart, NAME, OPERATOR_IMAGE, SYSTEM, digest},
    images::Pusher,
    kubelet::{Kubelet, Script},
    servers::{Servers, Worktree},
};
use tokio::time::timeout;

/// No proof of anything: what takes longer hangs.
const HANGS: Duration = Duration::from_mins(1);

/// A cluster with the controller in it.
struct Cluster {
    chart: Chart,
    servers: Servers,
    kubelet: Kubelet,
    kubeconfig: std::path::PathBuf,
}

/// The controller's process, which ends with this value.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cluster {
    async fn start() -> Self {
        let servers = Servers::start();
        let registry = servers.registry();
        let profile = |extra: Value| {
            let mut spec = json!({
                "images": {"builder": format!("{registry}/builder@{}", digest('a'))},
                "executionNamespace": BUILDS,
                "registry": {"staging": {"repository": format!("{registry}/staging/builds")}, "insecure": [registry]},
            });
            spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            spec
        };
        let values = json!({
            "profiles": {"docker": profile(json!({})), "narrow": profile(json!({"maxConcurrentBuilds": 1}))},
            "gates": {"profiles": ["late"]},
        });
        Pusher::new(registry, "base", None).image(b"base", "1").await;
        let chart = Chart::installed(&values).await;
        let kubeconfig = kubeconfig(&chart).await;
        let admin = chart.server.config().await;
        let kubelet = Kubelet::start(move || Client::try_from(admin).expect("a client"), BUILDS);
        Self { chart, servers, kubelet, kubeconfig }
    }

    /// The program, with the rights of the chart's `ServiceAccount`.
    fn operator(&self) -> Operator {
        let log = self.kubeconfig.with_extension("log");
        let log = fs::File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_imagechain"), "controller", "--kubeconfig"]);
        command.arg(&self.kubeconfig).args(["--image", OPERATOR_IMAGE, "--listen", "127.0.0.1:0"]);
        command.args(["--namespace", SYSTEM, "--log", "info,imagechain=debug"]).stderr(log);
        let (give, take) = std::sync::mpsc::channel();
        // The kernel ends the process with the thread that began it: this one stays.
        std::thread::spawn(move || {
            give.send(command.spawn().expect("the controller")).expect("somebody waits");
            loop {
                std::thread::park();
            }
        });
        Operator(take.recv().expect("the controller"))
    }

    /// What it logged.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.kubeconfig.with_extension("log")).unwrap_or_default();
        let from = text.len().saturating_sub(12_000);
        text.get(text.ceil_char_boundary(from)..).unwrap_or_default().to_owned()
    }
}

/// A kubeconfig of the operator, with a token as its pod would have it.
async fn kubeconfig(chart: &Chart) -> std::path::PathBuf {
    chart.service_account(SYSTEM, NAME).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(chart.admin.clone(), SYSTEM);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token = accounts.create_token_request(NAME, &PostParams::default(), &request).await.expect("a token");
    let ready = &chart.server.started().expect("our own").ready;
    let admin = Kubeconfig::read_from(&ready.kubeconfig).expect("the admin's kubeconfig");
    let cluster = serde_json::to_value(&admin.clusters[0]).expect("JSON");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [cluster],
        "contexts": [{"name": "c", "context": {"cluster": admin.clusters[0].name, "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token.status.expect("a token").token}}],
    });
    let file = ready.folder.join("operator.kubeconfig");
    fs::write(&file, text.to_string()).expect("a file");
    file
}

/// The one cluster of all tests that do not end the controller, and the controller in it.
fn shared() -> &'static Cluster {
    static SHARED: OnceLock<(Cluster, Operator)> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        // A runtime of its own: that of the first test ends with it.
        let started = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let stage = runtime.block_on(Cluster::start());
            let operator = stage.operator();
            (stage, operator)
        });
        started.join().expect("a cluster")
    });
    &shared.0
}

/// A tenant with a namespace of their own.
struct Tenant<'s> {
    stage: &'s Cluster,
    admin: Client,
    namespace: String,
}

impl<'s> Tenant<'s> {
    async fn new(stage: &'s Cluster, namespace: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        let admin = stage.chart.server.admin().await;
        let tenant = Self { stage, admin, namespace: namespace.to_owned() };
        for object in [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": format!("use-{namespace}")},
                "rules": [{"apiGroups": ["imagechain.dev"], "resources": ["buildprofiles"], "verbs": ["use"]}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("use-{namespace}")},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("use-{namespace}")},
                "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}]}),
        ] {
            tenant.make(&object).await;
        }
        tenant
    }

    async fn make(&self, object: &Value) {
        support::chart::create(&self.admin, object, false).await.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    fn api<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// A link with inline files.
    fn link(&self, name: &str, parent: Option<&str>) -> Value {
        let registry = self.stage.servers.registry();
        let from =
            parent.map_or_else(|| json!({"image": format!("{registry}/base:1")}), |parent| json!({"link": parent}));
        json!({
            "name": name, "from": from,
            "build": {"packer": {"template": format!("{name}/a.json")}},
            "verify": [{"command": {"arguments": ["true"], "directory": name}}],
            "publish": {"image": {"repository": format!("{registry}/{}/{name}", self.namespace), "tags": ["1", "latest"]}},
        })
    }

    /// A chain `c` of links that stand on each other, each with a file of its own.
    fn chain(&self, names: &[&str]) -> Value {
        let files: BTreeMap<String, &str> = names.iter().map(|name| (format!("{name}/a.json"), "{}")).collect();
        let links: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut link = self.link(name, index.checked_sub(1).map(|below| names[below]));
                link["paths"] = json!([name]);
                link
            })
            .collect();
        json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
            "metadata": {"name": "c", "namespace": self.namespace},
            "spec": {"profiles": ["docker"], "source": {"inline": {"files": files}}, "links": links},
        })
    }

    /// Applies an RFC 7386 patch to the chain.
    async fn edit(&self, patch: Value) {
        let chains: Api<ImageChain> = self.api();
        chains.patch("c", &PatchParams::default(), &Patch::Merge(patch)).await.expect("an edit");
    }

    /// Waits for a condition of an object; what there is instead is printed.
    async fn wait<K>(&self, api: Api<K>, name: &str, what: &str, condition: impl Condition<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + serde::Serialize + 'static,
    {
        let waited = timeout(HANGS, await_condition(api.clone(), name, condition)).await;
        if !matches!(waited, Ok(Ok(_))) {
            let object = serde_json::to_string_pretty(&api.get_opt(name).await.ok()).expect("JSON");
            let builds: Vec<_> =
                self.builds().await.into_iter().map(|build| (build.name_any(), build.status)).collect();
            panic!("{what}: {waited:?}\n{object}\n{builds:#?}\n{}", self.stage.log());
        }
    }

    async fn wait_chain(&self, what: &str, condition: impl Fn(&ImageChain) -> bool) {
        self.wait(self.api::<ImageChain>(), "c", what, |chain: Option<&ImageChain>| chain.is_some_and(&condition))
            .await;
    }

    async fn ready(&self) {
        self.wait_chain("ready", |chain| is(chain, "Ready", "True", None) && is(chain, "UpToDate", "True", None)).await;
    }

    async fn chain_now(&self) -> ImageChain {
        self.api::<ImageChain>().get("c").await.expect("the chain")
    }

    async fn builds(&self) -> Vec<ImageBuild> {
        let mut builds = self.api::<ImageBuild>().list(&ListParams::default()).await.expect("builds").items;
        builds.sort_by_key(ResourceExt::creation_timestamp);
        builds
    }

    /// The builds as `link: cause, cause`.
    async fn causes(&self) -> Vec<String> {
        let line = |build: &ImageBuild| {
            let causes: Vec<_> = build.spec.causes.iter().map(|cause| format!("{:?}", cause.kind)).collect();
            format!("{}: {}", build.spec.chain_ref.as_ref().expect("a chain").link, causes.join(", "))
        };
        let mut lines: Vec<_> = self.builds().await.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// The one build of a link, waited for.
    async fn build_of(&self, link: &str) -> ImageBuild {
        self.wait_chain("a build", |chain| build_name(chain, link).is_some()).await;
        let name = build_name(&self.chain_now().await, link).expect("a build");
        self.api::<ImageBuild>().get(&name).await.expect("the build")
    }

    /// Waits until the build of a link has a pod that runs; the answer is the pod.
    async fn running(&self, link: &str) -> Pod {
        let build = self.build_of(link).await;
        let name = build.name_any();
        let is_running = |build: Option<&ImageBuild>| {
            build.and_then(|build| build.status.as_ref()).is_some_and(|status| {
                status.conditions.iter().any(|each| each.type_ == "Ready" && each.reason == "Building")
            })
        };
        self.wait(self.api::<ImageBuild>(), &name, "a pod that runs", is_running).await;
        let build = self.api::<ImageBuild>().get(&name).await.expect("the build");
        let pod = &build.status.expect("a status").attempts.last().expect("an attempt").pod.0.clone();
        self.pods().get(pod).await.expect("the pod")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), BUILDS)
    }

    async fn gone<K>(&self, api: Api<K>, name: &str)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + serde::Serialize + 'static,
    {
        self.wait(api, name, "gone", |object: Option<&K>| object.is_none()).await;
    }

    /// The digest that a published tag leads to.
    async fn published(&self, link: &str, tag: &str) -> Option<String> {
        let repository = format!("{}/{link}", self.namespace);
        let digest = Pusher::new(self.stage.servers.registry(), &repository, None).digest(tag).await;
        digest.map(|digest| digest.to_string())
    }

    /// The digest that the last build of a link has staged.
    async fn staged(&self, link: &str) -> String {
        let build = self.build_of(link).await;
        build.status.expect("a status").artifact.expect("an artifact").digest.0
    }
}

fn is(chain: &ImageChain, kind: &str, value: &str, reason: Option<&str>) -> bool {
    let Some(status) = &chain.status else { return false };
    status.observed_generation == chain.metadata.generation.expect("a generation")
        && status
            .conditions
            .iter()
            .any(|each| each.type_ == kind && each.status == value && reason.is_none_or(|reason| each.reason == reason))
}

fn message(chain: &ImageChain, kind: &str) -> String {
    let status = chain.status.clone().unwrap_or_default();
    status.conditions.into_iter().find(|each| each.type_ == kind).map(|each| each.message).unwrap_or_default()
}

fn build_name(chain: &ImageChain, link: &str) -> Option<String> {
    let status = chain.status.as_ref()?;
    status.links.iter().find(|each| each.name.0 == link)?.build.as_ref().map(ToString::to_string)
}

/// The writes of the operator about a namespace and the pods of some builds, by verb, resource and answer, from
/// the audit log.
fn writes(stage: &Cluster, namespace: &str, builds: &[String]) -> BTreeMap<String, usize> {
    let log = stage.chart.server.started().expect("our own").audit_log().expect("a log");
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text("/objectRef/name");
        let about =
            text("/objectRef/namespace") == namespace || builds.iter().any(|build| name.starts_with(build.as_str()));
        let ours = text("/user/username") == format!("system:serviceaccount:{SYSTEM}:{NAME}");
        let is_write = ["create", "patch", "update", "delete"].contains(&text("/verb").as_str());
        if ours && about && is_write && text("/stage") == "ResponseComplete" {
            let sub = text("/objectRef/subresource");
            let resource = [text("/objectRef/resource"), sub].join("/");
            let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
            *counts.entry(format!("{} {} {code}", text("/verb"), resource.trim_end_matches('/'))).or_default() += 1;
        }
    }
    counts
}

#[tokio::test]
async fn links_are_built_in_order_and_published_as_they_were_staged() {
    let tenant = Tenant::new(shared(), "three").await;
    let mut chain = tenant.chain(&["one", "two", "three"]);
    chain["metadata"]["name"] = json!("c");
    tenant.make(&chain).await;
    tenant.ready().await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "three: FirstBuild", "two: FirstBuild"]);
    for link in ["one", "two", "three"] {
        let staged = tenant.staged(link).await;
        for tag in ["1", "latest"] {
            assert_eq!(tenant.published(link, tag).await.as_ref(), Some(&staged), "{link}:{tag}");
        }
    }
    let parents: Vec<_> =
        tenant.builds().await.into_iter().map(|build| build.spec.inputs.unwrap().parent.unwrap().0).collect();
    let one = tenant.staged("one").await;
    assert!(parents.iter().any(|parent| parent.ends_with(&one)), "{parents:?}");
    let names: Vec<String> = tenant.builds().await.iter().map(ResourceExt::name_any).collect();
    let counts = writes(tenant.stage, "three", &names);
    println!("writes for three links:");
    for (what, count) in &counts {
        println!("  {count:3} {what}");
    }
    assert!(counts.keys().all(|what| !what.ends_with("409")), "{counts:?}");
}

#[tokio::test]
async fn a_chain_at_rest_is_not_written() {
    let tenant = Tenant::new(shared(), "rest").await;
    let chain = tenant.chain(&["one"]);
    tenant.make(&chain).await;
    tenant.ready().await;
    let before = tenant.chain_now().await;
    tenant.edit(chain).await;
    // What follows is looked at after the re-apply, by the same loop.
    let other = tenant.chain(&["other"]);
    let mut other: Value = other;
    other["metadata"]["name"] = json!("later");
    tenant.make(&other).await;
    let done = |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "True", None));
    tenant.wait(tenant.api::<ImageChain>(), "later", "ready", done).await;
    assert_eq!(tenant.chain_now().await.resource_version(), before.resource_version());
}

#[tokio::test]
async fn what_fails_its_tests_is_not_published_and_holds_up_what_stands_on_it() {
    let tenant = Tenant::new(shared(), "fails").await;
    tenant.stage.kubelet.script("fails", "two", Script::Fail(Stage::Verify, Reason::TestsFailed));
    tenant.make(&tenant.chain(&["one", "two", "three"])).await;
    tenant.wait_chain("stalled", |chain| is(chain, "Stalled", "True", Some("TestsFailed"))).await;
    let chain = tenant.chain_now().await;
    assert!(message(&chain, "Ready").contains("kubectl logs"), "{}", message(&chain, "Ready"));
    assert_eq!(tenant.published("one", "1").await, Some(tenant.staged("one").await));
    assert_eq!((tenant.published("two", "1").await, tenant.published("three", "1").await), (None, None));
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "two: FirstBuild"]);
    // Corrected, it goes on by itself.
    tenant.stage.kubelet.script("fails", "two", Script::Succeed);
    tenant.edit(json!({"spec": {"source": {"inline": {"files": {"two/a.json": "{ }"}}}}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_push_rebuilds_what_it_touches_and_what_stands_on_that() {
    let tenant = Tenant::new(shared(), "push").await;
    let url = format!("{}/push.git", tenant.stage.servers.git());
    let work = Worktree::new(&url);
    work.commit(&[("one/a.json", "1"), ("two/a.json", "1"), ("three/a.json", "1")]);
    work.push(&["main"]);
    let mut chain = tenant.chain(&["one", "two", "three"]);
    chain["spec"]["source"] = json!({"git": {"url": url, "revision": "main"}});
    tenant.make(&chain).await;
    tenant.ready().await;
    work.commit(&[("two/a.json", "2")]);
    work.push(&["main"]);
    // Every change of the object has it looked up anew; the interval would do it within 30 s.
    tenant.edit(json!({"spec": {"triggers": {"interval": "1h"}}})).await;
    tenant.ready().await;
    assert_eq!(
        tenant.causes().await,
        ["one: FirstBuild", "three: FirstBuild", "three: ParentChanged", "two: FirstBuild", "two: SourceChanged"]
    );
}

#[tokio::test]
async fn a_request_rebuilds_and_is_answered() {
    let tenant = Tenant::new(shared(), "request").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    tenant.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    tenant
        .wait_chain("answered", |chain| {
            let handled = chain.status.as_ref().and_then(|status| status.last_handled_request.as_deref());
            handled == Some("now") && is(chain, "UpToDate", "True", None)
        })
        .await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: Requested"]);
}

#[tokio::test]
async fn another_tag_needs_no_pod() {
    let tenant = Tenant::new(shared(), "retag").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let mut links = tenant.chain(&["one"])["spec"]["links"].clone();
    links[0]["publish"]["image"]["tags"] = json!(["2"]);
    tenant.edit(json!({"spec": {"links": links}})).await;
    tenant.ready().await;
    assert_eq!(tenant.published("one", "2").await, Some(tenant.staged("one").await));
    assert_eq!(tenant.causes().await, ["one: FirstBuild"]);
}

#[tokio::test]
async fn a_plan_against_the_cluster_says_what_would_happen() {
    let tenant = Tenant::new(shared(), "plan").await;
    let mut written = tenant.chain(&["one", "two"]);
    tenant.make(&written).await;
    tenant.ready().await;
    let admin = &tenant.stage.chart.server.started().expect("our own").ready.kubeconfig;
    let plan = |object: &Value| {
        let file = tenant.stage.kubeconfig.with_file_name("plan.yaml");
        fs::write(&file, object.to_string()).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagechain"));
        command.args(["plan", "--cluster", "--kubeconfig"]).arg(admin).arg("-f").arg(file);
        let output = command.output().expect("the program");
        let told = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told)
    };
    let (code, told) = plan(&written);
    assert!(code == Some(0) && told.starts_with("plan/c: 2 up to date"), "{told}");
    assert!(!told.contains("Assumed"), "{told}");
    written["spec"]["links"][1]["build"]["packer"]["variables"] = json!({"a": "1"});
    let (code, told) = plan(&written);
    assert!(code == Some(2) && told.contains("two   build       its recipe was changed"), "{told}");
    written["spec"]["links"][0]["from"] = json!({"image": format!("{}/none:1", tenant.stage.servers.registry())});
    let (code, told) = plan(&written);
    assert!(code == Some(1) && told.contains("one   blocked     BaseImageNotFound"), "{told}");
}

#[tokio::test]
async fn a_suspended_chain_begins_nothing() {
    let tenant = Tenant::new(shared(), "suspend").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["suspend"] = json!(true);
    tenant.make(&chain).await;
    tenant.wait_chain("suspended", |chain| is(chain, "Ready", "Unknown", Some("Suspended"))).await;
    assert_eq!(tenant.causes().await, [""; 0]);
    tenant.edit(json!({"spec": {"suspend": false}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_cancelled_build_ends_with_its_pod() {
    let tenant = Tenant::new(shared(), "cancel").await;
    tenant.stage.kubelet.script("cancel", "one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await;
    let build = tenant.build_of("one").await.name_any();
    let note = Patch::Merge(json!({"metadata": {"annotations": {"imagechain.dev/cancel": "enough"}}}));
    tenant.api::<ImageBuild>().patch(&build, &PatchParams::default(), &note).await.expect("a note");
    tenant.gone(tenant.pods(), &pod.name_any()).await;
    tenant.wait_chain("cancelled", |chain| is(chain, "Stalled", "True", Some("CancelledByUser"))).await;
}

#[tokio::test]
async fn a_chain_that_is_deleted_takes_pods_and_secrets_along() {
    let tenant = Tenant::new(shared(), "delete").await;
    tenant.stage.kubelet.script("delete", "one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await.name_any();
    let secrets: Api<Secret> = Api::namespaced(tenant.admin.clone(), BUILDS);
    assert!(secrets.get_opt(&pod).await.expect("an answer").is_some(), "inline files are in a Secret");
    tenant.api::<ImageChain>().delete("c", &DeleteParams::background()).await.expect("a deletion");
    tenant.gone(tenant.pods(), &pod).await;
    tenant.gone(secrets, &pod).await;
}

#[tokio::test]
async fn a_change_of_the_object_ends_the_build_that_runs() {
    let tenant = Tenant::new(shared(), "edit").await;
    tenant.stage.kubelet.script("edit", "one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let first = tenant.running("one").await.name_any();
    tenant.stage.kubelet.script("edit", "one", Script::Hold);
    tenant.edit(json!({"spec": {"source": {"inline": {"files": {"one/a.json": "{ }"}}}}})).await;
    tenant.gone(tenant.pods(), &first).await;
    tenant.stage.kubelet.script("edit", "one", Script::Succeed);
    tenant.ready().await;
    let failures: Vec<_> = tenant.builds().await.into_iter().filter_map(|build| build.status?.failure).collect();
    assert_eq!(failures.iter().map(|failure| failure.reason).collect::<Vec<_>>(), [Reason::Superseded]);
}

#[tokio::test]
async fn a_lost_pod_is_followed_by_another() {
    let tenant = Tenant::new(shared(), "lost").await;
    tenant.stage.kubelet.script("lost", "one", Script::Disrupt);
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let build = tenant.build_of("one").await;
    let attempts: Vec<_> =
        build.status.unwrap().attempts.into_iter().map(|attempt| (attempt.number, attempt.reason)).collect();
    assert_eq!(attempts, [(1, Some(Reason::PodDisrupted)), (2, None)]);
}

#[tokio::test]
async fn a_profile_that_appears_is_used() {
    let tenant = Tenant::new(shared(), "late").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["late"]);
    tenant.make(&chain).await;
    tenant.wait_chain("stalled", |chain| is(chain, "Stalled", "True", Some("ProfileNotFound"))).await;
    let profiles: Api<BuildProfile> = Api::all(tenant.admin.clone());
    let docker = profiles.get("docker").await.expect("a profile");
    profiles.create(&PostParams::default(), &BuildProfile::new("late", docker.spec)).await.expect("a profile");
    tenant.ready().await;
    let is_ready = |profile: Option<&BuildProfile>| {
        let status = profile.and_then(|profile| profile.status.as_ref());
        status.is_some_and(|status| status.conditions.iter().any(|each| each.type_ == "Ready" && each.status == "True"))
    };
    tenant.wait(profiles, "late", "ready", is_ready).await;
}

#[tokio::test]
async fn a_secret_that_is_granted_and_appears_is_used() {
    let tenant = Tenant::new(shared(), "secret").await;
    let registry = tenant.stage.servers.registry();
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{registry}/base:1"), "secretRef": {"name": "pull"}});
    tenant.make(&chain).await;
    tenant.wait_chain("no access", |chain| is(chain, "Stalled", "True", Some("AccessNotGranted"))).await;
    let told = message(&tenant.chain_now().await, "Ready");
    let lines = told.split_once("kubectl ").expect("a command").1.trim_end_matches(['.', ';']);
    for line in lines.split(" && ") {
        let words: Vec<_> = line.trim_start_matches("kubectl ").split_whitespace().collect();
        tenant.stage.chart.kubectl(&words).unwrap_or_else(|error| panic!("{line}: {error}\n{told}"));
    }
    tenant.wait_chain("no Secret", |chain| is(chain, "Stalled", "True", Some("SecretNotFound"))).await;
    let config = json!({"auths": {registry: {"username": "u", "password": "p"}}}).to_string();
    tenant
        .make(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "secret"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}}))
        .await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_config_map_that_changes_is_built_anew() {
    let tenant = Tenant::new(shared(), "map").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["source"] = json!({"configMap": {"name": "files"}});
    // Keys of a ConfigMap have no slashes.
    chain["spec"]["links"][0]["build"]["packer"]["template"] = json!("a.json");
    chain["spec"]["links"][0]["paths"] = json!(["a.json"]);
    chain["spec"]["links"][0]["verify"] = json!([]);
    let grant = [
        "create",
        "role",
        "files",
        "-n",
        "map",
        "--verb=get,list,watch",
        "--resource=configmaps",
        "--resource-name=files",
    ];
    tenant.stage.chart.kubectl(&grant).expect("a role");
    let account = format!("--serviceaccount={SYSTEM}:{NAME}");
    tenant
        .stage
        .chart
        .kubectl(&["create", "rolebinding", "files", "-n", "map", "--role=files", &account])
        .expect("a binding");
    tenant.make(&chain).await;
    tenant.wait_chain("no ConfigMap", |chain| is(chain, "Stalled", "True", Some("ConfigMapNotFound"))).await;
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "namespace": "map"}, "data": {"a.json": text}});
    tenant.make(&map("{}")).await;
    tenant.ready().await;
    let first = tenant.published("one", "1").await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = tenant.api();
    maps.patch("files", &PatchParams::default(), &Patch::Merge(map("{ }"))).await.expect("a change");
    tenant
        .wait_chain("rebuilt", |chain| {
            let published = chain.status.as_ref().and_then(|status| status.links[0].published.as_ref());
            published.map(|published| &published.digest.0) != first.as_ref() && is(chain, "UpToDate", "True", None)
        })
        .await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: SourceChanged"]);
}

#[tokio::test]
async fn a_limit_of_a_profile_holds_over_chains() {
    let tenant = Tenant::new(shared(), "narrow").await;
    tenant.stage.kubelet.script("narrow", "one", Script::Hold);
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["narrow"]);
    tenant.make(&chain).await;
    tenant.running("one").await;
    let mut other = tenant.chain(&["two"]);
    other["spec"]["profiles"] = json!(["narrow"]);
    other["metadata"]["name"] = json!("d");
    tenant.make(&other).await;
    let waits =
        |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "Unknown", Some("WaitingForSlot")));
    tenant.wait(tenant.api::<ImageChain>(), "d", "it waits", waits).await;
    assert_eq!(tenant.stage.kubelet.pods_of("d-two").len(), 0);
    tenant.stage.kubelet.script("narrow", "one", Script::Succeed);
    let done = |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "True", None));
    tenant.wait(tenant.api::<ImageChain>(), "d", "its turn", done).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_namespace_that_may_not_use_the_profile_gets_no_pod() {
    let tenant = Tenant::new(shared(), "stranger").await;
    let roles: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(tenant.admin.clone());
    roles.delete("use-stranger", &DeleteParams::default()).await.expect("a deletion");
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.wait_chain("not allowed", |chain| is(chain, "Stalled", "True", Some("ProfileNotAllowed"))).await;
    assert!(message(&tenant.chain_now().await, "Ready").contains("--verb=use"));
}

#[tokio::test]
async fn a_killed_controller_goes_on_without_a_second_pod() {
    let stage = Cluster::start().await;
    let tenant = Tenant::new(&stage, "killed").await;
    stage.kubelet.script("killed", "one", Script::Hold);
    let operator = stage.operator();
    tenant.make(&tenant.chain(&["one", "two"])).await;
    let pod = tenant.running("one").await;
    drop(operator);
    stage.kubelet.script("killed", "one", Script::Succeed);
    let over = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
        phase.is_some_and(|phase| phase == "Succeeded")
    };
    tenant.wait(tenant.pods(), &pod.name_any(), "over", over).await;
    let _operator = stage.operator();
    tenant.ready().await;
    assert_eq!((stage.kubelet.pods_of("c-one").len(), stage.kubelet.pods_of("c-two").len()), (1, 1));
}

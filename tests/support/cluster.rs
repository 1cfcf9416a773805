//! A cluster with the controller in it: the program as it is shipped, with the chart's rights and gates, on a
//! real API server, with a real registry and git server. Only the kubelet is played.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    chart::{BUILDS, Chart, NAME, OPERATOR_IMAGE, SYSTEM, digest},
    images::Pusher,
    kubelet::{Kubelet, NODE_LABEL},
    servers::Servers,
};

/// The staging repository of all profiles, in the registry.
pub const STAGING: &str = "staging/builds";

/// The node on which the pods of some profiles are placed, for their sake alone: it has a taint of this name.
pub const NODE: &str = "queue";

/// A cluster with the controller in it.
pub struct Cluster {
    pub chart: Chart,
    pub servers: Servers,
    pub kubelet: Kubelet,
    /// The operator's way to the API server, beside which its logs are.
    pub kubeconfig: PathBuf,
    /// Host and port under which everybody knows the registry.
    pub registry: String,
}

/// The controller's process, which ends with this value, by SIGKILL.
pub struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Operator {
    /// Asks it to end, and waits until it has done so.
    pub fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("a signal");
        let ended = self.0.wait().expect("its end");
        assert!(ended.success(), "{ended}");
    }

    /// Starts the program. What it logs is added to a file.
    pub fn start(kubeconfig: &Path, log: &Path, flags: &[&str]) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_imagechain")), kubeconfig, log, flags)
    }

    /// The same with a program of another version.
    pub fn of(program: &Path, kubeconfig: &Path, log: &Path, flags: &[&str]) -> Self {
        let log = fs::File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(["controller", "--kubeconfig"]);
        command.arg(kubeconfig).args(["--image", OPERATOR_IMAGE, "--listen", "127.0.0.1:0", "--namespace", SYSTEM]);
        command.args(["--log", "info,imagechain=debug"]).args(flags).stderr(log);
        let (give, take) = channel();
        spawner().send((command, give)).expect("the thread that starts programs");
        Self(take.recv().expect("the controller"))
    }
}

/// A program to be started, and who waits for it.
type Order = (Command, Sender<Child>);

/// The thread that starts programs. The kernel ends each with the thread that began it, and this one stays as
/// long as the process.
fn spawner() -> Sender<Order> {
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (give, take) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, started) in take {
                started.send(command.spawn().expect("a program")).expect("somebody waits");
            }
        });
        Mutex::new(give)
    });
    spawner.lock().expect("a lock").clone()
}

impl Cluster {
    pub async fn start() -> Self {
        let servers = Servers::start();
        let registry = servers.registry().to_owned();
        Self::with(servers, registry).await
    }

    /// One in which the registry is known by another address than its own.
    pub async fn with(servers: Servers, registry: String) -> Self {
        let profile = |extra: Value| {
            let mut spec = json!({
                "images": {"builder": format!("{registry}/builder@{}", digest('a'))},
                "executionNamespace": BUILDS,
                "registry": {"staging": {"repository": format!("{registry}/{STAGING}")}, "insecure": [registry]},
            });
            spec.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            spec
        };
        let on_one_node = |resources: Value| json!({"resources": resources, "nodeSelector": {NODE_LABEL: NODE}, "tolerations": [{"key": NODE, "operator": "Exists"}]});
        let values = json!({
            "profiles": {
                "docker": profile(json!({})),
                "narrow": profile(json!({"maxConcurrentBuilds": 1})),
                "company": profile(json!({})),
                "machines": profile(json!({"engine": "None", "hypervisor": "Qemu"})),
                "four": profile(json!({"maxConcurrentBuilds": 4})),
                "queued": profile(on_one_node(json!({"cpu": "1800m", "memory": "4Gi", "storage": "10Gi"}))),
                "huge": profile(on_one_node(json!({"cpu": "16"}))),
                "labelled": profile(json!({"allowedNamespaces": {"matchLabels": {"team": "a"}}})),
            },
            // Those that tests make.
            "gates": {"profiles": ["late", "away", "base-runs", "pushes"]},
        });
        Pusher::new(servers.registry(), "base", None).image(b"base", "1").await;
        let chart = Chart::installed(&values).await;
        // As an operator leaves it that ends: whoever finds none waits whether somebody without one still writes.
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "imagechain-controller", "namespace": SYSTEM}, "spec": {"leaseTransitions": 1}});
        chart.make(&[lease]).await;
        let kubeconfig = kubeconfig(&chart).await;
        let admin = chart.server.config().await;
        let kubelet = Kubelet::start(move || Client::try_from(admin).expect("a client"), BUILDS);
        Self { chart, servers, kubelet, kubeconfig, registry }
    }

    /// The program, with the rights of the chart's `ServiceAccount`.
    pub fn operator(&self) -> Operator {
        self.operator_with(&[])
    }

    /// The same with more flags.
    pub fn operator_with(&self, flags: &[&str]) -> Operator {
        Operator::start(&self.kubeconfig, &self.kubeconfig.with_extension("log"), flags)
    }

    /// A program of another version.
    pub fn operator_of(&self, program: &Path) -> Operator {
        Operator::of(program, &self.kubeconfig, &self.kubeconfig.with_extension("log"), &[])
    }

    /// What it logged last.
    pub fn log(&self) -> String {
        last_of(&self.kubeconfig.with_extension("log"))
    }

    /// The operator's writes about a namespace and the pods of some builds, by verb, resource and answer, from
    /// the audit log.
    pub fn writes(&self, namespace: &str, builds: &[String]) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for event in self.own_writes() {
            let name = text(&event, "/objectRef/name");
            let about = text(&event, "/objectRef/namespace") == namespace
                || builds.iter().any(|build| name.starts_with(build.as_str()));
            if about {
                let resource = [text(&event, "/objectRef/resource"), text(&event, "/objectRef/subresource")].join("/");
                let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
                let verb = text(&event, "/verb");
                *counts.entry(format!("{verb} {} {code}", resource.trim_end_matches('/'))).or_default() += 1;
            }
        }
        counts
    }

    /// How often the operator, of whatever version, has made each pod, from the audit log.
    pub fn pods_made(&self) -> BTreeMap<String, usize> {
        let is_made = |event: &Value| {
            (text(event, "/verb"), text(event, "/objectRef/resource"), text(event, "/objectRef/subresource"))
                == ("create", "pods", "")
                && event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(201)
        };
        let mut counts = BTreeMap::new();
        for event in self.own_writes().iter().filter(|event| is_made(event)) {
            *counts.entry(text(event, "/objectRef/name").to_owned()).or_default() += 1;
        }
        counts
    }

    /// The operator's writes, as the audit log has them.
    fn own_writes(&self) -> Vec<Value> {
        let log = self.chart.server.started().expect("our own").audit_log().expect("a log");
        let is_own = |event: &Value| {
            text(event, "/user/username") == format!("system:serviceaccount:{SYSTEM}:{NAME}")
                && ["create", "patch", "update", "delete"].contains(&text(event, "/verb"))
                && text(event, "/stage") == "ResponseComplete"
        };
        let events = log.lines().map(|line| serde_json::from_str(line).unwrap_or_default());
        events.filter(is_own).collect()
    }
}

fn text<'e>(event: &'e Value, pointer: &str) -> &'e str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The last of a log.
pub fn last_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let from = text.len().saturating_sub(12_000);
    text.get(text.ceil_char_boundary(from)..).unwrap_or_default().to_owned()
}

/// A kubeconfig of the operator, with a token as its pod would have it.
pub async fn kubeconfig(chart: &Chart) -> PathBuf {
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

/// The one cluster of all tests of a program that do not end the controller, and the controller in it.
pub fn shared() -> &'static Cluster {
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

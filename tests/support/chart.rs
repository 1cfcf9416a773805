//! The charts, installed on a real API server by the real helm.

use std::{fs, path::Path, process::Command, sync::OnceLock, time::Duration};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, Config, Error,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    config::AuthInfo,
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::apiserver::{ApiServer, launcher};

/// The namespace of the release.
pub const SYSTEM: &str = "imagechain-system";
/// The namespace in which build pods run.
pub const BUILDS: &str = "imagechain-builds";
/// The name of the operator's `ServiceAccount` and of all that is cluster-scoped.
pub const NAME: &str = "imagechain";
/// The operator's image, by the chart's default values.
pub const OPERATOR_IMAGE: &str = "imagechain:0.1.0";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// helm, with nothing of the user's own settings.
pub fn helm(home: &Path) -> Command {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let output = Command::new(launcher()).arg("tools").output().expect("the sandbox's program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        format!("{}/helm", String::from_utf8(output.stdout).expect("a path").trim())
    });
    let mut command = Command::new(program);
    for kind in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{kind}_HOME"), home.join("helm"));
    }
    command.env_remove("KUBECONFIG").current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// What a command printed; what it printed on its standard error, where it failed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("a program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The values of the tests: two profiles, one of them pinned, on nodes of their own.
pub fn values() -> Value {
    json!({"profiles": {
        "docker": {"images": {"builder": "registry.example:5000/builder:1"}, "executionNamespace": BUILDS},
        "pinned": {
            "images": {"builder": format!("registry.example/builder:1@{}", digest('a')), "engine": "debian:13"},
            "executionNamespace": BUILDS,
            "nodeSelector": {"builds": "yes"},
            "tolerations": [{"key": "builds", "operator": "Exists", "effect": "NoSchedule"}],
        },
    }})
}

/// A digest of one letter.
pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// A cluster with both charts.
pub struct Chart {
    /// The cluster.
    pub server: ApiServer,
    /// Its admin.
    pub admin: Client,
}

impl Chart {
    /// A server without the charts.
    pub async fn server() -> Self {
        let server = ApiServer::own(&mut Command::new(launcher())).expect("a server");
        let admin = server.admin().await;
        Self { server, admin }
    }

    /// A server with both charts.
    pub async fn installed(values: &Value) -> Self {
        let chart = Self::server().await;
        chart.helm(&["install", "imagechain-crds", "charts/imagechain-crds", "--create-namespace"], None);
        chart.helm(&["install", NAME, "charts/imagechain"], Some(values));
        chart
    }

    /// Runs helm in the namespace of the release, as the admin; it must succeed.
    pub fn helm(&self, arguments: &[&str], values: Option<&Value>) -> String {
        let ready = &self.server.started().expect("a server of ours").ready;
        let mut command = helm(&ready.folder);
        command.args(arguments).args(["--namespace", SYSTEM, "--kubeconfig"]).arg(&ready.kubeconfig);
        if let Some(values) = values {
            let file = ready.folder.join("values.json");
            fs::write(&file, values.to_string()).expect("a file of values");
            command.arg("--values").arg(file);
        }
        output(&mut command).unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"))
    }

    /// Runs kubectl, as the admin.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        output(self.server.started().expect("a server of ours").kubectl().expect("kubectl").args(arguments))
    }

    /// Makes objects, as the admin.
    pub async fn make(&self, objects: &[Value]) {
        for object in objects {
            create(&self.admin, object, false).await.unwrap_or_else(|error| panic!("{object}: {error}"));
        }
    }

    /// A `ServiceAccount`, as a pod would be it.
    pub async fn account(&self, namespace: &str, name: &str) -> Client {
        self.service_account(namespace, name).await;
        self.server.service_account(namespace, name).await
    }

    /// The operator, with its own token.
    pub async fn operator(&self) -> Client {
        self.account(SYSTEM, NAME).await
    }

    /// A person, by impersonation: RBAC and admission see them and nothing of the admin.
    pub async fn person(&self, name: &str) -> Client {
        let mut config: Config = self.server.config().await;
        config.auth_info = AuthInfo { impersonate: Some(name.to_owned()), ..config.auth_info };
        Client::try_from(config).expect("a client")
    }

    /// Waits until a `ServiceAccount` is there: a controller makes the one called default.
    pub async fn service_account(&self, namespace: &str, name: &str) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), namespace);
        let there = await_condition(accounts, name, |account: Option<&ServiceAccount>| account.is_some());
        timeout(LONG, there).await.expect("an account in time").expect("a watch");
    }
}

/// Repeats what may be answered by an API server that has not yet heard of the last change of a policy or a
/// role: it learns of them by watches, and nothing tells when it has.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::new();
    let repeated = async {
        loop {
            match attempt().await {
                Ok(found) => return found,
                Err(message) => last = message,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = timeout(LONG, repeated).await;
    found.unwrap_or_else(|_| panic!("{what}: {last}"))
}

/// The API of an object's kind, in the object's namespace.
pub fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let version = field("/apiVersion").expect("a version");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = field("/kind").expect("a kind");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match field("/metadata/namespace") {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Makes an object, or only asks whether it would be made; the API server's sentence where it is refused.
pub async fn create(client: &Client, object: &Value, dry_run: bool) -> Result<DynamicObject, String> {
    let parameters = PostParams { dry_run, ..PostParams::default() };
    let typed: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    answer(api(client, object).create(&parameters, &typed).await)
}

/// The API server's sentence, where it refused.
pub fn answer<T>(result: kube::Result<T>) -> Result<T, String> {
    match result {
        Ok(found) => Ok(found),
        Err(Error::Api(status)) => Err(status.message),
        Err(error) => panic!("no answer: {error}"),
    }
}

/// The answer must be a refusal that holds the sentence.
pub fn assert_refused<T>(what: &str, answer: Result<T, String>, sentence: &str) {
    let message = answer.err().unwrap_or_else(|| panic!("{what}: accepted"));
    assert!(message.contains(sentence), "{what}: no «{sentence}» in: {message}");
}

/// The object with what an RFC 7386 merge patch says.
pub fn merged(mut object: Value, patch: &Value) -> Value {
    merge(&mut object, patch);
    object
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|object| object.remove(name))),
            _ => merge(&mut target[name], value),
        }
    }
}

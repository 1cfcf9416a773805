//! What a real API server makes of build pods and their Secrets: it takes them without a warning, and leaves
//! every field as it is.

use std::collections::BTreeMap;

use imagechain::{
    api::build::Inputs,
    plan::{
        object::ObjectKind,
        valid::{ValidBuild, ValidProfile},
        validate,
    },
    render::{Attempt, Found, Keys, LARGEST_SECRET, Operator, Target, pod, secret, size},
};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::support::apiserver::ApiServer;

const UID: &str = "1f0e8a52-7c8b-4d5e-9c1a-000000000001";

/// All that an attempt is made of.
struct Fixture {
    build: ValidBuild,
    profile: ValidProfile,
    inputs: Inputs,
    target: Target,
}

fn object<T: DeserializeOwned>(kind: &str, spec: &Value) -> T {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": kind, "metadata": {"name": "shop-web-0123456789"}, "spec": spec,
    });
    serde_json::from_value(object).expect("an object")
}

impl Fixture {
    fn new(spec: &Value, namespace: &str) -> Self {
        let digest = |letter: &str| format!("registry.example/a@sha256:{}", letter.repeat(64));
        let inputs = json!({
            "key": "a", "parent": digest("b"), "revision": "c", "files": "d", "platform": "linux/amd64", "builder": digest("e"), "engine": digest("f"),
        });
        let mut spec = spec.clone();
        spec["chainRef"] = json!({"name": "shop", "uid": "u", "link": "web"});
        spec["inputs"] = inputs.clone();
        let profile = json!({
            "images": {"builder": "registry.example/builder:1"}, "executionNamespace": namespace,
            "nodeSelector": {"imagechain.dev/pool": "builds"},
            "tolerations": [{"key": "imagechain.dev/builds", "operator": "Exists", "effect": "NoSchedule"}],
            "registry": {
                "staging": {"repository": "registry.example/staging", "secretRef": {"name": "staging"}},
                "certificateAuthority": {"name": "authority"},
            },
        });
        let profile = validate::profile(&object("BuildProfile", &profile)).expect("a profile");
        let build = validate::build(&object("ImageBuild", &spec)).expect("a build");
        let target = Target::of(&profile, None).expect("a staging repository");
        Self { build, profile, inputs: serde_json::from_value(inputs).expect("inputs"), target }
    }

    fn attempt(&self, number: u32) -> Attempt<'_> {
        Attempt {
            name: "shop-web-0123456789",
            namespace: "team-a",
            uid: UID,
            number,
            link: Some(("shop", "web")),
            build: &self.build,
            inputs: &self.inputs,
            profile_name: "docker",
            profile: &self.profile,
            target: &self.target,
            operator: Operator { image: "registry.example/operator:1", file_cache: None },
        }
    }
}

/// Everything that is needed, each value of that many bytes.
fn found(attempt: &Attempt<'_>, length: usize) -> Found {
    let value = || ByteString(vec![b'v'; length]);
    let objects = attempt.needs().objects().into_iter().map(|(object, keys)| {
        let keys = match keys {
            Keys::All if object.kind == ObjectKind::Secret => vec!["username", "password"],
            Keys::All => vec!["a.json"],
            Keys::These(keys) => keys.into_iter().collect(),
        };
        (object, keys.into_iter().map(|key| (key.to_owned(), value())).collect::<BTreeMap<_, _>>())
    });
    Found(objects.collect())
}

fn full() -> Value {
    let secret = |name: &str| json!([{"name": name, "secretKeyRef": {"name": "vendor", "key": "key"}}]);
    json!({
        "profile": "docker", "from": {"image": "debian:13", "secretRef": {"name": "pull"}},
        "source": {"git": {"url": "https://git.example/a.git", "secretRef": {"name": "git"}}},
        "build": {"packer": {"template": "a.json", "secretVariables": secret("licence")}},
        "verify": [{"molecule": {"secretVariables": secret("TOKEN")}}],
    })
}

/// A namespace of its own, in which pods can be made.
async fn namespace(client: &Client) -> String {
    let metadata = ObjectMeta {
        generate_name: Some("imagechain-pods-".to_owned()),
        labels: Some(BTreeMap::from([("pod-security.kubernetes.io/enforce".to_owned(), "privileged".to_owned())])),
        ..ObjectMeta::default()
    };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    let name = made.name_any();
    // Made with every namespace, and without it no pod is taken where its admission plugin is on.
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    match accounts.create(&PostParams::default(), &account).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => panic!("no ServiceAccount: {error}"),
    }
    let there = await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some());
    timeout(Duration::from_mins(1), there).await.expect("in time").expect("a watch");
    name
}

/// The cluster may be a user's.
async fn delete_namespace(client: Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(name, &DeleteParams::default()).await.expect("a deletion");
}

/// Creates an object; what the API server warns of is an error here.
async fn create<T: Serialize + DeserializeOwned>(client: &Client, path: &str, object: &T) -> T {
    let body = serde_json::to_vec(object).expect("JSON");
    let request = http::Request::post(format!("{path}?fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(kube::client::Body::from(body))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    let (status, warnings) = (response.status(), response.headers().get("warning").cloned());
    let text = response.into_body().collect_bytes().await.expect("a body");
    assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
    assert_eq!(warnings, None, "the API server warns");
    serde_json::from_slice(&text).expect("an object")
}

/// What of an object is not, or not so, in what the API server made of it.
fn differences(ours: &Value, theirs: &Value, path: &str) -> Vec<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => ours
            .iter()
            .flat_map(|(key, value)| {
                differences(value, theirs.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
            })
            .collect(),
        (Value::Array(ours), Value::Array(theirs)) if ours.len() <= theirs.len() => ours
            .iter()
            .zip(theirs)
            .enumerate()
            .flat_map(|(index, (ours, theirs))| differences(ours, theirs, &format!("{path}[{index}]")))
            .collect(),
        _ if ours == theirs => Vec::new(),
        _ => vec![format!("{path}: ours {ours}, theirs {theirs}")],
    }
}

#[tokio::test]
async fn pods_and_their_secrets_are_taken_as_they_are() {
    let server = ApiServer::start().expect("a server");
    let client = server.admin().await;
    let namespace = namespace(&client).await;
    let mut inline = full();
    inline["source"] = json!({"inline": {"files": {"a.json": "{}", "roles/web/tasks/main.yml": "[]"}}});
    let mut map = full();
    map["source"] = json!({"configMap": {"name": "files"}});
    for (number, spec) in [(1, full()), (2, inline), (3, map)] {
        let fixture = Fixture::new(&spec, &namespace);
        let attempt = fixture.attempt(number);
        let ours = pod(&attempt);
        let theirs: Pod = create(&client, &format!("/api/v1/namespaces/{namespace}/pods"), &ours).await;
        assert_eq!(differences(&json!(ours), &json!(theirs), ""), [""; 0]);
        let volumes = theirs.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        assert!(volumes.into_iter().all(|volume| volume.projected.is_none()), "a token was mounted");
        assert_eq!(theirs.status.and_then(|status| status.qos_class).as_deref(), Some("Guaranteed"));

        let uid = theirs.metadata.uid.expect("a UID");
        let ours = secret(&attempt, &uid, &found(&attempt, 10)).expect("a Secret");
        let theirs: Secret = create(&client, &format!("/api/v1/namespaces/{namespace}/secrets"), &ours).await;
        assert_eq!(differences(&json!(ours), &json!(theirs), ""), [""; 0]);
    }
    delete_namespace(client, &namespace).await;
}

#[tokio::test]
async fn the_largest_secret_is_what_the_api_server_takes() {
    let server = ApiServer::start().expect("a server");
    let client = server.admin().await;
    let namespace = namespace(&client).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let fixture = Fixture::new(&full(), &namespace);
    let attempt = fixture.attempt(1);
    for (excess, taken) in [(0, true), (1, false)] {
        let mut made = secret(&attempt, UID, &found(&attempt, 10)).expect("a Secret");
        let rest = LARGEST_SECRET + excess - size(&made);
        let data = made.data.as_mut().expect("data");
        data.entry("ca.crt".to_owned()).or_default().0.extend(vec![b'v'; rest]);
        assert_eq!(size(&made), LARGEST_SECRET + excess);
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        assert_eq!(secrets.create(&parameters, &made).await.is_ok(), taken, "{excess} bytes more");
    }
    delete_namespace(client, &namespace).await;
}

#[test]
fn differences_are_what_is_missing_or_otherwise() {
    let ours = json!({"same": [1, {"a": 2}], "other": ["x"], "missing": {}, "shorter": [1, 2]});
    let theirs = json!({"same": [1, {"a": 2, "default": 3}, "added"], "other": ["y"], "shorter": [1]});
    let paths = differences(&ours, &theirs, "");
    let paths: Vec<_> = paths.iter().filter_map(|each| each.split_once(':').map(|(path, _)| path)).collect();
    assert_eq!(paths, [".missing", ".other[0]", ".shorter"]);
}

//! The test API server itself: what the other tests rely on.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        core::v1::{ConfigMap, Namespace, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
    runtime::wait::{await_condition, conditions},
};
use tokio::time::timeout;

use crate::support::apiserver::{ApiServer, Started, launcher};

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Makes a namespace with a name of its own, since the cluster may be a user's.
async fn make_namespace(client: &Client, prefix: &str) -> Namespace {
    let metadata = ObjectMeta { generate_name: Some(format!("imagechain-{prefix}-")), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace")
}

async fn delete_namespace(client: &Client, namespace: &Namespace) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.delete(&namespace.name_any(), &DeleteParams::default()).await.expect("a deletion");
}

/// A server of the test's own, whatever cluster the user brought.
fn own_server() -> ApiServer {
    ApiServer::own(&mut Command::new(launcher())).expect("a server")
}

/// Waits until a controller has removed the object.
async fn gone<K>(api: Api<K>, object: &K)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let (name, uid) = (object.name_any(), object.uid().expect("a UID"));
    let removal = await_condition(api, &name, conditions::is_deleted(&uid));
    timeout(Duration::from_mins(1), removal).await.expect("the removal in time").expect("a watch");
}

#[test]
fn three_start_at_once_each_with_objects_of_its_own() {
    let servers: Vec<ApiServer> = thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(own_server)).collect();
        starting.into_iter().map(|each| each.join().expect("no panic")).collect()
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let times: Vec<_> = servers.iter().filter_map(ApiServer::started).map(|each| each.ready.milliseconds).collect();
    println!("three test API servers at once were ready after {times:?} ms");
    for server in &servers {
        runtime.block_on(async {
            let client = server.admin().await;
            let own = make_namespace(&client, "alone").await.name_any();
            let others: Api<Namespace> = Api::all(client);
            let found = others.list(&kube::api::ListParams::default()).await.expect("a list");
            let made: Vec<_> = found.iter().map(ResourceExt::name_any).filter(|name| name.contains("alone")).collect();
            assert_eq!(made, [own]);
        });
    }
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_and_a_namespace_with_all_in_it() {
    let server = ApiServer::start().expect("a server");
    let client = server.admin().await;
    let namespace = make_namespace(&client, "cleaned").await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace.name_any());
    let owner = maps
        .create(&PostParams::default(), &ConfigMap { metadata: named("owner"), ..ConfigMap::default() })
        .await
        .expect("an owner");
    let reference: OwnerReference = owner.controller_owner_ref(&()).expect("an identity");
    let metadata = ObjectMeta { owner_references: Some(vec![reference]), ..named("dependent") };
    let dependent = ConfigMap { metadata, ..ConfigMap::default() };
    let dependent = maps.create(&PostParams::default(), &dependent).await.expect("a dependent");

    maps.delete("owner", &DeleteParams::background()).await.expect("a deletion");
    gone(maps, &dependent).await;

    delete_namespace(&client, &namespace).await;
    gone(Api::all(client), &namespace).await;
}

#[tokio::test]
async fn a_service_account_is_itself_and_may_do_only_what_it_is_granted() {
    let server = ApiServer::start().expect("a server");
    let client = server.admin().await;
    let namespace = make_namespace(&client, "tenant").await;
    let tenant = namespace.name_any();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &tenant);
    let account = ServiceAccount { metadata: named("robot"), ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.expect("an account");

    let robot = server.service_account(&tenant, "robot").await;
    let reviews: Api<SelfSubjectReview> = Api::all(robot.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.expect("a review");
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    assert_eq!(user, Some(format!("system:serviceaccount:{tenant}:robot")));

    let maps: Api<ConfigMap> = Api::namespaced(robot, &tenant);
    let refusal = maps.list(&kube::api::ListParams::default()).await.expect_err("RBAC is on");
    assert!(refusal.to_string().contains("forbidden"), "{refusal}");
    delete_namespace(&client, &namespace).await;
}

#[tokio::test]
async fn the_audit_log_tells_who_wrote_what() {
    let server = own_server();
    let started = server.started().expect("a server of ours");
    let mut config = server.config().await;
    config.headers.push(("user-agent".parse().expect("a name"), "counted/1".parse().expect("a value")));
    let client = Client::try_from(config).expect("a client");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    for name in ["one", "two"] {
        maps.create(&PostParams::default(), &ConfigMap { metadata: named(name), ..ConfigMap::default() })
            .await
            .expect("a map");
    }
    maps.get("one").await.expect("a map");
    maps.delete("one", &DeleteParams::default()).await.expect("a deletion");

    let mut verbs: BTreeMap<String, u32> = BTreeMap::new();
    for line in started.audit_log().expect("a log").lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if event["userAgent"] == "counted/1" {
            *verbs.entry(event["verb"].as_str().expect("a verb").to_owned()).or_default() += 1;
        }
    }
    assert_eq!(verbs, BTreeMap::from([("create".to_owned(), 2), ("delete".to_owned(), 1)]));
}

#[tokio::test]
async fn users_may_bring_their_own_programs_or_their_own_cluster() {
    let ours = own_server();
    let etcd = ours.started().expect("a server of ours").ready.processes["etcd"];
    let program = fs::read_link(format!("/proc/{etcd}/exe")).expect("etcd's program");
    let assets = env::temp_dir().join(format!("imagechain-assets-{}", std::process::id()));
    fs::create_dir_all(&assets).expect("a folder");
    let used = assets.join("used");
    let script = format!("#!/bin/sh\n: >'{}'\nexec '{}' etcd \"$@\"\n", used.display(), program.display());
    fs::write(assets.join("etcd"), script).expect("a script");
    fs::set_permissions(assets.join("etcd"), fs::Permissions::from_mode(0o755)).expect("a program");

    let theirs = ApiServer::own(Command::new(launcher()).env("KUBEBUILDER_ASSETS", &assets)).expect("a server");
    assert!(used.exists(), "etcd of KUBEBUILDER_ASSETS was not started");
    fs::remove_dir_all(&assets).expect("the end of the folder");

    let kubeconfig = &theirs.started().expect("a server of ours").ready.kubeconfig;
    let existing = ApiServer::existing(kubeconfig).expect("a kubeconfig");
    assert!(existing.started().is_none());
    let seen = make_namespace(&theirs.admin().await, "seen").await.name_any();
    Api::<Namespace>::all(existing.admin().await).get(&seen).await.expect("the same cluster");
}

fn is_alive(process: i32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

#[test]
fn it_ends_with_the_process_that_holds_it_even_when_that_is_killed() {
    // Stands for the test's process: all that ties a server to it is the other end of a pipe.
    let mut holder = Command::new("sleep").arg("600").stdout(Stdio::piped()).spawn().expect("a process");
    let pipe = holder.stdout.take().expect("a pipe");
    let mut server = Started::new(Command::new(launcher()).stdin(pipe)).expect("a server");
    let processes: Vec<i32> = server.ready.processes.values().copied().collect();
    assert_eq!(processes.len(), 3);
    assert!(processes.iter().all(|process| is_alive(*process)));

    holder.kill().expect("a SIGKILL");
    holder.wait().expect("its end");
    server.wait().expect("the server's end");
    assert!(!processes.iter().any(|process| is_alive(*process)), "{processes:?} outlived their test");
    assert!(!server.ready.folder.exists(), "the folder is left");
}

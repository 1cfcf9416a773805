//! The parts of the runtime on a real API server: client, lease, watches, endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use imagechain::runtime::{
    client,
    health::{Health, Need, State},
    lease::{self, Claim, Contender, Times},
    metrics::Metrics,
    serve::{Endpoints, Server},
    watch::{Change, Options, Source, Watched, group, watch},
};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Secret, ServiceAccount},
        rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    apiserver::{ApiServer, launcher},
    proxy::{Mode, Proxy},
};

/// No proof of anything: what takes longer hangs.
const HANGS: Duration = Duration::from_mins(2);

/// Short, so that tests end soon; the order of events is the same.
const TIMES: Times =
    Times { duration: Duration::from_secs(3), valid: Duration::from_secs(2), period: Duration::from_millis(200) };

fn own_server() -> ApiServer {
    ApiServer::own(&mut Command::new(launcher())).expect("a server")
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ConfigMap { metadata: named(name), data: Some(data), ..ConfigMap::default() }
}

async fn create<K>(api: &Api<K>, object: &K)
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), object).await.expect("an object");
}

fn through(config: Config, metrics: &Metrics) -> Client {
    client::client(config, 16, metrics).expect("a client")
}

fn source(client: Client) -> Source {
    Source { client, metrics: Metrics::default(), health: Health::default() }
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(HANGS, future).await.unwrap_or_else(|_| panic!("no {what}"))
}

// ---- the lease

type Contending = (Claim, CancellationToken, tokio::task::JoinHandle<()>);

fn contend(config: Config, identity: &str) -> Contending {
    contend_with(config, identity, TIMES)
}

fn contend_with(config: Config, identity: &str, times: Times) -> Contending {
    let contender = Contender {
        namespace: "default".to_owned(),
        name: "imagechain".to_owned(),
        identity: identity.to_owned(),
        times,
    };
    let (claim, running) = lease::claim(through(config, &Metrics::default()), contender, Metrics::default());
    let end = CancellationToken::new();
    let task = tokio::spawn(running.run(end.clone()));
    (claim, end, task)
}

async fn holder(client: &Client) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "default");
    leases.get_opt("imagechain").await.expect("an answer")?.spec?.holder_identity
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_another_begins_and_a_release_is_taken() {
    let server = own_server();
    let config = server.config().await;
    let proxy = Proxy::start(&config).await;
    let (mut one, _end, _task) = contend(proxy.config(&config), "one");
    assert!(in_time("first leader", one.gained()).await);
    let (mut two, end, task) = contend(config.clone(), "two");

    proxy.set(Mode::Frozen);
    in_time("loss", one.lost()).await;
    assert!(!two.is_current(), "two lead");
    assert!(in_time("takeover", two.gained()).await);
    proxy.set(Mode::Open);
    // It looks again and finds another; as long as that one is current, it is not.
    assert!(two.is_current() && !one.is_current());

    end.cancel();
    in_time("release", task).await.expect("no panic");
    assert!(!two.is_current());
    assert!(in_time("takeover after a release", one.gained()).await);
    assert_eq!(holder(&server.admin().await).await.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_deleted_lease_comes_back_to_its_holder() {
    let server = own_server();
    let config = server.config().await;
    let (mut one, _end, _task) = contend(config.clone(), "one");
    assert!(in_time("first leader", one.gained()).await);
    let (two, _end_two, _task_two) = contend(config, "two");
    let admin = server.admin().await;
    let leases: Api<Lease> = Api::namespaced(admin.clone(), "default");
    leases.delete("imagechain", &DeleteParams::default()).await.expect("a deletion");
    let again = async {
        while holder(&admin).await.as_deref() != Some("one") {
            assert!(one.is_current() && !two.is_current());
            tokio::task::yield_now().await;
        }
    };
    in_time("lease", again).await;
    assert!(one.is_current() && !two.is_current());
}

/// A process that stands still with all of its tasks, as after SIGSTOP: its one thread waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_process_knows_that_it_no_longer_leads_before_it_does_anything() {
    let server = own_server();
    let config = server.config().await;
    let (thaw, frozen_until) = mpsc::channel::<()>();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let theirs = config.clone();
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let (mut claim, _end, _task) = contend(theirs, "frozen");
            tell.send(claim.gained().await).expect("a listener");
            frozen_until.recv().expect("an end of the freeze");
            tell.send(claim.is_current()).expect("a listener");
        });
    });
    assert_eq!(in_time("leader", told.recv()).await, Some(true));
    let (mut other, _end, _task) = contend(config, "other");
    assert!(in_time("takeover", other.gained()).await);
    thaw.send(()).expect("a frozen process");
    assert_eq!(in_time("answer", told.recv()).await, Some(false));
    process.join().expect("no panic");
}

/// With the times that are shipped; how long it took is printed.
#[tokio::test]
async fn a_killed_leader_is_replaced_and_one_that_ends_at_once() {
    let server = own_server();
    let config = server.config().await;
    let contend = |identity| contend_with(config.clone(), identity, Times::default());
    let (mut one, _end, task) = contend("one");
    assert!(in_time("first leader", one.gained()).await);
    let (mut two, end, _task) = contend("two");
    // All that a killed process leaves is the lease in its name.
    let killed = tokio::time::Instant::now();
    task.abort();
    assert!(in_time("takeover", two.gained()).await);
    println!("a killed leader was replaced after {:?}", killed.elapsed());
    assert!(!one.is_current());
    let (mut three, _end_three, _task_three) = contend("three");
    let ended = tokio::time::Instant::now();
    end.cancel();
    assert!(in_time("takeover", three.gained()).await);
    println!("a leader that ended was replaced after {:?}", ended.elapsed());
    assert!(!two.is_current());
}

// ---- watches

/// The next change of which `wanted` makes something.
async fn next<C, T>(changes: &mut (impl Stream<Item = C> + Unpin), mut wanted: impl FnMut(C) -> Option<T>) -> T {
    let found = async {
        loop {
            let change = changes.next().await.expect("a stream that never ends");
            if let Some(found) = wanted(change) {
                return found;
            }
        }
    };
    in_time("change", found).await
}

fn applied<K: Resource>(name: &str) -> impl FnMut(Change<K>) -> Option<()> {
    move |change| matches!(change, Change::Applied(object) if object.name_any() == name).then_some(())
}

fn deleted<K: Resource>(name: &str) -> impl FnMut(Change<K>) -> Option<()> {
    move |change| matches!(change, Change::Deleted(object) if object.name_any() == name).then_some(())
}

fn in_state<K>(wanted: State) -> impl FnMut(Change<K>) -> Option<()> {
    move |change| matches!(change, Change::State(state) if state == wanted).then_some(())
}

/// The `ConfigMaps` of a namespace; a watch ends after a second.
fn maps(source: &Source, namespace: &'static str) -> (Watched<ConfigMap>, BoxStream<'static, Change<ConfigMap>>) {
    let mut options = Options::new("maps");
    options.config = options.config.timeout(1);
    watch(source, &options, namespace, |client| Api::namespaced(client, namespace))
}

#[tokio::test]
async fn what_happens_while_a_stream_is_cut_or_frozen_is_told_afterwards() {
    let server = own_server();
    let config = server.config().await;
    let proxy = Proxy::start(&config).await;
    let source = source(through(proxy.config(&config), &Metrics::default()));
    let api: Api<ConfigMap> = Api::namespaced(server.admin().await, "default");
    create(&api, &map("kept", &[])).await;
    create(&api, &map("goes", &[])).await;
    let (watched, mut changes) = maps(&source, "default");
    next(&mut changes, applied("kept")).await;
    next(&mut changes, in_state(State::Live)).await;
    assert!(watched.health.is_synced());

    proxy.set(Mode::Cut);
    next(&mut changes, |change| matches!(change, Change::State(State::Failing(_))).then_some(())).await;
    api.delete("goes", &DeleteParams::default()).await.expect("a deletion");
    proxy.set(Mode::Open);
    next(&mut changes, deleted("goes")).await;

    proxy.set(Mode::Frozen);
    create(&api, &map("comes", &[])).await;
    // Half-open: nobody closes the connection, and yet it is noticed.
    next(&mut changes, |change| matches!(change, Change::State(State::Failing(_))).then_some(())).await;
    proxy.set(Mode::Open);
    next(&mut changes, applied("comes")).await;
    let names: BTreeSet<_> = watched.store.state().iter().map(|object| object.name_any()).collect();
    assert!(names.contains("kept") && names.contains("comes") && !names.contains("goes"), "{names:?}");
    assert!(source.metrics.text().expect("text").contains("watch_failures_total{stream=\"maps\"}"));
}

/// Waits until a server answers.
async fn answers(config: &Config) {
    let client = Client::try_from(config.clone()).expect("a client");
    let ready = async {
        while client.apiserver_version().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    in_time("answer", ready).await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_is_taken_up_where_it_was_left() {
    let server = own_server();
    let started = server.started().expect("a server of ours");
    // Taken and given back: nobody else asks for this one, since free ports are given out in turn.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port").port();
    let mut config = server.config().await;
    config.cluster_url = format!("https://127.0.0.1:{port}").parse().expect("an address");
    let mut second = started.second(port).expect("a server");
    answers(&config).await;
    let source = source(through(config.clone(), &Metrics::default()));
    let api: Api<ConfigMap> = Api::namespaced(server.admin().await, "default");
    create(&api, &map("goes", &[])).await;
    let (watched, mut changes) = maps(&source, "default");
    next(&mut changes, applied("goes")).await;

    second.kill().expect("a SIGKILL");
    second.wait().expect("its end");
    next(&mut changes, |change| matches!(change, Change::State(State::Failing(_))).then_some(())).await;
    assert!(watched.store.state().iter().any(|object| object.name_any() == "goes"), "what was known stays");
    api.delete("goes", &DeleteParams::default()).await.expect("a deletion");
    create(&api, &map("comes", &[])).await;
    let mut second = started.second(port).expect("a server");
    let mut missing = BTreeSet::from(["-goes", "+comes"]);
    while !missing.is_empty() {
        let word = next(&mut changes, |change| match change {
            Change::Applied(object) if object.name_any() == "comes" => Some("+comes"),
            Change::Deleted(object) if object.name_any() == "goes" => Some("-goes"),
            _ => None,
        });
        missing.remove(word.await);
    }
    second.kill().expect("a SIGKILL");
    second.wait().expect("its end");
}

/// `ConfigMaps` as somebody might read them who expects more of them than the API server does.
#[derive(Clone, Debug, Resource, Serialize, Deserialize)]
#[resource(inherit = ConfigMap)]
struct Numbered {
    metadata: ObjectMeta,
    data: Number,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Number {
    number: String,
}

#[tokio::test]
async fn an_object_that_cannot_be_read_stops_no_other() {
    let server = own_server();
    let source = source(through(server.config().await, &Metrics::default()));
    let api: Api<ConfigMap> = Api::namespaced(server.admin().await, "default");
    create(&api, &map("bad", &[("word", "one")])).await;
    create(&api, &map("good", &[("number", "1")])).await;
    let options = Options::<Numbered>::new("maps");
    let (watched, mut changes) = watch(&source, &options, "", |client| Api::namespaced(client, "default"));
    next(&mut changes, applied("good")).await;
    create(&api, &map("worse", &[])).await;
    create(&api, &map("better", &[("number", "2")])).await;
    next(&mut changes, applied("better")).await;
    let names: BTreeSet<_> = watched.store.state().iter().map(|object| object.name_any()).collect();
    assert_eq!(names, BTreeSet::from(["good".to_owned(), "better".to_owned()]));
}

/// A `ServiceAccount` that may read these `ConfigMaps` and nothing else; all of them where none is named.
async fn reader(server: &ApiServer, names: &[&str]) -> Client {
    let admin = server.admin().await;
    create(
        &Api::namespaced(admin.clone(), "default"),
        &ServiceAccount { metadata: named("reader"), ..ServiceAccount::default() },
    )
    .await;
    grant(&admin, "configmaps", names).await;
    server.service_account("default", "reader").await
}

async fn grant(admin: &Client, resource: &str, names: &[&str]) {
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: (!names.is_empty()).then(|| names.iter().map(|name| (*name).to_owned()).collect()),
        verbs: ["get", "list", "watch"].map(str::to_owned).into(),
        ..PolicyRule::default()
    };
    create(&Api::namespaced(admin.clone(), "default"), &Role { metadata: named(resource), rules: Some(vec![rule]) })
        .await;
    let role_ref = RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: "Role".to_owned(),
        name: resource.to_owned(),
    };
    let subject = Subject {
        kind: "ServiceAccount".to_owned(),
        name: "reader".to_owned(),
        namespace: Some("default".to_owned()),
        ..Subject::default()
    };
    let binding = RoleBinding { metadata: named(resource), role_ref, subjects: Some(vec![subject]) };
    create(&Api::namespaced(admin.clone(), "default"), &binding).await;
}

#[tokio::test]
async fn a_refused_watch_holds_up_no_other_and_goes_on_once_it_is_granted() {
    let server = own_server();
    let source = source(reader(&server, &[]).await);
    let admin = server.admin().await;
    let api: Api<ConfigMap> = Api::namespaced(admin.clone(), "default");
    let (_maps, changes) = maps(&source, "default");
    let options = Options::<Secret>::new("secrets").named("push");
    let (secret, secrets) = watch(&source, &options, "default/push", |client| Api::namespaced(client, "default"));
    // One consumer of both, as a controller is.
    let names = |change: Change<ConfigMap>| match change {
        Change::Applied(object) => object.name_any(),
        _ => String::new(),
    };
    let states = |change: Change<Secret>| match change {
        Change::State(state) => format!("secret {state}"),
        _ => String::new(),
    };
    let mut both = futures::stream::select(changes.map(names), secrets.map(states));
    next(&mut both, |word| word.starts_with("secret forbidden").then_some(())).await;
    for n in 0..20 {
        let name = format!("map-{n}");
        create(&api, &map(&name, &[])).await;
        next(&mut both, |word| (word == name).then_some(())).await;
    }
    assert_eq!(secret.health.state(), State::Forbidden);
    assert!(source.health.report(tokio::time::Instant::now()).0, "a tenant's role is no matter of readiness");
    grant(&admin, "secrets", &["push"]).await;
    next(&mut both, |word| (word == "secret live").then_some(())).await;
}

#[tokio::test]
async fn single_objects_are_watched_as_long_as_they_are_wanted() {
    let server = own_server();
    let source = source(reader(&server, &["one", "two"]).await);
    let api: Api<ConfigMap> = Api::namespaced(server.admin().await, "default");
    let (wanted, mut changes) = group(source.clone(), |name: &&'static str| {
        let name = *name;
        let options = Options::<ConfigMap>::new("maps").named(name);
        (options, name.to_owned(), Box::new(|client| Api::namespaced(client, "default")))
    });
    wanted.keep(&BTreeSet::from(["one", "three"]));
    let mut states = BTreeMap::new();
    while states.len() < 2 {
        let (key, state) = next(&mut changes, |(key, change)| match change {
            Change::State(state) => Some((key, state)),
            _ => None,
        })
        .await;
        states.insert(key, state);
    }
    assert_eq!(states, BTreeMap::from([("one", State::Live), ("three", State::Forbidden)]), "access is by name");

    wanted.keep(&BTreeSet::from(["one", "two"]));
    assert!(wanted.get(&"three").is_none());
    create(&api, &map("three", &[])).await;
    create(&api, &map("two", &[])).await;
    let found = next(&mut changes, |(key, change)| match change {
        Change::Applied(object) => Some((key, object.name_any())),
        _ => None,
    });
    assert_eq!(found.await, ("two", "two".to_owned()));
    assert_eq!(wanted.all().len(), 2);
}

#[tokio::test]
async fn a_missing_kind_is_said_and_is_no_end() {
    let server = own_server();
    let source = source(through(server.config().await, &Metrics::default()));
    let options = Options::<imagechain::api::chain::ImageChain>::new("chains");
    let (_watched, mut changes) = watch(&source, &options, "", Api::all);
    next(&mut changes, in_state(State::UnknownKind)).await;
    let (ready, text) = source.health.report(tokio::time::Instant::now());
    assert!(!ready && text.contains("custom resource definitions"), "{text}");
}

// ---- client and endpoints

#[tokio::test]
async fn requests_are_counted_and_name_their_program_and_a_frozen_server_is_an_error() {
    let server = own_server();
    let config = server.config().await;
    let proxy = Proxy::start(&config).await;
    let metrics = Metrics::default();
    let client = through(proxy.config(&config), &metrics);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    create(&api, &map("one", &[])).await;
    Api::<Namespace>::all(client).list(&ListParams::default()).await.expect("a list");
    api.get("none").await.expect_err("no such object");
    proxy.set(Mode::Frozen);
    let late = in_time("deadline", api.get("one")).await.expect_err("frozen").to_string();
    assert!(late.contains("no answer to get configmaps within 10s"), "{late}");
    let text = metrics.text().expect("text");
    for line in [
        "imagechain_requests_total{verb=\"create\",resource=\"configmaps\",code=\"201\"} 1",
        "imagechain_requests_total{verb=\"list\",resource=\"namespaces\",code=\"200\"} 1",
        "imagechain_requests_total{verb=\"get\",resource=\"configmaps\",code=\"404\"} 1",
        "imagechain_requests_total{verb=\"get\",resource=\"configmaps\",code=\"0\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let log = server.started().expect("a server of ours").audit_log().expect("a log");
    let agent = concat!("\"userAgent\":\"imagechain/", env!("CARGO_PKG_VERSION"), "\"");
    assert!(log.contains(agent), "no {agent}");
}

/// Sends bytes and returns what comes until the end.
async fn exchange(server: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = in_time("answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn the_endpoints_answer_and_nothing_else_does() {
    let endpoints = Endpoints::default();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), endpoints.clone()).await.expect("a port");
    let address = server.address().expect("an address");
    let serving = tokio::spawn(server.run());
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let starting = exchange(address, &get("/readyz")).await;
    assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("not ready\n"), "{starting}");
    let chains = endpoints.health.stream("chains".to_owned(), Need::Always);
    chains.set(State::Live);
    endpoints.metrics.leading(true);
    let long = "x".repeat(20_000);
    for (request, status, text) in [
        (get("/livez"), "200", "alive"),
        (get("/readyz"), "200", "chains: live; last heard 0 s ago"),
        (get("/metrics"), "200", "imagechain_leader 1"),
        (get("/"), "404", "there are /livez"),
        (get("/livez/.."), "404", "there are /livez"),
        (get("/debug"), "404", "there are /livez"),
        ("POST /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n".to_owned(), "405", "only GET"),
        (get(&format!("/{long}")), "431", ""),
        (format!("GET /livez HTTP/1.1\r\nhost: a\r\nlong: {long}\r\n\r\n"), "431", ""),
        ("nonsense\r\n\r\n".to_owned(), "400", ""),
    ] {
        let answer = exchange(address, &request).await;
        let head = request.get(..60).unwrap_or(&request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(text), "{head}: {answer}");
    }
    endpoints.health.drain();
    assert!(exchange(address, &get("/readyz")).await.starts_with("HTTP/1.1 503"));
    assert!(exchange(address, &get("/livez")).await.starts_with("HTTP/1.1 200"));
    serving.abort();
}

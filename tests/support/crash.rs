//! A controller whose every write is counted, to the API server and to the registry, and which is killed or
//! lied to at one of them.
//!
//! Many of them run side by side in one API server: each sees one namespace alone. Their lists and watches of
//! all namespaces are narrowed on their way, so that what belongs to others is not there for them.

use std::{
    collections::HashMap,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use imagechain::api::{LINK_LABEL, build::ImageBuild};
use kube::{Api, Client, api::ListParams};
use serde_json::{Value, json};

use super::{
    cluster::Operator,
    faults::{pass_on, plain_client},
    intercept::{Answer, Fate, Front, Intercept, whole},
};

/// What happens at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The process is killed before the server has it.
    KilledBefore,
    /// The server does it; the process is killed and never hears of it.
    KilledAfterCommit,
    /// The process hears of it, and is killed.
    KilledAfterAnswer,
    /// The server does it, and the process hears that it took too long (504).
    DoneButLate,
    /// The server does nothing: somebody else was faster, says the API server (409); the registry that it is
    /// overloaded (503).
    Refused,
}

impl Mode {
    pub const ALL: [Self; 5] =
        [Self::KilledBefore, Self::KilledAfterCommit, Self::KilledAfterAnswer, Self::DoneButLate, Self::Refused];
}

/// What happens at which write: the first, second, … of a title. What goes on side by side comes in another
/// order each time, so that a number among all writes would not say which is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plan {
    pub title: String,
    pub nth: usize,
    pub mode: Mode,
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}#{}:{:?}", self.title, self.nth, self.mode)
    }
}

impl std::str::FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("«{text}» is no plan; this is one: create pods c-one#1:KilledBefore");
        let (what, mode) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (title, nth) = what.rsplit_once('#').ok_or_else(wrong)?;
        let mode = Mode::ALL.into_iter().find(|each| format!("{each:?}") == mode).ok_or_else(wrong)?;
        Ok(Self { title: title.to_owned(), nth: nth.parse().map_err(|_| wrong())?, mode })
    }
}

/// A write, as it was asked for and answered.
#[derive(Clone, Debug)]
pub struct Write {
    /// Which one of the run, from 1.
    pub number: usize,
    pub verb: String,
    /// As `pods`, `imagebuilds/status`, `registry/manifests`.
    pub resource: String,
    pub name: String,
    /// What was sent: an object or a patch; of a registry nothing.
    pub sent: Value,
    /// The body as it was sent.
    pub bytes: Bytes,
    /// What the server answered, whatever the client heard; 0 where it was not asked.
    pub code: u16,
    /// The object after that.
    pub object: Value,
    /// The builds as they were before a write to the registry.
    pub builds: Vec<ImageBuild>,
    /// What was done to it.
    pub mode: Option<Mode>,
}

impl Write {
    /// The same in every run, whatever UIDs and hashes are: `create pods c-one`.
    pub fn title(&self) -> String {
        title(&self.verb, &self.resource, &self.name)
    }

    /// Whether the server did it.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

fn title(verb: &str, resource: &str, name: &str) -> String {
    let name = match resource {
        "events" => String::new(),
        "registry/blobs" => name.split('/').next().unwrap_or_default().to_owned(),
        _ => without_hash(name),
    };
    format!("{verb} {resource} {name}").trim_end().to_owned()
}

/// A name without the hash that a build's name ends with, and all that follows it.
pub fn without_hash(name: &str) -> String {
    let parts: Vec<&str> = name.split('-').collect();
    let is_hash = |part: &&str| part.len() == 10 && part.chars().all(|letter| letter.is_ascii_hexdigit());
    let kept = parts.iter().position(is_hash).unwrap_or(parts.len());
    parts[..kept].join("-")
}

/// One controller and its writes.
pub struct Run {
    pub namespace: String,
    plan: Option<Plan>,
    /// The API server, as the operator.
    server: Client,
    /// The same, as an observer.
    admin: Client,
    seen: Mutex<Seen>,
    operator: Mutex<Option<Operator>>,
    kubeconfig: PathBuf,
}

#[derive(Default)]
struct Seen {
    count: usize,
    /// The same by title.
    titles: HashMap<String, usize>,
    writes: Vec<Write>,
    /// The Secrets that were read, as namespace/name.
    secrets: Vec<String>,
}

impl Seen {
    /// Counts a write; the answer is which one it is, of all and of its title.
    fn count(&mut self, title: &str) -> (usize, usize) {
        self.count += 1;
        let nth = self.titles.entry(title.to_owned()).or_default();
        *nth += 1;
        (self.count, *nth)
    }
}

/// What a write is about, before it is passed on.
struct About {
    verb: String,
    resource: String,
    name: String,
    sent: Value,
    bytes: Bytes,
    builds: Vec<ImageBuild>,
}

impl Run {
    pub fn new(namespace: &str, plan: Option<Plan>, (server, admin): (Client, Client), kubeconfig: PathBuf) -> Self {
        let (seen, operator) = (Mutex::default(), Mutex::new(None));
        Self { namespace: namespace.to_owned(), plan, server, admin, seen, operator, kubeconfig }
    }

    /// Starts the controller, through a server that this value is behind.
    pub fn start(&self, front: &Front) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", front.address())}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&self.kubeconfig, config.to_string()).expect("a file");
        self.restart();
    }

    /// Kills the controller and starts another.
    fn restart(&self) {
        let mut operator = self.operator.lock().expect("a lock");
        drop(operator.take());
        *operator = Some(Operator::start(&self.kubeconfig, &self.log(), &["--leader-elect=false"]));
    }

    /// Ends the controller.
    pub fn stop(&self) {
        drop(self.operator.lock().expect("a lock").take());
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.kubeconfig.with_extension("log")
    }

    /// The writes so far, in the order in which they were answered.
    pub fn writes(&self) -> Vec<Write> {
        self.seen().writes.clone()
    }

    /// The Secrets that were read.
    pub fn secrets(&self) -> Vec<String> {
        self.seen().secrets.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("a lock")
    }

    fn note(&self, number: usize, about: About, (code, object): (u16, Value), mode: Option<Mode>) {
        let About { verb, resource, name, sent, bytes, builds } = about;
        let write = Write { number, verb, resource, name, sent, bytes, code, object, builds, mode };
        self.seen().writes.push(write);
    }

    /// A write: passed on, unless the plan has something else for it.
    async fn write(
        self: Arc<Self>,
        about: About,
        passed: impl Future<Output = Response<Bytes>>,
        refusal: Response<Bytes>,
    ) -> Fate {
        let title = title(&about.verb, &about.resource, &about.name);
        let (number, nth) = self.seen().count(&title);
        let plan = self.plan.as_ref().filter(|plan| plan.title == title && plan.nth == nth);
        let mode = plan.map(|plan| plan.mode);
        if matches!(mode, Some(Mode::KilledBefore | Mode::Refused)) {
            self.note(number, about, (0, Value::Null), mode);
            if mode == Some(Mode::Refused) {
                return Fate::Answered(whole(refusal));
            }
            self.kill().await;
            return Fate::Unanswered;
        }
        let answer = passed.await;
        let object = serde_json::from_slice(answer.body()).unwrap_or_default();
        self.note(number, about, (answer.status().as_u16(), object), mode);
        match mode {
            Some(Mode::KilledAfterCommit) => {
                self.kill().await;
                Fate::Unanswered
            }
            Some(Mode::KilledAfterAnswer) => Fate::Then(whole(answer), async move { self.kill().await }.boxed()),
            Some(Mode::DoneButLate) => Fate::Answered(whole(failure(504, "Timeout"))),
            _ => Fate::Answered(whole(answer)),
        }
    }

    async fn kill(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || this.restart()).await.expect("another controller");
    }

    async fn of_api(self: Arc<Self>, request: Request<Bytes>) -> Fate {
        let request = self.narrowed(request);
        let Some(about) = api_write(&request) else {
            self.note_secret(&request);
            return Fate::Answered(send(&self.server, request).await);
        };
        let server = self.server.clone();
        let passed = async move {
            let (head, body) = send(&server, request).await.into_parts();
            Response::from_parts(head, body.collect().await.expect("a body").to_bytes())
        };
        self.write(about, passed, failure(409, "Conflict")).await
    }

    fn note_secret(&self, request: &Request<Bytes>) {
        let path: Vec<&str> = request.uri().path().split('/').collect();
        if let ["", "api", "v1", "namespaces", namespace, "secrets", name] = path.as_slice() {
            self.seen().secrets.push(format!("{namespace}/{name}"));
        }
    }

    /// The request, about one namespace alone.
    fn narrowed(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        if request.method() != Method::GET {
            return request;
        }
        let text = request.uri().to_string();
        let (path, query) = text.split_once('?').unwrap_or((&text, ""));
        let (group, kind) = path.rsplit_once('/').unwrap_or_default();
        let narrow = match kind {
            "imagechains" | "imagebuilds" if group == "/apis/imagechain.dev/v1alpha1" => {
                format!("{group}/namespaces/{}/{kind}?{query}", self.namespace)
            }
            "pods" => {
                let own = format!("labelSelector=imagechain.dev%2FbuildNamespace%3D{}%2C", self.namespace);
                format!("{path}?{}", query.replace("labelSelector=", &own))
            }
            _ => text,
        };
        *request.uri_mut() = narrow.parse().expect("a path");
        request
    }
}

impl Intercept for Run {
    fn ask(self: Arc<Self>, request: Request<Bytes>) -> BoxFuture<'static, Fate> {
        self.of_api(request).boxed()
    }
}

/// Passes a request on to the API server.
async fn send(server: &Client, request: Request<Bytes>) -> Answer {
    let (mut head, body) = request.into_parts();
    for own in [header::HOST, header::CONNECTION, header::AUTHORIZATION, header::CONTENT_LENGTH] {
        head.headers.remove(own);
    }
    let answer = server.send(Request::from_parts(head, body.into())).await;
    let mut answer = answer.expect("the API server").map(|body| body.map_err(io::Error::other).boxed_unsync());
    answer.headers_mut().remove(header::TRANSFER_ENCODING);
    answer
}

/// What a request to the API server writes; questions that are asked by POST write nothing.
fn api_write(request: &Request<Bytes>) -> Option<About> {
    let verb = match *request.method() {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => return None,
    };
    let path: Vec<&str> = request.uri().path().split('/').skip_while(|part| *part != "namespaces").collect();
    let sent: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let own = sent.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let (resource, name) = match path.as_slice() {
        [_, _, kind] => ((*kind).to_owned(), own),
        [_, _, kind, name] => ((*kind).to_owned(), *name),
        [_, _, kind, name, below] => (format!("{kind}/{below}"), *name),
        // Reviews have no namespace.
        _ => return None,
    };
    let name = name.to_owned();
    Some(About { verb: verb.to_owned(), resource, name, sent, bytes: Bytes::new(), builds: Vec::new() })
}

/// The API server's no.
fn failure(code: u16, reason: &str) -> Response<Bytes> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("the proxy says {reason}")});
    let answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    answer.body(status.to_string().into()).expect("an answer")
}

/// The registry of many runs: what is written to the repositories of a namespace is counted there.
pub struct Registry {
    upstream: String,
    http: reqwest::Client,
    runs: Mutex<HashMap<String, Arc<Run>>>,
    /// Every manifest that was put into another repository than those of runs: the staging references.
    staged: Mutex<Vec<String>>,
}

impl Registry {
    /// In front of a registry, given as host and port.
    pub fn before(upstream: &str) -> Arc<Self> {
        let (http, runs, staged) = (plain_client(), Mutex::default(), Mutex::default());
        Arc::new(Self { upstream: upstream.to_owned(), http, runs, staged })
    }

    /// From now on, what is about a run is told to it.
    pub fn add(&self, run: &Arc<Run>) {
        self.runs.lock().expect("a lock").insert(run.namespace.clone(), Arc::clone(run));
    }

    /// From now on, nothing is told to that run.
    pub fn remove(&self, run: &Run) {
        self.runs.lock().expect("a lock").remove(&run.namespace);
    }

    /// The paths of all manifests that were staged.
    pub fn staged(&self) -> Vec<String> {
        self.staged.lock().expect("a lock").clone()
    }

    async fn of_registry(self: Arc<Self>, request: Request<Bytes>) -> Fate {
        let path = request.uri().path().to_owned();
        let (repository, what) = split(&path);
        let is_write = !matches!(*request.method(), Method::GET | Method::HEAD);
        let run = self.runs.lock().expect("a lock").get(repository.split('/').next().unwrap_or_default()).cloned();
        if is_write && run.is_none() && what.starts_with("manifests/") {
            self.staged.lock().expect("a lock").push(path.clone());
        }
        let Some(run) = run.filter(|_| is_write) else {
            return Fate::Answered(whole(self.pass(request).await));
        };
        let link = repository.split('/').nth(1).unwrap_or_default();
        let (kind, last) = what.split_once('/').unwrap_or((what, ""));
        let about = About {
            verb: request.method().as_str().to_lowercase(),
            resource: format!("registry/{kind}"),
            name: format!("{link}/{last}"),
            sent: Value::Null,
            bytes: request.body().clone(),
            builds: builds(&run, link).await,
        };
        let this = Arc::clone(&self);
        let passed = async move { this.pass(request).await };
        let refusal = Response::builder().status(503).body(Bytes::new()).expect("an answer");
        run.write(about, passed, refusal).await
    }

    async fn pass(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().to_string();
        pass_on(&self.http, &self.upstream, &path, request).await
    }
}

impl Intercept for Registry {
    fn ask(self: Arc<Self>, request: Request<Bytes>) -> BoxFuture<'static, Fate> {
        self.of_registry(request).boxed()
    }
}

/// The builds of a link, as they are now.
async fn builds(run: &Run, link: &str) -> Vec<ImageBuild> {
    let builds: Api<ImageBuild> = Api::namespaced(run.admin.clone(), &run.namespace);
    let own = ListParams::default().labels(&format!("{LINK_LABEL}={link}"));
    loop {
        match builds.list(&own).await {
            Ok(list) => return list.items,
            // The server may close a connection in the moment in which it is used again: a question is asked again.
            Err(kube::Error::Service(_)) => {}
            Err(error) => panic!("the builds: {error}"),
        }
    }
}

/// Repository and rest of a path such as `/v2/a/b/manifests/1`.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches("/v2/");
    let at = ["/manifests/", "/blobs/"].iter().find_map(|part| path.find(part));
    at.map_or((path, ""), |at| (&path[..at], &path[at + 1..]))
}

//! The package registry of Gitea: a real one, where `IMAGECHAIN_GITEA` says where it is (`make test-gitea`), else a
//! stub that answers as the source of Gitea says (`routers/api/packages/vagrant/vagrant.go`,
//! `routers/api/packages/api.go`, `routers/api/v1/api.go`, `modules/packages/vagrant/metadata.go`).

use std::{
    collections::BTreeMap,
    env,
    io::Read,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use imagechain::plan::image::Digest;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    faults::plain_client,
    intercept::{Fate, Front, Intercept, whole},
};

/// The user whose packages tests publish.
pub const OWNER: &str = "team-a";

/// Who may do what there.
#[derive(Clone, Deserialize)]
struct Users {
    /// Host and port.
    address: String,
    /// A token of [`OWNER`] with `write:package`.
    writer: String,
    /// One with `read:package`.
    reader: String,
    /// The password of [`OWNER`].
    password: String,
}

/// A server.
pub struct Gitea {
    users: Users,
    http: Client,
    /// It ends with this value.
    _stub: Option<Front>,
}

impl Gitea {
    pub async fn start() -> Self {
        if let Ok(users) = env::var("IMAGECHAIN_GITEA") {
            let users = serde_json::from_str(&users).expect("where Gitea is");
            return Self { users, http: plain_client(), _stub: None };
        }
        let (text, now) = (str::to_owned, Mutex::default());
        let mut users =
            Users { address: String::new(), writer: text("w-4711"), reader: text("r-4711"), password: text("p-4711") };
        let front = Front::start(Arc::new(Stub { users: users.clone(), files: now })).await;
        users.address = front.address();
        Self { users, http: plain_client(), _stub: Some(front) }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.users.address
    }

    /// A Secret that may upload.
    pub fn writer(&self) -> Value {
        json!({"token": self.users.writer})
    }

    /// One that may not.
    pub fn reader(&self) -> Value {
        json!({"token": self.users.reader})
    }

    /// One with a user name and a password, as `kubernetes.io/basic-auth` has them.
    pub fn login(&self) -> Value {
        json!({"username": OWNER, "password": self.users.password})
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> reqwest::Response {
        let request = self.http.request(method, format!("http://{}/api/{path}", self.users.address));
        let request = request.header("Authorization", format!("token {}", self.users.writer));
        request.body(body).send().await.expect("an answer")
    }

    /// The file of a version of a package, as anybody downloads it.
    pub async fn file(&self, package: &str, file: &str) -> Option<Vec<u8>> {
        let answer = self.ask(Method::GET, &format!("packages/{OWNER}/vagrant/{package}/{file}"), Vec::new()).await;
        let found = answer.status() == StatusCode::OK;
        found.then_some(answer.bytes().await.expect("a body").to_vec())
    }

    /// What `vagrant box add` reads of a package.
    pub async fn metadata(&self, package: &str) -> Value {
        let answer = self.ask(Method::GET, &format!("packages/{OWNER}/vagrant/{package}"), Vec::new()).await;
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    /// Somebody else uploads a file; the answer is the status.
    pub async fn upload(&self, package: &str, file: &str, content: &[u8]) -> u16 {
        let path = format!("packages/{OWNER}/vagrant/{package}/{file}");
        self.ask(Method::PUT, &path, content.to_vec()).await.status().as_u16()
    }

    /// Somebody deletes a version.
    pub async fn delete(&self, package: &str, version: &str) {
        let path = format!("v1/packages/{OWNER}/vagrant/{package}/{version}");
        assert_eq!(self.ask(Method::DELETE, &path, Vec::new()).await.status(), StatusCode::NO_CONTENT);
    }
}

/// The files of each version of a package, by name.
type Files = BTreeMap<(String, String), BTreeMap<String, Bytes>>;

struct Stub {
    users: Users,
    files: Mutex<Files>,
}

impl Intercept for Stub {
    fn ask(self: Arc<Self>, request: Request<Bytes>) -> BoxFuture<'static, Fate> {
        let (status, body) = self.answer(&request);
        let answer = Response::builder().status(status).body(body.into()).expect("an answer");
        async move { Fate::Answered(whole(answer)) }.boxed()
    }
}

/// What the caller may do with packages: nothing, read, or write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum May {
    Nothing,
    Read,
    Write,
}

impl Stub {
    /// Who does not say who they are may read; who says something wrong may nothing.
    fn may(&self, request: &Request<Bytes>) -> May {
        let Some(header) = request.headers().get("authorization") else { return May::Read };
        let (scheme, text) = header.to_str().expect("text").split_once(' ').expect("a scheme");
        let word = match scheme.to_ascii_lowercase().as_str() {
            "token" | "bearer" => text.to_owned(),
            // A token goes as a password, too, whatever the user name.
            "basic" => {
                let login = String::from_utf8(STANDARD.decode(text).expect("base64")).expect("text");
                if login == format!("{OWNER}:{}", self.users.password) {
                    return May::Write;
                }
                login.split_once(':').expect("a password").1.to_owned()
            }
            other => panic!("{other}"),
        };
        match word {
            word if word == self.users.writer => May::Write,
            word if word == self.users.reader => May::Read,
            _ => May::Nothing,
        }
    }

    fn answer(&self, request: &Request<Bytes>) -> (u16, Vec<u8>) {
        let path: Vec<&str> = request.uri().path().trim_start_matches("/api/").split('/').collect();
        let (may, is_known) = (self.may(request), request.headers().contains_key("authorization"));
        let nothing = |status| (status, Vec::new());
        match (request.method(), path.as_slice()) {
            (_, ["v1", "packages", ..]) if !is_known || may == May::Nothing => nothing(401),
            (_, ["packages" | "v1", ..]) if !path.contains(&OWNER) => nothing(404),
            (&Method::GET, ["v1", "packages", _, "vagrant", name, version, "files"]) => self.list(name, version),
            (&Method::DELETE, ["v1", "packages", _, "vagrant", ..]) if may < May::Write => nothing(403),
            (&Method::DELETE, ["v1", "packages", _, "vagrant", name, version]) => {
                let gone = self.files().remove(&key(name, version));
                nothing(if gone.is_some() { 204 } else { 404 })
            }
            (_, ["packages", ..]) if may == May::Nothing => nothing(401),
            (&Method::GET, ["packages", _, "vagrant", name]) => self.metadata(name),
            (&Method::GET, ["packages", _, "vagrant", name, version, file]) => {
                let found =
                    self.files().get(&key(name, version)).and_then(|files| files.get(&file.to_lowercase()).cloned());
                found.map_or(nothing(404), |content| (200, content.to_vec()))
            }
            (&Method::PUT, ["packages", _, "vagrant", ..]) if may < May::Write => nothing(401),
            (&Method::PUT, ["packages", _, "vagrant", name, version, file]) => {
                nothing(self.put((name, version, file), request.body()))
            }
            _ => nothing(404),
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().expect("a lock")
    }

    fn put(&self, (name, version, file): (&str, &str, &str), content: &Bytes) -> u16 {
        let is_part = |text: &str| {
            !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'-')
        };
        let is_version =
            |text: &str| text.split('.').all(is_part) && text.starts_with(|first: char| first.is_ascii_digit());
        if !is_version(version) || file.strip_suffix(".box").is_none() {
            return 400;
        }
        if !is_box(content) {
            return 500;
        }
        // Whether it is the same file or another one.
        let mut all = self.files();
        let files = all.entry(key(name, version)).or_default();
        if files.contains_key(&file.to_lowercase()) {
            return 409;
        }
        files.insert(file.to_lowercase(), content.clone());
        201
    }

    fn list(&self, name: &str, version: &str) -> (u16, Vec<u8>) {
        let all = self.files();
        let Some(files) = all.get(&key(name, version)) else { return (404, Vec::new()) };
        let file = |(id, (name, content)): (usize, (&String, &Bytes))| {
            let sha256 = Digest::of(content).to_string().trim_start_matches("sha256:").to_owned();
            json!({"id": id, "Size": content.len(), "name": name, "md5": "", "sha1": "", "sha256": sha256, "sha512": ""})
        };
        let list: Vec<_> = files.iter().enumerate().map(file).collect();
        (200, json!(list).to_string().into_bytes())
    }

    fn metadata(&self, name: &str) -> (u16, Vec<u8>) {
        let all = self.files();
        let of_name = all.iter().filter(|((of, _), _)| *of == name.to_lowercase());
        let version = |((_, version), files): (&(String, String), &BTreeMap<String, Bytes>)| {
            let provider = |file: &String| {
                json!({"name": file.trim_end_matches(".box"), "checksum_type": "sha512",
                    "url": format!("http://{}/api/packages/{OWNER}/vagrant/{name}/{version}/{file}", self.users.address)})
            };
            json!({"version": version, "status": "active", "providers": files.keys().map(provider).collect::<Vec<_>>()})
        };
        let versions: Vec<_> = of_name.map(version).collect();
        if versions.is_empty() {
            return (404, Vec::new());
        }
        (200, json!({"name": name, "versions": versions}).to_string().into_bytes())
    }
}

/// To Gitea, names and versions are the same in upper and lower case.
fn key(name: &str, version: &str) -> (String, String) {
    (name.to_lowercase(), version.to_lowercase())
}

/// A compressed archive, in which `info.json`, if it is there, is an object of texts.
fn is_box(content: &Bytes) -> bool {
    let mut archive = tar::Archive::new(GzDecoder::new(content.as_ref()));
    let Ok(entries) = archive.entries() else { return false };
    for entry in entries {
        let Ok(mut entry) = entry else { return false };
        if entry.path().is_ok_and(|path| path.as_os_str() == "info.json") {
            let mut text = Vec::new();
            return entry.read_to_end(&mut text).is_ok()
                && serde_json::from_slice::<BTreeMap<String, String>>(&text).is_ok();
        }
    }
    true
}

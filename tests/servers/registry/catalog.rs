//! The catalog of boxes: what Vagrant is told of repositories, and nothing of anything else.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use imagechain::{
    api::boxes::{BOX_ARTIFACT, BOX_CONFIG, BoxConfig, BoxFormat, BoxProvider},
    plan::image::{Digest, Hasher},
    remote::registry::{self, BoxFile, Push},
    serve::boxes::{Settings, start},
};
use reqwest::{Client, Method, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

use super::{CANARY, MEMORY, client, client_with, login, memory, nobody, pusher, registry, repository};
use crate::support::{
    faults::{Fault, Faults, Seen, plain_client},
    servers::Servers,
};

/// A box of a provider, with a tag.
struct Boxed<'b> {
    host: &'b str,
    path: &'b str,
    format: BoxFormat,
    provider: Option<BoxProvider>,
    architecture: &'b str,
    credentials: registry::Credentials,
}

impl<'b> Boxed<'b> {
    fn of(path: &'b str, provider: BoxProvider) -> Self {
        let (format, provider) = (BoxFormat::Vagrant, Some(provider));
        Self { host: registry(), path, format, provider, architecture: "amd64", credentials: nobody() }
    }

    fn libvirt(path: &'b str) -> Self {
        Self::of(path, BoxProvider::Libvirt)
    }

    /// Pushes it with this content. The digest is that of its file.
    async fn push(&self, tag: &str, content: &[u8]) -> Digest {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        self.push_file(tag, file.path()).await
    }

    async fn push_file(&self, tag: &str, file: &Path) -> Digest {
        let (provider, architecture) = (self.provider, self.architecture.to_owned());
        let config = BoxConfig { format: self.format, provider, architecture, virtual_size: 1 };
        let push = Push {
            repository: &repository(self.host, self.path),
            tag: &tag.parse().unwrap(),
            artifact_type: BOX_ARTIFACT,
            config: &serde_json::to_vec(&config).unwrap(),
            config_type: BOX_CONFIG,
            file,
            file_type: self.format.media_type(),
            title: "a.box",
            annotations: &BTreeMap::new(),
            credentials: &self.credentials,
        };
        client(&[self.host]).push_artifact(&push, &|_, _| {}).await.unwrap().content
    }
}

/// A service that shows some repositories. It ends with this value.
struct Shown {
    address: SocketAddr,
    serving: JoinHandle<()>,
    http: Client,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The settings of a service that shows what is below a path of a registry.
fn settings(host: &str, path: &str) -> Settings {
    let registries = registry::Settings { insecure: [host.to_owned()].into(), ..registry::Settings::default() };
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        prefixes: vec![format!("{host}/{path}").parse().unwrap()],
        url: None,
        registries,
        credentials: None,
        downloads: 4,
    }
}

impl Shown {
    async fn start(settings: Settings) -> Self {
        let server = start(settings).await.expect("a service");
        let address = server.address().unwrap();
        let serving = tokio::spawn(async move { server.run().await.map(drop).expect("no end") });
        Self { address, serving, http: plain_client() }
    }

    async fn of(host: &str, path: &str) -> Self {
        Self::start(settings(host, path)).await
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[]).await
    }

    /// The status and the text of an answer.
    async fn said(&self, path: &str) -> (u16, String) {
        let answer = self.get(path).await;
        let status = answer.status().as_u16();
        (status, text(answer).await)
    }

    async fn metadata(&self, path: &str) -> Value {
        let (status, said) = self.said(path).await;
        assert_eq!(status, 200, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    /// The versions, each with its providers.
    async fn versions(&self, path: &str) -> Vec<(String, Vec<String>)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = |value: &Value, field: &str| value[field].as_array().unwrap().clone();
        let metadata = self.metadata(path).await;
        let one = |each: &Value| {
            (text(&each["version"]), all(each, "providers").iter().map(|provider| text(&provider["name"])).collect())
        };
        all(&metadata, "versions").iter().map(one).collect()
    }
}

async fn text(answer: Response) -> String {
    String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// The path of a file, as the service tells it.
fn file(host: &str, path: &str, digest: &Digest) -> String {
    format!("/{host}/{path}/blobs/{}.box", digest.to_string().replace(':', "-"))
}

#[tokio::test]
async fn a_repository_is_told_as_vagrant_reads_it() {
    let path = "catalog/team/box";
    let (libvirt, virtualbox) = (Boxed::libvirt(path), Boxed::of(path, BoxProvider::VirtualBox));
    let older = libvirt.push("0.1.1795862400", b"older").await;
    let newer = libvirt.push("1.0.0-libvirt", b"newer").await;
    libvirt.push("latest", b"newer").await;
    let other = virtualbox.push("1.0.0-virtualbox-amd64", b"other").await;
    // What is no Vagrant box, or says another provider than it has.
    libvirt.push("1.1.0-virtualbox", b"contradicts").await;
    Boxed { format: BoxFormat::Qcow2, provider: None, ..Boxed::libvirt(path) }.push("2.0.0", b"disk").await;
    pusher(path).image(b"image", "3.0.0").await;
    pusher(path).artifact(BOX_ARTIFACT, &[b"a box of unknown provider"], "4.0.0").await;
    pusher(path).artifact(BOX_ARTIFACT, &[b"two", b"files"], "5.0.0").await;

    let shown = Shown::of(registry(), "catalog/team").await;
    let place = format!("/{}/{path}", registry());
    let provider = |name: &str, digest: &Digest| {
        json!({
            "name": name, "checksum_type": "sha256", "checksum": digest.to_string().replace("sha256:", ""),
            "url": format!("http://{}{}", shown.address, file(registry(), path, digest)),
            "architecture": "amd64", "default_architecture": true,
        })
    };
    let expected = json!({"name": path, "versions": [
        {"version": "1.0.0", "providers": [provider("libvirt", &newer), provider("virtualbox", &other)]},
        {"version": "0.1.1795862400", "providers": [provider("libvirt", &older)]},
    ]});
    assert_eq!(shown.metadata(&place).await, expected);

    // As Vagrant does: first it looks whether it is metadata, then what the file is.
    let head = shown.ask(Method::HEAD, &place, &[("Accept", "application/json")]).await;
    assert_eq!((head.status(), header(&head, "content-type")), (StatusCode::OK, "application/json"));
    // Old ones read the header as it is written.
    let mut plain = TcpStream::connect(shown.address).await.unwrap();
    plain.write_all(format!("HEAD {place} HTTP/1.1\r\nHost: boxes.example\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).await.unwrap();
    assert!(
        said.starts_with("HTTP/1.1 200 OK\r\n") && said.contains("\r\nContent-Type: application/json\r\n"),
        "{said}"
    );
    let url = expected["versions"][0]["providers"][0]["url"].as_str().unwrap();
    let whole = shown.http.get(url).send().await.unwrap();
    assert_eq!(header(&whole, "etag"), format!("\"{newer}\""));
    assert_eq!(text(whole).await, "newer");

    // Behind a proxy it tells the proxy's name, and it believes no other.
    let url = Some("https://boxes.example/".to_owned());
    let behind = Shown::start(Settings { url, ..settings(registry(), "catalog/team") }).await;
    let told = behind.metadata(&place).await["versions"][1]["providers"][0]["url"].clone();
    assert_eq!(told, format!("https://boxes.example{}", file(registry(), path, &older)));
    assert_eq!(
        shown.ask(Method::GET, &place, &[("Host", "user@evil.example")]).await.status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_part_of_a_file_is_what_was_asked_for() {
    let path = "catalog/ranges/box";
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let digest = Boxed::libvirt(path).push("1.0.0", &content).await;
    // A registry that gives parts, and one that does not.
    let body = content.clone();
    let is_file = |seen: &Seen| seen.method == "GET" && seen.path.contains("/blobs/") && seen.range.is_some();
    let plain = Faults::before(registry(), move |seen| {
        let length = vec![("content-length", body.len().to_string())];
        is_file(seen).then(|| Fault::Answer(200, length, body.clone()))
    })
    .await;
    let direct = Faults::before(registry(), |_| None).await;
    for faults in [&direct, &plain] {
        let host = faults.address();
        let shown = Shown::of(&host, "catalog/ranges").await;
        let place = file(&host, path, &digest);
        let size = content.len();
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=500000-500009", 500_000, 500_009),
            ("bytes=1199990-", 1_199_990, size - 1),
            ("bytes=-7", size - 7, size - 1),
        ] {
            let part = shown.ask(Method::GET, &place, &[("Range", range)]).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(header(&part, "content-range"), format!("bytes {first}-{last}/{size}"));
            assert_eq!(header(&part, "content-length"), (last - first + 1).to_string());
            assert!(part.bytes().await.unwrap() == content[first..=last], "{range}");
        }
        let beyond = shown.ask(Method::GET, &place, &[("Range", "bytes=1200000-")]).await;
        assert_eq!(
            (beyond.status(), header(&beyond, "content-range")),
            (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */1200000")
        );
        // Of something else, a part is of no use.
        let other = shown.ask(Method::GET, &place, &[("Range", "bytes=1-"), ("If-Range", "\"other\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
        assert!(other.bytes().await.unwrap() == content);
        let before = faults.seen().len();
        let head = shown.ask(Method::HEAD, &place, &[("Range", "bytes=1-")]).await;
        assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "1200000"));
        assert_eq!((header(&head, "accept-ranges"), header(&head, "etag")), ("bytes", &*format!("\"{digest}\"")));
        assert_eq!(faults.seen().len(), before, "nobody is asked for what is known");
    }
    // Of a part, no more is asked for.
    let ranges: Vec<_> = direct.seen().into_iter().filter_map(|seen| seen.range).collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=500000-500009", "bytes=1199990-", "bytes=1199993-"]);
}

#[tokio::test]
async fn nothing_else_is_shown_and_nobody_else_is_asked() {
    let (shown_path, hidden_path) = ("catalog/shown/box", "catalog/hidden/box");
    Boxed::libvirt(shown_path).push("1.0.0", b"shown").await;
    let hidden = Boxed::libvirt(hidden_path).push("1.0.0", b"hidden").await;
    let image = pusher(shown_path).image(b"a layer", "2.0.0").await;
    let faults = Faults::before(registry(), |_| None).await;
    let host = faults.address();
    let shown = Shown::of(&host, "catalog/shown").await;
    for (path, sentence) in [
        (format!("/{host}/{hidden_path}"), "is not shown here"),
        (file(&host, hidden_path, &hidden), "is not shown here"),
        (format!("/{host}/catalog/shown-too"), "is not shown here"),
        (format!("/elsewhere.example/{shown_path}"), "is not shown here"),
        (format!("/{host}/catalog/shown/..%2fhidden/box"), "/REGISTRY/REPOSITORY"),
        (format!("/{host}/catalog/shown//box"), "/REGISTRY/REPOSITORY"),
        (format!("/v2/{shown_path}/tags/list"), "is not shown here"),
        ("/".to_owned(), "/REGISTRY/REPOSITORY"),
        ("/metrics".to_owned(), "/REGISTRY/REPOSITORY"),
    ] {
        let (status, said) = shown.said(&path).await;
        assert!(status == 404 && said.contains(sentence), "{path}: {status} {said}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = shown.ask(method, &format!("/{host}/{shown_path}"), &[]).await;
        assert_eq!((answer.status(), header(&answer, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    }
    assert_eq!(shown.said("/healthz").await, (200, "alive\n".to_owned()));
    assert_eq!(faults.seen().len(), 0);

    // Of a repository that is shown, boxes are, and no other blob: not a layer or configuration of an image, and not a
    // box that another repository has.
    let config = image.image.expect("an image");
    for digest in [&hidden, &Digest::of(b"a layer"), &config, &image.digest] {
        let (status, said) = shown.said(&file(&host, shown_path, digest)).await;
        assert!(status == 404 && said.contains("has no box of this checksum"), "{status} {said}");
    }
    let (status, said) = shown.said(&format!("/{host}/catalog/shown/nothing")).await;
    assert!(status == 404 && said.contains("catalog/shown/nothing does not exist: correct the name"), "{said}");
}

#[tokio::test]
async fn a_version_is_there_as_long_as_its_tag_and_what_a_digest_stands_for_is_asked_once() {
    let path = "catalog/moves/box";
    let boxed = Boxed::libvirt(path);
    let faults = Faults::before(registry(), |_| None).await;
    let host = faults.address();
    let (shown, place) = (Shown::of(&host, "catalog/moves").await, format!("/{host}/{path}"));
    assert_eq!(shown.said(&place).await.0, 404, "nothing is published yet");
    let one = |version: &str| (version.to_owned(), vec!["libvirt".to_owned()]);
    boxed.push("1.0.0", b"first").await;
    assert_eq!(shown.versions(&place).await, [one("1.0.0")]);
    boxed.push("2.0.0", b"second").await;
    assert_eq!(shown.versions(&place).await, [one("2.0.0"), one("1.0.0")]);
    let before = faults.seen().len();
    assert_eq!(shown.versions(&place).await.len(), 2);
    let asked: Vec<_> = faults.seen()[before..].iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(asked, ["GET", "HEAD", "HEAD"], "the tags, and where they lead");

    let tag = "1.0.0".parse().unwrap();
    client(&[registry()]).delete_tag(&repository(registry(), path), &tag, &nobody()).await.unwrap();
    boxed.push("2.0.0", b"moved").await;
    let metadata = shown.metadata(&place).await;
    let checksum = Digest::of(b"moved").to_string().replace("sha256:", "");
    assert_eq!(metadata["versions"].as_array().unwrap().len(), 1, "{metadata}");
    assert_eq!(metadata["versions"][0]["providers"][0]["checksum"], checksum);
}

#[tokio::test]
async fn all_pages_of_tags_are_read_from_the_same_place() {
    let path = "catalog/pages/box";
    for patch in 0..5 {
        Boxed::libvirt(path).push(&format!("1.0.{patch}"), b"a box").await;
    }
    let faults = Faults::before(registry(), |seen| {
        Some(Fault::As(seen.path.replace("n=1000", "n=2"))).filter(|_| seen.path.contains("tags/list"))
    })
    .await;
    let host = faults.address();
    let shown = Shown::of(&host, "catalog/pages").await;
    let versions = shown.versions(&format!("/{host}/{path}")).await;
    assert_eq!(
        versions.iter().map(|(version, _)| &**version).collect::<Vec<_>>(),
        ["1.0.4", "1.0.3", "1.0.2", "1.0.1", "1.0.0"]
    );
    let pages = |faults: &Faults| faults.seen().iter().filter(|seen| seen.path.contains("tags/list")).count();
    assert!(pages(&faults) >= 3, "{}", pages(&faults));

    // Pages without end, that would lead elsewhere.
    let endless = Faults::before(registry(), |_| {
        let next = ("link", "<http://elsewhere.example/v2/a/tags/list?last=1>; rel=\"next\"".to_owned());
        Some(Fault::Answer(200, vec![next], br#"{"name": "a", "tags": null}"#.to_vec()))
    })
    .await;
    let host = endless.address();
    let (status, said) = Shown::of(&host, "catalog/pages").await.said(&format!("/{host}/{path}")).await;
    assert!(status == 502 && said.contains("more than 64 pages of tags: delete old ones"), "{status} {said}");
    assert!(endless.seen().iter().all(|seen| seen.path.starts_with(&format!("/v2/{path}/tags/list?"))));
}

#[tokio::test]
async fn trouble_of_a_registry_is_told_as_such() {
    let path = "catalog/trouble/box";
    let digest = Boxed::libvirt(path).push("1.0.0", &vec![7; 1_000_000]).await;
    for (fault, sentence) in [
        (Box::new(|| Fault::status(500)) as super::Make, "the registry answers 500"),
        (Box::new(|| Fault::status(403)), "--registry-config"),
        (Box::new(|| Fault::Cut), "the registry fails"),
        (Box::new(|| Fault::Silence), "does not answer in time"),
        (Box::new(|| Fault::Answer(200, Vec::new(), b"<html>".to_vec())), "no list of tags"),
        (Box::new(|| Fault::Flood(Vec::new(), 64 << 20)), "bytes for one"),
    ] {
        let faults = Faults::before(registry(), move |_| Some(fault())).await;
        let host = faults.address();
        let mut settings = settings(&host, "catalog/trouble");
        // What answers may take as long as it does on a busy machine.
        if sentence.ends_with("in time") {
            settings.registries.request = Duration::from_millis(100);
        }
        let (status, said) = Shown::start(settings).await.said(&format!("/{host}/{path}")).await;
        assert!(status == 502 && said.contains(sentence) && said.contains(path), "{status} {said}");
    }
    // One that ends in the middle of a file: the connection ends before its length, so nobody takes it for whole.
    let faults = Faults::before(registry(), |seen| {
        let is_file = seen.method == "GET" && seen.path.contains("/blobs/");
        (is_file && ALL_KNOWN.load(Ordering::Relaxed))
            .then(|| Fault::Flood(vec![("content-length", "1000000".to_owned())], 700_000))
    })
    .await;
    let host = faults.address();
    let shown = Shown::of(&host, "catalog/trouble").await;
    shown.metadata(&format!("/{host}/{path}")).await;
    ALL_KNOWN.store(true, Ordering::Relaxed);
    let cut = shown.get(&file(&host, path, &digest)).await;
    assert_eq!(header(&cut, "content-length"), "1000000");
    cut.bytes().await.expect_err("it is not whole");
}

/// Whether the service of the test above has read the configurations.
static ALL_KNOWN: AtomicBool = AtomicBool::new(false);

#[tokio::test]
async fn a_file_that_does_not_come_is_not_waited_for() {
    let faults = Faults::before(registry(), |_| Some(Fault::Silence)).await;
    let host = faults.address();
    let client = client_with(&[&host], |settings| settings.request = Duration::from_millis(100));
    let (format, provider) = (BoxFormat::Vagrant, Some(BoxProvider::Libvirt));
    let config = BoxConfig { format, provider, architecture: "amd64".to_owned(), virtual_size: 1 };
    let stored = BoxFile { config, file: Digest::of(b"a box"), size: 5 };
    let error = client.content(&repository(&host, "a"), &stored, 0..5, &nobody()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{host}/a: the registry does not answer in time"));
}

#[tokio::test]
async fn a_registry_that_asks_for_a_user_is_shown_with_a_file_of_ones_own() {
    let servers = Servers::of_user("bob", CANARY);
    let host = servers.registry();
    let boxed = Boxed { host, credentials: login(host, "bob", CANARY), ..Boxed::libvirt("team/box") };
    let digest = boxed.push("1.0.0", b"a box").await;
    let place = format!("/{host}/team/box");
    let (status, said) = Shown::of(host, "team").await.said(&place).await;
    assert!(status == 502 && said.contains("start the service with --registry-config"), "{said}");

    let config = tempfile::NamedTempFile::new().unwrap();
    let write = |password: &str| {
        let text = json!({"auths": {host: {"username": "bob", "password": password}}}).to_string();
        fs::write(config.path(), text).unwrap();
    };
    write("wrong");
    let credentials = Some(config.path().to_owned());
    let shown = Shown::start(Settings { credentials: credentials.clone(), ..settings(host, "team") }).await;
    let (status, said) = shown.said(&place).await;
    assert!(status == 502 && said.contains("the credentials of --registry-config may not read it"), "{said}");
    // A Secret is changed while the service runs.
    write(CANARY);
    assert_eq!(shown.versions(&place).await.len(), 1);
    assert_eq!(shown.said(&file(host, "team/box", &digest)).await, (200, "a box".to_owned()));
    fs::write(config.path(), CANARY).unwrap();
    let (status, said) = shown.said(&place).await;
    assert!(status == 500 && !said.contains(CANARY), "{said}");
    let refused = start(Settings { credentials, ..settings(host, "team") }).await.unwrap_err().to_string();
    assert!(refused.ends_with("correct the file of --registry-config") && !refused.contains(CANARY), "{refused}");
}

/// A large box, whose file is never whole in memory.
async fn large(path: &str, size: u64) -> Digest {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = File::create(file.path()).unwrap();
    for block in 0..size / 4096 {
        writer.write_all(&block.to_be_bytes().repeat(512)).unwrap();
    }
    Boxed::libvirt(path).push_file("1.0.0", file.path()).await
}

/// The digest of all that comes.
async fn hash(answer: &mut Response) -> Digest {
    let mut hasher = Hasher::new();
    while let Some(part) = answer.chunk().await.expect("a part") {
        hasher.update(&part);
    }
    hasher.finish()
}

#[tokio::test]
async fn a_large_file_is_never_whole_in_memory_however_slowly_it_is_taken() {
    const SIZE: u64 = 128 << 20;
    let path = "catalog/large/box";
    let digest = large(path, SIZE).await;
    let shown = Shown::of(registry(), "catalog/large").await;
    let place = file(registry(), path, &digest);
    let alone = MEMORY.lock().await;
    // From now on the peak is counted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    // The second takes nothing before the first has all.
    let mut both = [shown.get(&place).await, shown.get(&place).await];
    for answer in &mut both {
        assert_eq!(hash(answer).await, digest);
    }
    let more = memory("VmHWM").saturating_sub(before);
    drop(alone);
    println!("two downloads of {SIZE} bytes took {more} bytes of memory");
    assert!(more < SIZE / 2, "{more}");
}

#[tokio::test]
async fn there_are_so_many_downloads_at_once_and_each_may_end() {
    let path = "catalog/busy/box";
    // More than sockets hold.
    let digest = large(path, 32 << 20).await;
    let place = file(registry(), path, &digest);
    let server = start(Settings { downloads: 1, ..settings(registry(), "catalog/busy") }).await.unwrap();
    let (address, http) = (server.address().unwrap(), plain_client());
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run_until(ended, Duration::from_mins(1)));
    let shown = Shown { address, serving: tokio::spawn(async {}), http };
    let mut first = shown.get(&place).await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = shown.get(&place).await;
    assert_eq!((second.status(), header(&second, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "10"));
    assert_eq!(text(second).await, "too many downloads at once: try again in 10 seconds\n");
    assert_eq!(shown.metadata(&format!("/{}/{path}", registry())).await["name"], path);

    end.send(()).unwrap();
    assert_eq!(hash(&mut first).await, digest);
    serving.await.unwrap().unwrap();
    let refused = shown.http.get(format!("http://{address}/healthz")).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused}");
}

#[tokio::test]
async fn the_program_shows_boxes_until_it_is_told_to_end() {
    let path = "catalog/program/box";
    Boxed::libvirt(path).push("1.0.0", b"a box").await;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_imagechain"), "boxes", "--listen", "127.0.0.1:0"]);
    command.args(["--repository", &format!("{}/catalog/program", registry()), "--insecure-registry", registry()]);
    let mut program = command.args(["--log-format", "json"]).stderr(Stdio::piped()).spawn().expect("the program");
    let mut log = BufReader::new(program.stderr.take().expect("its log"));
    let line = spawn_blocking(move || {
        let mut line = String::new();
        log.read_line(&mut line).map(|_| (line, log))
    });
    // The log stays open: the program writes to it.
    let (line, _log) = line.await.unwrap().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    let address = line["address"].as_str().expect("its address").parse().unwrap();
    let shown = Shown { address, serving: tokio::spawn(async {}), http: plain_client() };
    let place = format!("/{}/{path}", registry());
    assert_eq!(shown.versions(&place).await, [("1.0.0".to_owned(), vec!["libvirt".to_owned()])]);
    kill_process(Pid::from_child(&program), Signal::TERM).expect("a signal");
    let ended = spawn_blocking(move || program.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

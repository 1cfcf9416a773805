//! Registries: look-ups and promotions against a real one, and against one that fails.

mod boxes;
mod catalog;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use imagechain::{
    api::{boxes::ArtifactKind, condition::Reason},
    plan::{
        image::{Digest, Reference, Repository, Tag},
        network::Proxy,
    },
    remote::{
        network::Network,
        registry::{Credentials, Deletion, Error, Promoted, Promotion, Registry, Settings, Tested, Wanted},
    },
};
use serde_json::json;
use tokio::sync::Mutex;

use crate::support::{
    faults::{Fault, Faults, Seen},
    forward::Forward,
    images::{Pushed, Pusher},
    servers::Servers,
};

/// The password of tests: it must be nowhere but at the registry that it is for.
const CANARY: &str = "canary-4711";

/// Makes the answer to every request.
type Make = Box<dyn Fn() -> Fault + Send + Sync>;

/// Held by whoever measures the memory of this process.
pub(super) static MEMORY: Mutex<()> = Mutex::const_new(());
/// One for all tests, each with repositories of its own.
static SERVERS: LazyLock<Servers> = LazyLock::new(Servers::start);

fn registry() -> &'static str {
    SERVERS.registry()
}

/// A client that reaches these registries by plain HTTP.
fn client(insecure: &[&str]) -> Registry {
    client_with(insecure, |_| {})
}

fn client_with(insecure: &[&str], change: impl FnOnce(&mut Settings)) -> Registry {
    let insecure = insecure.iter().map(|&host| host.to_owned()).collect();
    let mut settings = Settings { insecure, ..Settings::default() };
    change(&mut settings);
    Registry::new(settings).expect("a client")
}

fn pusher(repository: &str) -> Pusher {
    Pusher::new(registry(), repository, None)
}

fn repository(registry: &str, path: &str) -> Repository {
    Repository { registry: registry.to_owned(), path: path.to_owned() }
}

fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().expect("a reference")
}

fn tags(names: &[&str]) -> BTreeSet<Tag> {
    names.iter().map(|name| name.parse().expect("a tag")).collect()
}

fn nobody() -> Credentials {
    Credentials::default()
}

fn login(registry: &str, user: &str, password: &str) -> Credentials {
    let text = json!({"auths": {registry: {"username": user, "password": password}}}).to_string();
    Credentials::parse(text.as_bytes()).expect("credentials")
}

/// What a promotion is about, owned.
struct Case {
    source: Repository,
    target: Repository,
    digest: Digest,
    kind: ArtifactKind,
    content: Digest,
    tags: BTreeSet<Tag>,
    source_credentials: Credentials,
    target_credentials: Credentials,
}

impl Case {
    /// From one repository of a registry to another, by nobody.
    fn new(registry: &str, source: &str, target: &str, staged: &Pushed, image: &Pushed, names: &[&str]) -> Self {
        Self {
            source: repository(registry, source),
            target: repository(registry, target),
            digest: staged.digest.clone(),
            kind: ArtifactKind::Image,
            content: image.image.clone().expect("an image"),
            tags: tags(names),
            source_credentials: nobody(),
            target_credentials: nobody(),
        }
    }

    fn promotion(&self) -> Promotion<'_> {
        let tested = Tested {
            repository: &self.source,
            digest: &self.digest,
            kind: self.kind,
            content: &self.content,
            credentials: &self.source_credentials,
        };
        Promotion { tested, target: &self.target, tags: &self.tags, target_credentials: &self.target_credentials }
    }

    /// By a client for plain HTTP.
    async fn run(&self) -> Result<Promoted, Error> {
        client(&[&self.source.registry]).promote(&self.promotion()).await
    }
}

fn moved(names: &[&str]) -> Promoted {
    Promoted { moved: tags(names) }
}

/// The error as everybody sees it, without the canary in whatever form.
fn said(error: &Error) -> String {
    let said = error.to_string();
    for text in [&said, &format!("{error:?}")] {
        // The second is "bob:canary-4711" in base64.
        assert!(!text.contains(CANARY) && !text.contains("Ym9iOmNhbmFyeS00NzEx"), "{text}");
    }
    said
}

#[tokio::test]
async fn a_name_leads_to_a_digest_and_an_index_to_that_of_the_platform() {
    let pusher = pusher("resolve");
    let amd64 = pusher.image(b"amd64", "1").await;
    let arm64 = pusher.image_for(b"arm64", "arm64", "arm").await;
    let index = pusher.index(&[(&arm64, "linux", "arm64"), (&amd64, "linux", "amd64")], "index").await;
    let client = client(&[registry()]);
    let missing = format!("resolve@{}", Digest::of(b"missing"));
    for (rest, platform, expected) in [
        ("resolve:1", "linux/amd64", Ok(&amd64.digest)),
        ("resolve:index", "linux/amd64", Ok(&amd64.digest)),
        ("resolve:index", "linux/arm64", Ok(&arm64.digest)),
        (&format!("resolve:index@{}", index.digest), "linux/amd64", Ok(&amd64.digest)),
        (&format!("resolve@{}", arm64.digest), "linux/arm64", Ok(&arm64.digest)),
        ("resolve:index", "linux/s390x", Err("has no image for linux/s390x, only for linux/arm64, linux/amd64")),
        ("resolve:2", "linux/amd64", Err("resolve:2 does not exist")),
        ("resolve", "linux/amd64", Err("resolve does not exist")),
        ("other:1", "linux/amd64", Err("other:1 does not exist")),
        (&missing, "linux/amd64", Err("does not exist")),
    ] {
        let answer = client.resolve(&reference(registry(), rest), Wanted::Image(platform), &nobody()).await;
        match (&answer, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{rest}"),
            (Err(error), Err(sentence)) => {
                assert!(error.to_string().contains(sentence), "{error}");
                assert_eq!(error.reason(), Reason::BaseImageNotFound, "{rest}");
            }
            _ => panic!("{rest} for {platform}: {answer:?}"),
        }
    }
    for (digest, expected) in [(&index.digest, true), (&amd64.digest, true), (&Digest::of(b"missing"), false)] {
        assert_eq!(client.exists(&repository(registry(), "resolve"), digest, &nobody()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_image_without_index_is_for_one_platform() {
    let image = pusher("single").image_for(b"arm", "arm64", "1").await;
    let faults = Faults::before(registry(), |_| None).await;
    let (client, name) = (client(&[&faults.address()]), reference(&faults.address(), "single:1"));
    for _ in 0..2 {
        assert_eq!(client.resolve(&name, Wanted::Image("linux/arm64"), &nobody()).await.unwrap(), image.digest);
    }
    // A digest stands for one image: the second look asks for the digest alone.
    let lines: Vec<_> = faults.seen().iter().map(|seen| seen.method.clone()).collect();
    assert_eq!(lines, ["HEAD", "GET", "GET", "HEAD"]);
    let error = client.resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BaseImageNotFound);
    assert_eq!(
        error.to_string(),
        format!(
            "{name} has no image for linux/amd64, only for linux/arm64: name another image, or a profile whose `platform` \
             it has"
        )
    );
}

#[tokio::test]
async fn what_no_engine_pulls_is_refused_for_good() {
    let schema_1 = json!({"schemaVersion": 1, "name": "a", "tag": "1", "architecture": "amd64",
        "fsLayers": [], "history": [], "signatures": []});
    let other_digest = json!({"schemaVersion": 2, "layers": [],
        "config": {"mediaType": "x", "digest": format!("sha512:{}", "a".repeat(128)), "size": 1}});
    for (manifest, sentence) in [(schema_1, "is of schema 1"), (other_digest, "digests other than sha256")] {
        let body = manifest.to_string().into_bytes();
        let faults = Faults::before(registry(), move |_| Some(Fault::Answer(200, Vec::new(), body.clone()))).await;
        let name = reference(&faults.address(), "a:1");
        let error =
            client(&[&faults.address()]).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ImageUnsupported, "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn a_mirrors_failure_names_what_is_written() {
    let mirror = Faults::before(registry(), |_| Some(Fault::status(404))).await;
    let mirrors = BTreeMap::from([("away.invalid".to_owned(), mirror.address())]);
    let client = client_with(&[&mirror.address()], |settings| settings.mirrors = mirrors);
    let error =
        client.resolve(&reference("away.invalid", "a:1"), Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    let expected =
        format!("away.invalid/a:1 (at the mirror {}) does not exist: correct the name, or push it", mirror.address());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_refusal_says_what_the_secret_has_for_the_registry() {
    let servers = Servers::of_user("bob", CANARY);
    let host = servers.registry();
    let name = reference(host, "a:1");
    for (entries, sentence) in [
        (json!({"other.example": {"auth": "!"}}), format!("the Secret «pull» has no entry for {host}: add it")),
        (json!({host: {}}), format!("the entry «{host}» of the Secret «pull» is empty")),
        (json!({host: {"auth": "!"}}), format!("the Secret «pull» cannot be used: `auth` of «{host}» is not base64")),
    ] {
        let credentials = Credentials::parse(json!({"auths": entries, "credsStore": "x"}).to_string().as_bytes());
        let credentials = credentials.expect("a configuration").with_secret_name(Some("pull"));
        let error = client(&[host]).resolve(&name, Wanted::Image("linux/amd64"), &credentials).await.unwrap_err();
        assert_eq!(error.reason(), Reason::AccessDenied, "{error}");
        assert!(error.to_string().contains(&sentence), "{error}");
    }
}

#[tokio::test]
async fn a_registry_is_reached_by_the_proxy_of_the_profile() {
    let image = pusher("proxied").image(b"image", "1").await;
    let forward = Forward::start().await;
    let port = registry().rsplit(':').next().expect("a port");
    let host = format!("registry.example:{port}");
    let by = |no_proxy: &[&str]| Proxy {
        http: Some(forward.url()),
        https: Some(forward.url()),
        no_proxy: no_proxy.iter().map(|&each| each.to_owned()).collect(),
    };
    let client = |proxy| client_with(&[&host, registry()], |settings| settings.network.proxy = proxy);
    let name = reference(&host, "proxied:1");
    assert_eq!(client(by(&[])).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap(), image.digest);
    let seen = [format!("GET http://{host}"), format!("HEAD http://{host}")];
    assert!(
        !forward.seen().is_empty() && forward.seen().iter().all(|each| seen.contains(each)),
        "{:?}",
        forward.seen()
    );

    // Neither what the machine has itself, nor what the profile leaves out.
    let before = forward.seen();
    let own = reference(registry(), "proxied:1");
    assert_eq!(client(by(&[])).resolve(&own, Wanted::Image("linux/amd64"), &nobody()).await.unwrap(), image.digest);
    let error = client(by(&[".example"])).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
    assert_eq!(forward.seen(), before);

    let secure = reference("secure.example:1", "a:1");
    let https = client_with(&[], |settings| settings.network.proxy = by(&[]));
    let _ = https.resolve(&secure, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert!(forward.seen().contains(&"CONNECT secure.example:1".to_owned()), "{:?}", forward.seen());
}

#[tokio::test]
async fn a_manifest_says_which_image_it_is_of() {
    let pushed = pusher("image").image(b"twelve bytes", "1").await;
    let (client, here) = (client(&[registry()]), repository(registry(), "image"));
    let found = client.artifact(&here, &pushed.digest, &nobody()).await.expect("an answer").expect("an image");
    assert_eq!((found.kind, Some(found.content), found.size), (ArtifactKind::Image, pushed.image.clone(), 12));
    let absent = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
    assert_eq!(client.artifact(&here, &absent, &nobody()).await.expect("an answer"), None);
    let index = pusher("image").index(&[(&pushed, "linux", "amd64")], "2").await;
    let refused = client.artifact(&here, &index.digest, &nobody()).await.expect_err("an index");
    assert_eq!(refused.reason(), Reason::RegistryUnavailable, "{refused}");
}

#[tokio::test]
async fn tags_are_put_on_the_digest_in_the_same_and_in_another_repository() {
    let staging = pusher("promote/staging");
    let first = staging.image(b"first", "build-1").await;
    let second = staging.image(b"second", "build-2").await;
    let before = pusher("promote/published").image(b"before", "latest").await;
    for (target, staged, names) in [
        ("promote/published", &first, &["1", "latest"] as &[_]),
        ("promote/published", &second, &["2", "latest"]),
        ("promote/staging", &first, &["kept"]),
    ] {
        let case = Case::new(registry(), "promote/staging", target, staged, staged, names);
        let client = client(&[registry()]);
        let started = Instant::now();
        assert_eq!(client.promote(&case.promotion()).await.unwrap(), moved(names));
        println!("a promotion of {} tags: {:?}", names.len(), started.elapsed());
        for name in names {
            assert_eq!(pusher(target).digest(name).await.as_ref(), Some(&staged.digest), "{target}:{name}");
        }
    }
    let published = pusher("promote/published");
    assert_eq!(published.digest("1").await, Some(first.digest));
    assert_ne!(published.digest("latest").await, Some(before.digest));
}

#[tokio::test]
async fn an_index_is_promoted_with_its_images() {
    let staging = pusher("index/staging");
    let image = staging.image(b"image", "one").await;
    let index = staging.index(&[(&image, "linux", "amd64")], "build").await;
    let case = Case::new(registry(), "index/staging", "index/published", &index, &image, &["1"]);
    assert_eq!(case.run().await.unwrap(), moved(&["1"]));
    let published = client(&[registry()]);
    let found =
        published.resolve(&reference(registry(), "index/published:1"), Wanted::Image("linux/amd64"), &nobody()).await;
    assert_eq!(found.unwrap(), image.digest);
    assert_eq!(pusher("index/published").digest("1").await, Some(index.digest));
}

#[tokio::test]
async fn what_was_not_tested_is_not_published() {
    let staging = pusher("refused/staging");
    let tested = staging.image(b"tested", "tested").await;
    let other = staging.image(b"other", "other").await;
    let both = staging.index(&[(&tested, "linux", "amd64"), (&other, "linux", "arm64")], "both").await;
    let none = staging.index(&[], "none").await;
    let many = staging.index(&[(&tested, "linux", "amd64"); 65], "many").await;
    let deleted = staging.image(b"deleted", "deleted").await;
    staging.delete(&deleted.digest).await;
    for (staged, image, reason) in [
        (&other, &tested, Reason::ImageMismatch),
        (&both, &tested, Reason::ImageMismatch),
        (&none, &tested, Reason::ImageMismatch),
        (&many, &tested, Reason::ImageMismatch),
        (&deleted, &deleted, Reason::RegistryUnavailable),
    ] {
        let faults = Faults::before(registry(), |_| None).await;
        let case = Case::new(&faults.address(), "refused/staging", "refused/published", staged, image, &["1"]);
        let error = case.run().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert_eq!(matches!(error, Error::Gone { .. }), staged.digest == deleted.digest, "{error}");
        assert_eq!(faults.writes(), [""; 0], "{error}");
    }
    let mut elsewhere = Case::new(registry(), "refused/staging", "refused/published", &tested, &tested, &["1"]);
    elsewhere.target.registry = "other.example".to_owned();
    assert_eq!(elsewhere.run().await.unwrap_err().reason(), Reason::StagingNotMountable);
}

#[tokio::test]
async fn a_repetition_writes_only_what_is_missing() {
    let staging = pusher("again/staging");
    let image = staging.image(b"image", "build").await;
    // The second tag fails once, after the first was moved.
    let failed = AtomicBool::new(false);
    let faults = Faults::before(registry(), move |seen| {
        let is_second = seen.line() == "PUT /v2/again/published/manifests/2";
        (is_second && !failed.swap(true, Ordering::Relaxed)).then(|| Fault::status(500))
    })
    .await;
    let case = Case::new(&faults.address(), "again/staging", "again/published", &image, &image, &["1", "2"]);
    assert_eq!(case.run().await.unwrap_err().reason(), Reason::RegistryUnavailable);
    assert_eq!(case.run().await.unwrap(), moved(&["2"]));
    let writes = faults.writes();
    assert_eq!(case.run().await.unwrap(), moved(&[]));
    assert_eq!(faults.writes(), writes, "the third time, all was there");
    let puts: Vec<&String> = writes.iter().filter(|line| line.starts_with("PUT")).collect();
    let put = |tag: u8| format!("PUT /v2/again/published/manifests/{tag}");
    assert_eq!(puts, [&put(1), &put(2), &put(2)]);
    assert_eq!(writes.len() - puts.len(), 2, "each layer is mounted once: {writes:?}");
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_found_done() {
    let image = pusher("lost").image(b"image", "build").await;
    let faults = Faults::before(registry(), |seen| (seen.method == "PUT").then_some(Fault::After(504))).await;
    let case = Case::new(&faults.address(), "lost", "lost", &image, &image, &["1"]);
    assert_eq!(case.run().await.unwrap_err().reason(), Reason::RegistryUnavailable);
    assert_eq!(case.run().await.unwrap(), moved(&[]));
}

#[tokio::test]
async fn a_mount_that_is_refused_becomes_an_upload() {
    let staging = pusher("unmounted/staging");
    let content: Vec<u8> = (0..8_u32 << 20).map(|place| place.to_be_bytes()[2]).collect();
    let image = staging.image(&content, "build").await;
    let faults = Faults::before(registry(), |seen: &Seen| {
        let (path, _) = seen.path.split_once("?mount=")?;
        Some(Fault::As(path.to_owned()))
    })
    .await;
    let case = Case::new(&faults.address(), "unmounted/staging", "unmounted/published", &image, &image, &["1"]);
    assert_eq!(case.run().await.unwrap(), moved(&["1"]));
    assert_eq!(pusher("unmounted/published").digest("1").await, Some(image.digest));
    let uploads = faults.writes().iter().filter(|line| line.starts_with("PUT") && line.contains("uploads")).count();
    assert_eq!(uploads, 2, "the layer and the configuration");
}

/// A line of /proc/self/status, in bytes.
pub(super) fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|each| each.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn an_upload_is_not_held_in_memory() {
    const LAYER: u64 = 128 << 20;
    let _alone = MEMORY.lock().await;
    let image = pusher("streamed/staging").image(&vec![7; usize::try_from(LAYER).unwrap()], "build").await;
    // Content and upload go past the proxy, which is in this process and would hold them.
    let faults = Faults::before(registry(), |seen: &Seen| match seen.path.split_once("?mount=") {
        Some((path, _)) => Some(Fault::Past(path.to_owned())),
        None if seen.method == "GET" && seen.path.contains("/blobs/") => {
            Some(Fault::redirect(&format!("http://{}{}", registry(), seen.path)))
        }
        None => None,
    })
    .await;
    let case = Case::new(&faults.address(), "streamed/staging", "streamed/published", &image, &image, &["1"]);
    // From now on the peak is counted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    assert_eq!(case.run().await.unwrap(), moved(&["1"]));
    let more = memory("VmHWM").saturating_sub(before);
    println!("an upload of {LAYER} bytes took {more} bytes of memory");
    // Tests beside this one take some, too.
    assert!(more < LAYER / 2, "{more}");
    assert!(faults.writes().iter().all(|line| !line.contains("PUT /v2/streamed/published/blobs")), "past the proxy");
}

#[tokio::test]
async fn a_layer_that_is_cut_off_or_changed_is_not_published() {
    let image = pusher("cut/staging").image(b"0123456789", "build").await;
    let get_layer = format!("GET /v2/cut/staging/blobs/{}", Digest::of(b"0123456789"));
    for content in ["012345678", "9876543210"] {
        let get_layer = get_layer.clone();
        let faults = Faults::before(registry(), move |seen: &Seen| match seen.path.split_once("?mount=") {
            Some((path, _)) => Some(Fault::As(path.to_owned())),
            None if seen.line() == get_layer => Some(Fault::Answer(200, Vec::new(), content.into())),
            None => None,
        })
        .await;
        let case = Case::new(&faults.address(), "cut/staging", "cut/published", &image, &image, &["1"]);
        let error = case.run().await.unwrap_err();
        assert!(matches!(error, Error::NoRegistry { .. } | Error::Rejected { .. }), "{error}");
        assert_eq!(pusher("cut/published").digest("1").await, None, "{content}");
    }
}

#[tokio::test]
async fn a_tag_that_does_not_stay_where_it_was_put_is_reported() {
    let pusher = pusher("moved");
    let image = pusher.image(b"image", "build").await;
    let other = pusher.image(b"other", "other").await;
    for (instead, expected) in
        [(None, "leads to nothing right after"), (Some(other.clone()), &*other.digest.to_string())]
    {
        let faults = Faults::before(registry(), move |seen: &Seen| {
            if seen.line() != "GET /v2/moved/manifests/1" {
                return None;
            }
            let Some(other) = &instead else { return Some(Fault::status(404)) };
            Some(Fault::Answer(200, vec![("content-type", other.media_type.to_owned())], other.body.clone()))
        })
        .await;
        let case = Case::new(&faults.address(), "moved", "moved", &image, &image, &["1"]);
        let error = case.run().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.reason(), Reason::RegistryUnavailable);
        pusher.put(&other, "1").await;
    }
}

#[tokio::test]
async fn every_status_has_a_reason() {
    let image = pusher("status").image(b"image", "build").await;
    for (status, on_read, on_write) in [
        (400, Reason::RegistryUnavailable, Reason::PushDenied),
        (401, Reason::AccessDenied, Reason::PushDenied),
        (403, Reason::AccessDenied, Reason::PushDenied),
        (404, Reason::BaseImageNotFound, Reason::PushDenied),
        (409, Reason::RegistryUnavailable, Reason::PushDenied),
        (418, Reason::RegistryUnavailable, Reason::PushDenied),
        (429, Reason::RegistryUnavailable, Reason::RegistryUnavailable),
        (500, Reason::RegistryUnavailable, Reason::RegistryUnavailable),
        (507, Reason::RegistryUnavailable, Reason::RegistryUnavailable),
    ] {
        let body = json!({"errors": [{"code": "DENIED", "message": "<b>foreign</b>"}]}).to_string();
        let faults = Faults::before(registry(), move |seen: &Seen| {
            let is_asked = seen.method == "PUT" || seen.path.ends_with("/asked");
            let headers = vec![("retry-after", "100000".to_owned())];
            is_asked.then(|| Fault::Answer(status, headers, body.clone().into_bytes()))
        })
        .await;
        let name = reference(&faults.address(), "status:asked");
        let reading =
            client(&[&faults.address()]).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        let writing = Case::new(&faults.address(), "status", "status", &image, &image, &["1"]).run().await.unwrap_err();
        assert_eq!((reading.reason(), writing.reason()), (on_read, on_write), "{status}: {reading}; {writing}");
        for error in [reading, writing] {
            let is_busy = status == 429 || status >= 500;
            let is_unavailable = matches!(error, Error::Unavailable { .. });
            assert_eq!(error.retry_after(), is_unavailable.then_some(Duration::from_mins(5)), "{error}");
            assert!(!is_busy || is_unavailable, "{error}");
            assert!(error.to_string().contains("status") && !error.to_string().contains("foreign"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_registry_is_told_within_bounds() {
    let html = || vec![("content-type", "text/html; charset=utf-8".to_owned())];
    let manifest = || vec![("content-type", crate::support::images::INDEX.to_owned())];
    let wrong = || vec![("docker-content-digest", Digest::of(b"other").to_string())];
    let cases: [(Make, &str); 8] = [
        (Box::new(move || Fault::Answer(200, html(), b"<html>".to_vec())), "gives a web page"),
        (Box::new(move || Fault::Flood(manifest(), 10 << 30)), "more than 4194304 bytes"),
        (Box::new(move || Fault::Answer(200, manifest(), b"{}".to_vec())), "no manifest"),
        (
            Box::new(move || Fault::Answer(200, wrong(), br#"{"schemaVersion":2,"manifests":[]}"#.to_vec())),
            "where sha256",
        ),
        (Box::new(|| Fault::redirect("/v2/foreign/manifests/1")), "redirects without end"),
        (Box::new(|| Fault::redirect("https:///")), "the registry"),
        (Box::new(|| Fault::Silence), "does not answer in time"),
        (
            Box::new(|| Fault::Answer(401, vec![("www-authenticate", "Bearer realm=x".to_owned())], Vec::new())),
            "no token server",
        ),
    ];
    for (make, sentence) in cases {
        let faults = Faults::before(registry(), move |_| Some(make())).await;
        let client = client_with(&[&faults.address()], |settings| settings.request = Duration::from_secs(1));
        let name = reference(&faults.address(), "foreign:1");
        let error = client.resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
        assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
        assert!(faults.seen().len() <= 12, "{sentence}: {} requests", faults.seen().len());
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    // Bound, and so nobody else's, but it does not listen.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nowhere = socket.local_addr().unwrap().to_string();
    for (client, host) in [(client(&[&nowhere]), &*nowhere), (client(&[]), &nowhere), (client(&[]), registry())] {
        let error = client.resolve(&reference(host, "a:1"), Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
        assert!(error.to_string().starts_with(&format!("{host}/a: the registry fails: ")), "{error}");
    }
}

#[tokio::test]
async fn a_registry_is_trusted_by_the_authority_of_the_profile() {
    let servers = Servers::of_tls();
    let trusting = client_with(&[], |settings| settings.network.authority = Some(servers.authority()));
    let name = reference(servers.registry(), "a:1");
    let error = trusting.resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let error = client(&[]).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateNotTrusted, "{error}");
    assert!(error.to_string().contains("is not trusted: its issuer is unknown: put the certificate"), "{error}");
    let error =
        client(&[servers.registry()]).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
    for text in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let network = Network { authority: Some(text.to_owned()), ..Network::default() };
        let settings = Settings { network, ..Settings::default() };
        assert!(Registry::new(settings).is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn only_the_right_user_may_read_and_write() {
    let servers = Servers::of_user("bob", CANARY);
    let host = servers.registry();
    let image = Pusher::new(host, "a", Some(("bob", CANARY))).image(b"image", "1").await;
    let client = client(&[host]);
    let (bob, other) = (login(host, "bob", CANARY), login(host, "bob", "canary-4711-wrong"));
    let name = reference(host, "a:1");
    assert_eq!(client.resolve(&name, Wanted::Image("linux/amd64"), &bob).await.unwrap(), image.digest);
    for (credentials, sentence) in [
        (&nobody(), "refuses whoever shows no credentials"),
        (&other, "refuses the credentials"),
        (&login("other.example", "bob", CANARY), "refuses whoever shows no credentials"),
    ] {
        let error = client.resolve(&name, Wanted::Image("linux/amd64"), credentials).await.unwrap_err();
        assert_eq!(error.reason(), Reason::AccessDenied, "{error}");
        assert!(said(&error).contains(sentence), "{error}");
        let mut case = Case::new(host, "a", "b", &image, &image, &["1"]);
        case.source_credentials = bob.clone();
        case.target_credentials = credentials.clone();
        let error = case.run().await.unwrap_err();
        assert_eq!(error.reason(), Reason::PushDenied, "{error}");
        assert!(said(&error).contains(sentence), "{error}");
    }
    let mut case = Case::new(host, "a", "b", &image, &image, &["1"]);
    (case.source_credentials, case.target_credentials) = (bob.clone(), bob);
    assert_eq!(case.run().await.unwrap(), moved(&["1"]));
    assert!(!format!("{:?}", case.promotion()).contains(CANARY));
}

/// A registry that wants tokens, and the server that gives them: only bob gets one.
async fn with_tokens(answer: Option<u16>) -> Faults {
    static PORTS: AtomicUsize = AtomicUsize::new(0);
    let service = format!("service-{}", PORTS.fetch_add(1, Ordering::Relaxed));
    Faults::before(registry(), move |seen: &Seen| {
        let authorization = seen.authorization.as_deref().unwrap_or_default();
        if seen.path.starts_with("/token?") {
            let is_bob = authorization == "Basic Ym9iOmNhbmFyeS00NzEx" && seen.path.contains(&service);
            let status = answer.unwrap_or(if is_bob { 200 } else { 401 });
            return Some(Fault::Answer(status, Vec::new(), br#"{"access_token": "token-of-bob"}"#.to_vec()));
        }
        let challenge = format!(r#"Bearer realm="http://{}/token",service="{service}",scope="ignored""#, seen.host);
        (authorization != "Bearer token-of-bob")
            .then(|| Fault::Answer(401, vec![("www-authenticate", challenge)], Vec::new()))
    })
    .await
}

#[tokio::test]
async fn a_token_server_is_asked_for_what_is_needed() {
    let image = pusher("tokens/staging").image(b"image", "build").await;
    let faults = with_tokens(None).await;
    let host = faults.address();
    let mut case = Case::new(&host, "tokens/staging", "tokens/published", &image, &image, &["1"]);
    assert_eq!(case.run().await.unwrap_err().reason(), Reason::AccessDenied);
    case.source_credentials = login(&host, "bob", CANARY);
    assert_eq!(case.run().await.unwrap_err().reason(), Reason::PushDenied);
    case.target_credentials = login(&host, "bob", CANARY);
    assert_eq!(case.run().await.unwrap(), moved(&["1"]));

    let asked: BTreeSet<String> =
        faults.seen().into_iter().map(|seen| seen.path).filter(|path| path.starts_with("/token")).collect();
    let scopes: Vec<String> = asked
        .iter()
        .map(|path| path.split_once("&scope=").unwrap().1.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
        .collect();
    let source = "repository:tokens/staging:pull";
    assert_eq!(scopes, [&format!("repository:tokens/published:pull,push&scope={source}"), source]);
    let with_password = faults
        .seen()
        .into_iter()
        .filter(|seen| seen.authorization.as_deref().is_some_and(|text| text.starts_with("Basic")));
    assert!(with_password.map(|seen| seen.path).all(|path| path.starts_with("/token?")));
}

#[tokio::test]
async fn a_token_server_that_fails_is_no_refusal() {
    for (status, reason) in
        [(503, Reason::RegistryUnavailable), (429, Reason::RegistryUnavailable), (403, Reason::AccessDenied)]
    {
        let faults = with_tokens(Some(status)).await;
        let bob = login(&faults.address(), "bob", CANARY);
        let name = reference(&faults.address(), "tokens:1");
        let error = client(&[&faults.address()]).resolve(&name, Wanted::Image("linux/amd64"), &bob).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{status}: {}", said(&error));
    }
}

#[tokio::test]
async fn no_other_host_gets_the_credentials() {
    let servers = Servers::of_user("bob", CANARY);
    let image = Pusher::new(servers.registry(), "a", Some(("bob", CANARY))).image(b"image", "1").await;
    let stranger = Faults::before(registry(), |_| Some(Fault::status(404))).await;
    let address = stranger.address();
    let faults = Faults::before(servers.registry(), move |seen: &Seen| {
        let elsewhere = format!("http://{address}/elsewhere?x=1");
        match seen.method.as_str() {
            // The registry asks who we are first.
            _ if seen.authorization.is_none() => None,
            "GET" if seen.path.ends_with("/redirected") => Some(Fault::redirect(&elsewhere)),
            "HEAD" if seen.path.ends_with("/redirected") => Some(Fault::status(200)),
            "POST" => Some(Fault::Answer(202, vec![("location", elsewhere)], Vec::new())),
            _ => None,
        }
    })
    .await;
    let host = faults.address();
    let bob = login(&host, "bob", CANARY);
    let name = reference(&host, "a:redirected");
    let error = client(&[&host]).resolve(&name, Wanted::Image("linux/amd64"), &bob).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let mut case = Case::new(&host, "a", "b", &image, &image, &["1"]);
    (case.source_credentials, case.target_credentials) = (bob.clone(), bob);
    assert_eq!(case.run().await.unwrap_err().reason(), Reason::PushDenied);

    let reached: Vec<(String, Option<String>)> =
        stranger.seen().into_iter().map(|seen| (seen.method, seen.authorization)).collect();
    assert_eq!(reached, [("GET".to_owned(), None), ("PUT".to_owned(), None)]);
}

#[tokio::test]
async fn a_tag_is_deleted_and_its_manifest_stays() {
    let pusher = pusher("deleted");
    let image = pusher.image(b"image", "attempt-1").await;
    pusher.put(&image, "attempt-2").await;
    let client = client(&[registry()]);
    let (place, tag) = (repository(registry(), "deleted"), "attempt-1".parse().unwrap());
    assert_eq!(client.delete_tag(&place, &tag, &nobody()).await.unwrap(), Deletion::Deleted);
    assert_eq!(client.delete_tag(&place, &tag, &nobody()).await.unwrap(), Deletion::Absent);
    assert_eq!(pusher.digest("attempt-1").await, None);
    assert_eq!(pusher.digest("attempt-2").await, Some(image.digest));
}

#[tokio::test]
async fn a_registry_that_cannot_delete_tags_is_no_error() {
    let tag = "1".parse().unwrap();
    for (status, expected) in [
        (202, Ok(Deletion::Deleted)),
        (404, Ok(Deletion::Absent)),
        (405, Ok(Deletion::Unsupported)),
        (400, Ok(Deletion::Unsupported)),
        (403, Err(Reason::PushDenied)),
        (503, Err(Reason::RegistryUnavailable)),
    ] {
        let faults = Faults::before(registry(), move |_| Some(Fault::status(status))).await;
        let place = repository(&faults.address(), "a");
        let answer = client(&[&faults.address()]).delete_tag(&place, &tag, &nobody()).await;
        assert_eq!(answer.map_err(|error| error.reason()), expected, "{status}");
    }
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_where_it_fails() {
    let image = pusher("mirrored").image(b"image", "1").await;
    let mirrored = |mirror: &Faults, registry: &Faults| {
        let mirrors = BTreeMap::from([(registry.address(), mirror.address())]);
        client_with(&[&mirror.address(), &registry.address()], |settings| settings.mirrors = mirrors)
    };
    for (mirror_fails, registry_fails, expected) in [
        (None, Some(500), Ok(image.digest.clone())),
        (Some(404), None, Ok(image.digest.clone())),
        (Some(500), None, Ok(image.digest.clone())),
        (Some(404), Some(503), Err(Reason::BaseImageNotFound)),
        (Some(503), Some(404), Err(Reason::BaseImageNotFound)),
        (Some(503), Some(503), Err(Reason::RegistryUnavailable)),
    ] {
        let mirror = Faults::before(registry(), move |_| mirror_fails.map(Fault::status)).await;
        let origin = Faults::before(registry(), move |_| registry_fails.map(Fault::status)).await;
        let name = reference(&origin.address(), "mirrored:1");
        let answer = mirrored(&mirror, &origin).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await;
        assert_eq!(answer.map_err(|error| error.reason()), expected, "{mirror_fails:?} {registry_fails:?}");
        assert_eq!(origin.seen().is_empty(), mirror_fails.is_none());
    }
}

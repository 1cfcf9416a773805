//! Machine boxes: pushes, pulls and promotions of artifacts of one file.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use imagechain::{
    api::{
        boxes::{ArtifactKind, BOX_ARTIFACT, BOX_CONFIG, BoxFormat},
        condition::Reason,
    },
    plan::image::{Digest, Hasher, Repository},
    remote::registry::{Artifact, Credentials, Error, Pull, Pulled, Push, Pushed, Registry, Settings, Wanted},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{CANARY, Case, MEMORY, client_with, login, memory, moved, nobody, pusher, reference, registry, repository};
use crate::support::{
    faults::{Fault, Faults, Seen},
    images,
    uploads::{Manners, Trouble, Uploads},
};

const MIB: u64 = 1 << 20;
/// What is known of a box without its file.
const CONFIG: &[u8] = br#"{"format":"Qcow2","architecture":"amd64","virtualSize":1}"#;

/// A file that is a box, and a folder for what is pulled.
struct Boxed {
    folder: TempDir,
    content: Vec<u8>,
}

impl Boxed {
    /// One of 4 MiB and a few bytes, no two chunks of which are equal.
    fn new(name: &str) -> Self {
        let blocks = (0..4 * MIB / 16).map(|block| format!("{name:_<8.8}{block:08}"));
        Self::of((blocks.collect::<String>() + "the end").into_bytes())
    }

    fn of(content: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("box.qcow2"), &content).unwrap();
        Self { folder, content }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("box.qcow2")
    }

    /// Where it is pulled to.
    fn target(&self) -> PathBuf {
        self.folder.path().join("pulled")
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.content)
    }

    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    async fn push(&self, host: &str, path: &str) -> Result<Pushed, Error> {
        push(&quick(host), &self.file(), &repository(host, path), &nobody()).await
    }

    async fn pull(&self, client: &Registry, from: &Repository, digest: &Digest) -> Result<Pulled, Error> {
        pull(client, &self.target(), from, digest, 64 << 30).await
    }
}

/// A client that sends chunks of 1 MiB, and that waits for nothing.
fn quick(host: &str) -> Registry {
    client_with(&[host], quickly)
}

fn quickly(settings: &mut Settings) {
    settings.chunk = MIB;
    settings.pause = Duration::ZERO;
}

async fn push(client: &Registry, file: &Path, to: &Repository, credentials: &Credentials) -> Result<Pushed, Error> {
    let tag = "1".parse().unwrap();
    let push = Push {
        repository: to,
        tag: &tag,
        artifact_type: BOX_ARTIFACT,
        config: CONFIG,
        config_type: BOX_CONFIG,
        file,
        file_type: BoxFormat::Qcow2.media_type(),
        title: "box.qcow2",
        annotations: &BTreeMap::from([("org.opencontainers.image.version".to_owned(), "13".to_owned())]),
        credentials,
    };
    let told = Mutex::new(Vec::new());
    let pushed = client.push_artifact(&push, &|done, all| told.lock().unwrap().push((done, all))).await;
    if pushed.is_ok() {
        let size = fs::metadata(file).unwrap().len();
        assert_eq!(told.lock().unwrap().last(), Some(&(size, size)));
    }
    pushed
}

async fn pull(client: &Registry, path: &Path, from: &Repository, digest: &Digest, most: u64) -> Result<Pulled, Error> {
    let pull = Pull { repository: from, digest, artifact_type: BOX_ARTIFACT, most, credentials: &nobody() };
    let (told, _) = (Mutex::new((0, 0)), fs::remove_file(path));
    let pulled = client.pull_artifact(&pull, path, &|done, all| *told.lock().unwrap() = (done, all)).await;
    match &pulled {
        Ok(pulled) => assert_eq!(*told.lock().unwrap(), (pulled.size, pulled.size)),
        Err(error) => assert!(!path.exists(), "{error}"),
    }
    pulled
}

/// The file, in parts.
fn hash(path: &Path) -> Digest {
    let (mut file, mut hasher, mut part) = (File::open(path).unwrap(), Hasher::new(), vec![0; 65536]);
    loop {
        match file.read(&mut part).unwrap() {
            0 => return hasher.finish(),
            read => hasher.update(&part[..read]),
        }
    }
}

/// Whether a request is for the content of the blob.
fn is_of(seen: &Seen, digest: &Digest) -> bool {
    seen.method == "GET" && seen.path.ends_with(&format!("/blobs/{digest}"))
}

/// The sizes of the chunks that were sent, in bytes.
fn chunks(faults: &Faults) -> Vec<u64> {
    faults.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.length).collect()
}

fn begun(faults: &Faults) -> usize {
    faults.writes().iter().filter(|line| line.starts_with("POST") && line.ends_with("/blobs/uploads/")).count()
}

#[tokio::test]
async fn a_box_is_pushed_and_pulled_as_it_is_and_never_whole_in_memory() {
    const SIZE: u64 = 128 * MIB;
    let folder = tempfile::tempdir().unwrap();
    let (file, pulled) = (folder.path().join("box"), folder.path().join("pulled"));
    let mut writer = File::create(&file).unwrap();
    for block in 0..SIZE / 4096 {
        writer.write_all(&block.to_be_bytes().repeat(512)).unwrap();
    }
    let content = hash(&file);
    let client = client_with(&[registry()], |settings| settings.chunk = 4 * MIB);
    let here = repository(registry(), "boxes/large");
    let alone = MEMORY.lock().await;
    // From now on the peak is counted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let pushed = push(&client, &file, &here, &nobody()).await.unwrap();
    let got = pull(&client, &pulled, &here, &pushed.digest, SIZE).await.unwrap();
    let more = memory("VmHWM").saturating_sub(before);
    drop(alone);
    println!("a push and a pull of {SIZE} bytes took {more} bytes of memory");
    assert!(more < SIZE / 2, "{more}");
    assert_eq!((&pushed.content, pushed.size), (&content, SIZE));
    assert_eq!(hash(&pulled), content);
    let expected = Pulled {
        config: CONFIG.to_vec(),
        config_type: BOX_CONFIG.to_owned(),
        file_type: BoxFormat::Qcow2.media_type().to_owned(),
        content: content.clone(),
        size: SIZE,
    };
    assert_eq!(got, expected);
    let known = client.artifact(&here, &pushed.digest, &nobody()).await.unwrap();
    assert_eq!(known, Some(Artifact { kind: ArtifactKind::Box, content, size: SIZE }));
}

#[tokio::test]
async fn a_second_push_of_a_box_sends_nothing_of_it() {
    let boxed = Boxed::new("second");
    let faults = Faults::before(registry(), |_| None).await;
    let pushed = boxed.push(&faults.address(), "boxes/second").await.unwrap();
    assert_eq!(chunks(&faults), [MIB, MIB, MIB, MIB, 7]);
    let before = faults.writes().len();
    assert_eq!(boxed.push(&faults.address(), "boxes/second").await.unwrap(), pushed);
    assert_eq!(faults.writes()[before..], ["PUT /v2/boxes/second/manifests/1"]);
}

#[tokio::test]
async fn the_manifest_of_a_box_says_what_it_is() {
    let boxed = Boxed::of(b"a box".to_vec());
    let uploads = Uploads::start(Manners::default()).await;
    let pushed = boxed.push(&uploads.address(), "a").await.unwrap();
    let body = uploads.manifest("1").expect("a manifest");
    assert_eq!((Digest::of(&body), boxed.size()), (pushed.digest, pushed.size));
    let manifest: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": images::IMAGE,
        "artifactType": BOX_ARTIFACT,
        "config": {"mediaType": BOX_CONFIG, "digest": Digest::of(CONFIG).to_string(), "size": CONFIG.len()},
        "layers": [{
            "mediaType": "application/vnd.imagechain.box.layer.v1.qcow2", "digest": boxed.digest().to_string(),
            "size": 5, "annotations": {"org.opencontainers.image.title": "box.qcow2"},
        }],
        "annotations": {"org.opencontainers.image.version": "13"},
    });
    assert_eq!(manifest, expected);
    // What fits into one chunk is sent as one.
    assert_eq!((uploads.count("PATCH uploads"), uploads.count("PUT uploads")), (0, 2));
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_where_it_was() {
    let boxed = Boxed::new("cut");
    let troubles = BTreeMap::from([(1, Trouble::Half), (3, Trouble::Lost), (4, Trouble::Busy)]);
    let uploads = Uploads::start(Manners { troubles, ..Manners::default() }).await;
    boxed.push(&uploads.address(), "a").await.unwrap();
    assert!(uploads.blob(&boxed.digest()).is_some_and(|blob| blob == boxed.content));
    let half = MIB / 2;
    let expected = [
        0..=MIB - 1,
        MIB..=2 * MIB - 1,
        // Half of the second was there already.
        MIB + half..=2 * MIB + half - 1,
        // All of this is, though nobody said so,
        2 * MIB + half..=3 * MIB + half - 1,
        // and this is not.
        3 * MIB + half..=4 * MIB + 6,
        3 * MIB + half..=4 * MIB + 6,
    ];
    assert_eq!(uploads.chunks(), expected);
    let sent: u64 = uploads.chunks().iter().map(|chunk| chunk.end() + 1 - chunk.start()).sum();
    assert_eq!(sent - boxed.size(), half + half + 7, "what was sent a second time");
    // The box and its config.
    assert_eq!(uploads.count("POST uploads"), 2);
}

#[tokio::test]
async fn an_upload_to_a_real_registry_goes_on_after_a_cut() {
    let boxed = Boxed::new("real");
    for (fault, chunk_again) in [(Fault::Cut, true), (Fault::status(502), true), (Fault::After(504), false)] {
        let fault = Mutex::new(Some(fault));
        let patches = AtomicUsize::new(0);
        let faults = Faults::before(registry(), move |seen: &Seen| {
            let is_third = seen.method == "PATCH" && patches.fetch_add(1, Ordering::Relaxed) == 2;
            if is_third { fault.lock().unwrap().take() } else { None }
        })
        .await;
        let path = format!("boxes/real-{}", faults.address().replace(['.', ':'], "-"));
        let pushed = boxed.push(&faults.address(), &path).await.unwrap();
        let sent: u64 = chunks(&faults).iter().sum();
        assert_eq!(sent - boxed.size(), if chunk_again { MIB } else { 0 }, "what was sent a second time");
        assert_eq!(begun(&faults), 2, "the box and its config");
        let here = repository(registry(), &path);
        boxed.pull(&quick(registry()), &here, &pushed.digest).await.unwrap();
        assert_eq!(hash(&boxed.target()), boxed.digest());
    }
}

/// Passes connections on to a server, and cuts the first one after so many bytes to it. It ends with the runtime.
async fn cutting(server: &str, after: u64) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, server) = (listener.local_addr().unwrap().to_string(), server.to_owned());
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        let mut most = after;
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(pass(client, server, mem::replace(&mut most, u64::MAX), Arc::clone(&counted)));
        }
    });
    (address, sent)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, most: u64, sent: Arc<AtomicU64>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    let forth = async {
        let (mut left, mut part) = (most, vec![0; 65536]);
        while left > 0 {
            let read = from_client.read(&mut part).await.unwrap_or_default().min(usize::try_from(left).unwrap());
            if read == 0 || to_server.write_all(&part[..read]).await.is_err() {
                break;
            }
            left -= read as u64;
            sent.fetch_add(read as u64, Ordering::Relaxed);
        }
    };
    tokio::select! {
        _ = back => {}
        () = forth => {}
    }
}

#[tokio::test]
async fn an_upload_to_a_real_registry_goes_on_in_the_middle_of_a_chunk() {
    let boxed = Boxed::new("middle");
    let (host, sent) = cutting(registry(), 2 * MIB + MIB / 2).await;
    let pushed = boxed.push(&host, "boxes/middle").await.unwrap();
    let again = sent.load(Ordering::Relaxed) - boxed.size();
    println!("{again} bytes were sent beside the box itself: headers, config, manifest");
    assert!(again < MIB / 4, "{again}");
    boxed.pull(&quick(registry()), &repository(registry(), "boxes/middle"), &pushed.digest).await.unwrap();
    assert_eq!(hash(&boxed.target()), boxed.digest());
}

#[tokio::test]
async fn an_upload_that_the_registry_has_lost_begins_anew() {
    let boxed = Boxed::new("lost");
    for trouble in [Trouble::Forgotten, Trouble::Dropped] {
        let uploads = Uploads::start(Manners { troubles: BTreeMap::from([(2, trouble)]), ..Manners::default() }).await;
        boxed.push(&uploads.address(), "a").await.unwrap();
        assert!(uploads.blob(&boxed.digest()).is_some_and(|blob| blob == boxed.content));
        assert_eq!((uploads.count("POST uploads"), uploads.count("PATCH uploads")), (3, 3 + 5));
    }
}

#[tokio::test]
async fn an_upload_is_given_up_where_nothing_comes_through() {
    let boxed = Boxed::new("stuck");
    let all = |trouble| (0..100).map(|chunk| (chunk, trouble)).collect();
    let busy = Uploads::start(Manners { troubles: all(Trouble::Busy), ..Manners::default() }).await;
    let error = boxed.push(&busy.address(), "a").await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
    assert!(error.to_string().ends_with("/a: the registry answers 503 Service Unavailable"), "{error}");
    assert_eq!((busy.count("PATCH uploads"), busy.count("GET uploads")), (6, 5));

    let troubles = (0..100).map(|chunk| (2 * chunk + 1, Trouble::Forgotten)).collect();
    let forgetful = Uploads::start(Manners { troubles, ..Manners::default() }).await;
    let error = boxed.push(&forgetful.address(), "a").await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
    assert!(error.to_string().ends_with("has lost an upload 4 times"), "{error}");

    let faults = Faults::before(registry(), |seen| (seen.method == "PATCH").then(|| Fault::status(403))).await;
    let error = boxed.push(&faults.address(), "boxes/stuck").await.unwrap_err();
    assert_eq!((error.reason(), chunks(&faults).len()), (Reason::PushDenied, 1), "{error}");
}

#[tokio::test]
async fn a_registry_that_takes_no_chunks_gets_all_at_once() {
    let boxed = Boxed::new("whole");
    for (manners, expected) in [
        (Manners { refuses_chunks: Some(404), ..Manners::default() }, vec![]),
        (Manners { refuses_chunks: Some(405), ..Manners::default() }, vec![]),
        (Manners { refuses_chunks: Some(413), ..Manners::default() }, vec![]),
        (Manners { refuses_chunks: Some(416), ..Manners::default() }, vec![]),
        // More than is held in memory.
        (Manners { least_chunk: 1 << 30, ..Manners::default() }, vec![]),
        (Manners { least_chunk: 3 * MIB, ..Manners::default() }, vec![0..=3 * MIB - 1, 3 * MIB..=4 * MIB + 6]),
    ] {
        let uploads = Uploads::start(manners.clone()).await;
        boxed.push(&uploads.address(), "a").await.unwrap();
        assert!(uploads.blob(&boxed.digest()).is_some_and(|blob| blob == boxed.content), "{manners:?}");
        assert_eq!(uploads.chunks(), expected, "{manners:?}");
        assert_eq!(uploads.count("PATCH uploads"), expected.len() + usize::from(manners.refuses_chunks.is_some()));
    }
}

#[tokio::test]
async fn an_upload_whose_last_answer_is_lost_is_found_done() {
    let boxed = Boxed::new("end");
    // The box is one, and its config.
    let uploads = Uploads::start(Manners { lost_ends: 2, ..Manners::default() }).await;
    boxed.push(&uploads.address(), "a").await.unwrap();
    assert_eq!((uploads.count("POST uploads"), uploads.count("PUT uploads")), (2, 2));
    assert_eq!(uploads.count("PATCH uploads"), 5);
}

#[tokio::test]
async fn a_token_that_expires_in_an_upload_is_renewed() {
    let boxed = Boxed::new("token");
    let (given, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let faults = Faults::before(registry(), move |seen: &Seen| {
        if seen.path.starts_with("/token?") {
            used.store(0, Ordering::Relaxed);
            let token = json!({"token": format!("token-{}", given.fetch_add(1, Ordering::Relaxed) + 1)}).to_string();
            return Some(Fault::Answer(200, Vec::new(), token.into_bytes()));
        }
        let token = format!("Bearer token-{}", given.load(Ordering::Relaxed));
        let is_known = seen.authorization.as_ref() == Some(&token) && used.fetch_add(1, Ordering::Relaxed) < 3;
        let challenge = format!(r#"Bearer realm="http://{}/token",service="x""#, seen.host);
        (!is_known).then(|| Fault::Answer(401, vec![("www-authenticate", challenge)], Vec::new()))
    })
    .await;
    let host = faults.address();
    let to = repository(&host, "boxes/token");
    push(&quick(&host), &boxed.file(), &to, &login(&host, "bob", CANARY)).await.unwrap();
    let tokens = faults.seen().iter().filter(|seen| seen.path.starts_with("/token?")).count();
    assert!(tokens >= 4, "{tokens}");
}

#[tokio::test]
async fn a_download_that_was_cut_goes_on_where_it_was() {
    let boxed = Boxed::new("down");
    let pushed = boxed.push(registry(), "boxes/down").await.unwrap();
    let layer = pushed.content.clone();
    let (cut, content) = ((1_usize << 20) + 1000, boxed.content.clone());
    for ignores_ranges in [false, true] {
        let (asked, layer, content) = (AtomicUsize::new(0), layer.clone(), content.clone());
        let faults = Faults::before(registry(), move |seen: &Seen| {
            if !is_of(seen, &layer) {
                return None;
            }
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Some(Fault::Short(cut)),
                2 => Some(Fault::status(503)),
                _ if ignores_ranges => Some(Fault::Answer(200, Vec::new(), content.clone())),
                _ => None,
            }
        })
        .await;
        let here = repository(&faults.address(), "boxes/down");
        let pulled = boxed.pull(&quick(&faults.address()), &here, &pushed.digest).await.unwrap();
        assert_eq!((pulled.content, hash(&boxed.target())), (boxed.digest(), boxed.digest()));
        let seen = faults.seen().into_iter().filter(|seen| is_of(seen, &pushed.content));
        let ranges: Vec<Option<String>> = seen.map(|seen| seen.range).collect();
        let from = |bytes: usize| Some(format!("bytes={bytes}-"));
        // No byte is asked for that came already.
        assert_eq!(ranges, [None, from(cut), from(2 * cut), from(2 * cut)]);
    }
}

#[tokio::test]
async fn a_download_is_given_up_where_nothing_comes_through() {
    let boxed = Boxed::new("dry");
    let pushed = boxed.push(registry(), "boxes/dry").await.unwrap();
    let layer = pushed.content.clone();
    let faults = Faults::before(registry(), move |seen| is_of(seen, &layer).then_some(Fault::Short(0))).await;
    let here = repository(&faults.address(), "boxes/dry");
    let error = boxed.pull(&quick(&faults.address()), &here, &pushed.digest).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
    assert_eq!(faults.seen().iter().filter(|seen| is_of(seen, &pushed.content)).count(), 6);
}

#[tokio::test]
async fn a_changed_box_is_refused_and_leaves_no_file() {
    let boxed = Boxed::new("changed");
    let pushed = boxed.push(registry(), "boxes/changed").await.unwrap();
    let mut flipped = boxed.content.clone();
    flipped[3_000_000] ^= 1;
    let (longer, shorter) = ([boxed.content.as_slice(), b"!"].concat(), boxed.content[1..].to_vec());
    let answer = |content: Vec<u8>| move || Fault::Answer(200, Vec::new(), content.clone());
    let cases: [(super::Make, &str); 4] = [
        (Box::new(answer(flipped)), "where sha256:"),
        (Box::new(answer(longer)), "gives a layer of another size than its manifest says"),
        (Box::new(answer(shorter)), "gives a layer of another size than its manifest says"),
        (Box::new(|| Fault::Flood(Vec::new(), 10 << 30)), "gives more of a layer than its manifest says"),
    ];
    for (make, sentence) in cases {
        let layer = pushed.content.clone();
        let faults = Faults::before(registry(), move |seen| is_of(seen, &layer).then(&make)).await;
        let here = repository(&faults.address(), "boxes/changed");
        let error = boxed.pull(&quick(&faults.address()), &here, &pushed.digest).await.unwrap_err();
        assert_eq!(error.reason(), Reason::RegistryUnavailable, "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
        assert!(!boxed.target().exists(), "{error}");
    }
}

#[tokio::test]
async fn a_box_that_is_too_large_is_refused_before_its_first_byte() {
    let boxed = Boxed::new("large");
    let pushed = boxed.push(registry(), "boxes/bound").await.unwrap();
    let faults = Faults::before(registry(), |_| None).await;
    let (client, here) = (quick(&faults.address()), repository(&faults.address(), "boxes/bound"));
    let error = pull(&client, &boxed.target(), &here, &pushed.digest, boxed.size() - 1).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StorageLimitExceeded, "{error}");
    let expected = format!(
        "{here}@{} is a file of 4194311 bytes, and at most 4194310 are taken: name a smaller one, or raise the limit",
        pushed.digest
    );
    assert_eq!(error.to_string(), expected);
    let lines: Vec<String> = faults.seen().iter().map(Seen::line).collect();
    assert_eq!(lines, [format!("GET /v2/boxes/bound/manifests/{}", pushed.digest)]);
    pull(&client, &boxed.target(), &here, &pushed.digest, boxed.size()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_box_is_not_pulled() {
    let (pusher, boxed) = (pusher("boxes/none"), Boxed::of(b"box".to_vec()));
    let image = pusher.image(b"image", "image").await;
    let index = pusher.index(&[(&image, "linux", "amd64")], "index").await;
    let other = pusher.artifact("application/vnd.example.other", &[b"a"], "other").await;
    let two = pusher.artifact(BOX_ARTIFACT, &[b"a", b"b"], "two").await;
    let none = pusher.artifact(BOX_ARTIFACT, &[], "none").await;
    let (client, here) = (quick(registry()), repository(registry(), "boxes/none"));
    let (of_type, files) = ("is no artifact of the type application/vnd.imagechain.box.v1", "other than one file");
    for (digest, reason, sentence) in [
        (&image.digest, Reason::ImageUnsupported, of_type),
        (&index.digest, Reason::ImageUnsupported, of_type),
        (&other.digest, Reason::ImageUnsupported, of_type),
        (&two.digest, Reason::ImageUnsupported, files),
        (&none.digest, Reason::ImageUnsupported, files),
        (&Digest::of(b"missing"), Reason::BaseImageNotFound, "does not exist"),
    ] {
        let error = boxed.pull(&client, &here, digest).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
    let error = client.artifact(&here, &two.digest, &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ImageUnsupported, "{error}");
}

#[tokio::test]
async fn a_box_is_pulled_from_the_mirror_and_from_the_registry_where_that_fails() {
    let boxed = Boxed::of(b"a mirrored box".to_vec());
    let pushed = boxed.push(registry(), "boxes/mirrored").await.unwrap();
    for (mirror_fails, registry_fails, expected) in [
        (None, Some(500), Ok(())),
        (Some(404), None, Ok(())),
        (Some(500), None, Ok(())),
        (Some(404), Some(503), Err(Reason::BaseImageNotFound)),
        (Some(503), Some(503), Err(Reason::RegistryUnavailable)),
    ] {
        let mirror = Faults::before(registry(), move |_| mirror_fails.map(Fault::status)).await;
        let origin = Faults::before(registry(), move |_| registry_fails.map(Fault::status)).await;
        let client = client_with(&[&mirror.address(), &origin.address()], |settings| {
            settings.mirrors = BTreeMap::from([(origin.address(), mirror.address())]);
            quickly(settings);
        });
        let here = repository(&origin.address(), "boxes/mirrored");
        let answer = boxed.pull(&client, &here, &pushed.digest).await;
        assert_eq!(answer.map(drop).map_err(|error| error.reason()), expected, "{mirror_fails:?} {registry_fails:?}");
        assert_eq!(origin.seen().is_empty(), mirror_fails.is_none());
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_or_written_is_named() {
    let boxed = Boxed::of(b"a box".to_vec());
    let (client, here) = (quick(registry()), repository(registry(), "boxes/files"));
    let missing = boxed.folder.path().join("missing");
    let error = push(&client, &missing, &here, &nobody()).await.unwrap_err();
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    assert_eq!(error.reason(), Reason::StageInterrupted, "{error}");
    let pushed = boxed.push(registry(), "boxes/files").await.unwrap();
    let nowhere = missing.join("pulled");
    let error = pull(&client, &nowhere, &here, &pushed.digest, MIB).await.unwrap_err();
    assert!(error.to_string().starts_with(&nowhere.display().to_string()), "{error}");
}

/// A promotion of a box from `boxes/staging` to `boxes/published`.
fn case(host: &str, digest: &Digest, kind: ArtifactKind, content: &Digest) -> Case {
    Case {
        source: repository(host, "boxes/staging"),
        target: repository(host, "boxes/published"),
        digest: digest.clone(),
        kind,
        content: content.clone(),
        tags: super::tags(&["1"]),
        source_credentials: nobody(),
        target_credentials: nobody(),
    }
}

#[tokio::test]
async fn a_box_is_published_only_if_its_file_is_the_tested_one() {
    let (tested, other) = (Boxed::new("tested"), Boxed::new("other"));
    let staged = tested.push(registry(), "boxes/staging").await.unwrap();
    let untested = other.push(registry(), "boxes/staging").await.unwrap();
    let staging = pusher("boxes/staging");
    let image = staging.image(b"image", "image").await;
    let two = staging.artifact(BOX_ARTIFACT, &[b"a", b"b"], "two").await;
    let index = staging.index(&[(&image, "linux", "amd64")], "index").await;
    let (of_box, of_image) = (ArtifactKind::Box, ArtifactKind::Image);
    let (config, image_id) = (Digest::of(CONFIG), image.image.clone().unwrap());
    let file = tested.digest();
    for (digest, kind, content, sentence) in [
        (
            &untested.digest,
            of_box,
            &file,
            format!("it holds the box {}, and the box {file} was tested", other.digest()),
        ),
        // What was tested as an image is none because a digest of it is the same.
        (&staged.digest, of_image, &config, format!("it holds the box {file}, and {config} was tested")),
        (&staged.digest, of_image, &file, format!("it holds the box {file}, and {file} was tested")),
        (&image.digest, of_box, &image_id, format!("it holds the image {image_id}, and the box {image_id} was tested")),
        (&two.digest, of_box, &Digest::of(b"a"), "it holds a box of other than one file, and".to_owned()),
        (&index.digest, of_box, &image_id, "it holds an index, and".to_owned()),
    ] {
        let faults = Faults::before(registry(), |_| None).await;
        let error = case(&faults.address(), digest, kind, content).run().await.unwrap_err();
        assert_eq!(error.reason(), Reason::ImageMismatch, "{error}");
        assert!(error.to_string().contains(&sentence), "{error}");
        assert_eq!(faults.writes(), [""; 0], "{error}");
    }
    assert_eq!(pusher("boxes/published").digest("1").await, None);

    let right = case(registry(), &staged.digest, of_box, &file);
    assert_eq!(right.run().await.unwrap(), moved(&["1"]));
    assert_eq!(pusher("boxes/published").digest("1").await.as_ref(), Some(&staged.digest));
    tested.pull(&quick(registry()), &repository(registry(), "boxes/published"), &staged.digest).await.unwrap();
    assert_eq!(hash(&tested.target()), file);
    assert_eq!(right.run().await.unwrap(), moved(&[]));
}

#[tokio::test]
async fn a_box_in_an_index_is_no_image_that_was_tested() {
    let staging = pusher("boxes/staging");
    let image = staging.image(b"in an index", "image").await;
    let a_box = staging.artifact(BOX_ARTIFACT, &[b"in an index"], "box").await;
    let index = staging.index(&[(&image, "linux", "amd64"), (&a_box, "linux", "arm64")], "both").await;
    let content = image.image.clone().unwrap();
    let error = case(registry(), &index.digest, ArtifactKind::Image, &content).run().await.unwrap_err();
    assert_eq!(error.reason(), Reason::ImageMismatch, "{error}");
}

#[tokio::test]
async fn a_box_is_no_image_to_build_on() {
    let boxed = Boxed::of(b"a box".to_vec());
    let pushed = boxed.push(registry(), "boxes/base").await.unwrap();
    for rest in ["boxes/base:1".to_owned(), format!("boxes/base@{}", pushed.digest)] {
        let name = reference(registry(), &rest);
        let error = quick(registry()).resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ImageUnsupported, "{error}");
        let sentence = "is a machine box and no container image: name it in from.box.reference, or name an image";
        assert_eq!(error.to_string(), format!("{name} {sentence}"));
    }
}

#[tokio::test]
async fn a_box_to_build_on_is_found_by_tag_and_digest() {
    let boxed = Boxed::of(b"a box to build on".to_vec());
    let pushed = boxed.push(registry(), "boxes/ground").await.unwrap();
    let client = quick(registry());
    // The second look by one client knows the manifest already.
    for rest in ["boxes/ground:1".to_owned(), format!("boxes/ground@{}", pushed.digest), "boxes/ground:1".to_owned()] {
        let name = reference(registry(), &rest);
        assert_eq!(client.resolve(&name, Wanted::Box, &nobody()).await.unwrap(), pushed.digest);
        let error = client.resolve(&name, Wanted::Image("linux/amd64"), &nobody()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ImageUnsupported, "{error}");
    }
    let others = pusher("boxes/no-ground");
    let image = others.image(b"an image", "image").await;
    others.index(&[(&image, "linux", "amd64")], "index").await;
    for tag in ["image", "index"] {
        let name = reference(registry(), &format!("boxes/no-ground:{tag}"));
        let error = client.resolve(&name, Wanted::Box, &nobody()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::ImageUnsupported, "{error}");
        let sentence = "is no machine box as links publish them: name a box, or, of an image, write from.image";
        assert_eq!(error.to_string(), format!("{name} {sentence}"));
    }
    let error = client.resolve(&reference(registry(), "boxes/ground:2"), Wanted::Box, &nobody()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::BaseImageNotFound, "{error}");
}

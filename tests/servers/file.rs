//! Fetching files of other servers; the blobs of a real registry are as good as any.

use std::{
    fs,
    path::PathBuf,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use imagechain::{
    api::condition::Reason,
    plan::image::Digest,
    remote::{
        file::{Error, Files},
        network::Network,
    },
};
use tempfile::TempDir;

use crate::support::{
    faults::{Fault, Faults, Seen},
    images::Pusher,
    servers::Servers,
};

/// One for all tests.
static SERVERS: LazyLock<Servers> = LazyLock::new(Servers::start);

/// A file on a server, and a folder for it.
struct Case {
    folder: TempDir,
    content: Vec<u8>,
    path: String,
}

/// How a fetch ended, and what was told of it on the way.
struct Fetched {
    outcome: Result<u64, Error>,
    told: Vec<(u64, Option<u64>)>,
}

impl Case {
    /// With a file of 1 MiB and a few bytes.
    async fn new(name: &str) -> Self {
        let content: Vec<u8> = (0..65536).flat_map(|block| format!("{name:_<8.8}{block:08}").into_bytes()).collect();
        let pushed = Pusher::new(SERVERS.registry(), "files", None).blob(&content).await;
        let path = format!("/v2/files/blobs/{}", pushed["digest"].as_str().unwrap());
        Self { folder: tempfile::tempdir().unwrap(), content, path }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    async fn fetch(&self, url: &str, wanted: &Digest) -> Fetched {
        let files = Files::new(&Network::default()).unwrap().with_pause(Duration::ZERO);
        let told = Mutex::new(Vec::new());
        let outcome = files.fetch(url, wanted, &self.target(), &|at, all| told.lock().unwrap().push((at, all))).await;
        Fetched { outcome, told: told.into_inner().unwrap() }
    }

    /// From a server that fails as is said.
    async fn through(&self, decide: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) -> (Fetched, Vec<Seen>) {
        let faults = Faults::before(SERVERS.registry(), decide).await;
        let url = format!("http://{}{}", faults.address(), self.path);
        (self.fetch(&url, &Digest::of(&self.content)).await, faults.seen())
    }

    fn arrived(&self, fetched: &Fetched) {
        let size = fetched.outcome.as_ref().unwrap();
        assert_eq!(usize::try_from(*size).unwrap(), self.content.len());
        assert_eq!(fs::read(self.target()).unwrap(), self.content);
        assert_eq!(fetched.told.last(), Some(&(*size, Some(*size))));
    }

    /// Why nothing arrived, of which nothing is left.
    fn refused(&self, fetched: Fetched) -> (Reason, String) {
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 0);
        let error = fetched.outcome.unwrap_err();
        (error.reason(), error.to_string())
    }
}

#[tokio::test]
async fn a_file_arrives_whole_and_it_is_told_how_far_it_is() {
    let case = Case::new("whole").await;
    let (fetched, seen) = case.through(|_| None).await;
    case.arrived(&fetched);
    assert_eq!(seen.len(), 1);
    // Servers send from one place to another.
    let own = case.path.clone();
    let (fetched, _) = case
        .through(move |seen| (!seen.path.contains("moved")).then(|| Fault::redirect(&format!("{own}?moved"))))
        .await;
    case.arrived(&fetched);
}

#[tokio::test]
async fn what_was_cut_goes_on_where_it_was() {
    let case = Case::new("cut").await;
    let cuts = AtomicUsize::new(0);
    let (fetched, seen) =
        case.through(move |_| (cuts.fetch_add(1, Ordering::Relaxed) < 2).then_some(Fault::Short(300_000))).await;
    case.arrived(&fetched);
    let ranges: Vec<_> = seen.iter().map(|seen| seen.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=300000-"), Some("bytes=600000-")]);
}

#[tokio::test]
async fn a_server_that_gives_no_parts_begins_anew() {
    let case = Case::new("parts").await;
    let (begun, content) = (AtomicUsize::new(0), case.content.clone());
    let (fetched, seen) = case
        .through(move |_| match begun.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Fault::Short(300_000)),
            _ => Some(Fault::Answer(200, Vec::new(), content.clone())),
        })
        .await;
    case.arrived(&fetched);
    assert_eq!(seen.len(), 2);
}

/// A server may not say how large a file is: that there is no more of it is no error, and the checksum tells the rest.
#[tokio::test]
async fn a_file_of_which_there_is_no_more_is_judged_by_its_checksum() {
    let case = Case::new("end").await;
    let begun = AtomicUsize::new(0);
    let (fetched, seen) = case
        .through(move |_| match begun.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Fault::Short(300_000)),
            _ => Some(Fault::status(416)),
        })
        .await;
    let (reason, message) = case.refused(fetched);
    let found = Digest::of(&case.content[..300_000]);
    assert_eq!((reason, seen.len()), (Reason::FileUnavailable, 2));
    assert!(message.contains(&format!("has the SHA-256 {found}")), "{message}");
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_and_what_does_not_is_told() {
    let case = Case::new("passes").await;
    let asked = AtomicUsize::new(0);
    let (fetched, _) = case
        .through(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Fault::status(503)),
            1 => Some(Fault::Cut),
            2 => Some(Fault::status(429)),
            _ => None,
        })
        .await;
    case.arrived(&fetched);
    fs::remove_file(case.target()).unwrap();
    for (status, reason, says, requests) in [
        (404, Reason::FileUnavailable, "the server answers 404 Not Found: correct the URL", 1),
        (403, Reason::FileUnavailable, "the server answers 403 Forbidden: correct the URL", 1),
        (502, Reason::SourceUnavailable, "cannot be fetched now: the server answers 502 Bad Gateway", 6),
    ] {
        let (fetched, seen) = case.through(move |_| Some(Fault::status(status))).await;
        let (found, message) = case.refused(fetched);
        assert_eq!((found, seen.len()), (reason, requests), "{message}");
        assert!(message.contains(says), "{message}");
    }
    let (fetched, _) = case.through(|seen| Some(Fault::redirect(&seen.path))).await;
    let (reason, message) = case.refused(fetched);
    assert_eq!(reason, Reason::FileUnavailable, "{message}");
}

#[tokio::test]
async fn another_file_than_the_one_that_is_wanted_is_not_kept() {
    let case = Case::new("other").await;
    let url = format!("http://{}{}", SERVERS.registry(), case.path);
    let wanted = Digest::of(b"another file");
    let (reason, message) = case.refused(case.fetch(&url, &wanted).await);
    assert_eq!(reason, Reason::FileUnavailable);
    let found = Digest::of(&case.content);
    assert_eq!(message, format!("{url} has the SHA-256 {found}, not {wanted}: correct the one that is wrong"));
}

#[tokio::test]
async fn servers_are_trusted_as_the_profile_says() {
    let servers = Servers::of_tls();
    let case = Case::new("trust").await;
    let url = format!("https://{}/v2/", servers.registry());
    let (reason, message) = case.refused(case.fetch(&url, &Digest::of(b"")).await);
    assert_eq!(reason, Reason::CertificateNotTrusted, "{message}");
    let network = Network { authority: Some(servers.authority()), ..Network::default() };
    let files = Files::new(&network).unwrap();
    let found = files.fetch(&url, &Digest::of(b"{}"), &case.target(), &|_, _| ()).await;
    assert_eq!(found.unwrap(), 2);
}

//! Boxes in the package registry of Gitea: from a real registry to a stub that answers as Gitea does, or, by
//! `make test-gitea`, to Gitea itself; and through servers that fail.

use std::{
    fs,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use imagechain::{
    api::{
        boxes::{ArtifactKind, BoxProvider},
        condition::Reason,
    },
    plan::{
        credentials::gitea::GiteaSecret,
        gitea::BoxAddress,
        image::{Digest, Repository, Tag},
        vagrant::check_version,
    },
    remote::{
        gitea::{Credentials, Error, Gitea as Client, Package, Promoted, Promotion, Settings},
        network::Network,
        registry::{self, Registry, Tested},
    },
};
use k8s_openapi::ByteString;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::registry::{MEMORY, memory};
use crate::support::{
    faults::{Fault, Faults, Seen},
    gitea::{Gitea, OWNER},
    images::{Pushed, Pusher, archive, vagrant_box},
    servers::Servers,
};

/// One for all tests, each with a repository of its own.
static SERVERS: LazyLock<Servers> = LazyLock::new(Servers::start);

/// The version that tests publish.
const VERSION: &str = "0.1.1795862400";
const FILE: &str = "0.1.1795862400/libvirt.box";

/// Makes what befalls a request.
type Make = Box<dyn Fn() -> Fault + Send + Sync>;

/// A staged box, and where it is to go.
struct Case {
    gitea: Gitea,
    owner: &'static str,
    name: String,
    content: Vec<u8>,
    staged: Pushed,
    kind: ArtifactKind,
    provider: BoxProvider,
    version: &'static str,
    secret: Value,
}

impl Case {
    /// A box for libvirt, which is to be published under a name.
    async fn new(name: &str) -> Self {
        Self::of(name, &vagrant_box(name.as_bytes(), BoxProvider::Libvirt), Some(BoxProvider::Libvirt)).await
    }

    async fn of(name: &str, content: &[u8], provider: Option<BoxProvider>) -> Self {
        let gitea = Gitea::start().await;
        let secret = gitea.writer();
        let staged = pusher(name).machine_box(content, provider, "build").await;
        let (name, content, kind) = (name.to_owned(), content.to_vec(), ArtifactKind::Box);
        Self {
            gitea,
            owner: OWNER,
            name,
            content,
            staged,
            kind,
            provider: BoxProvider::Libvirt,
            version: VERSION,
            secret,
        }
    }

    /// To Gitea itself.
    async fn run(&self) -> Result<Promoted, Error> {
        self.run_at(self.gitea.address()).await
    }

    async fn run_at(&self, address: &str) -> Result<Promoted, Error> {
        self.run_by(address, &registry(), SERVERS.registry()).await
    }

    async fn run_by(&self, address: &str, registry: &Registry, staging: &str) -> Result<Promoted, Error> {
        let repository = Repository { registry: staging.to_owned(), path: format!("gitea/{}", self.name) };
        let (content, nobody) = (Digest::of(&self.content), registry::Credentials::default());
        let tested = Tested {
            repository: &repository,
            digest: &self.staged.digest,
            kind: self.kind,
            content: &content,
            credentials: &nobody,
        };
        let (box_address, version) = (self.address(address), self.version.parse::<Tag>().unwrap());
        let package = Package { address: &box_address, version: &version, provider: self.provider };
        let credentials = credentials(&self.secret);
        let promotion = Promotion { registry, tested, package, credentials: &credentials };
        client(Network::default()).promote(&promotion).await
    }

    fn address(&self, server: &str) -> BoxAddress {
        let (server, tag) = (format!("http://{server}"), format!("{}/{}", self.owner, self.name));
        BoxAddress { server: server.parse().unwrap(), tag: tag.parse().unwrap() }
    }

    /// Through a proxy that fails as is said.
    async fn through(
        &self,
        decide: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static,
    ) -> (Result<Promoted, Error>, Vec<Seen>) {
        let faults = Faults::before(self.gitea.address(), decide).await;
        (self.run_at(&faults.address()).await, faults.seen())
    }

    /// What stands under the version, which is the box or nothing.
    async fn is_published(&self) -> bool {
        match self.gitea.file(&self.name, FILE).await {
            Some(found) => {
                assert_eq!(Digest::of(&found), Digest::of(&self.content));
                true
            }
            None => false,
        }
    }
}

fn pusher(name: &str) -> Pusher {
    Pusher::new(SERVERS.registry(), &format!("gitea/{name}"), None)
}

fn registry() -> Registry {
    registry_at(SERVERS.registry())
}

fn registry_at(host: &str) -> Registry {
    let insecure = [host.to_owned()].into();
    Registry::new(registry::Settings { insecure, ..registry::Settings::default() }).unwrap()
}

fn client(network: Network) -> Client {
    let (request, transfer) = (Duration::from_secs(5), Duration::from_secs(20));
    Client::new(Settings { network, request, transfer }).unwrap()
}

fn credentials(secret: &Value) -> Credentials {
    let value = |value: &Value| ByteString(value.as_str().unwrap().into());
    let values = secret.as_object().unwrap().iter().map(|(key, text)| (key.clone(), value(text))).collect();
    Credentials::new(&GiteaSecret::read(&values).unwrap().identity, "gitea").unwrap()
}

fn is_put(seen: &Seen) -> bool {
    seen.method == "PUT"
}

/// The reason and the sentence, which holds no credential.
fn said(case: &Case, outcome: Result<Promoted, Error>) -> (Reason, String) {
    let error = outcome.unwrap_err();
    for value in case.secret.as_object().unwrap().iter().filter(|(key, _)| *key != "username").map(|(_, value)| value) {
        assert!(!format!("{error:?} {error}").contains(value.as_str().unwrap()), "{error:?}");
    }
    (error.reason(), error.to_string())
}

#[tokio::test]
async fn a_box_is_uploaded_once_and_vagrant_is_told_of_it() {
    let mut case = Case::new("once").await;
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
    assert!(case.is_published().await);
    let (outcome, seen) = case.through(|_| None).await;
    assert_eq!((outcome.unwrap(), seen.iter().any(is_put)), (Promoted::Known, false), "nothing is sent again");
    // A box for another provider is another file of the same version.
    let other = Case::of("once", &vagrant_box(b"once", BoxProvider::VirtualBox), Some(BoxProvider::VirtualBox)).await;
    let other = Case { gitea: case.gitea, provider: BoxProvider::VirtualBox, ..other };
    assert_eq!(other.run().await.unwrap(), Promoted::Uploaded);
    let metadata = other.gitea.metadata("once").await;
    let mut providers: Vec<_> =
        metadata["versions"][0]["providers"].as_array().unwrap().iter().map(|each| each["name"].clone()).collect();
    providers.sort_by_key(ToString::to_string);
    assert_eq!(
        (&metadata["versions"][0]["version"], providers),
        (&VERSION.into(), vec!["libvirt".into(), "virtualbox".into()])
    );
    // What was published stays published, whatever became of the staging repository.
    pusher("once").delete(&other.staged.digest).await;
    assert_eq!(other.run().await.unwrap(), Promoted::Known);
    case = Case { version: "0.2.0", ..other };
    assert!(case.run().await.unwrap_err().is_gone());
}

#[tokio::test]
async fn tokens_and_passwords_work_and_others_are_refused() {
    let mut case = Case::new("login").await;
    case.secret = case.gitea.login();
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
    case.version = "0.2.0";
    case.secret = serde_json::json!({"password": case.gitea.writer()["token"]});
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
    for (secret, reason, says) in [
        (
            case.gitea.reader(),
            Reason::PushDenied,
            "cannot be uploaded: the server refuses the Secret «gitea» (401 Unauthorized)",
        ),
        (
            serde_json::json!({"token": "0".repeat(40)}),
            Reason::AccessDenied,
            "cannot be looked at: the server refuses the Secret «gitea» (401",
        ),
    ] {
        (case.secret, case.version) = (secret, "0.3.0");
        let outcome = case.run().await;
        let (found, message) = said(&case, outcome);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(says) && message.contains("`write:package`"), "{message}");
    }
    assert_eq!(case.gitea.file("login", "0.3.0/libvirt.box").await, None);
}

#[tokio::test]
async fn a_version_that_is_another_file_stays_as_it_is() {
    let case = Case::new("conflict").await;
    let theirs = vagrant_box(b"theirs", BoxProvider::Libvirt);
    assert_eq!(case.gitea.upload("conflict", FILE, &theirs).await, 201);
    let (outcome, seen) = case.through(|_| None).await;
    let (reason, message) = said(&case, outcome);
    assert_eq!((reason, seen.iter().any(is_put)), (Reason::OutputConflict, false));
    let (found, expected) = (Digest::of(&theirs), Digest::of(&case.content));
    assert!(
        message.contains(&format!(
            "{FILE} is another file already: its SHA-256 is {found}, and that of the tested box {expected}"
        )),
        "{message}"
    );
    assert!(
        message.ends_with("write another version, such as 0.1.{{timestamp}}, or delete that one there"),
        "{message}"
    );
    assert_eq!(case.gitea.file("conflict", FILE).await, Some(theirs));
    case.gitea.delete("conflict", VERSION).await;
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
}

/// Between the look and the upload somebody else was there.
#[tokio::test]
async fn who_comes_second_takes_what_is_the_same_and_refuses_what_is_not() {
    for same in [true, false] {
        let case = Case::new(if same { "race-same" } else { "race-other" }).await;
        let first = if same { case.content.clone() } else { vagrant_box(b"theirs", BoxProvider::Libvirt) };
        assert_eq!(case.gitea.upload(&case.name, FILE, &first).await, 201);
        let looks = AtomicUsize::new(0);
        // The first look sees nothing yet.
        let hidden = move |seen: &Seen| {
            (!is_put(seen) && looks.fetch_add(1, Ordering::Relaxed) == 0).then(|| Fault::status(404))
        };
        let (outcome, seen) = case.through(hidden).await;
        assert_eq!(seen.iter().filter(|seen| is_put(seen)).count(), 1, "it is sent, and answered by 409");
        if same {
            assert_eq!(outcome.unwrap(), Promoted::Uploaded);
        } else {
            assert_eq!(said(&case, outcome).0, Reason::OutputConflict);
        }
        assert_eq!(case.gitea.file(&case.name, FILE).await, Some(first));
    }
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_found_by_a_look() {
    for (name, fault) in [("lost", (|| Fault::Lost) as fn() -> Fault), ("gateway", || Fault::After(502))] {
        let case = Case::new(name).await;
        let (outcome, seen) = case.through(move |seen| is_put(seen).then(fault)).await;
        assert_eq!((outcome.unwrap(), seen.len()), (Promoted::Uploaded, 3), "{name}: a look, the upload, a look");
        assert!(case.is_published().await);
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing_and_is_made_again() {
    // More than the buffers of two connections take.
    let noise: Vec<u8> =
        (0..4_u32 << 20).flat_map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[..1].to_vec()).collect();
    let content = vagrant_box(&noise, BoxProvider::Libvirt);
    let case = Case::of("cut", &content, Some(BoxProvider::Libvirt)).await;
    for fault in [(|| Fault::Broken(100_000)) as fn() -> Fault, || Fault::Cut] {
        let (outcome, _) = case.through(move |seen| is_put(seen).then(fault)).await;
        let (reason, message) = said(&case, outcome);
        assert_eq!(reason, Reason::RegistryUnavailable, "{message}");
        assert!(!case.is_published().await);
    }
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
    assert!(case.is_published().await);
}

#[tokio::test]
async fn what_gitea_itself_refuses_is_told_as_that() {
    let mut case = Case::new("no-owner").await;
    case.owner = "nobody-here";
    let outcome = case.run().await;
    let (reason, message) = said(&case, outcome);
    assert_eq!(reason, Reason::PushDenied, "{message}");
    assert!(message.contains("nobody-here") && message.contains("knows no such owner of packages"), "{message}");
    // Gitea reads `info.json` as an object of texts, and says nothing but 500 of any other.
    let made = archive(&[("metadata.json", b"{}"), ("info.json", br#"{"authors": ["a", "b"]}"#)]);
    let case = Case::of("info", &made, Some(BoxProvider::Libvirt)).await;
    let outcome = case.run().await;
    let (reason, message) = said(&case, outcome);
    assert_eq!(reason, Reason::RegistryUnavailable, "{message}");
    assert!(message.ends_with("the server answers 500 Internal Server Error"), "{message}");
    let made = archive(&[("metadata.json", b"{}"), ("info.json", br#"{"author": "a"}"#)]);
    assert_eq!(Case::of("info", &made, Some(BoxProvider::Libvirt)).await.run().await.unwrap(), Promoted::Uploaded);
}

/// What [`check_version`] lets through is a version to Gitea.
#[tokio::test]
async fn gitea_takes_every_version_that_a_chain_may_write() {
    let (gitea, content) = (Gitea::start().await, vagrant_box(b"versions", BoxProvider::Libvirt));
    let longest = "9".repeat(18);
    for version in ["0", "1.0", "1.2.3.4.5", "1.0.0-rc.1", "1-a--b.c", "007", "0.1.1795862400", &longest] {
        assert_eq!(check_version(version), Ok(()), "{version}");
        assert_eq!(gitea.upload("versions", &format!("{version}/libvirt.box"), &content).await, 201, "{version}");
    }
    assert_eq!(gitea.upload("versions", "latest/libvirt.box", &content).await, 400);
}

/// Of what Gitea itself does with half an upload, all else rests.
#[tokio::test]
async fn half_an_upload_is_no_file() {
    let case = Case::new("half").await;
    let half = case.content.len() / 2;
    let mut stream = TcpStream::connect(case.gitea.address()).await.unwrap();
    let head = format!(
        "PUT /api/packages/{OWNER}/vagrant/half/{FILE} HTTP/1.1\r\nHost: {}\r\nAuthorization: token {}\r\nContent-Length: {}\r\n\r\n",
        case.gitea.address(),
        case.secret["token"].as_str().unwrap(),
        case.content.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&case.content[..half]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    assert!(!case.is_published().await);
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    let unavailable = Reason::RegistryUnavailable;
    for (status, reason, says) in [
        (400, Reason::SpecInvalid, "takes no such name or version (400): write another one"),
        (401, Reason::PushDenied, "(401 Unauthorized): a token needs the right `write:package`"),
        (
            403,
            Reason::PushDenied,
            "(403 Forbidden): a token needs the right `write:package`, its user that to write packages of this owner",
        ),
        (404, Reason::PushDenied, "knows no such owner of packages, or not for the Secret «gitea» (404)"),
        (
            413,
            Reason::PushDenied,
            "bytes (413): raise its limit, that of the proxy before it, or the quota of the owner",
        ),
        (405, unavailable, "answers 405 Method Not Allowed: is there a Gitea or Forgejo at this address?"),
        (409, unavailable, "the server answers 409 Conflict"),
        (429, unavailable, "the server answers 429 Too Many Requests"),
        (500, unavailable, "the server answers 500 Internal Server Error"),
        (503, unavailable, "the server answers 503 Service Unavailable"),
        (
            307,
            Reason::SpecInvalid,
            "leads elsewhere (307 Temporary Redirect): write in url the address that answers itself",
        ),
    ] {
        let name = format!("refused-{status}");
        // Answers before the body was read, and after it.
        for swallows in [false, true] {
            let case =
                Case::of(&name, &vagrant_box(&vec![7; 1 << 20], BoxProvider::Libvirt), Some(BoxProvider::Libvirt))
                    .await;
            let (outcome, _) = case
                .through(move |seen| {
                    is_put(seen).then(|| if swallows { Fault::Swallow(status) } else { Fault::status(status) })
                })
                .await;
            let (found, message) = said(&case, outcome);
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(&name) && message.contains(says), "{message}");
            assert!(!case.is_published().await);
        }
    }
}

#[tokio::test]
async fn a_look_that_tells_nothing_uploads_nothing() {
    let case = Case::new("looks").await;
    let json = |text: &str| Fault::Answer(200, Vec::new(), text.as_bytes().to_vec());
    let list: Vec<(Make, Reason, &str)> = vec![
        (
            Box::new(|| Fault::status(401)),
            Reason::AccessDenied,
            "cannot be looked at: the server refuses the Secret «gitea» (401",
        ),
        (Box::new(|| Fault::status(403)), Reason::AccessDenied, "which includes `read:package`"),
        (Box::new(|| Fault::status(502)), Reason::RegistryUnavailable, "answers 502 Bad Gateway"),
        (Box::new(|| Fault::Cut), Reason::RegistryUnavailable, "the server fails: "),
        (Box::new(|| Fault::Silence), Reason::RegistryUnavailable, "does not answer in time"),
        (Box::new(|| Fault::redirect("/elsewhere")), Reason::SpecInvalid, "leads elsewhere (307"),
        (Box::new(move || json("<html>")), Reason::RegistryUnavailable, "gives something that is no list of files"),
        (
            Box::new(move || json("[{\"name\": \"libvirt.box\", \"sha256\": \"x\"}]")),
            Reason::RegistryUnavailable,
            "no list of files",
        ),
        (Box::new(|| Fault::Flood(Vec::new(), 1 << 30)), Reason::RegistryUnavailable, "no list of files"),
    ];
    for (fault, reason, says) in list {
        let (outcome, seen) = case.through(move |_| Some(fault())).await;
        let (found, message) = said(&case, outcome);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(says), "{message}");
        assert!(!seen.iter().any(is_put), "{message}");
    }
    let asked = Fault::Answer(503, vec![("retry-after", "7".to_owned())], Vec::new());
    let asked = std::sync::Mutex::new(Some(asked));
    let (outcome, _) = case.through(move |_| asked.lock().unwrap().take()).await;
    assert_eq!(outcome.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
}

/// A redirect may lead anywhere: nobody follows it, with credentials or without.
#[tokio::test]
async fn credentials_are_for_the_server_that_is_written_down() {
    let (case, elsewhere) = (Case::new("redirect").await, Gitea::start().await);
    let trap = Faults::before(elsewhere.address(), |_| None).await;
    let to = format!("http://{}/", trap.address());
    let (outcome, _) = case.through(move |_| Some(Fault::redirect(&to))).await;
    assert_eq!(said(&case, outcome).0, Reason::SpecInvalid);
    assert!(trap.seen().is_empty(), "{:?}", trap.seen());
}

#[tokio::test]
async fn what_is_no_such_box_is_not_uploaded() {
    let raw = Case::of("raw", b"a disk", None).await;
    let virtualbox = Case::of("vb", &vagrant_box(b"vb", BoxProvider::VirtualBox), Some(BoxProvider::VirtualBox)).await;
    let other = Case::new("other").await;
    let other = Case { content: b"what was tested".to_vec(), ..other };
    for (case, reason, says) in [
        (
            raw,
            Reason::SpecInvalid,
            "is a disk (Raw): write publish.box, or make a Vagrant box of it by a link with build.box",
        ),
        (
            virtualbox,
            Reason::SpecInvalid,
            "is one for virtualbox: write provider: VirtualBox, and a version that is free for it",
        ),
        (other, Reason::ImageMismatch, "is not promoted: it holds the box "),
    ] {
        let (outcome, seen) = case.through(|_| None).await;
        let (found, message) = said(&case, outcome);
        assert_eq!((found, seen.len()), (reason, 0), "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn a_box_that_comes_wrong_from_the_registry_is_no_file() {
    let case = Case::new("source").await;
    let blob = format!("/blobs/{}", Digest::of(&case.content));
    let mut other = case.content.clone();
    *other.last_mut().unwrap() ^= 1;
    let faults: Vec<Make> = vec![
        Box::new(|| Fault::Short(50)),
        Box::new(|| Fault::status(500)),
        Box::new(move || Fault::Answer(200, Vec::new(), other.clone())),
    ];
    for fault in faults {
        let blob = blob.clone();
        let front = Faults::before(SERVERS.registry(), move |seen| seen.path.ends_with(&blob).then(&fault)).await;
        let staging = front.address();
        let outcome = case.run_by(case.gitea.address(), &registry_at(&staging), &staging).await;
        let (reason, message) = said(&case, outcome);
        assert_eq!(reason, Reason::RegistryUnavailable, "{message}");
        assert!(message.starts_with(&staging), "{message}");
        assert!(!case.is_published().await, "{message}");
    }
    assert_eq!(case.run().await.unwrap(), Promoted::Uploaded);
}

#[tokio::test]
async fn a_box_is_not_held_in_memory() {
    const BOX: u64 = 128 << 20;
    let _alone = MEMORY.lock().await;
    let case = Case::of("memory", &vec![7; usize::try_from(BOX).unwrap()], Some(BoxProvider::Libvirt)).await;
    // From now on the peak is counted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    // The proxy, which is in this process, keeps nothing of it.
    let (outcome, seen) = case.through(|seen| is_put(seen).then_some(Fault::Swallow(413))).await;
    let more = memory("VmHWM").saturating_sub(before);
    println!("an upload of {BOX} bytes took {more} bytes of memory");
    assert_eq!(said(&case, outcome).0, Reason::PushDenied);
    assert!(seen.iter().any(|seen| seen.length == BOX), "{seen:?}");
    // Tests beside this one take some, too.
    assert!(more < BOX / 2, "{more}");
}

#[tokio::test]
async fn a_check_tells_what_is_there() {
    let case = Case::new("check").await;
    let (address, version) = (case.address(case.gitea.address()), VERSION.parse::<Tag>().unwrap());
    let package = Package { address: &address, version: &version, provider: BoxProvider::Libvirt };
    let (client, credentials) = (client(Network::default()), credentials(&case.secret));
    assert_eq!(client.file(&package, &credentials).await.unwrap(), None);
    case.run().await.unwrap();
    assert_eq!(client.file(&package, &credentials).await.unwrap(), Some(Digest::of(&case.content)));
    let virtualbox = Package { provider: BoxProvider::VirtualBox, ..package };
    assert_eq!(client.file(&virtualbox, &credentials).await.unwrap(), None);
    case.gitea.delete("check", VERSION).await;
    assert_eq!(client.file(&package, &credentials).await.unwrap(), None);
}

#[tokio::test]
async fn servers_are_trusted_as_the_secret_and_the_profile_say() {
    let servers = Servers::of_tls();
    let address = BoxAddress {
        server: format!("https://{}", servers.registry()).parse().unwrap(),
        tag: "team-a/web".parse().unwrap(),
    };
    let (version, credentials) = ("1.0.0".parse::<Tag>().unwrap(), credentials(&serde_json::json!({"token": "t"})));
    let package = Package { address: &address, version: &version, provider: BoxProvider::Libvirt };
    let error = client(Network::default()).file(&package, &credentials).await.unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateNotTrusted);
    assert!(error.to_string().contains("`ca.crt` of the Secret «gitea»"), "{error}");
    let network = Network::default().trusting(Some(&servers.authority()));
    assert_eq!(client(network).file(&package, &credentials).await.unwrap(), None, "a registry has no such address");
}

//! The cache of a node: the service, and how stages fetch files by way of it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use imagechain::{
    cache::file_path,
    plan::image::{Digest, Hasher},
    remote::{
        cached::{Cached, Origin, Told},
        file::Files,
        network::Network,
    },
    serve::file_cache::{Settings, start},
};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    registry::{MEMORY, memory},
    support::{
        chart::eventually,
        faults::{Fault, Faults, plain_client},
    },
};

const MIB: u64 = 1 << 20;

/// A server of one file. It ends with this value.
struct Server {
    content: Arc<Vec<u8>>,
    address: SocketAddr,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
    /// It answers as often as this allows.
    gate: Arc<Semaphore>,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// With a file of so many bytes, which answers at once.
    async fn of(name: &str, size: u64) -> Self {
        let server = Self::closed(name, size).await;
        server.gate.add_permits(1000);
        server
    }

    /// With a file, which answers when its gate opens.
    async fn closed(name: &str, size: u64) -> Self {
        let content = name.bytes().cycle().take(usize::try_from(size).unwrap()).collect();
        let (content, asked, gate) = (Arc::new(content), Arc::default(), Arc::new(Semaphore::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Arc::clone(&content), Arc::clone(&asked), Arc::clone(&gate)));
        Self { content, address, asked, gate, serving }
    }

    fn url(&self) -> String {
        format!("http://{}/file", self.address)
    }

    fn sha256(&self) -> Digest {
        Digest::of(&self.content)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, content: Arc<Vec<u8>>, asked: Arc<AtomicUsize>, gate: Arc<Semaphore>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (content, asked, gate) = (Arc::clone(&content), Arc::clone(&asked), Arc::clone(&gate));
        tokio::spawn(async move {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                asked.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&content).await;
            }
        });
    }
}

/// The cache of a node. It ends with this value, and its files stay.
struct Node {
    folder: Arc<TempDir>,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Node {
    /// With room for so many bytes.
    async fn start(bytes: u64) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), bytes).await
    }

    async fn on(folder: Arc<TempDir>, bytes: u64) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let settings = Settings { listen, folder: folder.path().to_owned(), bytes, uploads: 4, downloads: 4 };
        let server = start(settings).await.unwrap();
        let address = server.address().unwrap();
        let serving = tokio::spawn(async move { server.run().await.map(drop).expect("no end") });
        Self { folder, address, serving }
    }

    /// The address that a file has, or would have.
    fn url(&self, file: &Digest) -> String {
        format!("http://{}{}", self.address, file_path(file))
    }

    /// The file on its disk.
    fn path(&self, file: &Digest) -> PathBuf {
        self.folder.path().join(file.to_string().replace("sha256:", ""))
    }

    /// The names on its disk.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn has(&self, servers: &[&Server]) {
        let mut expected: Vec<_> =
            servers.iter().map(|server| server.sha256().to_string().replace("sha256:", "")).collect();
        expected.sort();
        assert_eq!(self.names(), expected);
    }

    /// Brings something under the name of a file.
    async fn put(&self, file: &Digest, content: &[u8]) -> (StatusCode, String) {
        let answer = plain_client().put(self.url(file)).body(content.to_vec()).send().await.expect("an answer");
        let status = answer.status();
        (status, String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap())
    }

    fn build(&self) -> Build {
        Build::with(&format!("http://{}", self.address), Duration::from_mins(10))
    }
}

/// A build on the node.
struct Build {
    folder: TempDir,
    cached: Cached,
    said: Arc<Mutex<Vec<String>>>,
}

impl Build {
    /// With a cache at this address, which may take so long.
    fn with(cache: &str, patience: Duration) -> Self {
        let files = Files::new(&Network::default()).unwrap().with_pause(Duration::ZERO);
        let cached = Cached::new(files, Some(cache), patience).unwrap().with_pause(Duration::from_millis(20));
        Self { folder: tempfile::tempdir().unwrap(), cached, said: Arc::default() }
    }

    /// Fetches the file of a server, and tells where it came from.
    async fn fetch(&mut self, server: &Server) -> Origin {
        let (path, said) = (self.folder.path().join("file"), Arc::clone(&self.said));
        let tell = move |told: Told<'_>| {
            if let Told::Sentence(sentence) = told {
                said.lock().unwrap().push(sentence.to_owned());
            }
        };
        let fetched = self.cached.fetch(&server.url(), &server.sha256(), &path, &tell).await;
        let (size, origin) = fetched.expect("the file");
        assert_eq!(usize::try_from(size).unwrap(), server.content.len());
        assert!(fs::read(&path).unwrap() == *server.content);
        origin
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_file_is_fetched_once_for_all_builds_of_a_node() {
    let (server, node) = (Server::of("once", 3 * MIB + 7).await, Node::start(10 * MIB).await);
    assert_eq!(node.build().fetch(&server).await, Origin::Server);
    node.has(&[&server]);
    for _ in 0..2 {
        let mut build = node.build();
        assert_eq!(build.fetch(&server).await, Origin::Cache);
        assert_eq!(build.said(), [""; 0]);
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn nobody_brings_anything_under_the_name_of_another_file() {
    let (server, node) = (Server::of("good", MIB).await, Node::start(10 * MIB).await);
    let (status, said) = node.put(&server.sha256(), b"evil").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(said, format!("what came has the SHA-256 {}: nothing is kept\n", Digest::of(b"evil")));
    node.has(&[]);
    let mut build = node.build();
    assert_eq!(build.fetch(&server).await, Origin::Server);
    // Not in the place of a good one either.
    assert_eq!(node.put(&server.sha256(), b"evil").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    node.has(&[&server]);
    assert_eq!(build.fetch(&server).await, Origin::Cache);
    // Once more, and it is the same.
    assert_eq!(node.put(&server.sha256(), &server.content).await.0, StatusCode::CREATED);
    node.has(&[&server]);
}

#[tokio::test]
async fn other_requests_are_refused() {
    let node = Node::start(10 * MIB).await;
    let (http, file) = (plain_client(), Digest::of(b"a file"));
    let status = async |method: Method, url: String| http.request(method, url).send().await.unwrap().status();
    for path in ["/", "/sha256", "/sha256/../../etc/passwd", "/sha256/incoming-0", "/metrics"] {
        let url = format!("http://{}{path}", node.address);
        assert_eq!(status(Method::GET, url).await, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::DELETE, Method::POST, Method::HEAD] {
        assert_eq!(status(method, node.url(&file)).await, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(status(Method::GET, format!("http://{}/healthz", node.address)).await, StatusCode::OK);
    let mut plain = TcpStream::connect(node.address).await.unwrap();
    let head =
        format!("PUT {} HTTP/1.1\r\nHost: cache\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", file_path(&file));
    plain.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 411 "), "{said}");
    node.has(&[]);
}

#[tokio::test]
async fn what_the_disk_has_damaged_is_fetched_from_the_server_and_replaced() {
    let (server, node) = (Server::of("damaged", MIB).await, Node::start(10 * MIB).await);
    node.build().fetch(&server).await;
    let mut damaged = server.content.to_vec();
    damaged[500_000] ^= 1;
    fs::write(node.path(&server.sha256()), &damaged).unwrap();
    let mut build = node.build();
    assert_eq!(build.fetch(&server).await, Origin::Server);
    let found = Digest::of(&damaged);
    assert_eq!(
        build.said(),
        [format!("the cache of the node has a damaged file, with the SHA-256 {found}; fetched from the server")]
    );
    assert!(fs::read(node.path(&server.sha256())).unwrap() == *server.content);
    // One that was cut is none.
    fs::write(node.path(&server.sha256()), &damaged[..1000]).unwrap();
    assert_eq!(build.fetch(&server).await, Origin::Server);
    assert_eq!((build.fetch(&server).await, server.asked()), (Origin::Cache, 3));
}

#[tokio::test]
async fn what_was_not_used_for_the_longest_time_makes_room_and_what_is_too_large_takes_none() {
    let node = Node::start(2 * MIB + 100_000).await;
    let [one, two, three] =
        [Server::of("one", MIB).await, Server::of("two", MIB).await, Server::of("three", MIB).await];
    let large = Server::of("large", 3 * MIB).await;
    let mut build = node.build();
    for (server, origin, kept) in [
        (&one, Origin::Server, vec![&one]),
        (&two, Origin::Server, vec![&one, &two]),
        (&one, Origin::Cache, vec![&one, &two]),
        (&three, Origin::Server, vec![&one, &three]),
        (&large, Origin::Server, vec![&one, &three]),
        (&one, Origin::Cache, vec![&one, &three]),
        (&two, Origin::Server, vec![&one, &two]),
    ] {
        assert_eq!(build.fetch(server).await, origin);
        node.has(&kept);
    }
    assert_eq!(build.said(), ["it is larger than what the cache of the node keeps"]);
    // Whoever brings it nevertheless is told before it comes; nobody is told to wait for it any more.
    let mut plain = TcpStream::connect(node.address).await.unwrap();
    let path = file_path(&large.sha256());
    let head = format!("PUT {path} HTTP/1.1\r\nHost: cache\r\nContent-Length: {}\r\n\r\n", 3 * MIB);
    plain.write_all(head.as_bytes()).await.unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
    for _ in 0..2 {
        let answer = plain_client().get(node.url(&large.sha256())).send().await.unwrap();
        assert_eq!(
            (answer.status(), answer.text().await.unwrap()),
            (StatusCode::NOT_FOUND, "it is not here\n".to_owned())
        );
    }
}

#[tokio::test]
async fn another_process_finds_the_files_and_no_parts_of_any() {
    let (server, node) = (Server::of("restart", MIB).await, Node::start(10 * MIB).await);
    node.build().fetch(&server).await;
    let folder = Arc::clone(&node.folder);
    drop(node);
    fs::write(folder.path().join("incoming-3"), b"a part").unwrap();
    let node = Node::on(folder, 10 * MIB).await;
    node.has(&[&server]);
    assert_eq!(node.build().fetch(&server).await, Origin::Cache);
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing_and_takes_no_room() {
    let (server, node) = (Server::of("cut", 9 * MIB).await, Node::start(10 * MIB).await);
    let mut plain = TcpStream::connect(node.address).await.unwrap();
    let path = file_path(&server.sha256());
    let head = format!("PUT {path} HTTP/1.1\r\nHost: cache\r\nContent-Length: {}\r\n\r\n", 9 * MIB);
    plain.write_all(head.as_bytes()).await.unwrap();
    plain.write_all(&server.content[..1_000_000]).await.unwrap();
    let names = async |expected: &[&str]| {
        eventually("what is on the disk", async || match node.names() {
            names if names == expected => Ok(()),
            names => Err(format!("{names:?}")),
        })
        .await;
    };
    names(&["incoming-0"]).await;
    // There is room for one of them.
    let mut build = node.build();
    assert_eq!(build.fetch(&server).await, Origin::Server);
    let said = build.said();
    assert!(said.len() == 1 && said[0].starts_with("the cache of the node "), "{said:?}");
    drop(plain);
    names(&[]).await;
    let mut build = node.build();
    assert_eq!((build.fetch(&server).await, build.fetch(&server).await), (Origin::Server, Origin::Cache));
}

/// A build that fetches something beside the test.
fn begins(mut build: Build, server: &Arc<Server>) -> JoinHandle<Origin> {
    let server = Arc::clone(server);
    tokio::spawn(async move { build.fetch(&server).await })
}

async fn is_asked(server: &Server, times: usize) {
    eventually("the server is asked", async || match server.asked() {
        asked if asked == times => Ok(()),
        asked => Err(asked.to_string()),
    })
    .await;
}

async fn waits(said: &Mutex<Vec<String>>) {
    eventually("the build waits", async || match said.lock().unwrap().join(", ") {
        said if said == "another build on the node is fetching it: waiting for that" => Ok(()),
        said => Err(said),
    })
    .await;
}

#[tokio::test]
async fn of_builds_that_want_the_same_file_at_once_one_fetches_it() {
    let (server, node) = (Arc::new(Server::closed("both", MIB).await), Node::start(10 * MIB).await);
    let first = begins(node.build(), &server);
    is_asked(&server, 1).await;
    let (second, third) = (node.build(), node.build());
    let said = [&second, &third].map(|build| Arc::clone(&build.said));
    let others = [begins(second, &server), begins(third, &server)];
    for said in &said {
        waits(said).await;
    }
    server.gate.add_permits(1);
    assert_eq!(first.await.unwrap(), Origin::Server);
    for other in others {
        assert_eq!(other.await.unwrap(), Origin::Cache);
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn whoever_waits_for_a_build_that_ends_fetches_the_file() {
    let (server, node) = (Arc::new(Server::closed("killed", MIB).await), Node::start(10 * MIB).await);
    let first = begins(node.build(), &server);
    is_asked(&server, 1).await;
    let second = node.build();
    let said = Arc::clone(&second.said);
    let second = begins(second, &server);
    waits(&said).await;
    first.abort();
    is_asked(&server, 2).await;
    // The first request still stands at the gate.
    server.gate.add_permits(2);
    assert_eq!(second.await.unwrap(), Origin::Server);
    node.has(&[&server]);
}

#[tokio::test]
async fn without_a_cache_that_works_files_come_from_their_servers() {
    let server = Server::of("alone", MIB).await;
    let patience = Duration::from_mins(10);
    // Nobody is there.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut build = Build::with(&format!("http://{address}"), patience);
    for _ in 0..2 {
        assert_eq!(build.fetch(&server).await, Origin::Server);
    }
    let said = build.said();
    assert!(said.len() == 1, "it is asked once: {said:?}");
    assert!(said[0].starts_with("the cache of the node does not answer: "), "{said:?}");
    assert!(said[0].ends_with("; fetched from the server"), "{said:?}");
    // Somebody is there, and says nothing, or something else.
    let silent = Faults::before("127.0.0.1:1", |_| Some(Fault::Silence)).await;
    let mut build = Build::with(&format!("http://{}", silent.address()), Duration::from_millis(300));
    assert_eq!(build.fetch(&server).await, Origin::Server);
    let late = "the cache of the node does not answer: it takes too long; fetched from the server";
    assert_eq!(build.said(), [late]);
    for (fault, sentence) in [
        (500, "the cache of the node answers 500 Internal Server Error; fetched from the server"),
        (307, "the cache of the node answers 307 Temporary Redirect; fetched from the server"),
    ] {
        let broken = Faults::before("127.0.0.1:1", move |_| Some(Fault::status(fault))).await;
        let mut build = Build::with(&format!("http://{}", broken.address()), patience);
        assert_eq!(build.fetch(&server).await, Origin::Server);
        assert_eq!(build.said(), [sentence]);
    }
    // One that takes files away half-way.
    let node = Node::start(10 * MIB).await;
    node.build().fetch(&server).await;
    let short = Faults::before(&node.address.to_string(), |_| Some(Fault::Short(1000))).await;
    let mut build = Build::with(&format!("http://{}", short.address()), patience);
    assert_eq!(build.fetch(&server).await, Origin::Server);
    let said = build.said();
    assert!(said.len() == 1 && said[0].starts_with("the cache of the node breaks off: "), "{said:?}");
}

/// The network drops what is sent to a Service without an endpoint on the node: nobody answers, and nobody refuses.
#[tokio::test]
async fn where_packets_are_dropped_it_is_not_waited_for_long() {
    let server = Server::of("dropped", 10).await;
    // Nobody accepts, and the queue of one is full: later ones are dropped.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queue.push(stream);
    }
    let mut build = Build::with(&format!("http://{address}"), Duration::from_mins(10));
    assert_eq!(build.fetch(&server).await, Origin::Server);
    let said = build.said();
    assert!(said.len() == 1 && said[0].starts_with("the cache of the node does not answer: "), "{said:?}");
}

#[tokio::test]
async fn a_large_file_is_never_whole_in_memory() {
    const SIZE: u64 = 128 << 20;
    let node = Node::start(2 * SIZE).await;
    let server = Faults::before("127.0.0.1:1", |_| Some(Fault::Flood(Vec::new(), SIZE))).await;
    let mut all = plain_client().get(format!("http://{}/file", server.address())).send().await.unwrap();
    let (mut hasher, url) = (Hasher::new(), format!("http://{}/file", server.address()));
    while let Some(part) = all.chunk().await.unwrap() {
        hasher.update(&part);
    }
    let (file, target) = (hasher.finish(), tempfile::tempdir().unwrap());
    let alone = MEMORY.lock().await;
    // From now on the peak is counted anew (proc(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let mut build = node.build();
    for expected in [Origin::Server, Origin::Cache] {
        let fetched = build.cached.fetch(&url, &file, &target.path().join("file"), &|_| ()).await;
        assert_eq!(fetched.unwrap(), (SIZE, expected));
    }
    let more = memory("VmHWM").saturating_sub(before);
    drop(alone);
    println!("{SIZE} bytes to the cache and from it took {more} bytes of memory, of service and stage together");
    assert!(more < SIZE / 2, "{more}");
}

#[tokio::test]
async fn the_program_keeps_files_until_it_is_told_to_end() {
    let (server, folder) = (Server::of("program", MIB).await, tempfile::tempdir().unwrap());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_imagechain"), "file-cache"]);
    command.arg("--directory").arg(folder.path()).args(["--size", "16Mi", "--listen", "127.0.0.1:0"]);
    let mut program = command.args(["--log-format", "json"]).stderr(Stdio::piped()).spawn().expect("the program");
    let mut log = BufReader::new(program.stderr.take().expect("its log"));
    let begun = spawn_blocking(move || {
        let address = loop {
            let mut line = String::new();
            log.read_line(&mut line).expect("a line");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if let Some(address) = line["address"].as_str() {
                break address.to_owned();
            }
        };
        (address, log)
    });
    // The log stays open: the program writes to it.
    let (address, _log) = begun.await.unwrap();
    let mut build = Build::with(&format!("http://{address}"), Duration::from_mins(10));
    assert_eq!((build.fetch(&server).await, build.fetch(&server).await), (Origin::Server, Origin::Cache));
    kill_process(Pid::from_child(&program), Signal::TERM).expect("a signal");
    let ended = spawn_blocking(move || program.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

//! A registry that takes uploads as the OCI distribution specification says, and that loses them or its connections as
//! a test says: the real one of the sandbox cannot tell how far an upload is of which half a chunk came.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use imagechain::plan::image::Digest;

use super::intercept::{Fate, Front, Intercept, whole};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Half of the chunk is taken, and the connection ends.
    Half,
    /// The chunk is taken, and its answer is lost.
    Lost,
    /// The chunk is not taken: the server is overloaded.
    Busy,
    /// The upload is forgotten.
    Forgotten,
    /// The same, and the connection ends.
    Dropped,
}

/// What the registry does.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    /// What goes wrong with which chunk, counted from 0.
    pub troubles: BTreeMap<usize, Trouble>,
    /// The smallest chunk that it wants, in bytes.
    pub least_chunk: u64,
    /// The status by which it refuses every chunk.
    pub refuses_chunks: Option<u16>,
    /// The closing request is done, and its answer is lost, so often.
    pub lost_ends: usize,
}

/// The registry. It ends with this value.
pub struct Uploads {
    front: Front,
    shared: Arc<Shared>,
}

struct Shared {
    manners: Manners,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By their number.
    uploads: BTreeMap<usize, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
    /// The bytes of each chunk that was asked to be taken, as `Content-Range` says.
    chunks: Vec<RangeInclusive<u64>>,
    /// Method and what kind of thing, of every request.
    seen: Vec<String>,
    ends: usize,
}

impl Uploads {
    /// Starts it.
    pub async fn start(manners: Manners) -> Self {
        let shared = Arc::new(Shared { manners, state: Mutex::default() });
        Self { front: Front::start(Arc::clone(&shared)).await, shared }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.front.address()
    }

    /// The content of a blob.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.shared.state().blobs.get(&digest.to_string()).cloned()
    }

    /// The manifest under a tag.
    pub fn manifest(&self, tag: &str) -> Option<Vec<u8>> {
        self.shared.state().manifests.get(tag).cloned()
    }

    /// Which bytes each chunk had, in the order in which they came.
    pub fn chunks(&self) -> Vec<RangeInclusive<u64>> {
        self.shared.state().chunks.clone()
    }

    /// How many requests there were of a method about a kind of thing: `PATCH uploads`.
    pub fn count(&self, line: &str) -> usize {
        self.shared.state().seen.iter().filter(|seen| *seen == line).count()
    }
}

impl Intercept for Shared {
    fn ask(self: Arc<Self>, request: Request<Bytes>) -> BoxFuture<'static, Fate> {
        async move { self.fate(&request) }.boxed()
    }
}

fn answer(status: u16) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::new()).expect("an answer")
}

fn answered(status: u16) -> Fate {
    Fate::Answered(whole(answer(status)))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a lock")
    }

    fn fate(&self, request: &Request<Bytes>) -> Fate {
        let path: Vec<&str> = request.uri().path().trim_start_matches("/v2/").split('/').collect();
        let (kind, name) = match path.as_slice() {
            [_, "blobs", "uploads", name] => ("uploads", *name),
            [_, kind, name] => (*kind, *name),
            _ => return answered(404),
        };
        self.state().seen.push(format!("{} {kind}", request.method()));
        match (request.method(), kind) {
            (&Method::POST, "uploads") => {
                let mut state = self.state();
                let number = state.uploads.keys().last().map_or(0, |last| last + 1);
                state.uploads.insert(number, Vec::new());
                self.at(202, number, 0)
            }
            (_, "uploads") => self.upload(request, name.parse().expect("a number")),
            (&Method::HEAD, "blobs") => answered(if self.state().blobs.contains_key(name) { 200 } else { 404 }),
            (&Method::PUT, "manifests") => {
                self.state().manifests.insert(name.to_owned(), request.body().to_vec());
                answered(201)
            }
            _ => answered(405),
        }
    }

    /// An answer that says how far an upload is.
    fn at(&self, status: u16, number: usize, bytes: usize) -> Fate {
        let mut made = answer(status);
        let mut header =
            |name: &'static str, value: String| made.headers_mut().insert(name, value.parse().expect("text"));
        header("location", format!("/v2/a/blobs/uploads/{number}"));
        header("range", format!("0-{}", bytes.saturating_sub(1)));
        header("oci-chunk-min-length", self.manners.least_chunk.to_string());
        Fate::Answered(whole(made))
    }

    fn upload(&self, request: &Request<Bytes>, number: usize) -> Fate {
        let Some(have) = self.state().uploads.get(&number).map(Vec::len) else { return answered(404) };
        match *request.method() {
            Method::GET => self.at(204, number, have),
            Method::PATCH => self.chunk(request, number, have),
            Method::PUT => self.end(request, number),
            _ => answered(405),
        }
    }

    fn chunk(&self, request: &Request<Bytes>, number: usize, have: usize) -> Fate {
        if let Some(status) = self.manners.refuses_chunks {
            return answered(status);
        }
        let range = request.headers()["content-range"].to_str().expect("text").split_once('-').expect("a range");
        let (first, last): (u64, u64) = (range.0.parse().expect("a number"), range.1.parse().expect("a number"));
        let mut state = self.state();
        let trouble = self.manners.troubles.get(&state.chunks.len()).copied();
        state.chunks.push(first..=last);
        if first != have as u64 || last + 1 - first != request.body().len() as u64 {
            return answered(StatusCode::RANGE_NOT_SATISFIABLE.as_u16());
        }
        let taken = match trouble {
            Some(Trouble::Half) => request.body().len() / 2,
            None | Some(Trouble::Lost) => request.body().len(),
            _ => 0,
        };
        let upload = state.uploads.get_mut(&number).expect("an upload");
        upload.extend_from_slice(&request.body()[..taken]);
        match trouble {
            None => self.at(202, number, have + taken),
            Some(Trouble::Half | Trouble::Lost) => Fate::Unanswered,
            Some(Trouble::Busy) => answered(503),
            Some(forgotten) => {
                state.uploads.remove(&number);
                if forgotten == Trouble::Dropped { Fate::Unanswered } else { answered(404) }
            }
        }
    }

    fn end(&self, request: &Request<Bytes>, number: usize) -> Fate {
        let mut state = self.state();
        let mut content = state.uploads.remove(&number).expect("an upload");
        content.extend_from_slice(request.body());
        let digest = Digest::of(&content).to_string();
        let query = request.uri().query().expect("a digest").replace("%3A", ":");
        if query != format!("digest={digest}") {
            return answered(400);
        }
        state.blobs.insert(digest, content);
        state.ends += 1;
        if state.ends <= self.manners.lost_ends { Fate::Unanswered } else { answered(201) }
    }
}

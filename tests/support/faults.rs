//! A proxy in front of a real HTTP server that fails as a test says, and remembers what it was asked.

use std::{
    convert::Infallible,
    future::pending,
    io, mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::{Body, Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The name that it was sent to.
    pub host: String,
    pub method: String,
    /// Path and query.
    pub path: String,
    pub authorization: Option<String>,
    /// Which bytes it asks for.
    pub range: Option<String>,
    /// The size of its body, in bytes.
    pub length: u64,
}

impl Seen {
    /// As `GET /v2/…`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to do instead of passing a request on.
pub enum Fault {
    /// Answer this: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Never answer.
    Silence,
    /// End the connection without an answer.
    Cut,
    /// Answer 200 with these headers and a body of so many bytes, made as they are read.
    Flood(Vec<(&'static str, String)>, u64),
    /// Pass it on, and end the connection after so many bytes of the answer's body.
    Short(usize),
    /// Pass it on, and answer this nevertheless.
    After(u16),
    /// Pass it on, and end the connection without an answer.
    Lost,
    /// End the connection after so many bytes of the body.
    Broken(usize),
    /// Take all of the body, and answer this.
    Swallow(u16),
    /// Pass it on under this path and query.
    As(String),
    /// The same, and under the server's own name: its addresses lead past the proxy.
    Past(String),
}

impl Fault {
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Vec::new())
    }

    pub fn redirect(to: &str) -> Self {
        Self::Answer(307, vec![("location", to.to_owned())], Vec::new())
    }
}

type Decide = dyn Fn(&Seen) -> Option<Fault> + Send + Sync;
type Content = Either<Full<Bytes>, Either<Flood, Short>>;
type Answer = Response<Content>;

/// The proxy. It ends with this value.
pub struct Faults {
    address: SocketAddr,
    serving: JoinHandle<()>,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    http: reqwest::Client,
    decide: Box<Decide>,
    seen: Mutex<Vec<Seen>>,
}

impl Faults {
    /// Starts in front of a server, given as host and port.
    pub async fn before(upstream: &str, decide: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            http: plain_client(),
            decide: Box::new(decide),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, serving, shared }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("a lock").clone()
    }

    /// What came so far with a method other than GET and HEAD.
    pub fn writes(&self) -> Vec<String> {
        let is_write = |seen: &&Seen| !matches!(seen.method.as_str(), "GET" | "HEAD");
        self.seen().iter().filter(is_write).map(Seen::line).collect()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let shared = shared.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &shared));
            // A client may go away at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> io::Result<Answer> {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().expect("text").to_owned());
    let seen = Seen {
        host: header("host").expect("a host"),
        method: request.method().to_string(),
        path: request.uri().to_string(),
        authorization: header("authorization"),
        range: header("range"),
        length: header("content-length").map_or(0, |length| length.parse().expect("a number")),
    };
    shared.seen.lock().expect("a lock").push(seen.clone());
    Ok(match (shared.decide)(&seen) {
        None => forward(request, shared, &seen.path).await,
        Some(Fault::As(path)) => forward(request, shared, &path).await,
        Some(Fault::Past(path)) => {
            let mut request = request;
            let name = shared.upstream.parse().expect("a header");
            request.headers_mut().insert(HOST, name);
            forward(request, shared, &path).await
        }
        Some(Fault::Answer(status, headers, body)) => made(status, &headers, Either::Left(body.into())),
        Some(Fault::Silence) => pending().await,
        Some(Fault::Cut) => return Err(io::Error::other("it is not answered")),
        Some(Fault::Flood(headers, bytes)) => made(200, &headers, Either::Right(Either::Left(Flood(bytes)))),
        Some(Fault::Short(bytes)) => {
            let (head, body) = forward(request, shared, &seen.path).await.into_parts();
            let body = body.collect().await.expect("a body").to_bytes();
            Response::from_parts(
                head,
                Either::Right(Either::Right(Short { rest: Some(body.slice(..bytes)), is_sent: false })),
            )
        }
        Some(Fault::After(status)) => {
            forward(request, shared, &seen.path).await;
            made(status, &[], Either::Left(Full::default()))
        }
        Some(Fault::Lost) => {
            forward(request, shared, &seen.path).await;
            return Err(io::Error::other("it is not answered"));
        }
        Some(Fault::Broken(bytes)) => {
            take(request.into_body(), bytes).await;
            return Err(io::Error::other("it is not answered"));
        }
        Some(Fault::Swallow(status)) => {
            take(request.into_body(), usize::MAX).await;
            made(status, &[], Either::Left(Full::default()))
        }
    })
}

/// Reads so many bytes of a body, or all of it, and keeps none.
async fn take(mut body: Incoming, bytes: usize) {
    let mut taken = 0;
    while taken < bytes
        && let Some(Ok(frame)) = body.frame().await
    {
        taken += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn made(status: u16, headers: &[(&str, String)], body: Content) -> Answer {
    let start = Response::builder().status(status);
    headers.iter().fold(start, |answer, (name, value)| answer.header(*name, value)).body(body).expect("an answer")
}

/// Passes a request on under another path.
async fn forward(request: Request<Incoming>, shared: &Shared, path: &str) -> Answer {
    let (head, body) = request.into_parts();
    match body.collect().await {
        Ok(body) => {
            let request = Request::from_parts(head, body.to_bytes());
            pass_on(&shared.http, &shared.upstream, path, request).await.map(|body| Either::Left(Full::new(body)))
        }
        Err(_) => made(StatusCode::BAD_REQUEST.as_u16(), &[], Either::Left(Full::default())),
    }
}

/// Passes a request on to a server, under the name that it was sent to, so that the server's own addresses
/// lead back.
pub async fn pass_on(http: &reqwest::Client, to: &str, path: &str, request: Request<Bytes>) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    headers.remove("transfer-encoding");
    assert!(headers.contains_key(HOST));
    let url = format!("http://{to}{path}");
    let answer = http.request(head.method, url).headers(headers).body(body).send().await.expect("an answer");
    let mut made = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        made = made.header(name, value);
    }
    made.body(answer.bytes().await.expect("a body")).expect("an answer")
}

/// A client that does no more than it is told.
pub fn plain_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    http.build().expect("a client")
}

/// A body of so many bytes.
pub struct Flood(u64);

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PART: [u8; 65536] = [b' '; 65536];
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let size = self.0.min(65536);
        self.0 -= size;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PART[..usize::try_from(size).expect("a size")])))))
    }
}

/// A body that ends before its `Content-Length`: the connection then ends with it.
pub struct Short {
    rest: Option<Bytes>,
    is_sent: bool,
}

impl Body for Short {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // Whoever waits for more sends what there is first.
        if !mem::replace(&mut self.is_sent, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }
}

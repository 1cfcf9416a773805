//! `/livez`, `/readyz` and `/metrics`, in plain HTTP, and nothing else.
//!
//! `/livez` answers as long as the process does: what a restart cannot mend is told by `/readyz`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{clock, health::Health, metrics::Metrics};

/// So many connections at once; more wait.
const CONNECTIONS: usize = 64;
/// So many bytes of a request's head; hyper allows no less than 8 KiB.
const HEAD: usize = 8 * 1024;
/// So many headers.
const HEADERS: usize = 32;
/// How long a head may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may take in all: one request and its answer.
const WITHIN: Duration = Duration::from_secs(30);
/// How long nothing is accepted after a connection could not be.
const PAUSE: Duration = Duration::from_millis(100);
/// The text format that [`Metrics::text`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is answered from.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// For `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// A server that has its port and answers once it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    endpoints: Endpoints,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// The port is taken or may not be used.
    pub async fn bind(address: SocketAddr, endpoints: Endpoints) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, endpoints })
    }

    /// Where it listens; the port, where 0 was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the future is dropped. A connection that fails before it is accepted concerns nobody else;
    /// where the system has no room for more, the next is tried after a pause.
    ///
    /// # Errors
    /// None at present: what cannot go on would end the process.
    #[expect(clippy::disallowed_methods, reason = "no reconcile: without a pause this would use a whole core")]
    pub async fn run(self) -> io::Result<Infallible> {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = Arc::clone(&free).acquire_owned().await.map_err(io::Error::other)?;
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, self.endpoints.clone(), permit))),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the endpoints is not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Answers one request.
async fn connection(stream: TcpStream, endpoints: Endpoints, _permit: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = endpoints.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_headers(HEADERS).max_buf_size(HEAD);
    let served = http.keep_alive(false).serve_connection(TokioIo::new(stream), service);
    match timeout(WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to the endpoints"),
        Err(_) => tracing::debug!("a request to the endpoints took too long"),
    }
}

impl Endpoints {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" => match self.health.report(clock::monotonic()) {
                (true, report) => text(StatusCode::OK, report),
                (false, report) => text(StatusCode::SERVICE_UNAVAILABLE, report),
            },
            _ => text(StatusCode::OK, "alive\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.metrics.text() {
            Ok(metrics) => answer(StatusCode::OK, OPEN_METRICS, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", body)
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}

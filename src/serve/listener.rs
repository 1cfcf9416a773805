//! A port, and connections to it: bounded in number, size and time. One connection is one request.

use std::{convert::Infallible, error, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{
    body::{Body, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::patient::Patient;

/// So many bytes of a request's head; hyper allows no less than 8 KiB.
const HEAD: usize = 8 * 1024;
/// So many headers.
const HEADERS: usize = 32;
/// How long a head may take.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long somebody may take nothing of an answer.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);
/// How long nothing is accepted after a connection could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers requests.
pub trait Answer: Clone + Send + 'static {
    /// So many connections at once; more wait.
    const CONNECTIONS: u32;
    /// How long a connection may take in all: one request and its answer.
    const WITHIN: Duration;
    /// The content of answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn error::Error + Send + Sync>>> + Send + 'static;

    /// Answers a request.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// A server that has its port and answers once it runs.
#[derive(Debug)]
pub struct Listener<A> {
    port: TcpListener,
    answering: A,
    free: Arc<Semaphore>,
}

impl<A: Answer> Listener<A> {
    /// Takes the port.
    ///
    /// # Errors
    /// The port is taken or may not be used.
    pub async fn bind(address: SocketAddr, answering: A) -> io::Result<Self> {
        let free = Arc::new(Semaphore::new(usize::try_from(A::CONNECTIONS).unwrap_or(1)));
        Ok(Self { port: TcpListener::bind(address).await?, answering, free })
    }

    /// Where it listens; the port, where 0 was asked for.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// Answers until the future is dropped.
    ///
    /// # Errors
    /// None at present: what cannot go on would end the process.
    pub async fn run(self) -> io::Result<Infallible> {
        self.accept().await
    }

    /// Answers until something happens. Then the port is closed, and what is being answered may end within a time.
    ///
    /// # Errors
    /// As for [`Listener::run`].
    pub async fn run_until<E>(self, end: impl Future<Output = E>, within: Duration) -> io::Result<()> {
        tokio::select! {
            ended = self.accept() => ended.map(|never| match never {})?,
            _ = end => {}
        }
        let Self { port, free, .. } = self;
        drop(port);
        if timeout(within, free.acquire_many(A::CONNECTIONS)).await.is_err() {
            let open = usize::try_from(A::CONNECTIONS).unwrap_or_default().saturating_sub(free.available_permits());
            tracing::warn!(open, "answers are cut off: they did not end within {within:?}");
        }
        Ok(())
    }

    /// A connection that fails before it is accepted concerns nobody else; where the system has no room for more, the
    /// next is tried after a pause.
    #[expect(clippy::disallowed_methods, reason = "no reconcile: without a pause this would use a whole core")]
    async fn accept(&self) -> io::Result<Infallible> {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await.map_err(io::Error::other)?;
            match self.port.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, self.answering.clone(), permit))),
                Err(error) => {
                    tracing::warn!(%error, "a connection is not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Answers one request.
async fn connection<A: Answer>(stream: TcpStream, answering: A, _permit: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answering.clone().answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_headers(HEADERS).max_buf_size(HEAD);
    // Old Vagrants look for `Content-Type`, written like this.
    http.title_case_headers(true);
    let stream = TokioIo::new(Patient::new(stream, TAKEN_WITHIN));
    let served = http.keep_alive(false).serve_connection(stream, service);
    match timeout(A::WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request"),
        Err(_) => tracing::debug!("a request took too long"),
    }
}

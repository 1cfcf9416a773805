//! A server in the place of a real one, which decides for each request what becomes of it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use http::{Request, Response, header::CONNECTION};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// An answer, whole or as it comes.
pub type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What becomes of a request.
pub enum Fate {
    /// This is the answer.
    Answered(Answer),
    /// The connection ends without one.
    Unanswered,
    /// This is the answer, and when all of it is sent, this is done.
    Then(Answer, BoxFuture<'static, ()>),
}

/// Who decides.
pub trait Intercept: Send + Sync + 'static {
    /// Decides about one request.
    fn ask(self: Arc<Self>, request: Request<Bytes>) -> BoxFuture<'static, Fate>;
}

/// The server. It ends with this value.
pub struct Front {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Front {
    /// Starts it on a port of its own.
    pub async fn start(behind: Arc<impl Intercept>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(connection(stream, Arc::clone(&behind)));
            }
        });
        Self { address, serving }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn connection(stream: TcpStream, behind: Arc<impl Intercept>) {
    let last: Arc<Mutex<Option<BoxFuture<'static, ()>>>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (behind, last) = (Arc::clone(&behind), Arc::clone(&last));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            // A task of its own: what a client has asked for goes on when it is killed, as with a real server.
            let fate = tokio::spawn(behind.ask(Request::from_parts(head, body))).await;
            match fate.map_err(io::Error::other)? {
                Fate::Answered(answer) => Ok(answer),
                Fate::Unanswered => Err(io::Error::other("it is not answered")),
                Fate::Then(mut answer, then) => {
                    // The connection ends when the answer is sent.
                    answer.headers_mut().insert(CONNECTION, "close".parse().expect("a header"));
                    *last.lock().expect("a lock") = Some(then);
                    Ok(answer)
                }
            }
        }
    });
    // A client may go away at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    let then = last.lock().expect("a lock").take();
    if let Some(then) = then {
        then.await;
    }
}

/// An answer of known bytes.
pub fn whole(answer: Response<Bytes>) -> Answer {
    answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

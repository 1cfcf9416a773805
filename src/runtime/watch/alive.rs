//! A client that notes when bytes come: kube's watcher keeps bookmarks to itself.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use kube::{Client, client::Body};
use tower::{BoxError, Service};

use crate::runtime::health::Stream;

/// A client whose answers tell `health` that the API server was heard.
pub(super) fn client(inner: Client, health: Stream) -> Client {
    let namespace = inner.default_namespace().to_owned();
    Client::new(Alive { inner, health }, namespace)
}

struct Alive {
    inner: Client,
    health: Stream,
}

impl Service<Request<Body>> for Alive {
    type Response = Response<Heard>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Heard>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok::<_, Infallible>(()).map_err(BoxError::from))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, health) = (self.inner.clone(), self.health.clone());
        async move {
            let answer = client.send(request).await?;
            let well = answer.status().is_success();
            Ok(answer.map(|body| Heard { body, health: well.then_some(health) }))
        }
        .boxed()
    }
}

/// A body that tells of each of its parts.
pub(super) struct Heard {
    body: Body,
    /// Absent for answers that are errors.
    health: Option<Stream>,
}

impl http_body::Body for Heard {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(_))), Some(health)) = (&polled, &self.health) {
            health.heard();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

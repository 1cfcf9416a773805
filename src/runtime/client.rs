//! How the API server is reached: with a deadline for each request, a bound on how many there are at once, and
//! a count of each.
//!
//! kube's own retries are off: they repeat one request, writes included, for minutes. Ours start anew from
//! fresh facts, after the pauses of [`super::backoff`]. There is no limit on requests per second: the API
//! server shares itself out (API priority and fairness) better than a client can.

use std::{
    path::PathBuf,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, header::USER_AGENT};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service, limit::ConcurrencyLimitLayer};

use super::{clock, metrics::Metrics};

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read may take, body included. Of a watch: until it starts.
const READ: Duration = Duration::from_secs(10);
/// How long a write may take: admission webhooks have up to 30 s in Kubernetes.
const WRITE: Duration = Duration::from_secs(30);
/// The program and its version, in the API server's audit log.
const USER_AGENT_VALUE: &str = concat!("imagechain/", env!("CARGO_PKG_VERSION"));

/// The resources that have a name in metrics.
const RESOURCES: [&str; 12] = [
    "imagechains",
    "imagebuilds",
    "buildprofiles",
    "pods",
    "secrets",
    "configmaps",
    "namespaces",
    "leases",
    "events",
    "subjectaccessreviews",
    "selfsubjectaccessreviews",
    "customresourcedefinitions",
];

/// Where the API server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// The one that this pod runs in, with its `ServiceAccount`.
    Own,
    /// The one that a kubeconfig names.
    Kubeconfig {
        /// The file; without it, where kubectl looks.
        path: Option<PathBuf>,
        /// The context in it; without it, the current one.
        context: Option<String>,
    },
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in a pod, or in one without a token.
    #[error("not in a pod with a ServiceAccount ({0}): name a kubeconfig")]
    NotInCluster(#[from] InClusterError),
    /// No kubeconfig, or a broken one.
    #[error("the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// Certificates or addresses that cannot be used.
    #[error("a client for the API server: {0}")]
    Client(#[from] kube::Error),
}

/// Whether this process runs in a pod that has a `ServiceAccount`.
#[must_use]
pub fn is_in_cluster() -> bool {
    Config::incluster().is_ok()
}

/// Reads where the API server is and who we are.
///
/// # Errors
/// What is missing or broken.
pub async fn config(cluster: &Cluster) -> Result<Config, Error> {
    let (path, context) = match cluster {
        Cluster::Own => return Ok(Config::incluster()?),
        Cluster::Kubeconfig { path, context } => (path, context),
    };
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    Ok(Config::from_custom_kubeconfig(kubeconfig, &options).await?)
}

/// A client with deadlines and metrics that has `concurrency` requests open at once; more wait. Watches do not
/// count once they are open. The lease has a client of its own, so that it never waits for others.
///
/// # Errors
/// Certificates or addresses that cannot be used.
pub fn client(mut config: Config, concurrency: usize, metrics: &Metrics) -> Result<Client, Error> {
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE)));
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&Watchful(metrics.clone())).with_layer(&ConcurrencyLimitLayer::new(concurrency)).build())
}

/// Puts [`Bounded`] round a service.
struct Watchful(Metrics);

impl<S> Layer<S> for Watchful {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, metrics: self.0.clone() }
    }
}

/// Ends each request in time and counts it.
struct Bounded<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<AnyBody>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = Kind::of(&request);
        let metrics = self.metrics.clone();
        let start = clock::monotonic();
        let answer = self.inner.call(request);
        async move {
            let result = in_time(kind, answer).await;
            let code = result.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics.requested(kind.verb, kind.resource, code, start.elapsed());
            result
        }
        .boxed()
    }
}

/// A body, whole or not.
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

fn whole(bytes: Bytes) -> AnyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Waits for an answer, and for all of its body unless it is a watch.
async fn in_time<B>(
    kind: Kind,
    answer: impl Future<Output = Result<Response<B>, BoxError>>,
) -> Result<Response<AnyBody>, BoxError>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static,
{
    let answered = async {
        let answer = answer.await?;
        if kind.watch {
            return Ok(answer.map(BodyExt::boxed_unsync));
        }
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(head, whole(body.collect().await?.to_bytes())))
    };
    let late = |_| BoxError::from(format!("no answer to {} {} within {:?}", kind.verb, kind.resource, kind.deadline));
    timeout(kind.deadline, answered).await.map_err(late)?
}

/// What a request is, as far as deadlines and metrics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    verb: &'static str,
    resource: &'static str,
    watch: bool,
    deadline: Duration,
}

impl Kind {
    fn of<B>(request: &Request<B>) -> Self {
        let read = request.method() == Method::GET;
        let watch =
            read && request.uri().query().is_some_and(|query| query.split('&').any(|each| each == "watch=true"));
        // kube notes there which of its calls made the request.
        let verb = request.extensions().get::<&'static str>().copied().unwrap_or("other");
        let deadline = if read { READ } else { WRITE };
        Self { verb, resource: resource(request.uri().path()), watch, deadline }
    }
}

/// The resource of a path such as `/apis/GROUP/VERSION/namespaces/NAME/RESOURCE/…`.
fn resource(path: &str) -> &'static str {
    let mut parts = path.split('/').skip_while(|part| part.is_empty());
    let skipped = if parts.next() == Some("apis") { 2 } else { 1 };
    let rest: Vec<&str> = parts.skip(skipped).collect();
    let name = match rest.as_slice() {
        ["namespaces", _, "status" | "finalize"] => Some("namespaces"),
        ["namespaces", _, name, ..] | [name, ..] => Some(*name),
        [] => None,
    };
    RESOURCES.into_iter().find(|known| name == Some(*known)).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_is_read_from_the_path() {
        for (path, expected) in [
            ("/api/v1/pods", "pods"),
            ("/api/v1/namespaces/a/pods/b", "pods"),
            ("/api/v1/namespaces/pods/secrets/pods", "secrets"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/pods", "namespaces"),
            ("/api/v1/namespaces/a/status", "namespaces"),
            ("/apis/imagechain.dev/v1alpha1/imagechains", "imagechains"),
            ("/apis/imagechain.dev/v1alpha1/namespaces/a/imagebuilds/b/status", "imagebuilds"),
            ("/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "leases"),
            ("/apis/apps/v1/namespaces/a/deployments/b", "other"),
            ("/version", "other"),
            ("/", "other"),
            ("", "other"),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }

    #[test]
    fn reads_writes_and_watches_have_their_deadlines() {
        for (method, uri, watch, deadline) in [
            (Method::GET, "/api/v1/pods", false, READ),
            (Method::GET, "/api/v1/pods?limit=500&watch=true", true, READ),
            (Method::GET, "/api/v1/pods?labelSelector=watch%3Dtrue", false, READ),
            (Method::POST, "/api/v1/pods", false, WRITE),
            (Method::PATCH, "/api/v1/pods/a?watch=true", false, WRITE),
        ] {
            let request = Request::builder().method(&method).uri(uri).body(()).unwrap();
            let kind = Kind::of(&request);
            assert_eq!((kind.watch, kind.deadline), (watch, deadline), "{method} {uri}");
        }
    }

    /// A body that never ends.
    fn endless() -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin {
        http_body_util::StreamBody::new(futures::stream::pending())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_counts_against_the_deadline_but_not_that_of_a_watch() {
        let kind = Kind { verb: "list", resource: "pods", watch: false, deadline: READ };
        let answer = || async { Ok(Response::new(endless())) };
        let late = in_time(kind, answer()).await.unwrap_err().to_string();
        assert_eq!(late, "no answer to list pods within 10s");
        in_time(Kind { watch: true, ..kind }, answer()).await.unwrap();
        let silent = futures::future::pending::<Result<Response<Full<_>>, BoxError>>();
        let silent = silent.map(|answer| answer.map(|answer| answer.map(|body| body.map_err(BoxError::from))));
        in_time(Kind { watch: true, ..kind }, silent).await.unwrap_err();
    }
}

//! The controller as a whole: which streams it follows, which tasks it has, how they begin and end.

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{Namespace, Node, NodeSpec, NodeStatus},
};
use kube::{Api, Client, api::PostParams, core::PartialObjectMeta};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    builds::Builds,
    chains::Chains,
    client::{self, Cluster},
    context::{Brought, Context},
    events::{self, Event},
    execute::Executor,
    gather::{prune_build, prune_chain, prune_pod},
    health::Health,
    lease::{self, Claim, Contender, Times},
    lookups::{Lookups, Reader},
    metrics::Metrics,
    named::Named,
    profiles::Profiles,
    queue::Queue,
    serve::{Endpoints, Server},
    store::Key,
    stores::Stores,
    supervisor::{self, Supervisor},
    sweep,
    watch::{Change, Options, Source, Watchable, group, watch},
    worker::{Reconcile, Worker},
};
use crate::{
    api::{MANAGED_BY, MANAGED_BY_LABEL, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    remote::network::Network,
};

/// So many requests to the API server are open at once, watches left out.
const REQUESTS: usize = 64;
/// How long what is under way may take when the process ends: less than the pod's grace period.
const DRAIN: Duration = Duration::from_secs(45);
/// The name of the lease.
const LEASE: &str = "imagechain-controller";

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which cluster.
    pub cluster: Cluster,
    /// The namespace of the lease; `None`: without leader election, for one process alone.
    pub lease: Option<String>,
    /// Who we are: another value for each process.
    pub identity: String,
    /// What it brings to build pods: their container `source` runs the image.
    pub brought: Brought,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub listen: SocketAddr,
    /// How many objects of each kind are looked at at once.
    pub workers: usize,
    /// Where look-ups keep temporary files.
    pub scratch: PathBuf,
    /// How look-ups reach servers, if their profile does not say it.
    pub network: Network,
}

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The API server does not say who we are.
    #[error("the API server does not answer: {0}")]
    Identity(kube::Error),
    /// The port is taken, or signals cannot be caught.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A task ended, or work was cut off.
    #[error(transparent)]
    Ended(#[from] supervisor::Error),
}

/// Runs until a signal comes.
///
/// # Errors
/// Why it could not begin, or ended otherwise.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let (metrics, health) = (Metrics::default(), Health::default());
    let server = Server::bind(settings.listen, Endpoints { health: health.clone(), metrics: metrics.clone() }).await?;
    let signal = supervisor::next_signal()?;
    let config = client::config(&settings.cluster).await?;
    let client = client::client(config.clone(), REQUESTS, &metrics)?;
    let user = identity(&client).await.map_err(Error::Identity)?;
    tracing::info!(user, identity = settings.identity, address = %server.address()?, "the controller begins");
    let mut supervisor = Supervisor::new(health.clone());
    let claim = match &settings.lease {
        Some(namespace) => {
            let contender = contender(namespace, &settings.identity);
            let (claim, running) = lease::claim(client::client(config, 4, &metrics)?, contender, metrics.clone());
            supervisor.lease(|end| running.run(end));
            claim
        }
        None => Claim::always(),
    };
    supervisor.service("the endpoints", server.run());
    let source = Source { client: client.clone(), metrics: metrics.clone(), health };
    begin(&mut supervisor, &source, &settings, &claim, user);
    supervisor.run(signal, DRAIN).await?;
    Ok(())
}

fn contender(namespace: &str, identity: &str) -> Contender {
    Contender {
        namespace: namespace.to_owned(),
        name: LEASE.to_owned(),
        identity: identity.to_owned(),
        times: Times::default(),
    }
}

/// Who we are to the API server: anybody may ask that.
#[expect(clippy::disallowed_methods, reason = "a question: nothing is stored")]
async fn identity(client: &Client) -> kube::Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(answer.status.and_then(|status| status.user_info?.username).unwrap_or_default())
}

/// Begins with all tasks.
fn begin(supervisor: &mut Supervisor, source: &Source, settings: &Settings, claim: &Claim, user: String) {
    let (context, events, synced) = context(source, settings, claim, user);
    supervisor.service("the watches", {
        let context = Arc::clone(&context);
        async move {
            events::follow(context, events).await;
            Err::<Infallible, _>("all watches ended")
        }
    });
    let queues = context.queues.clone();
    let taken = take_over(Arc::clone(&context), claim.clone(), Arc::clone(&synced));
    let loops = Loops { claim: claim.clone(), metrics: source.metrics.clone(), workers: settings.workers, synced };
    supervisor.worker("chains", |end| loops.clone().run(Chains(Arc::clone(&context)), queues.chains, end));
    supervisor.worker("builds", |end| loops.clone().run(Builds::new(Arc::clone(&context)), queues.builds, end));
    supervisor.worker("profiles", |end| loops.clone().run(Profiles(Arc::clone(&context)), queues.profiles, end));
    supervisor.worker("the sweep", |end| async move {
        sweep::run(context, end).await;
        Ok::<_, Infallible>(())
    });
    supervisor.service("the takeover", taken);
}

/// How long nothing is done before it is checked again whether the stores of all kinds are complete.
const LOOK: Duration = Duration::from_millis(20);

/// Enqueues everything whenever this process has become the leader. No watch event tells of builds that were deleted while
/// there was no leader: their pods are swept.
async fn take_over(context: Arc<Context>, mut claim: Claim, synced: Synced) -> Result<Infallible, &'static str> {
    while claim.gained().await {
        context.queues.enqueue_all(&context.stores);
        while claim.is_current() && !(synced() && sweep::sees_pods(&context)) {
            let _ = timeout(LOOK, claim.lost()).await;
        }
        sweep::all(&context).await;
        claim.lost().await;
    }
    // The lease is released: the process ends.
    std::future::pending().await
}

/// Whether the stores of all kinds are complete.
type Synced = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the loops of all kinds share.
#[derive(Clone)]
struct Loops {
    claim: Claim,
    metrics: Metrics,
    workers: usize,
    synced: Synced,
}

impl Loops {
    async fn run<R: Reconcile>(
        self,
        reconciler: R,
        queue: Arc<Queue<Key>>,
        end: CancellationToken,
    ) -> Result<(), tokio::task::JoinError> {
        // Nothing is decided on half of the facts.
        while !(self.synced)() {
            if timeout(LOOK, end.cancelled()).await.is_ok() {
                return Ok(());
            }
        }
        let Self { claim, metrics, workers, .. } = self;
        Worker { reconciler, queue, backoff: Backoff::default(), claim, metrics, most: workers }.run(end).await
    }
}

/// The context, its watch events, and whether all of its stores were complete once.
fn context(
    source: &Source,
    settings: &Settings,
    claim: &Claim,
    user: String,
) -> (Arc<Context>, BoxStream<'static, Event>, Synced) {
    let (named, of_named) = Named::new(source);
    let (pod_streams, of_pods) = group(source.clone(), |namespace: &String| {
        let own = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
        let options = Options { prune: prune_pod, ..Options::new("pods").labels(&own).sometimes() };
        let place = namespace.clone();
        (options, namespace.clone(), Box::new(move |client| Api::namespaced(client, &place)))
    });
    let reader = Reader::new(source.client.clone(), user);
    let context = Arc::new(Context::new(
        source.client.clone(),
        Stores::new(pod_streams, named),
        Lookups::new(reader, settings.scratch.clone(), settings.network.clone()),
        Executor::new(source.client.clone(), claim.clone(), source.metrics.clone(), settings.identity.clone()),
        settings.brought.clone(),
    ));
    let options = Options::<ImageChain> { prune: prune_chain, ..Options::new("imagechains") };
    let (chains, of_chains) = all(source, &options, Event::Chain);
    let options = Options::<ImageBuild> { prune: prune_build, ..Options::new("imagebuilds") };
    let (builds, of_builds) = all(source, &options, Event::Build);
    let (profiles, of_profiles) = all(source, &Options::<BuildProfile>::new("buildprofiles"), Event::Profile);
    let options = Options { prune: prune_namespace, ..Options::new("namespaces") };
    let (namespaces, of_namespaces) = all(source, &options, Event::Namespace);
    let options = Options { prune: prune_node, ..Options::new("nodes") };
    let (nodes, of_nodes) = all(source, &options, Event::Node);
    let of_pods = of_pods.map(|(namespace, change)| Event::Pod(namespace, change)).boxed();
    let of_named = of_named.map(Event::Named).boxed();
    let streams = [of_chains, of_builds, of_profiles, of_namespaces, of_nodes, of_pods, of_named];
    let synced = move || [&chains, &builds, &profiles, &namespaces, &nodes].iter().all(|stream| stream.is_synced());
    (context, futures::stream::select_all(streams).boxed(), Arc::new(synced))
}

/// All objects of a kind, as events.
fn all<K: Watchable>(
    source: &Source,
    options: &Options<K>,
    event: impl Fn(Change<K>) -> Event + Send + 'static,
) -> (super::health::Stream, BoxStream<'static, Event>) {
    let (watched, changes) = watch(source, options, "", Api::all);
    (watched.health, boxed(changes.map(event)))
}

fn boxed(stream: impl Stream<Item = Event> + Send + 'static) -> BoxStream<'static, Event> {
    stream.boxed()
}

/// Of a node is read whether it answers, and what it has for whom.
fn prune_node(node: &mut Node) {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    let taints = node.spec.take().and_then(|spec| spec.taints);
    node.spec = taints.map(|taints| NodeSpec { taints: Some(taints), ..NodeSpec::default() });
    let status = node.status.take().unwrap_or_default();
    let (conditions, allocatable) = (status.conditions, status.allocatable);
    node.status = Some(NodeStatus { conditions, allocatable, ..NodeStatus::default() });
}

fn prune_namespace(namespace: &mut PartialObjectMeta<Namespace>) {
    namespace.metadata.managed_fields = None;
    namespace.metadata.annotations = None;
}

//! What Prometheus is told. Labels come from closed lists in this code, never from objects or errors: their
//! number is bounded.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

/// Bounds for what usually takes milliseconds, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How a reconcile or a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The object changed meanwhile: it is decided anew.
    Conflict,
    /// The API server said no for another reason.
    Refused,
    /// No answer in time, or none at all: it may have happened.
    Unknown,
    /// This process is not the leader, or is no longer.
    NotLeader,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    verb: &'static str,
    resource: &'static str,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Latency {
    verb: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Makes histograms over [`SECONDS`].
#[derive(Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

type Histograms<L> = Family<L, Histogram, Durations>;

/// All metrics of the process; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<Reconcile, Counter>,
    reconcile_seconds: Histograms<Kind>,
    writes: Family<Write, Counter>,
    requests: Family<Request, Counter>,
    request_seconds: Histograms<Latency>,
    watch_failures: Family<Stream, Counter>,
    undecodable: Family<Stream, Counter>,
    queued: Family<Kind, Gauge>,
    backing_off: Family<Kind, Gauge>,
    leading: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(Durations),
            writes: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(Durations),
            watch_failures: Family::default(),
            undecodable: Family::default(),
            queued: Family::default(),
            backing_off: Family::default(),
            leading: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }
}

impl Metrics {
    /// A reconcile ended after so long.
    pub fn reconciled(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        self.reconciles.get_or_create(&Reconcile { kind, outcome }).inc();
        self.reconcile_seconds.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// A write was tried.
    pub fn wrote(&self, verb: &'static str, resource: &'static str, outcome: Outcome) {
        self.writes.get_or_create(&Write { verb, resource, outcome }).inc();
    }

    /// A request to the API server was answered with this code after so long; 0 is no answer.
    pub fn requested(&self, verb: &'static str, resource: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&Request { verb, resource, code }).inc();
        self.request_seconds.get_or_create(&Latency { verb, resource }).observe(took.as_secs_f64());
    }

    /// A stream of watch events broke or could not be opened.
    pub fn watch_failed(&self, stream: &'static str) {
        self.watch_failures.get_or_create(&Stream { stream }).inc();
    }

    /// A stream brought an object that could not be read.
    pub fn undecodable(&self, stream: &'static str) {
        self.undecodable.get_or_create(&Stream { stream }).inc();
    }

    /// So many objects of the kind wait to be reconciled.
    pub fn queued(&self, kind: &'static str, objects: usize) {
        self.queued.get_or_create(&Kind { kind }).set(gauge(objects));
    }

    /// So many objects of the kind failed the last time.
    pub fn backing_off(&self, kind: &'static str, objects: usize) {
        self.backing_off.get_or_create(&Kind { kind }).set(gauge(objects));
    }

    /// Whether this process is the leader.
    pub fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// All of it in the text format of `OpenMetrics` 1.0.
    ///
    /// # Errors
    /// A metric that cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }

    fn registered(&self) -> Registry {
        let mut all = Registry::with_prefix("imagechain");
        all.register("reconciles", "Reconciles by kind and how they ended", self.reconciles.clone());
        let seconds = self.reconcile_seconds.clone();
        all.register_with_unit("reconcile_duration", "How long reconciles take", Unit::Seconds, seconds);
        all.register("writes", "Writes to the API server by how they ended", self.writes.clone());
        all.register("requests", "Requests to the API server; code 0 is no answer", self.requests.clone());
        let seconds = self.request_seconds.clone();
        all.register_with_unit(
            "request_duration",
            "How long answers take; of watches, their start",
            Unit::Seconds,
            seconds,
        );
        all.register("watch_failures", "Watches that broke or could not be opened", self.watch_failures.clone());
        all.register(
            "undecodable_objects",
            "Objects that a watch brought and nobody could read",
            self.undecodable.clone(),
        );
        all.register("queued_objects", "Objects that wait to be reconciled", self.queued.clone());
        all.register("backing_off_objects", "Objects that failed the last time", self.backing_off.clone());
        all.register("leader", "1 if this process may write", self.leading.clone());
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "What is running", version);
        all
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.reconciled("ImageChain", Outcome::Done, Duration::from_millis(3));
        metrics.wrote("create", "pods", Outcome::Conflict);
        metrics.requested("list", "pods", 200, Duration::from_millis(3));
        metrics.requested("get", "leases", 0, Duration::from_secs(10));
        metrics.watch_failed("builds");
        metrics.undecodable("chains");
        metrics.queued("ImageBuild", 7);
        metrics.backing_off("ImageBuild", 2);
        metrics.clone().leading(true);
        let text = metrics.text().unwrap();
        for line in [
            "imagechain_reconciles_total{kind=\"ImageChain\",outcome=\"Done\"} 1",
            "imagechain_reconcile_duration_seconds_bucket{le=\"0.005\",kind=\"ImageChain\"} 1",
            "imagechain_writes_total{verb=\"create\",resource=\"pods\",outcome=\"Conflict\"} 1",
            "imagechain_requests_total{verb=\"list\",resource=\"pods\",code=\"200\"} 1",
            "imagechain_requests_total{verb=\"get\",resource=\"leases\",code=\"0\"} 1",
            "imagechain_request_duration_seconds_count{verb=\"get\",resource=\"leases\"} 1",
            "imagechain_watch_failures_total{stream=\"builds\"} 1",
            "imagechain_undecodable_objects_total{stream=\"chains\"} 1",
            "imagechain_queued_objects{kind=\"ImageBuild\"} 7",
            "imagechain_backing_off_objects{kind=\"ImageBuild\"} 2",
            "imagechain_leader 1",
        ] {
            assert!(text.lines().any(|each| each == line), "{line}\nis not in\n{text}");
        }
        assert!(text.contains("imagechain_build_info{version="), "{text}");
    }
}

//! One measured piece of work.

use std::{collections::BTreeMap, fmt::Write as _};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{
    audit::{Log, Who, is_aside},
    process::{Program, processor_time},
    scene::{Scene, Work},
};

/// A piece of work that was done.
pub struct Done {
    who: Who,
    links: f64,
    seconds: f64,
    pub span: (Timestamp, Timestamp),
    /// Processor time of the API server, and of the controller, in milliseconds.
    server: f64,
    own: f64,
}

/// Lets a controller do some work.
pub async fn measured(scene: &Scene, (who, program): (Who, &Program), work: Work<'_>) -> Done {
    let times = || (processor_time(scene.api_server()), processor_time(program.id()));
    let ((server, own), from, begin) = (times(), Timestamp::now(), Instant::now());
    scene.work(work).await;
    let seconds = begin.elapsed().as_secs_f64();
    // What is written after the last chain is ready belongs to it as well.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let (after, to) = (times(), Timestamp::now());
    let links = (work.chains * work.links) as f64;
    Done { who, links, seconds, span: (from, to), server: after.0 - server, own: after.1 - own }
}

impl Done {
    pub fn links_per_second(&self) -> f64 {
        self.links / self.seconds
    }

    /// Milliseconds of the API server for each link.
    pub fn server(&self) -> f64 {
        self.server / self.links
    }

    /// Milliseconds of the controller for each link.
    pub fn own(&self) -> f64 {
        self.own / self.links
    }

    /// Its writes for each link.
    pub fn writes(&self, log: &Log) -> f64 {
        let done = log.of(self.who, self.span).filter(|write| write.code < 300 && !is_aside(&write.what));
        done.count() as f64 / self.links
    }

    /// The writes that were refused since their object was changed.
    pub fn conflicts(&self, log: &Log) -> usize {
        log.of(self.who, self.span).filter(|write| write.code == 409 && write.reason == "Conflict").count()
    }

    /// Its writes for each link by verb, resource and answer, what is counted first.
    pub fn list(&self, log: &Log) -> String {
        let mut counts: BTreeMap<(bool, &str, u64), usize> = BTreeMap::new();
        for write in log.of(self.who, self.span) {
            *counts.entry((is_aside(&write.what), &write.what, write.code)).or_default() += 1;
        }
        let mut text = String::new();
        for ((aside, what, code), count) in counts {
            let aside = if aside { " (not counted)" } else { "" };
            let each = count as f64 / self.links;
            writeln!(text, "  {each:8.2}  {what} {code}{aside}").expect("text");
        }
        text
    }
}

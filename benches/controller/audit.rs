//! What the API server's audit log says of a span of time.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::{
    floor,
    kubelet::Place,
    support::chart::{NAME, SYSTEM},
};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Operator,
    Floor,
    Other,
}

/// A write that was answered.
#[derive(Clone, Debug)]
pub struct Write {
    pub who: Who,
    /// When it was answered.
    pub at: Timestamp,
    /// Verb and resource.
    pub what: String,
    pub name: String,
    pub code: u64,
    /// Why it was refused.
    pub reason: String,
}

/// All writes that the API server has answered, in order.
pub struct Log(Vec<Write>);

impl Log {
    /// Reads the log, with its parts that were put aside as it grew.
    pub fn read(folder: &Path) -> Self {
        let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let is_log = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("audit") && path.extension().is_some_and(|end| end == "log")
        };
        let texts = files.filter(|path| is_log(path)).map(|path| fs::read_to_string(path).expect("a log"));
        let mut writes: Vec<Write> = texts.flat_map(|text| text.lines().filter_map(read).collect::<Vec<_>>()).collect();
        writes.sort_by_key(|write| write.at);
        Self(writes)
    }

    /// The writes of somebody in a span of time.
    pub fn of(&self, who: Who, (from, to): (Timestamp, Timestamp)) -> impl Iterator<Item = &Write> {
        self.0.iter().filter(move |write| write.who == who && (from..=to).contains(&write.at))
    }

    /// From the end of each link's pod to the creation of the next one's, in milliseconds, in order of size.
    pub fn hand_offs(&self, pods: &BTreeMap<&str, &Place>) -> Vec<f64> {
        let (mut ends, mut creations) = (BTreeMap::new(), BTreeMap::new());
        for write in &self.0 {
            let Some(place) = pods.get(write.name.as_str()) else { continue };
            match write.what.as_str() {
                // The last of them tells that the pod is over.
                "patch pods/status" => drop(ends.insert((&place.chain, place.link + 1), write.at)),
                "create pods" => drop(creations.insert((&place.chain, place.link), write.at)),
                _ => {}
            }
        }
        let pairs = ends.iter().filter_map(|(place, end)| Some((*end, *creations.get(place)?)));
        let mut spans: Vec<f64> = pairs.map(|(end, made)| made.duration_since(end).as_secs_f64() * 1000.0).collect();
        spans.sort_by(f64::total_cmp);
        spans
    }
}

fn read(line: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/stage") != "ResponseComplete" {
        return None;
    }
    let who = if text("/userAgent") == floor::AGENT {
        Who::Floor
    } else if text("/user/username") == format!("system:serviceaccount:{SYSTEM}:{NAME}") {
        Who::Operator
    } else {
        Who::Other
    };
    let resource = [text("/objectRef/resource"), text("/objectRef/subresource")].join("/");
    Some(Write {
        who,
        at: text("/stageTimestamp").parse().ok()?,
        what: format!("{} {}", text("/verb"), resource.trim_end_matches('/')),
        name: text("/objectRef/name").to_owned(),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
        reason: text("/responseStatus/reason").to_owned(),
    })
}

/// What is no write of the kind that peers are counted by: questions, leases, events, what is cleaned up.
pub fn is_aside(what: &str) -> bool {
    what.starts_with("delete") || what.contains("review") || what.contains("leases") || what.contains("events")
}

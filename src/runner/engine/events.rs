//! What became of the containers of the engine, by its events (`docker events`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
};

/// The events that are read.
pub(super) const KINDS: [&str; 4] = ["start", "kill", "die", "oom"];
/// As much of a container's last lines as stands before the failure that it explains, in bytes.
const LONGEST_WORDS: usize = 300;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    time: i64,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: BTreeMap<String, String>,
}

/// The containers of which something was heard, by their IDs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers {
    all: BTreeMap<String, Container>,
    /// The names of those that the kernel ended for lack of memory.
    starved: BTreeSet<String>,
    /// The program has what it needs of its containers: their ends do not matter any more.
    released: bool,
}

/// A container of the engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// A program says that it needs this one.
    pub(crate) needed: bool,
    /// As whoever made it named its image.
    image: String,
    /// The time of the last event, in nanoseconds.
    latest: i64,
    started: bool,
    /// Somebody asked for its end.
    asked: bool,
    end: Option<End>,
}

/// How a container ended.
#[derive(Clone, Debug, Default)]
struct End {
    code: String,
    seconds: Option<String>,
    /// Its last lines, once they were asked for.
    words: Option<String>,
}

impl Container {
    fn apply(&mut self, event: &mut Event) {
        let mut attribute = |name| event.actor.attributes.remove(name);
        self.name = attribute("name").unwrap_or_default();
        self.image = attribute("image").unwrap_or_default();
        self.latest = event.time;
        match event.action.as_str() {
            "start" => (self.started, self.asked, self.end) = (true, false, None),
            "kill" => self.asked = true,
            "die" => {
                let (code, seconds) = (attribute("exitCode").unwrap_or_default(), attribute("execDuration"));
                self.end = Some(End { code, seconds, words: None });
            }
            _ => {}
        }
    }

    /// How it ended, if nobody asked for that.
    fn own_end(&self) -> Option<&End> {
        self.end.as_ref().filter(|_| !self.asked)
    }

    fn sentence(&self) -> Option<String> {
        let End { code, seconds, words } = self.own_end()?;
        let seconds = seconds.as_ref().map_or_else(String::new, |seconds| format!(" after {seconds} s"));
        let words = match words.as_deref().map(str::trim) {
            None | Some("") => ", without a word".to_owned(),
            Some(words) => format!("; its last lines: {}", truncate_middle(words, LONGEST_WORDS)),
        };
        Some(format!("the container {} of {} ended with exit code {code}{seconds}{words}", self.name, self.image))
    }
}

impl Containers {
    /// Takes an event into account: a line of JSON. The same event may come twice.
    pub(super) fn add(&mut self, line: &str) {
        let Ok(mut event) = serde_json::from_str::<Event>(line) else { return };
        if event.action == "oom" {
            self.starved.extend(event.actor.attributes.get("name").cloned());
        }
        let container = self.all.entry(std::mem::take(&mut event.actor.id)).or_default();
        if container.latest < event.time {
            container.apply(&mut event);
        }
    }

    /// A program says that it needs a container.
    pub(super) fn need(&mut self, id: &str) {
        self.all.entry(id.to_owned()).or_default().needed = true;
        self.released = false;
    }

    /// A program says that it needs them no more.
    pub(super) const fn release(&mut self) {
        self.released = true;
    }

    /// The IDs of those that ended by themselves, and whose last lines were not asked for.
    pub(super) fn unheard(&self) -> Vec<String> {
        let is_unheard = |container: &Container| container.own_end().is_some_and(|end| end.words.is_none());
        self.all.iter().filter(|(_, container)| is_unheard(container)).map(|(id, _)| id.clone()).collect()
    }

    /// Takes the last lines of a container into account; `None`: it runs again.
    pub(super) fn hear(&mut self, id: &str, words: Option<String>) {
        let Some(container) = self.all.get_mut(id) else { return };
        match (words, &mut container.end) {
            (None, end) => *end = None,
            (words, Some(end)) => end.words = words,
            (Some(_), None) => {}
        }
    }

    /// Whether a container that a program needs has ended by itself, for good.
    pub(super) fn misses(&self) -> bool {
        let has_ended = |container: &Container| container.own_end().is_some_and(|end| end.words.is_some());
        !self.released && self.all.values().any(|container| container.needed && has_ended(container))
    }

    /// What is said of those that ended by themselves and matter; `None` where there is none.
    pub(crate) fn ended(&self, matters: impl Fn(&Container) -> bool) -> Option<String> {
        let sentences = self.all.values().filter(|container| matters(container)).filter_map(Container::sentence);
        let sentences: Vec<String> = sentences.take(2).collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }

    /// The images of those that were started.
    pub(crate) fn images(&self) -> BTreeSet<&str> {
        self.all.values().filter(|container| container.started).map(|container| container.image.as_str()).collect()
    }

    /// The failure where the kernel ended some for lack of memory, of which they have so many bytes together.
    pub(super) fn out_of_memory(&self, memory: Option<u64>) -> Option<Failure> {
        let first = self.starved.first()?;
        let share = memory.map_or_else(String::new, |bytes| {
            format!(": the build's containers share {} MiB (the engine's limit minus 256 MiB for itself)", bytes >> 20)
        });
        let message = format!(
            "the container {first} was out of memory{share}: raise resources.memory of the profile, or need less"
        );
        Some(Failure::new(Reason::OutOfMemory, message))
    }
}

/// A failure with the ends of containers that explain it.
pub(crate) fn explained(failure: Failure, ended: Option<String>) -> Failure {
    match ended {
        Some(ended) => Failure { message: format!("{ended}. {}", failure.message), ..failure },
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As docker 26.1.5 of Debian 13 writes them, without the labels of a molecule platform.
    fn event(time: i64, action: &str, name: &str, more: &str) -> String {
        format!(
            r#"{{"status":"{action}","id":"{name}id","from":"takelage/web:1","Type":"container","Action":"{action}","Actor":{{"ID":"{name}id","Attributes":{{{more}"image":"takelage/web:1","name":"{name}"}}}},"scope":"local","time":1795259801,"timeNano":{time}}}"#
        )
    }

    fn died(time: i64, name: &str, code: &str) -> String {
        event(time, "die", name, &format!(r#""execDuration":"1","exitCode":"{code}","#))
    }

    fn seen(lines: &[String]) -> Containers {
        let mut containers = Containers::default();
        for line in lines {
            containers.add(line);
        }
        containers
    }

    #[test]
    fn a_container_that_ended_by_itself_is_told_with_its_last_lines() {
        let mut containers = seen(&[event(1, "start", "instance", ""), died(2, "instance", "255")]);
        assert_eq!(containers.unheard(), ["instanceid"]);
        assert_eq!(
            containers.ended(|_| true).unwrap(),
            "the container instance of takelage/web:1 ended with exit code 255 after 1 s, without a word"
        );
        containers.hear("instanceid", Some("Failed to create /init.scope control group\n".to_owned()));
        assert!(containers.unheard().is_empty());
        // The same events once more say nothing new.
        containers.add(&event(1, "start", "instance", ""));
        containers.add(&died(2, "instance", "255"));
        assert_eq!(
            containers.ended(|container| container.name == "instance").unwrap(),
            "the container instance of takelage/web:1 ended with exit code 255 after 1 s; its last lines: Failed to \
             create /init.scope control group"
        );
        assert_eq!(containers.ended(|container| container.name == "other"), None);
        let failure = explained(Failure::new(Reason::TaskFailed, "it did not reach it"), containers.ended(|_| true));
        assert_eq!(failure.reason, Reason::TaskFailed);
        assert!(failure.message.ends_with("control group. it did not reach it"), "{failure:?}");
    }

    #[test]
    fn an_end_that_was_asked_for_is_none() {
        let killed = event(2, "kill", "instance", r#""signal":"9","#);
        let containers = seen(&[event(1, "start", "instance", ""), killed, died(3, "instance", "137")]);
        assert_eq!((containers.ended(|_| true), containers.unheard()), (None, vec![]));
    }

    #[test]
    fn a_container_that_is_started_again_has_not_ended() {
        let started = event(3, "start", "instance", "");
        let containers = seen(&[event(1, "start", "instance", ""), died(2, "instance", "1"), started]);
        assert_eq!(containers.ended(|_| true), None);
        let mut restarts = seen(&[event(1, "start", "instance", ""), died(2, "instance", "1")]);
        restarts.hear("instanceid", None);
        assert_eq!(restarts.ended(|_| true), None);
    }

    #[test]
    fn a_program_misses_what_it_needs_until_it_needs_it_no_more() {
        let mut containers = seen(&[died(2, "instance", "255")]);
        containers.need("instanceid");
        assert!(!containers.misses(), "it may be about to start again");
        containers.hear("instanceid", Some(String::new()));
        assert!(containers.misses() && containers.ended(|container| container.needed).is_some());
        containers.release();
        assert!(!containers.misses());
        let mut other = seen(&[died(2, "helper", "0")]);
        other.hear("helperid", Some(String::new()));
        other.need("instanceid");
        assert!(!other.misses() && other.ended(|container| container.needed).is_none());
    }

    #[test]
    fn only_what_was_started_ran() {
        assert_eq!(seen(&[died(2, "a", "0")]).images().len(), 0);
        assert_eq!(Vec::from_iter(seen(&[event(1, "start", "a", "")]).images()), ["takelage/web:1"]);
    }

    #[test]
    fn lack_of_memory_has_a_name_and_a_share() {
        assert_eq!(seen(&["no JSON".to_owned()]).out_of_memory(Some(1)), None);
        let told = seen(&[event(1, "oom", "web", ""), event(2, "oom", "web", "")]).out_of_memory(Some(444 << 20));
        let told = told.unwrap();
        assert_eq!(told.reason, Reason::OutOfMemory);
        assert!(told.message.starts_with("the container web was out of memory: the build's containers share 444 MiB"));
    }
}

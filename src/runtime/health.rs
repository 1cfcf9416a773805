//! What is known of the streams that keep our copies of the cluster, for `/readyz` and for decisions.
//!
//! A stream lives while bytes come: events, and the bookmarks that the API server sends about once a minute.
//! Liveness is another matter: a process that lacks a custom resource definition is not ready, and a restart
//! would not help it.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::clock;

/// After so long without a byte a stream is taken for dead: it starts anew every minute.
const SILENT: Duration = Duration::from_mins(3);
/// So many streams that the process can do without are listed.
const LISTED: usize = 20;

/// Whether the process can work without a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No: without it the process is not ready.
    Always,
    /// It concerns some objects only, whose conditions say so: an execution namespace, a tenant's Secret.
    Sometimes,
}

/// How a stream is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Its first list is not complete.
    #[default]
    Starting,
    /// What it knows is complete, up to the delay of the API server.
    Live,
    /// The API server refuses it (403): a role is missing.
    Forbidden,
    /// The API server does not know the kind (404): its custom resource definition is missing.
    UnknownKind,
    /// It broke, and is tried again: why.
    Failing(String),
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => formatter.write_str("the first list is not complete"),
            Self::Live => formatter.write_str("live"),
            Self::Forbidden => formatter.write_str("forbidden: the ServiceAccount needs get, list and watch"),
            Self::UnknownKind => {
                formatter.write_str("the API server does not know the kind: apply the custom resource definitions")
            }
            Self::Failing(error) => write!(formatter, "failing: {error}"),
        }
    }
}

#[derive(Debug)]
struct Record {
    state: State,
    /// Whether its copy was complete once: it stays usable, though it grows old.
    synced: bool,
    /// When the last byte came.
    heard: Instant,
}

/// The health of one stream; clones share it.
#[derive(Clone, Debug)]
pub struct Stream(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    name: String,
    need: Need,
    record: Mutex<Record>,
}

impl Stream {
    /// A stream that no report shows.
    #[must_use]
    pub fn new(name: String, need: Need) -> Self {
        let record = Record { state: State::Starting, synced: false, heard: clock::monotonic() };
        Self(Arc::new(Entry { name, need, record: Mutex::new(record) }))
    }

    /// Its name in reports and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.record().state.clone()
    }

    /// Whether its copy was complete once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.0.record().synced
    }

    /// Bytes came.
    pub fn heard(&self) {
        self.0.record().heard = clock::monotonic();
    }

    /// Its state is this now. Returns whether that is news.
    #[expect(clippy::must_use_candidate, reason = "not everybody tells news")]
    pub fn set(&self, state: State) -> bool {
        let mut record = self.0.record();
        record.synced |= state == State::Live;
        let news = record.state != state;
        record.state = state;
        news
    }
}

impl Entry {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is well, and a line that says so.
    fn report(&self, now: Instant) -> (bool, String) {
        let record = self.record();
        let silence = now.saturating_duration_since(record.heard);
        let well = record.synced && silence < SILENT && !matches!(record.state, State::UnknownKind | State::Forbidden);
        (well, format!("{}: {}; last heard {} s ago", self.name, record.state, silence.as_secs()))
    }
}

/// All that decides whether the process is ready; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    draining: AtomicBool,
    /// Those that nobody holds any more have ended.
    streams: Mutex<Vec<Weak<Entry>>>,
}

impl Health {
    /// A stream that reports show as long as somebody holds it.
    #[must_use]
    pub fn stream(&self, name: String, need: Need) -> Stream {
        let stream = Stream::new(name, need);
        let mut streams = self.streams();
        streams.retain(|each| each.strong_count() > 0);
        streams.push(Arc::downgrade(&stream.0));
        stream
    }

    /// The process ends: from now on it is not ready.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is ready at this moment, and why.
    #[must_use]
    pub fn report(&self, now: Instant) -> (bool, String) {
        let streams: Vec<_> = self.streams().iter().filter_map(Weak::upgrade).collect();
        let (needed, others): (Vec<_>, Vec<_>) = streams.iter().partition(|stream| stream.need == Need::Always);
        let needed: Vec<_> = needed.into_iter().map(|stream| stream.report(now)).collect();
        let unwell = others.into_iter().map(|stream| stream.report(now)).filter(|(well, _)| !well);
        let unwell: Vec<_> = unwell.map(|(_, line)| line).collect();
        let draining = self.0.draining.load(Ordering::Relaxed);
        // A process that watches nothing has not begun.
        let ready = !draining && !needed.is_empty() && needed.iter().all(|(well, _)| *well);
        let mut text = String::from(if ready { "ready\n" } else { "not ready\n" });
        if draining {
            text.push_str("the process ends\n");
        }
        for line in needed.iter().map(|(_, line)| line).chain(unwell.iter().take(LISTED)) {
            text.push_str(line);
            text.push('\n');
        }
        if unwell.len() > LISTED {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "and {} more", unwell.len() - LISTED);
        }
        (ready, text)
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Weak<Entry>>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(health: &Health) -> (bool, String) {
        health.report(clock::monotonic())
    }

    #[tokio::test(start_paused = true)]
    async fn ready_is_when_all_needed_copies_are_complete() {
        let health = Health::default();
        assert_eq!(report(&health), (false, "not ready\n".to_owned()));
        let (chains, builds) =
            (health.stream("chains".to_owned(), Need::Always), health.stream("builds".to_owned(), Need::Always));
        assert!(chains.set(State::Live));
        assert!(!chains.set(State::Live), "no news");
        let (ready, text) = report(&health);
        assert!(!ready && text.contains("builds: the first list is not complete"), "{text}");
        builds.set(State::Live);
        assert!(report(&health).0);

        builds.set(State::Failing("cut".to_owned()));
        let (ready, text) = report(&health);
        assert!(ready && text.contains("builds: failing: cut; last heard 0 s ago"), "a moment is no harm: {text}");
        tokio::time::advance(SILENT).await;
        chains.heard();
        let (ready, text) = report(&health);
        assert!(!ready && text.contains("builds: failing: cut; last heard 180 s ago"), "{text}");
        builds.heard();
        assert!(report(&health).0);

        health.drain();
        let (ready, text) = report(&health);
        assert!(!ready && text.contains("the process ends"), "{text}");
    }

    #[tokio::test]
    async fn a_missing_kind_or_role_is_said_and_is_not_ready() {
        for (state, word) in [(State::UnknownKind, "custom resource definitions"), (State::Forbidden, "ServiceAccount")]
        {
            let health = Health::default();
            let chains = health.stream("chains".to_owned(), Need::Always);
            chains.set(State::Live);
            chains.set(state.clone());
            let (ready, text) = report(&health);
            assert!(!ready && text.contains(word), "{state:?}: {text}");
        }
    }

    #[tokio::test]
    async fn what_concerns_some_objects_is_listed_while_unwell_and_no_longer_than_it_is_there() {
        let health = Health::default();
        let chains = health.stream("chains".to_owned(), Need::Always);
        chains.set(State::Live);
        let secrets: Vec<_> = (0..25).map(|n| health.stream(format!("secret {n}"), Need::Sometimes)).collect();
        assert!(secrets.iter().all(|stream| stream.set(State::Forbidden)));
        let (ready, text) = report(&health);
        assert!(ready && text.contains("secret 3: forbidden") && text.contains("and 5 more"), "{text}");
        assert!(secrets.iter().all(|stream| stream.set(State::Live)));
        assert!(!report(&health).1.contains("secret"));
        secrets[1].set(State::Forbidden);
        drop(secrets);
        assert!(!report(&health).1.contains("secret"));
    }
}

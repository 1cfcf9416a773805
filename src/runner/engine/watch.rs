//! Watches the containers of the engine while a program of the user's runs.

use std::{
    convert::Infallible,
    future::{Future, pending},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, time::timeout};

use super::{
    docker::Docker,
    events::{Containers, KINDS},
};
use crate::plan::failure::Failure;

/// How long a program may take to see by itself that its container has ended.
const GRACE: Duration = Duration::from_secs(5);
/// How much later than the failure of a program the engine may hear why.
const LATE: Duration = Duration::from_secs(1);

/// What is seen of containers from a moment on. Docker keeps 256 events, and each task of ansible makes three; so they
/// are read while they come, and those of the last moment once more at the end.
pub(crate) struct Watch<'c> {
    engine: &'c Docker<'c>,
    /// Its first moment.
    since: String,
    seen: watch::Sender<Containers>,
}

impl<'c> Watch<'c> {
    /// Begins now.
    pub(crate) fn over(engine: &'c Docker<'c>) -> Self {
        Self { engine, since: moment(Duration::ZERO), seen: watch::Sender::default() }
    }

    /// Lets a program run, and hears the last words of containers that end meanwhile, which may be gone soon.
    pub(crate) async fn during<T>(&self, program: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = program => done,
            never = self.live() => match never {},
        }
    }

    async fn live(&self) -> Infallible {
        tokio::join!(self.listen(&[]), self.hear());
        pending().await
    }

    /// Reads events, for ever unless there is an end to them.
    async fn listen(&self, until: &[&str]) {
        let since = format!("--since={}", self.since);
        let kinds: Vec<String> = KINDS.iter().map(|kind| format!("--filter=event={kind}")).collect();
        let mut arguments = vec!["events", "--format={{json .}}", "--filter=type=container", &since];
        arguments.extend(kinds.iter().map(String::as_str).chain(until.iter().copied()));
        // Without events, failures are told without them.
        let mut add = |line: &str| self.seen.send_modify(|seen| seen.add(line));
        let _ = self.engine.follow(&arguments, &mut add).await;
    }

    /// Asks those that end for their last words, as long as somebody listens.
    async fn hear(&self) {
        let mut seen = self.seen.subscribe();
        while seen.wait_for(|seen| !seen.unheard().is_empty()).await.is_ok() {
            self.ask().await;
        }
    }

    async fn ask(&self) {
        let unheard = self.seen.borrow().unheard();
        for id in unheard {
            let words = self.engine.last_words(&id).await;
            self.seen.send_modify(|seen| seen.hear(&id, words));
        }
    }

    /// The program needs that container: its end is the program's end.
    pub(crate) fn need(&self, id: &str) {
        self.seen.send_modify(|seen| seen.need(id));
    }

    /// The program needs its containers no more.
    pub(crate) fn release(&self) {
        self.seen.send_modify(Containers::release);
    }

    /// Ends when a container that the program needs has ended, and the program does not see it.
    pub(crate) async fn forsaken(&self) {
        let mut seen = self.seen.subscribe();
        loop {
            // The sender lives as long as we do.
            let _ = seen.wait_for(Containers::misses).await;
            if timeout(GRACE, seen.wait_for(|seen| !seen.misses())).await.is_err() {
                self.engine.say("the container that the program works in has ended: the program is asked to end");
                return;
            }
        }
    }

    /// All that was seen, when the program has ended.
    pub(crate) async fn finish(&self, failed: bool) -> Seen {
        let late = if failed { LATE } else { Duration::ZERO };
        self.listen(&[&format!("--until={}", moment(late))]).await;
        self.ask().await;
        let containers = self.seen.borrow().clone();
        let memory = self.engine.memory();
        Seen { out_of_memory: containers.out_of_memory(memory), containers }
    }
}

/// What was seen of containers while a program ran.
pub(crate) struct Seen {
    pub(crate) containers: Containers,
    /// The kernel ended some for lack of memory.
    pub(crate) out_of_memory: Option<Failure>,
}

/// A moment from now on, as docker takes it: seconds and nanoseconds.
#[expect(clippy::disallowed_methods, reason = "events are asked for by the clock: engine and stage share the node's")]
fn moment(later: Duration) -> String {
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + later;
    format!("{}.{:09}", moment.as_secs(), moment.subsec_nanos())
}

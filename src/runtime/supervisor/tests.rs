use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::*;
use crate::runtime::{
    clock,
    health::{Need, State},
};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A service that notes that it ends.
struct Serves(Log);

impl Drop for Serves {
    fn drop(&mut self) {
        self.0.note("endpoints end");
    }
}

fn ready(health: &Health) -> bool {
    health.report(clock::monotonic()).0
}

/// A supervisor with a service and a lease that write down their ends, a health that is ready, and that stream.
fn supervised(log: &Log) -> (Supervisor, Health, crate::runtime::health::Stream) {
    let health = Health::default();
    let stream = health.stream("chains".to_owned(), Need::Always);
    stream.set(State::Live);
    let mut supervisor = Supervisor::new(health.clone());
    let service = Serves(log.clone());
    supervisor.service("endpoints", async move {
        let _service = service;
        std::future::pending::<Result<Infallible, io::Error>>().await
    });
    let released = log.clone();
    supervisor.lease(|end| async move {
        end.cancelled().await;
        released.note("lease released");
    });
    (supervisor, health, stream)
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_all_in_order() {
    let log = Log::default();
    let (mut supervisor, health, _stream) = supervised(&log);
    assert!(ready(&health));
    let (note, probe) = (log.clone(), health.clone());
    supervisor.worker("chains", |end| async move {
        end.cancelled().await;
        note.note(if ready(&probe) { "still ready" } else { "not ready" });
        tokio::task::yield_now().await;
        note.note("work finished");
        Ok::<_, io::Error>(())
    });
    supervisor.run(async { Signal::Terminate }, Duration::from_secs(20)).await.unwrap();
    assert_eq!(log.lines(), ["not ready", "work finished", "lease released", "endpoints end"]);
}

#[tokio::test(start_paused = true)]
async fn work_that_hangs_is_cut_off_before_the_lease_goes() {
    let log = Log::default();
    let (mut supervisor, _health, _stream) = supervised(&log);
    let work = Serves(log.clone());
    supervisor.worker("chains", |_| async move {
        let _work = work;
        std::future::pending::<Result<(), io::Error>>().await
    });
    let error = supervisor.run(async { Signal::Interrupt }, Duration::from_secs(20)).await.unwrap_err();
    assert_eq!(error.to_string(), "work was cut off: it was not finished within 20s");
    assert_eq!(log.lines(), ["endpoints end", "lease released", "endpoints end"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_task_that_ends_ends_the_process_with_its_error() {
    for (kind, expected) in [
        ("error", "chains ended: broken"),
        ("end", "chains ended: it was to go on"),
        ("panic", "a task panicked: task"),
    ] {
        let log = Log::default();
        let (mut supervisor, health, _stream) = supervised(&log);
        supervisor.worker("chains", |_| async move {
            match kind {
                "error" => Err(io::Error::other("broken")),
                "panic" => panic!("by intent"),
                _ => Ok(()),
            }
        });
        let error = supervisor.run(std::future::pending(), Duration::from_secs(20)).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{kind}: {error}");
        assert_eq!(log.lines(), ["lease released", "endpoints end"], "{kind}");
        assert!(!ready(&health), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_hangs_does_not_hold_up_the_end() {
    let mut supervisor = Supervisor::new(Health::default());
    let (held, _never) = oneshot::channel::<()>();
    supervisor.lease(|_| async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    supervisor.run(async { Signal::Terminate }, Duration::from_secs(20)).await.unwrap();
}

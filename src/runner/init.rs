//! The first process of a container: it starts one program, passes on the request to end, and waits for
//! whoever lost its parent, so that no zombie counts against the limit of processes.

use std::{
    future::pending,
    io,
    os::unix::process::ExitStatusExt,
    pin::pin,
    process::{Child, Command, ExitCode, ExitStatus},
    time::Duration,
};

use futures::FutureExt;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

/// 128 + a signal, as shells say it.
const SIGNALLED: i32 = 128;

/// Runs a program as its init, and ends as it ends.
pub(super) fn supervise(command: &mut Command) -> ExitCode {
    match run(command, None, pending()) {
        Ok(ended) => code(ended.status),
        Err(error) => {
            eprintln!("imagechain: {}: {error}", command.get_program().to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

/// How a program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Whether it was asked to.
    pub(super) asked: bool,
}

/// Runs a program until it ends. It is asked to end when a signal says so, or when `stop` is there; from then
/// on it has `patience`, and is killed.
///
/// # Errors
/// It cannot be started.
pub(super) fn run(
    command: &mut Command,
    patience: Option<Duration>,
    stop: impl Future<Output = ()>,
) -> io::Result<Ended> {
    // One thread: nothing here takes long, and the engine's limits count threads.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the start: no signal may be missed.
        let mut children = signal(SignalKind::child())?;
        let mut requests = signal(SignalKind::terminate())?;
        let program = pid(&command.spawn()?);
        let (mut stop, mut asked, mut deadline) = (pin!(stop.fuse()), false, None);
        loop {
            if let Some(status) = reap(program) {
                return Ok(Ended { status, asked });
            }
            let signal = tokio::select! {
                _ = children.recv() => continue,
                _ = requests.recv() => Signal::TERM,
                () = &mut stop => Signal::TERM,
                () = reached(deadline) => Signal::KILL,
            };
            send(program, signal);
            asked = true;
            deadline = patience.filter(|_| signal == Signal::TERM).map(|patience| Instant::now() + patience);
        }
    })
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id().try_into().ok()?)
}

fn send(program: Option<Pid>, signal: Signal) {
    if let Some(program) = program {
        // It may have ended by itself.
        let _ = kill_process(program, signal);
    }
}

/// Waits for all that have ended; how the program did, if it is among them.
fn reap(program: Option<Pid>) -> Option<ExitStatus> {
    let mut ended = None;
    while let Ok(Some((who, status))) = wait(WaitOptions::NOHANG) {
        if Some(who) == program {
            ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
    }
    ended
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(SIGNALLED + status.signal()?)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_an_exit_code() {
        for (raw, expected) in [(0, 0), (3 << 8, 3), (9, 137), (15, 143)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), ExitCode::from(expected), "{raw}");
        }
    }
}

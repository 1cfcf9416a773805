//! Waits for the qemu that a program of the user has started, and notes that it was killed. Packer does not look: it goes
//! on waiting for the guest.

use std::{
    fs, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitCode, ExitStatus},
};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use tokio::{
    process::Child,
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::runner::process::killed;

/// Runs qemu, and ends as it does. Whoever started this program takes it for qemu: what it is told by signals is passed
/// on, and with it qemu ends.
pub(super) fn run(command: Command, death: &Path) -> io::Result<ExitCode> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(ended(command))?;
    if killed("qemu", status).is_some() {
        fs::write(death, status.into_raw().to_string())?;
    }
    Ok(code(status))
}

async fn ended(mut command: Command) -> io::Result<ExitStatus> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    bind(&mut command);
    let mut qemu = tokio::process::Command::from(command).spawn()?;
    loop {
        let asked = tokio::select! {
            status = qemu.wait() => return status,
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
            _ = hang_up.recv() => Signal::HUP,
        };
        tell(&qemu, asked);
    }
}

fn tell(qemu: &Child, asked: Signal) {
    let process = qemu.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(process) = process {
        // It may have ended meanwhile.
        let _ = kill_process(process, asked);
    }
}

/// Lets a program end with this process, however this ends: packer ends qemu by SIGKILL.
#[expect(unsafe_code, reason = "between fork and exec there are system calls alone")]
fn bind(command: &mut Command) {
    let parent = getpid();
    let begin = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: it allocates nothing, and takes no lock.
    unsafe { command.pre_exec(begin) };
}

/// As a shell has it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

//! Waits for the qemu that a program of the user has started, and notes that it was killed. Packer does not look: it goes
//! on waiting for the guest, or takes it for a fault of its script.
//!
//! Two processes stand between packer and qemu. The one that packer takes for qemu is ended by it with SIGKILL, as soon as
//! packer finds that something is wrong; the other one is told of that, ends qemu, and so knows of a qemu that was killed
//! whether somebody else has done it.

use std::{
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal},
};
use tokio::{
    process::Child,
    runtime,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::runner::process::killed;

/// How long a program may take to end that is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the program that attends qemu, and ends as it does. Whoever started this program takes it for qemu: what it is
/// told by signals is passed on.
pub(super) fn through(attendant: Command) -> io::Result<ExitCode> {
    end_of(attendant, Signal::TERM).map(|end| code(end.status))
}

/// Runs qemu, ends as it does, and notes where another than this program has killed it. `present` is locked as long.
pub(super) fn attend(qemu: Command, death: &Path, present: &Path) -> io::Result<ExitCode> {
    let present = File::create(present)?;
    flock(&present, FlockOperation::LockExclusive)?;
    let End { status, by_us } = end_of(qemu, Signal::KILL)?;
    if !by_us && killed("qemu", status).is_some() {
        fs::write(death, status.into_raw().to_string())?;
    }
    Ok(code(status))
}

/// How a program ended.
struct End {
    status: ExitStatus,
    /// Whether it was killed by this one, since nobody is left who wants it.
    by_us: bool,
}

/// Runs a program, which gets a signal when this process ends, and passes on what this one is told.
fn end_of(command: Command, on_death: Signal) -> io::Result<End> {
    let parent = getppid();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut program = start(command, on_death)?;
        loop {
            let asked = tokio::select! {
                status = program.wait() => return Ok(End { status: status?, by_us: false }),
                _ = terminate.recv() => Signal::TERM,
                _ = interrupt.recv() => Signal::INT,
                _ = hang_up.recv() => Signal::HUP,
            };
            if getppid() != parent {
                return forsaken(program).await;
            }
            tell(&program, asked);
        }
    })
}

/// Ends a program that nobody wants any more. It is asked to, and not killed: one that somebody else has killed, which may
/// be why nobody wants it, is known by that.
async fn forsaken(mut program: Child) -> io::Result<End> {
    tell(&program, Signal::TERM);
    if let Ok(status) = timeout(PATIENCE, program.wait()).await {
        return Ok(End { status: status?, by_us: false });
    }
    tell(&program, Signal::KILL);
    Ok(End { status: program.wait().await?, by_us: true })
}

fn tell(program: &Child, asked: Signal) {
    let process = program.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(process) = process {
        // It may have ended just now.
        let _ = kill_process(process, asked);
    }
}

/// Starts a program that gets a signal when this process ends, however that is.
#[expect(unsafe_code, reason = "between fork and exec there are system calls alone")]
fn start(mut command: Command, on_death: Signal) -> io::Result<Child> {
    let parent = getpid();
    let begin = move || {
        set_parent_process_death_signal(Some(on_death))?;
        // It may have ended before.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: it allocates nothing, and takes no lock.
    unsafe { command.pre_exec(begin) };
    tokio::process::Command::from(command).spawn()
}

/// As a shell has it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

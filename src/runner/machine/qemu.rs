//! Qemu as a program: it starts, takes commands, ends, and says why if nobody asked it to.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    process::Command,
    time::timeout,
};

use super::{command::QEMU, qmp::Qmp};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
    runner::{
        process::{Beside, Processes, Tail, ending, killed},
        report::{local, read_bounded},
    },
};

/// How long qemu may take until it connects: it has allocated the memory by then.
const STARTING: Duration = Duration::from_mins(1);
/// How long it may take to end when it is told to.
const QUITTING: Duration = Duration::from_secs(10);
/// How long a program that has broken off the conversation may take to be gone.
const DYING: Duration = Duration::from_secs(5);
/// How much of its last words is told, in lines and in bytes.
const WORDS: (usize, usize) = (3, 400);

/// A qemu that runs. It ends with its stage, and when this is dropped.
#[derive(Debug)]
pub(super) struct Qemu<'p> {
    program: Beside<'p>,
    pub(super) qmp: Qmp,
    output: PathBuf,
}

impl<'p> Qemu<'p> {
    /// Starts qemu, which connects to the socket. What it prints goes to the file `output`.
    ///
    /// # Errors
    /// It is not there, or ends at once: its last words are told.
    pub(super) async fn start(
        processes: &'p Processes,
        arguments: Vec<String>,
        socket: &Path,
        output: &Path,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| local("qemu cannot be started", &error);
        // That of a machine before this one.
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).map_err(failed)?;
        let file = File::create(output).map_err(failed)?;
        let mut command = Command::new(QEMU);
        command.args(arguments);
        let mut program = processes.start_beside(command, &file)?;
        match connect(&listener, &mut program).await {
            Ok(qmp) => Ok(Self { program, qmp, output: output.to_owned() }),
            Err(error) => Err(broken(&mut program, output, error).await),
        }
    }

    /// Waits for its end, which nobody asked for. Who stops waiting may wait again.
    pub(super) async fn ended(&mut self) -> Failure {
        match self.program.wait().await {
            Ok(status) => unasked(status, &self.output),
            Err(error) => local(QEMU, &error),
        }
    }

    /// Its end, if it has come.
    pub(super) async fn end(&mut self) -> Option<Failure> {
        timeout(Duration::ZERO, self.ended()).await.ok()
    }

    /// Ends it. The guest has so long to power down by itself; whatever it does, there is an end.
    ///
    /// # Errors
    /// The system does not say how it ended.
    pub(super) async fn stop(mut self, patience: Duration) -> io::Result<ExitStatus> {
        if !patience.is_zero()
            && let Ok(ended) = timeout(patience, self.power_down()).await
        {
            return ended;
        }
        if let Ok(ended) = timeout(QUITTING, self.quit()).await {
            return ended;
        }
        self.program.kill();
        self.program.wait().await
    }

    async fn power_down(&mut self) -> io::Result<ExitStatus> {
        // One that does not listen is ended otherwise, later.
        let _ = self.qmp.power_down().await;
        self.program.wait().await
    }

    async fn quit(&mut self) -> io::Result<ExitStatus> {
        let _ = self.qmp.quit().await;
        self.program.wait().await
    }
}

/// Waits until qemu connects, and begins the conversation.
async fn connect(listener: &UnixListener, program: &mut Beside<'_>) -> io::Result<Qmp> {
    Qmp::begin(connection(listener, program).await?).await
}

async fn connection(listener: &UnixListener, program: &mut Beside<'_>) -> io::Result<UnixStream> {
    tokio::select! {
        biased;
        _ = program.wait() => Err(io::ErrorKind::BrokenPipe.into()),
        connected = timeout(STARTING, listener.accept()) => {
            let (stream, _) = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(stream)
        }
    }
}

/// Why there is no conversation: mostly because qemu has ended.
async fn broken(program: &mut Beside<'_>, output: &Path, error: io::Error) -> Failure {
    match timeout(DYING, program.wait()).await {
        Ok(Ok(status)) => unasked(status, output),
        _ => local("qemu does not answer", &error),
    }
}

/// Says how qemu ended that nobody asked to.
fn unasked(status: ExitStatus, output: &Path) -> Failure {
    if let Some(failure) = killed("qemu", status) {
        return failure;
    }
    let (words, ended) = (words(output), ending(status));
    let starved = words.contains("annot allocate memory");
    match (starved, status.success()) {
        (true, _) => Failure::new(
            Reason::OutOfMemory,
            format!(
                "qemu ended with {ended}{words}. A machine needs its own memory and some 400 MiB besides: raise \
                 resources.memory of the profile, or give the machine less"
            ),
        ),
        (_, true) => Failure::new(Reason::VerificationFailed, "the machine has powered itself off"),
        _ => Failure::new(Reason::VerificationFailed, format!("qemu ended with {ended}{words}")),
    }
}

/// The last words of a program in a file, as the end of a sentence; empty where there are none.
fn words(output: &Path) -> String {
    let (lines, longest) = WORDS;
    let mut tail = Tail::default();
    read_bounded(output).unwrap_or_default().lines().for_each(|line| tail.push(line));
    let words = truncate_middle(&tail.last(lines), longest);
    if words.is_empty() { words } else { format!(": {words}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_has_its_reason() {
        let output = tempfile::NamedTempFile::new().unwrap();
        let told = |status, words: &str| {
            fs::write(output.path(), words).unwrap();
            unasked(ExitStatus::from_raw(status), output.path())
        };
        let off = told(0, "");
        assert_eq!(
            (off.reason, off.message.as_str()),
            (Reason::VerificationFailed, "the machine has powered itself off")
        );
        let bad = told(1 << 8, "qemu-system-x86_64: no such device\n");
        assert_eq!(bad.message, "qemu ended with exit code 1: qemu-system-x86_64: no such device");
        // For lack of memory or not, the kubelet knows.
        let killed = told(9, "");
        assert_eq!(killed.reason, Reason::StageInterrupted);
        assert!(killed.message.starts_with("qemu was killed (signal 9)"), "{}", killed.message);
        // As qemu 7.2 writes it.
        let starved = told(1 << 8, "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory\n");
        assert_eq!(starved.reason, Reason::OutOfMemory);
        assert!(starved.message.contains(". A machine needs its own memory"), "{}", starved.message);
    }
}

//! Runs git: with nothing of our environment, within limits, and gone when nobody waits any more.

use std::{
    io,
    path::Path,
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, copy, sink},
    process::{Child, Command},
    try_join,
};

/// Where programs are: the environment is not asked.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most of what git tells that is kept, in bytes: the refs of a large server, or the entries of trees.
const LONGEST_OUTPUT: u64 = 32 * 1024 * 1024;
/// The most of what it complains of that is kept, in bytes.
const LONGEST_COMPLAINT: u64 = 64 * 1024;

/// What a run of git said.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    /// `None`: it said more than is kept.
    pub(super) text: Option<String>,
    pub(super) complaint: String,
}

/// A call of git that writes no file larger than a limit: the kernel ends what goes on. The limit is set by
/// the shell's `ulimit` (POSIX, in units of 512 bytes), since between a start and a limit from outside
/// anything may happen. The shell gets all else as arguments, and interprets none of it.
pub(super) fn limited(folder: &Path, bytes: u64) -> Command {
    let mut command = clean(Command::new("/bin/sh"), folder);
    command.args(["-c", r#"ulimit -f "$1" && shift && exec git "$@""#, "git"]).arg((bytes / 512).to_string());
    command
}

/// A call of git.
pub(super) fn unlimited(folder: &Path) -> Command {
    clean(Command::new("git"), folder)
}

fn clean(mut command: Command, folder: &Path) -> Command {
    command.env_clear().current_dir(folder).env("PATH", PATH).env("HOME", folder);
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_CONFIG_GLOBAL", folder.join("config")).env("GIT_ALLOW_PROTOCOL", "http:https:ssh");
    command.env("GIT_LITERAL_PATHSPECS", "1").env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that its helpers end with it.
    command.kill_on_drop(true).process_group(0);
    command
}

/// Runs a command to its end.
pub(super) async fn run(mut command: Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let mut group = Group::of(&child);
    let (text, complaint) = try_join!(read(output, LONGEST_OUTPUT), read(errors, LONGEST_COMPLAINT))?;
    let status = child.wait().await?;
    group.0 = None;
    let is_whole = text.len() as u64 <= LONGEST_OUTPUT;
    let text = is_whole.then(|| String::from_utf8_lossy(&text).into_owned());
    Ok(Output { status, text, complaint: String::from_utf8_lossy(&complaint).into_owned() })
}

/// Reads all, and keeps one byte more than the limit, which tells that there was more.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(most + 1).read_to_end(&mut kept).await?;
        copy(&mut pipe, &mut sink()).await?;
    }
    Ok(kept)
}

/// Ends a process group when dropped. Its leader must not be waited for before: its number would be free
/// for others.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

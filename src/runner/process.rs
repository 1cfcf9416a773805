//! Runs programs: each with a process group of its own, its lines shown as they come, and gone with all that
//! it started when time is up.

use std::{
    collections::VecDeque,
    fs::File,
    future::{Future, pending},
    io,
    os::fd::OwnedFd,
    path::Path,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    process::{Child, Command},
    time::timeout,
};

use super::report::local;
use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        text::{plain, truncate_middle},
    },
};

/// How long lines may still come when the program has ended: what it started may hold its output open.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long a program may take to end that was asked to, with what it cleans up.
const ENDING: Duration = Duration::from_secs(20);
/// The longest line that is shown in one piece, in bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// The programs of a stage.
#[derive(Debug, Default)]
pub(super) struct Processes {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// The groups of those that run.
    groups: Vec<Pid>,
    /// No further one is started.
    closed: bool,
}

impl Processes {
    /// Runs a program in the foreground and hands each of its lines on.
    ///
    /// # Errors
    /// It cannot be started, or the stage is being ended.
    pub(super) async fn run(&self, command: Command, lines: &mut dyn FnMut(&str)) -> Result<ExitStatus, Failure> {
        self.run_until(command, lines, pending()).await
    }

    /// The same, and asks the program to end when `stop` does.
    ///
    /// # Errors
    /// It cannot be started, or the stage is being ended.
    pub(super) async fn run_until(
        &self,
        mut command: Command,
        lines: &mut dyn FnMut(&str),
        stop: impl Future<Output = ()>,
    ) -> Result<ExitStatus, Failure> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let (receiver, mut child, group) = self.start(&mut command, &program)?;
        let mut following = pin!(follow(receiver, &mut child, lines));
        let ended = tokio::select! {
            biased;
            ended = &mut following => ended,
            () = stop => {
                signal(group.leader, Signal::TERM);
                if let Ok(ended) = timeout(ENDING, &mut following).await {
                    ended
                } else {
                    signal(group.leader, Signal::KILL);
                    following.await
                }
            }
        };
        ended.map_err(|error| local(&program, &error))
    }

    /// Starts a program that runs beside others until its handle is dropped. What it prints goes into a file, so that
    /// nobody has to read it meanwhile.
    ///
    /// # Errors
    /// It cannot be started, or the stage is being ended.
    pub(super) fn start_beside(&self, mut command: Command, output: &File) -> Result<Beside<'_>, Failure> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let into_file = |command: &mut Command| {
            command.stdout(output.try_clone()?).stderr(output.try_clone()?);
            Ok(((), in_group(command).spawn()?))
        };
        let ((), child, group) = self.begin(&mut command, &program, into_file)?;
        Ok(Beside { child, group })
    }

    fn start(&self, command: &mut Command, program: &str) -> Result<(Receiver, Child, Group<'_>), Failure> {
        self.begin(command, program, spawn)
    }

    fn begin<T>(
        &self,
        command: &mut Command,
        program: &str,
        spawn: impl FnOnce(&mut Command) -> io::Result<(T, Child)>,
    ) -> Result<(T, Child, Group<'_>), Failure> {
        let mut now = self.now();
        if now.closed {
            return Err(Failure::new(Reason::StageInterrupted, "the stage is being ended"));
        }
        let (output, child) = spawn(command).map_err(|error| unstartable(program, command, &error))?;
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        now.groups.extend(leader);
        Ok((output, child, Group { processes: self, leader }))
    }

    /// Asks the programs that run to end, and lets no other start. The answer is whether one runs.
    pub(super) fn close(&self) -> bool {
        let mut now = self.now();
        now.closed = true;
        now.signal(Signal::TERM);
        !now.groups.is_empty()
    }

    /// Ends what runs, whether it wants or not.
    pub(super) fn kill(&self) {
        self.now().signal(Signal::KILL);
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn signal(&self, which: Signal) {
        self.groups.iter().for_each(|group| signal(Some(*group), which));
    }
}

/// A program that runs beside others. It ends with its stage, and when this is dropped.
#[derive(Debug)]
pub(super) struct Beside<'p> {
    child: Child,
    group: Group<'p>,
}

impl Beside<'_> {
    /// Waits for its end. Who stops waiting may wait again.
    ///
    /// # Errors
    /// The system does not say how it ended.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it and what it started, whether it wants or not.
    pub(super) fn kill(&self) {
        signal(self.group.leader, Signal::KILL);
    }
}

/// The process group of a program, while it runs.
#[derive(Debug)]
struct Group<'p> {
    processes: &'p Processes,
    leader: Option<Pid>,
}

/// What a program leaves running in its group does not outlive it. No other can have the number of the group while one
/// of its members lives; where none does, nothing is hit, but for a new group that got the number within these few
/// instructions.
impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.processes.now().groups.retain(|group| Some(*group) != self.leader);
        signal(self.leader, Signal::KILL);
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(leader) = group {
        // It may have ended by itself.
        let _ = kill_process_group(leader, signal);
    }
}

/// Both of its outputs are one pipe, so that lines come in the order in which they were written.
fn spawn(command: &mut Command) -> io::Result<(Receiver, Child)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = in_group(command).spawn();
    // The command holds the ends of the pipe that the program writes to: then it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((Receiver::from_owned_fd(OwnedFd::from(reader))?, child?))
}

/// With a group of its own, no input, and an end when nobody waits for it any more.
fn in_group(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).kill_on_drop(true).process_group(0)
}

fn unstartable(program: &str, command: &Command, error: &io::Error) -> Failure {
    let folder = command.as_std().get_current_dir();
    match error.kind() {
        io::ErrorKind::NotFound if folder.is_none_or(Path::is_dir) => Failure::new(
            Reason::BuilderUnsuitable,
            format!(
                "{program} not found in the builder image: install it there, or name another image in the profile (images.builder)"
            ),
        ),
        io::ErrorKind::PermissionDenied => {
            Failure::new(Reason::BuilderUnsuitable, format!("{program} cannot be run in the builder image: {error}"))
        }
        _ => local(program, error),
    }
}

/// Reads until the program has ended and no line comes any more.
async fn follow(mut receiver: Receiver, child: &mut Child, lines: &mut dyn FnMut(&str)) -> io::Result<ExitStatus> {
    let mut splitter = Splitter::default();
    let mut chunk = vec![0; 8192];
    let status = loop {
        tokio::select! {
            biased;
            read = receiver.read(&mut chunk) => match read? {
                0 => break child.wait().await?,
                count => splitter.push(chunk.get(..count).unwrap_or_default(), lines),
            },
            status = child.wait() => {
                let status = status?;
                while let Ok(Ok(count @ 1..)) = timeout(LAST_LINES, receiver.read(&mut chunk)).await {
                    splitter.push(chunk.get(..count).unwrap_or_default(), lines);
                }
                break status;
            }
        }
    };
    splitter.end(lines);
    Ok(status)
}

/// Makes lines of chunks.
#[derive(Default)]
struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    fn push(&mut self, chunk: &[u8], lines: &mut dyn FnMut(&str)) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() > LONGEST_LINE {
                self.end(lines);
            }
        }
    }

    fn end(&mut self, lines: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.rest);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        if !self.rest.is_empty() {
            lines(line.strip_suffix('\r').unwrap_or(line));
        }
        self.rest.clear();
    }
}

/// The last lines of a program, for what nothing better explains.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    const MOST: usize = 40;

    /// Keeps a line.
    pub(super) fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == Self::MOST {
            self.lines.pop_front();
        }
        self.lines.push_back(truncate_middle(&plain(line), 400));
    }

    /// The last of them, in one text.
    pub(super) fn last(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// The failure that a program was killed, where it was: the stage has to know that it has not done so itself. Where a
/// container needed more memory than it may have, the kubelet says so, and its word comes before that of the stage.
pub(super) fn killed(program: &str, status: ExitStatus) -> Option<Failure> {
    use std::os::unix::process::ExitStatusExt;
    let is_killed = status.signal() == Some(Signal::KILL.as_raw());
    is_killed.then(|| {
        let message = format!(
            "{program} was killed ({}), nobody says by whom; the node may have been short of memory",
            ending(status)
        );
        Failure::new(Reason::StageInterrupted, message)
    })
}

/// How a program ended, for people.
pub(super) fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    async fn lines_of(script: &str) -> (Vec<String>, String) {
        let mut lines = Vec::new();
        let status = Processes::default().run(shell(script), &mut |line| lines.push(line.to_owned())).await.unwrap();
        (lines, ending(status))
    }

    #[tokio::test]
    async fn lines_come_in_order_from_both_outputs() {
        let (lines, ending) = lines_of("echo one; echo two >&2; printf 'three\\r\\nfour'; exit 3").await;
        assert_eq!(lines, ["one", "two", "three", "four"]);
        assert_eq!(ending, "exit code 3");
    }

    #[tokio::test]
    async fn a_program_that_leaves_others_behind_is_not_waited_for() {
        let (lines, ending) = lines_of("setsid sleep 1000 & echo $!").await;
        assert_eq!(ending, "exit code 0");
        let left: i32 = lines[0].parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn what_is_left_in_the_group_ends_with_it() {
        let (lines, _) = lines_of("sleep 1000 >/dev/null 2>&1 & echo $!").await;
        let stat = format!("/proc/{}/stat", lines[0]);
        // A zombie until the first process of the machine has waited for it.
        let is_gone = |text: String| text.contains(") Z ");
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while !std::fs::read_to_string(&stat).map_or(true, is_gone) {
            assert!(tokio::time::Instant::now() < deadline, "it still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_closed_stage_ends_what_runs_and_starts_nothing() {
        let processes = Processes::default();
        let mut ready = |_: &str| assert!(processes.close());
        let status = processes.run(shell("echo up; sleep 1000 & wait"), &mut ready).await.unwrap();
        assert_eq!(ending(status), "signal 15");
        let refused = processes.run(shell("true"), &mut |_| {}).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StageInterrupted);
    }

    #[tokio::test]
    async fn a_program_that_is_asked_to_end_may_say_something_last() {
        let (up, stop) = tokio::sync::oneshot::channel();
        let (mut up, mut lines) = (Some(up), Vec::new());
        let mut ready = |line: &str| {
            up.take().into_iter().for_each(|up| up.send(()).unwrap());
            lines.push(line.to_owned());
        };
        let script = shell("trap 'echo bye; exit 7' TERM; echo up; sleep 1000 & wait");
        let stop = async { stop.await.unwrap() };
        let processes = Processes::default();
        let status = processes.run_until(script, &mut ready, stop).await.unwrap();
        assert_eq!((ending(status).as_str(), lines.join(" ").as_str()), ("exit code 7", "up bye"));
    }

    #[tokio::test]
    async fn a_program_may_run_beside_another() {
        let processes = Processes::default();
        let mut ready = |_: &str| assert!(processes.close());
        let mut silent = |_: &str| {};
        let beside = processes.run(shell("sleep 1000 & wait"), &mut silent);
        let (beside, first) = tokio::join!(beside, processes.run(shell("echo up; sleep 1000 & wait"), &mut ready));
        assert_eq!([ending(beside.unwrap()), ending(first.unwrap())], ["signal 15", "signal 15"]);
    }

    #[tokio::test]
    async fn a_program_beside_others_ends_with_its_handle_and_with_its_stage() {
        let (processes, output) = (Processes::default(), tempfile::tempfile().unwrap());
        let mut dropped = processes.start_beside(shell("sleep 1000 & echo $!; wait"), &output).unwrap();
        assert!(timeout(Duration::from_millis(1), dropped.wait()).await.is_err());
        drop(dropped);
        assert!(!processes.close(), "nothing runs any more");
        let processes = Processes::default();
        let mut beside = processes.start_beside(shell("sleep 1000 & wait"), &output).unwrap();
        assert!(processes.close());
        assert_eq!(ending(beside.wait().await.unwrap()), "signal 15");
        assert_eq!(ending(beside.wait().await.unwrap()), "signal 15", "asked again");
        let refused = processes.start_beside(shell("true"), &output).unwrap_err();
        assert_eq!(refused.reason, Reason::StageInterrupted);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_the_builders_lack() {
        let refused = Processes::default().run(Command::new("packer-not-there"), &mut |_| {}).await.unwrap_err();
        assert_eq!(refused.reason, Reason::BuilderUnsuitable);
        assert!(refused.message.starts_with("packer-not-there not found in the builder image"), "{}", refused.message);
    }

    #[tokio::test]
    async fn a_program_that_was_killed_has_not_failed() {
        let told = async |script: &str| {
            let status = Processes::default().run(shell(script), &mut |_| {}).await.unwrap();
            killed("packer", status).map(|failure| (failure.reason, failure.message))
        };
        let (reason, message) = told("kill -KILL $$").await.unwrap();
        assert_eq!(reason, Reason::StageInterrupted);
        assert!(message.starts_with("packer was killed (signal 9), nobody says by whom"), "{message}");
        for other in ["exit 1", "exit 137", "kill -TERM $$"] {
            assert_eq!(told(other).await, None, "{other}");
        }
    }

    #[test]
    fn long_lines_are_split() {
        let mut lines = Vec::new();
        let mut splitter = Splitter::default();
        for _ in 0..40 {
            splitter.push(&[b'x'; 1000], &mut |line| lines.push(line.len()));
        }
        splitter.end(&mut |line| lines.push(line.len()));
        assert_eq!(lines, [17000, 17000, 6000]);
    }

    #[test]
    fn a_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for number in 0..100 {
            tail.push(&format!("line {number}"));
            tail.push("  ");
        }
        assert_eq!(tail.last(2), "line 98\nline 99");
        assert_eq!(tail.last(100).lines().count(), 40);
    }
}

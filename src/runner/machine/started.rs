//! Machines that programs of the user start, packer above all. What they show goes to the log while they run; of the
//! last one it is kept, since packer ends a machine before it says what went wrong.

use std::{
    cell::RefCell,
    convert::Infallible,
    ffi::OsString,
    fs::{self, File},
    future::Future,
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::{
    net::UnixStream,
    process::Command,
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    accelerator::{Accelerator, Host},
    command::Files,
    console::Console,
    evidence, probe,
    qmp::Qmp,
    screen::{self, Screen},
    wrapper,
};
use crate::{
    api::build::Stage,
    plan::{failure::Failure, text::truncate_middle},
    runner::{context::Context, log::Log, process::killed, report::local},
};

/// How often it is looked for machines, and whether they have printed more: nobody is told of either.
const LOOKING: Duration = Duration::from_millis(500);
/// How often the screen is looked at. A boot that hangs shows the same for minutes, and a look takes some milliseconds
/// of the machine's time.
const PICTURES: Duration = Duration::from_secs(15);
/// How long a look at the screen may take.
const PICTURE: Duration = Duration::from_secs(10);
/// How long it may take after the end of packer until it is noted how its machine ended.
const LAST_NOTE: Duration = Duration::from_secs(10);
/// How often it is looked for that.
const LOOKING_FOR_NOTE: Duration = Duration::from_millis(20);
/// How much of qemu's last words is told, in lines and in bytes.
const WORDS: (usize, usize) = (3, 300);

/// The machines that programs of the user start.
pub(crate) struct Started<'c> {
    context: &'c Context,
    /// The PATH of those programs.
    path: OsString,
    /// Where each machine has a folder, by its number.
    machines: PathBuf,
    /// How many machines were there before.
    before: usize,
    accelerator: Accelerator,
    seen: RefCell<Vec<Seen>>,
    /// Is told that a machine was killed.
    killed: Notify,
}

/// A machine, and what was seen of it.
struct Seen {
    files: Files,
    console: Console,
    output: Console,
    screen: Option<Screen>,
}

impl<'c> Started<'c> {
    /// Makes ready what those programs find in their PATH.
    ///
    /// # Errors
    /// The workspace cannot be written.
    pub(crate) async fn prepare(context: &'c Context, stage: Stage) -> Result<Self, Failure> {
        let Context { places, processes, .. } = context;
        // Each stage is another user.
        let machines = places.workspace.join(format!("machines-{}", stage.container()));
        let programs = machines.join("programs");
        let failed = |error: io::Error| local("the wrapper of qemu cannot be written", &error);
        fs::create_dir_all(&machines).map_err(failed)?;
        let accelerator = probe::find(processes, &Host::default(), &machines).await;
        let memory = context.job.machine.map_or(u64::MAX, |machine| machine.memory);
        wrapper::install(&programs, &machines, &places.program, (accelerator == Accelerator::Kvm, memory))
            .map_err(failed)?;
        let path = wrapper::path(&programs, &places.path).map_err(failed)?;
        let before = (1..=wrapper::MOST).take_while(|number| machines.join(number.to_string()).exists()).count();
        Ok(Self { context, path, machines, before, accelerator, seen: RefCell::default(), killed: Notify::new() })
    }

    /// Lets a program find the wrapper.
    pub(crate) fn environment(&self, command: &mut Command) {
        command.env("PATH", &self.path);
    }

    /// Lets a program run, and shows what its machines show.
    pub(crate) async fn during<T>(&self, program: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            biased;
            done = program => done,
            never = self.watch() => match never {},
        };
        self.look();
        done
    }

    async fn watch(&self) -> Infallible {
        let mut ticks = interval(LOOKING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            self.look();
            if last.elapsed() >= PICTURES {
                self.picture().await;
                last = Instant::now();
            }
        }
    }

    /// Shows what is new.
    pub(super) fn look(&self) {
        let mut seen = self.seen.borrow_mut();
        let folder = |seen: usize| self.machines.join((self.before + seen + 1).to_string());
        while let Some((machine, changes)) = Seen::begin(&folder(seen.len())) {
            let accelerator = self.accelerator.sentence();
            self.context
                .log
                .say(format_args!("a machine starts, its command line adjusted: {changes} ({accelerator})"));
            seen.push(machine);
        }
        if seen.iter().any(Seen::is_killed) {
            self.killed.notify_one();
        }
        for (number, machine) in seen.iter().enumerate() {
            // With one machine, as most builds have, no number tells more.
            let name = if number == 0 { String::new() } else { format!(" {}", number + 1) };
            machine.output.new_lines(|line| self.context.log.line(&format!("qemu{name}: {line}")));
            machine.console.new_lines(|line| self.context.log.line(&format!("console{name}: {line}")));
        }
    }

    /// Ends when a machine was killed. Packer does not notice, and would try for minutes to reach it.
    pub(crate) async fn forsaken(&self) {
        self.killed.notified().await;
    }

    /// The failure that a machine was killed. Packer may end before that is noted: whoever may yet note it is waited for.
    pub(crate) async fn killed(&self) -> Option<Failure> {
        let present: Vec<_> = self.seen.borrow().iter().map(|machine| machine.files.present.clone()).collect();
        let all_noted = async {
            let mut ticks = interval(LOOKING_FOR_NOTE);
            while present.iter().any(|file| is_locked(file)) {
                ticks.tick().await;
            }
        };
        // A machine that goes on for long has not ended with packer.
        let _ = timeout(LAST_NOTE, all_noted).await;
        let seen = self.seen.borrow();
        let death = fs::read_to_string(&seen.iter().find(|machine| machine.is_killed())?.files.death);
        let status = ExitStatus::from_raw(death.ok()?.parse().ok()?);
        killed("qemu", status)
    }

    /// Looks at the screen of the last machine.
    pub(super) async fn picture(&self) {
        let files =
            self.seen.borrow().last().map(|machine| (machine.files.socket.clone(), machine.files.picture.clone()));
        let Some((socket, picture)) = files else { return };
        // It may have ended.
        let Ok(Some(screen)) = timeout(PICTURE, look(&socket, &picture)).await else { return };
        if let Some(machine) = self.seen.borrow_mut().last_mut() {
            machine.screen = Some(screen);
        }
    }

    /// What the last machine showed, as sentences; empty where there was none. `lost`: the program has not reached it,
    /// so that its screen matters.
    pub(crate) fn evidence(&self, log: &Log, lost: bool) -> String {
        let seen = self.seen.borrow();
        let Some(Seen { console, output, screen, .. }) = seen.last() else { return String::new() };
        let words = truncate_middle(&output.last(WORDS.0), WORDS.1);
        let words = if words.is_empty() { words } else { format!("Qemu said: {words}. ") };
        format!("{words}{}", evidence::told(screen.as_ref().filter(|_| lost), console, log))
    }
}

/// Whether somebody has a file locked.
fn is_locked(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

impl Seen {
    fn is_killed(&self) -> bool {
        self.files.death.exists()
    }

    /// A machine that has begun, by its folder, and what is otherwise than its program said.
    fn begin(folder: &Path) -> Option<(Self, String)> {
        let files = Files::of(folder);
        let changes = fs::read_to_string(&files.changes).ok()?;
        let (console, output) = (Console::of(files.console.clone()), Console::of(files.output.clone()));
        Some((Self { files, console, output, screen: None }, changes.trim_end().replace('\n', "; ")))
    }
}

async fn look(socket: &Path, picture: &Path) -> Option<Screen> {
    let mut qmp = Qmp::begin(UnixStream::connect(socket).await.ok()?).await.ok()?;
    screen::look(&mut qmp, picture).await
}

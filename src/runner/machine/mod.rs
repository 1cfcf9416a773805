//! Boots machines for tests: the disk of a box in qemu, reached by ssh. The disk is not written to, so that what is
//! tested is what is published.

mod accelerator;
mod adjust;
mod command;
mod console;
mod evidence;
mod login;
mod probe;
mod qemu;
mod qmp;
mod screen;
mod ssh;
mod started;
mod supervise;
#[cfg(test)]
mod tests;
mod wrapper;

use std::{convert::Infallible, fs, future::pending, io, path::PathBuf, time::Duration};

use tokio::{process::Command, time::Instant};

pub use self::wrapper::{Hypervisor, call};
use self::{accelerator::Host, command::Files, console::Console, qemu::Qemu};
pub(super) use self::{
    command::{Boot, Bus, DiskFormat, Nic},
    login::{Access, Login, Proof},
    started::Started,
};
use super::{
    context::Context,
    process::{Processes, Tail},
    report::local,
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
};

/// A machine that runs. It ends with its stage, and when this is dropped.
pub(super) struct Machine<'c> {
    context: &'c Context,
    qemu: Qemu<'c>,
    folder: PathBuf,
    console: Console,
    shows_console: bool,
    /// The port of 127.0.0.1 that leads to port 22 of the guest.
    port: u16,
}

impl<'c> Machine<'c> {
    /// Starts a machine. It boots when this returns.
    ///
    /// # Errors
    /// There is no qemu, it ends at once, or the disk is none of that format.
    pub(super) async fn boot(context: &'c Context, boot: &Boot) -> Result<Self, Failure> {
        let Context { processes, log, .. } = context;
        let files = Files::of(&boot.folder);
        prepare(processes, boot, &files).await?;
        let accelerator = probe::find(processes, &Host::default(), &boot.folder).await;
        log.say(accelerator.sentence());
        let arguments = command::arguments(boot, &files, &accelerator);
        let mut qemu = Qemu::start(processes, arguments, &files.socket, &files.output).await?;
        let port = port(&mut qemu).await?;
        let (folder, console) = (boot.folder.clone(), Console::of(files.console));
        Ok(Self { context, qemu, folder, console, shows_console: boot.shows_console, port })
    }

    /// Waits until the guest lets somebody in, and says how it is reached from then on.
    ///
    /// # Errors
    /// It does not until the deadline, refuses the login, or has ended. The failure says what the machine shows.
    pub(super) async fn ready(&mut self, login: &Login, deadline: Instant) -> Result<Access, Failure> {
        let access = Access::prepare(login, self.port, &self.folder);
        let access = access.map_err(|error| local("the files for ssh cannot be written", &error))?;
        match self.answer(login, &access, deadline).await {
            Ok(()) => Ok(access),
            Err(failure) if failure.reason == Reason::VerificationFailed => Err(self.explained(failure).await),
            Err(failure) => Err(failure),
        }
    }

    async fn answer(&mut self, login: &Login, access: &Access, deadline: Instant) -> Result<(), Failure> {
        let Context { processes, log, .. } = self.context;
        let _step = log.step(format!("waiting until the machine is reached by ssh at port {}", self.port));
        let console =
            async { if self.shows_console { self.console.follow(log).await } else { pending::<Infallible>().await } };
        tokio::select! {
            biased;
            ended = self.qemu.ended() => Err(ended),
            reached = ssh::wait(processes, login, access, deadline) => reached,
            never = console => match never {},
        }
    }

    /// The failure that it has ended by itself; `None` while it runs. A guest that reboots has not ended.
    pub(super) async fn end(&mut self) -> Option<Failure> {
        self.qemu.end().await
    }

    /// A failure with what explains it: that the machine has ended, or what its screen shows, and the last lines of its
    /// console. Where it was killed, that is what has failed.
    pub(super) async fn explained(&mut self, failure: Failure) -> Failure {
        let (mut first, mut screen) = (failure.message.trim_end_matches('.').to_owned(), None);
        match self.end().await {
            Some(ended) if ended.message == failure.message => {}
            Some(ended) if ended.reason != Reason::VerificationFailed => return ended,
            Some(ended) => first = format!("{first}. {}", ended.message),
            None => screen = screen::look(&mut self.qemu.qmp, &Files::of(&self.folder).picture).await,
        }
        let second = evidence::told(screen.as_ref(), &self.console, &self.context.log);
        Failure { message: format!("{first}. {second}"), ..failure }
    }

    /// Ends the machine, and removes what its guest wrote. The guest has so long to power down by itself, which is of
    /// use only to who reads its console: with no time, it is ended at once.
    pub(super) async fn stop(self, patience: Duration) {
        // However it ended: it has.
        let _ = self.qemu.stop(patience).await;
        let _ = fs::remove_file(Files::of(&self.folder).overlay);
    }
}

/// Makes the folder of a machine, and what the guest writes to.
async fn prepare(processes: &Processes, boot: &Boot, files: &Files) -> Result<(), Failure> {
    let failed = |error: io::Error| local("the disk of the machine cannot be made", &error);
    fs::create_dir_all(&boot.folder).map_err(failed)?;
    let mut command = Command::new("qemu-img");
    command.args(command::overlay(boot, files));
    let mut tail = Tail::default();
    let status = processes.run(command, &mut |line| tail.push(line)).await?;
    if status.success() {
        return Ok(());
    }
    let words = truncate_middle(&tail.last(3), 400);
    Err(Failure::new(Reason::VerificationFailed, format!("the disk of the box cannot be used: {words}")))
}

async fn port(qemu: &mut Qemu<'_>) -> Result<u16, Failure> {
    let usernet = qemu.qmp.monitor("info usernet").await;
    let usernet = usernet.map_err(|error| local("qemu does not answer", &error))?;
    let missing = || io::Error::other(format!("no port leads to the guest: {usernet}"));
    qmp::forwarded(&usernet).ok_or_else(|| local("qemu answers otherwise than expected", &missing()))
}

//! The program packer of the builder image, and what it answers.

use std::{cell::Cell, path::Path, process::ExitStatus};

use futures::future::join;
use tokio::{
    process::Command,
    sync::mpsc::{self, UnboundedSender},
};

use super::{
    call::{self, Version},
    ground::Ground,
    machine_readable::{self, Line, Outcome},
    scripts::{Lack, Script, Scripts},
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
    runner::{
        context::Context,
        environment,
        process::{Tail, killed},
    },
};

/// How many of packer's last lines explain a failure that nothing else does.
pub(super) const LINES: usize = 8;

/// What packer says of a script that failed.
const SCRIPT_ENDED: &str = "Script exited with non-zero exit status: ";
/// The exit codes of ansible-playbook where a task failed, and where a host was not reached.
const ANSIBLE_ENDED: [&str; 2] = ["2", "4"];

/// Packer in the builder image.
pub(super) struct Program<'c> {
    pub(super) context: &'c Context,
    pub(super) ground: Ground<'c>,
}

impl Program<'_> {
    /// Runs packer in a folder and hands each of its lines on.
    pub(super) async fn run(
        &self,
        folder: &Path,
        arguments: &[String],
        lines: &mut dyn FnMut(&str),
    ) -> Result<ExitStatus, Failure> {
        self.context.processes.run(self.command(folder, arguments), lines).await
    }

    fn command(&self, folder: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new("packer");
        command.args(arguments).current_dir(folder);
        environment::prepare(&mut command, self.context);
        self.ground.environment(&mut command, self.context);
        command
    }

    /// Runs packer, shows what it says to people, and keeps what explains its end. `begun` is called when packer has
    /// read its template. It is ended where its container or machine has, since it would try for minutes to reach that.
    pub(super) async fn show(
        &self,
        folder: &Path,
        arguments: &[String],
        begun: &mut dyn FnMut(),
    ) -> Result<Ran, Failure> {
        let (scripts, mut coming) = mpsc::unbounded_channel();
        let running = self.follow((folder, arguments), begun, scripts);
        let looking = async {
            let mut lack = None;
            while let Some(script) = coming.recv().await {
                lack = self.ground.lack(script).await;
            }
            lack
        };
        let (ran, lack) = join(running, looking).await;
        ran.map(|ran| Ran { lack, ..ran })
    }

    async fn follow(
        &self,
        (folder, arguments): (&Path, &[String]),
        begun: &mut dyn FnMut(),
        coming: UnboundedSender<Script>,
    ) -> Result<Ran, Failure> {
        let (mut outcome, mut tail, mut scripts) = (Outcome::default(), Tail::default(), Scripts::new(folder));
        let mut lines = |text: &str| {
            if machine_readable::is_of_packer(text) {
                begun();
            }
            let line = machine_readable::line(text).map_text(|text| self.context.log.redacted(text));
            for text in line.text().into_iter().flat_map(str::lines) {
                self.context.log.line(text);
                if line.tells() {
                    tail.push(text);
                }
                if let Some(script) = scripts.follow(text) {
                    // Whoever asks is there until packer has ended.
                    let _ = coming.send(script);
                }
            }
            self.ground.hear(&line);
            outcome.add(line);
        };
        let command = self.command(folder, arguments);
        let is_stopped = Cell::new(false);
        let stop = async {
            self.ground.forsaken().await;
            is_stopped.set(true);
        };
        let status = self.context.processes.run_until(command, &mut lines, stop).await?;
        match killed("packer", status) {
            Some(failure) if !is_stopped.get() => Err(failure),
            _ => Ok(Ran { outcome, tail, status, lack: None }),
        }
    }

    /// Its version.
    ///
    /// # Errors
    /// It is not in the builder image, or does not say its version.
    pub(super) async fn version(&self) -> Result<Version, Failure> {
        let (mut found, mut tail) = (None, Tail::default());
        let arguments = ["version", "-machine-readable"].map(str::to_owned);
        self.run(&self.context.places.workspace, &arguments, &mut |line| {
            tail.push(line);
            if let Line::Version(text) = machine_readable::line(line) {
                found = call::version(&text);
            }
        })
        .await?;
        let version = found.ok_or_else(|| {
            let message = format!("packer of the builder image does not say its version: {}", tail.last(3));
            Failure::new(Reason::BuilderUnsuitable, message)
        })?;
        self.context.log.say(format_args!("packer {}", version.text));
        Ok(version)
    }
}

/// A run of packer: what it said, for us and for people, and how it ended.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) tail: Tail,
    pub(super) status: ExitStatus,
    /// What the last script lacks that came into a container.
    pub(super) lack: Option<Lack>,
}

impl Ran {
    /// What a script lacks that could not run for it.
    pub(super) fn lost_for(&self) -> Option<&Lack> {
        self.lack.as_ref().filter(|_| self.outcome.has_lost_script())
    }

    /// Whether a script ended it, with a code that is not ansible's: a playbook that it ran may have failed before, and
    /// did not matter to it.
    pub(super) fn ended_by_script(&self) -> bool {
        let complaint = self.outcome.complaint();
        let Some((_, rest)) = complaint.rsplit_once(SCRIPT_ENDED) else { return false };
        let code = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        !ANSIBLE_ENDED.contains(&code)
    }

    /// What packer complained of, or its last lines.
    pub(super) fn complaint(&self) -> String {
        let errors = self.outcome.complaint();
        if errors.trim().is_empty() { self.tail.last(LINES) } else { truncate_middle(&errors, 800) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{api::build::Stage, runner::machine::Started};

    /// What becomes of a packer whose place a shell has. It is told where its machine has a folder, as `$0`.
    async fn ran(script: &str) -> (Result<ExitStatus, Failure>, Option<Failure>) {
        let folder = tempfile::tempdir().unwrap();
        symlink("/bin/sh", folder.path().join("packer")).unwrap();
        let mut context = Context::below(folder.path());
        context.places.path = format!("{}:{}", folder.path().display(), context.places.path.display()).into();
        let ground = Ground::Machines(Started::prepare(&context, Stage::Build).await.unwrap());
        let machine = context.places.workspace.join("machines-build/1");
        fs::create_dir_all(context.places.temporary()).unwrap();
        let program = Program { context: &context, ground };
        let arguments = ["-c".to_owned(), script.to_owned(), machine.display().to_string()];
        let ran = program.ground.during(program.show(folder.path(), &arguments, &mut || {})).await;
        (ran.map(|ran| ran.status), program.ground.explain().await.failure)
    }

    #[tokio::test]
    async fn packer_that_was_killed_has_not_failed() {
        let (killed, machine) = ran("kill -KILL $$").await;
        let killed = killed.unwrap_err();
        assert_eq!((killed.reason, machine), (Reason::StageInterrupted, None));
        assert!(killed.message.starts_with("packer was killed (signal 9)"), "{}", killed.message);
        let (failed, machine) = ran("exit 1").await;
        assert_eq!((failed.unwrap().code(), machine), (Some(1), None));
    }

    /// Packer itself would wait until its time is up.
    #[tokio::test]
    async fn packer_is_ended_when_its_machine_was_killed() {
        let script = r#"mkdir "$0"; echo changes >"$0/changes"; printf 9 >"$0/death"; exec sleep 1000"#;
        let (ended, machine) = ran(script).await;
        assert!(!ended.unwrap().success());
        let machine = machine.unwrap();
        assert_eq!(machine.reason, Reason::StageInterrupted);
        assert!(machine.message.starts_with("qemu was killed (signal 9)"), "{}", machine.message);
    }
}

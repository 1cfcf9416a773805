//! The stage `verify`: runs the tests against exactly the image that was built.

mod command_result;
mod junit;
mod molecule;
mod pytest;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::process::Command;

use self::{junit::Tests, molecule::Molecule};
use super::{
    ansible,
    context::Context,
    docker::Docker,
    engine::advice,
    environment, handover,
    process::{Tail, ending},
    report::{local, read_bounded},
    source,
};
use crate::{
    api::{
        build::{Stage, Verification},
        condition::Reason,
    },
    plan::{
        failure::Failure,
        job::{Run, Step},
        observed::Report,
        text::{plain, truncate_middle},
    },
};

/// How many of the last lines explain a failure that nothing else does.
const LINES: usize = 10;
/// Pytest's exit code where there was nothing to run.
const NO_TESTS: i32 = 5;

/// Runs all steps, up to the first that fails.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let docker = Docker::new(context, None);
    let image = handover::take(context, &docker, Stage::Build).await?;
    report.image_id = Some(image.clone());
    for (index, step) in context.job.verify.iter().enumerate() {
        let (result, failure) = Running { context, docker: &docker, step, index }.run().await?;
        report.verification.push(result);
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    // A test could have given its name to another.
    handover::take(context, &docker, Stage::Build).await?;
    handover::leave(context, Stage::Verify, &image)
}

/// A step that runs.
struct Running<'r> {
    context: &'r Context,
    docker: &'r Docker<'r>,
    step: &'r Step,
    index: usize,
}

/// What a step said.
#[derive(Default)]
struct Said {
    tail: Tail,
    molecule: Molecule,
    summary: pytest::Summary,
}

impl Running<'_> {
    async fn run(&self) -> Result<(Verification, Option<Failure>), Failure> {
        let folder = match &self.step.directory {
            Some(directory) => source::place(self.context, directory),
            None => source::root(self.context),
        }?;
        if !folder.is_dir() {
            let directory = self.step.directory.as_deref().unwrap_or(".");
            let message =
                format!("step {} runs in the folder {directory}, which the source does not have", self.name());
            return Err(Failure::new(Reason::VerificationFailed, message));
        }
        ansible::install(self.context);
        let container = self.container().await?;
        let call = self.call(container.as_deref());
        let running = self.context.log.step(format!("verify {}: {}", self.name(), call.join(" ")));
        let (status, said) = self.execute(&folder, &call).await?;
        let seconds = running.began().elapsed().as_secs();
        drop(running);
        let tests = self.tests(&said);
        let mut failure = None;
        if !status.success() {
            failure = Some(self.explain(&folder, status, &said, tests.as_ref(), seconds).await);
        }
        if let Some(container) = &container {
            failure = self.with_end(failure, container).await;
            self.docker.remove(container).await;
        }
        let result = Verification {
            step: self.name(),
            passed: failure.is_none(),
            tests: tests.as_ref().map(|tests| tests.count),
            failures: tests.as_ref().map(|tests| tests.failures),
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        };
        Ok((result, failure))
    }

    fn name(&self) -> String {
        let kind = match &self.step.run {
            Run::Molecule(_) => "molecule",
            Run::Pytest => "pytest",
            Run::Command(_) => "command",
        };
        format!("{} {kind}", self.index + 1)
    }

    /// Of pytest, the container that the tests look at.
    async fn container(&self) -> Result<Option<String>, Failure> {
        if self.step.run != Run::Pytest {
            return Ok(None);
        }
        // It stands in the names of the tests.
        let name = format!("image-{}", self.index + 1);
        self.docker.start(&name, &self.context.job.image).await?;
        Ok(Some(name))
    }

    /// Tests fail for a container that has ended: that comes first.
    async fn with_end(&self, failure: Option<Failure>, container: &str) -> Option<Failure> {
        let failure = failure?;
        let Some(end) = self.docker.end_of(container).await else { return Some(failure) };
        Some(Failure { message: format!("{}. {}", truncate_middle(&end, 400), failure.message), ..failure })
    }

    fn call(&self, container: Option<&str>) -> Vec<String> {
        match &self.step.run {
            Run::Molecule(scenario) => ["molecule", "test", "--scenario-name", scenario].map(str::to_owned).into(),
            Run::Pytest => {
                let hosts = container.map(|container| format!("--hosts=docker://{container}"));
                ["pytest".to_owned()].into_iter().chain(hosts).collect()
            }
            Run::Command(arguments) => arguments.clone(),
        }
    }

    /// Where pytest leaves its results.
    fn results(&self) -> PathBuf {
        self.context.places.temporary().join(format!("junit-{}.xml", self.index + 1))
    }

    async fn execute(&self, folder: &Path, call: &[String]) -> Result<(ExitStatus, Said), Failure> {
        let mut said = Said::default();
        let mut lines = |line: &str| {
            self.context.log.line(line);
            let line = plain(line);
            said.tail.push(&line);
            said.molecule.add(&line);
            said.summary.add(&line);
        };
        let status = self.context.processes.run(self.command(folder, call)?, &mut lines).await?;
        Ok((status, said))
    }

    fn command(&self, folder: &Path, call: &[String]) -> Result<Command, Failure> {
        let (program, arguments) = call.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder);
        environment::prepare(&mut command, self.context);
        self.docker.prepare(&mut command);
        command.envs(&self.step.environment);
        // The options of a user come last, and win.
        let own = self.step.environment.get("PYTEST_ADDOPTS").map_or("", String::as_str);
        let options = format!("-o junit_family=xunit2 --junitxml={} {own}", self.results().display());
        command.env("PYTEST_ADDOPTS", options.trim());
        for (name, path) in &self.step.secret_environment {
            let value = fs::read_to_string(path);
            command.env(name, value.map_err(|error| local(&format!("the secret {name} cannot be read"), &error))?);
        }
        Ok(command)
    }

    /// The results, by file or else by what pytest printed.
    fn tests(&self, said: &Said) -> Option<Tests> {
        let text = read_bounded(&self.results());
        text.and_then(|text| junit::parse(&text)).or_else(|| said.summary.tests())
    }

    async fn explain(
        &self,
        folder: &Path,
        status: ExitStatus,
        said: &Said,
        tests: Option<&Tests>,
        seconds: u64,
    ) -> Failure {
        if let Some(failure) = self.docker.out_of_memory(seconds).await {
            return failure;
        }
        if let Some(advice) = self.advice(folder) {
            let message = format!("{advice} Its last lines: {}", said.tail.last(4));
            return Failure::new(Reason::VerificationFailed, message);
        }
        let task = ansible::failed_task(self.context);
        let of_tests = tests.and_then(Tests::failure);
        let found = of_tests
            .or_else(|| said.molecule.idempotence())
            .or_else(|| task.map(|task| task.failure(said.molecule.reason())));
        found.unwrap_or_else(|| self.unexplained(status, said))
    }

    fn unexplained(&self, status: ExitStatus, said: &Said) -> Failure {
        let message = match (&self.step.run, status.code()) {
            (Run::Pytest, Some(NO_TESTS)) => format!("step {}: pytest found no tests", self.name()),
            _ => format!(
                "step {} ended with {}: {}",
                self.name(),
                ending(status),
                truncate_middle(&said.tail.last(LINES), 800)
            ),
        };
        Failure::new(Reason::VerificationFailed, message)
    }

    fn advice(&self, folder: &Path) -> Option<&'static str> {
        let Run::Molecule(scenario) = &self.step.run else { return None };
        let file = folder.join("molecule").join(scenario).join("molecule.yml");
        advice::on_groups(self.context, &fs::read_to_string(file).ok()?)
    }
}

//! The stage `verify`: runs the tests against exactly what was built.

mod command;
mod command_result;
mod ground;
mod junit;
mod molecule;
mod output;
mod pytest;
mod tool;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use tokio::process::Command;

use self::{
    ground::{Ground, Stand, Step},
    junit::Tests,
    output::Output,
    tool::Tool,
};
use super::{
    ansible,
    context::Context,
    engine::Engine,
    environment, handover, network,
    process::ending,
    products::{Boxes, Images},
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
        job::Machine,
        observed::Report,
        path::SourcePath,
        recipe::{Test, Verify, steps::secret_environment},
        text::{LONGEST_STEP, truncate_middle},
    },
};

/// How many of the last lines explain a failure that nothing else does.
const LINES: usize = 10;

/// Tests what was built.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    network::install(context)?;
    match context.job.machine {
        None => test_image(context, report).await,
        Some(machine) => test_box(context, machine, report).await,
    }
}

async fn test_image(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let engine = Engine::of(context, None).await?;
    let images = Images::of(context, &engine);
    let image = handover::take(context, &images, Stage::Build).await?;
    report.content = Some(image.clone());
    all(context, &Ground::Engine { engine: &engine, images: &images }, report).await?;
    if !report.verification.is_empty() && report.verification.iter().all(|step| step.image_ran == Some(false)) {
        context.log.say("warning: no container of the image ran in the tests: they find its name in $(image.local)");
    }
    // A test could have given its name to another.
    handover::take(context, &images, Stage::Build).await?;
    handover::leave(context, Stage::Verify, &image)
}

async fn test_box(context: &Context, machine: Machine, report: &mut Report) -> Result<(), Failure> {
    let boxes = Boxes::of(context, machine);
    let built = handover::take(context, &boxes, Stage::Build).await?;
    report.content = Some(built.clone());
    if !context.job.steps.verify.is_empty() {
        let disk = boxes.disk().await?;
        all(context, &Ground::Machine(&disk), report).await?;
    }
    // A test could have written to it.
    handover::take(context, &boxes, Stage::Build).await?;
    handover::leave(context, Stage::Verify, &built)
}

/// Runs all steps, up to the first that fails.
async fn all(context: &Context, ground: &Ground<'_>, report: &mut Report) -> Result<(), Failure> {
    for (index, step) in context.job.steps.verify.iter().enumerate() {
        let running = Running { context, ground, step, number: index + 1, tool: tool(step) };
        let (result, failure) = running.run().await?;
        report.verification.push(result);
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(())
}

/// The program of a step. This is the only place that knows which kinds of steps there are.
fn tool(step: &Verify<String>) -> Tool {
    match &step.test {
        Test::Molecule(molecule) => molecule::tool(&molecule.scenario),
        Test::Pytest => pytest::tool(),
        Test::Command(command) => command::tool(&command.arguments),
    }
}

/// A step that runs.
struct Running<'r> {
    context: &'r Context,
    ground: &'r Ground<'r>,
    step: &'r Verify<String>,
    /// From 1.
    number: usize,
    tool: Tool,
}

impl Running<'_> {
    async fn run(&self) -> Result<(Verification, Option<Failure>), Failure> {
        let folder = self.folder()?;
        ansible::install(self.context).await;
        let step =
            Step { number: self.number, connects: self.tool.target_option.is_some(), login: self.step.login.as_ref() };
        let stand = self.ground.begin(self.context, &step).await.map_err(|failure| self.of_step(failure))?;
        let call = self.call(&stand);
        let running = self.context.log.step(format!("verify {}: {}", self.name(), call.join(" ")));
        let (status, output) = stand.during(self.execute(&folder, &call, &stand)).await?;
        let seconds = running.began().elapsed().as_secs();
        drop(running);
        let left = read_bounded(&self.results()).map(|text| self.context.log.redacted(&text));
        let tests = output.tests(left.as_deref());
        let failure = (!status.success()).then(|| self.explain(&folder, status, &output, tests.as_ref()));
        let (failure, image_ran) = stand.end(self.context, &output, failure).await;
        let failure = failure.map(|failure| self.of_step(failure));
        let result = Verification {
            step: self.name(),
            passed: failure.is_none(),
            tests: tests.as_ref().map(|tests| tests.count),
            failures: tests.as_ref().map(|tests| tests.failures),
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            image_ran,
        };
        Ok((result, failure))
    }

    /// Its number, its kind, and what of that kind it runs and where: `2 molecule default in roles/web`.
    fn name(&self) -> String {
        let folder = self.step.directory.as_ref().map(|folder| format!("in {folder}"));
        let what = [self.number.to_string(), self.tool.kind.to_owned(), self.tool.runs.clone()];
        let words: Vec<String> = what.into_iter().chain(folder).filter(|word| !word.is_empty()).collect();
        truncate_middle(&words.join(" "), LONGEST_STEP)
    }

    /// Of several steps, a failure tells which it is of.
    fn of_step(&self, failure: Failure) -> Failure {
        let named = failure.message.starts_with("step ") || self.context.job.steps.verify.len() < 2;
        let name = if named { String::new() } else { format!("step {}: ", self.name()) };
        Failure { message: name + &failure.message, ..failure }
    }

    fn folder(&self) -> Result<PathBuf, Failure> {
        let directory = self.step.directory.as_ref().map(SourcePath::as_str);
        let folder =
            directory.map_or_else(|| source::root(self.context), |directory| source::place(self.context, directory))?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let directory = directory.unwrap_or(".");
        let message = format!("step {} runs in the folder {directory}, which the source does not have", self.name());
        Err(Failure::new(Reason::VerificationFailed, message))
    }

    fn call(&self, stand: &Stand<'_>) -> Vec<String> {
        let target = self.tool.target_option.map(|option| stand.arguments(option));
        self.tool.call.iter().cloned().chain(target.into_iter().flatten()).collect()
    }

    /// Where pytest leaves its results.
    fn results(&self) -> PathBuf {
        self.context.places.temporary().join(format!("junit-{}.xml", self.number))
    }

    async fn execute(
        &self,
        folder: &Path,
        call: &[String],
        stand: &Stand<'_>,
    ) -> Result<(ExitStatus, Output), Failure> {
        let mut output = Output::default();
        let mut lines = |line: &str| {
            let line = self.context.log.redacted(line);
            self.context.log.line(&line);
            output.add(&line);
        };
        let status = self.context.processes.run(self.command(folder, call, stand)?, &mut lines).await?;
        Ok((status, output))
    }

    fn command(&self, folder: &Path, call: &[String], stand: &Stand<'_>) -> Result<Command, Failure> {
        let (program, arguments) = call.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder);
        environment::prepare(&mut command, self.context);
        stand.environment(&mut command, self.context);
        let environment = &self.step.environment;
        command.envs(&environment.values);
        command.envs([pytest::options(&self.results(), &environment.values)]);
        for (name, file) in secret_environment(self.number, environment) {
            let value = fs::read_to_string(self.context.places.secrets.join(&file.path));
            command.env(name, value.map_err(|error| local(&format!("the secret {name} cannot be read"), &error))?);
        }
        Ok(command)
    }

    fn explain(&self, folder: &Path, status: ExitStatus, output: &Output, tests: Option<&Tests>) -> Failure {
        if let Some(advice) = self.advice(folder) {
            let message = format!("{advice} Its last lines: {}", output.tail.last(4));
            return Failure::new(Reason::VerificationFailed, message);
        }
        let task = ansible::failed_task(self.context);
        if let Some(task) = task.as_ref().filter(|task| molecule::pulls(task, &self.context.job.image)) {
            return molecule::not_pulled(task.failure(Reason::VerificationFailed));
        }
        let source = self.context.places.source();
        let found = output.failure(tests, task, &source.to_string_lossy());
        found.unwrap_or_else(|| self.unexplained(status, output))
    }

    /// Why the containers of the program cannot start on this node.
    fn advice(&self, folder: &Path) -> Option<&'static str> {
        let file = folder.join(self.tool.containers.as_ref()?);
        self.ground.advice(&fs::read_to_string(file).ok()?)
    }

    fn unexplained(&self, status: ExitStatus, output: &Output) -> Failure {
        let message = match self.tool.exit_code {
            Some((code, meaning)) if status.code() == Some(code) => format!("step {}: {meaning}", self.name()),
            _ => format!(
                "step {} ended with {}: {}",
                self.name(),
                ending(status),
                truncate_middle(&output.tail.last(LINES), 800)
            ),
        };
        Failure::new(Reason::VerificationFailed, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::recipe::{self, Variables, molecule::Molecule};

    #[test]
    fn a_kind_of_step_is_a_program() {
        let tool = |test: Test<String>| {
            let step = Verify { test, directory: None, environment: Variables::default(), login: None };
            let Tool { kind, runs, call, target_option, containers, .. } = super::tool(&step);
            (format!("{kind} {runs}"), call.join(" "), target_option, containers)
        };
        assert_eq!(
            tool(Test::Molecule(Molecule { scenario: "web".to_owned() })),
            (
                "molecule web".to_owned(),
                "molecule test --scenario-name web".to_owned(),
                None,
                Some("molecule/web/molecule.yml".into())
            )
        );
        assert_eq!(tool(Test::Pytest), ("pytest ".to_owned(), "pytest".to_owned(), Some("--hosts"), None));
        let command = Test::Command(recipe::command::Command { arguments: ["make", "test"].map(str::to_owned).into() });
        assert_eq!(tool(command), ("command make test".to_owned(), "make test".to_owned(), None, None));
    }
}

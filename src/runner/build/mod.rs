//! The stage `build`: puts the parent into the engine, runs packer, and finds the image that it made.

mod machine;
mod packer;
mod prepare;
mod template;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{process::Command, time::sleep};

use self::{
    machine::{Line, Outcome},
    packer::Version,
    prepare::Template,
};
use super::{
    ansible::{self, FailedTask},
    context::Context,
    docker::Docker,
    engine::advice,
    environment, handover,
    process::{Tail, ending},
    source,
};
use crate::{
    api::{build::Stage, condition::Reason},
    plan::{
        failure::Failure,
        image::{Reference, Repository},
        job::Registry,
        observed::Report,
        text::truncate_middle,
    },
};

/// The registry whose mirrors the engine asks by itself.
const HUB: &str = "docker.io";
/// How often packer runs where the container loses its scripts, and the pause before it runs again.
const TRIES: usize = 10;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How many of packer's last lines explain a failure that nothing else does.
const LINES: usize = 8;

/// Builds the image.
pub(super) async fn run(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let docker = Docker::new(context, context.job.parent.as_ref().and_then(|parent| parent.credentials.as_deref()));
    parent(context, &docker).await?;
    let packer = Packer { context, docker: &docker };
    let version = packer.version().await?;
    let root = source::root(context)?;
    let template = prepare::template(context, &root, &packer, &version).await?;
    let files: Result<Vec<PathBuf>, _> =
        context.job.packer.variable_files.iter().map(|file| source::place(context, file)).collect();
    let selection = packer::selection(&context.job.packer, &files?);
    warn_of_groups(context, &template.text);
    if template.wants_plugins {
        packer.init(&template, &version).await?;
    }
    packer.validate(&template, &selection).await?;
    let outcome = packer.build(&template, &selection).await?;
    let image = image(context, &docker, &outcome).await?;
    docker.tag(&image, &context.job.image).await?;
    handover::leave(context, Stage::Build, &image)?;
    context.log.say(format_args!("built {image}, named {}", context.job.image));
    report.image_id = Some(image);
    Ok(())
}

async fn parent(context: &Context, docker: &Docker<'_>) -> Result<(), Failure> {
    let Some(parent) = &context.job.parent else { return Ok(()) };
    let _step = context.log.step(format!("pulling {} as {}", parent.reference, parent.local_name));
    let platform = &context.job.registry.platform;
    if let Some(mirrored) = mirrored(&parent.reference, &context.job.registry) {
        match docker.pull(&mirrored, platform).await {
            Ok(()) => return docker.tag(&mirrored, &parent.local_name).await,
            Err(failure) => context.log.say(failure.message),
        }
    }
    docker.pull(&parent.reference, platform).await?;
    docker.tag(&parent.reference, &parent.local_name).await
}

/// Where a mirror has an image. Docker itself asks mirrors of its Hub only.
fn mirrored(reference: &str, registry: &Registry) -> Option<String> {
    let reference: Reference = reference.parse().ok()?;
    let mirror =
        registry.mirrors.get(&reference.repository.registry).filter(|_| reference.repository.registry != HUB)?;
    let repository = Repository { registry: mirror.clone(), path: reference.repository.path.clone() };
    Some(Reference { repository, ..reference }.to_string())
}

/// Says beforehand what would otherwise be a container that freezes.
fn warn_of_groups(context: &Context, text: &str) {
    if let Some(advice) = advice::on_groups(context, text) {
        context.log.say(format_args!("warning: {advice}"));
    }
}

/// The one image that packer made.
async fn image(context: &Context, docker: &Docker<'_>, outcome: &Outcome) -> Result<String, Failure> {
    let mut made: BTreeMap<String, &str> = BTreeMap::new();
    for (build, name) in outcome.images() {
        if let Some(id) = docker.image_id(name).await? {
            made.insert(id, build);
        }
    }
    for other in outcome.others() {
        context.log.say(format_args!("not an image of the engine, and left where it is: {other}"));
    }
    let mut images = made.into_iter();
    match (images.next(), images.next()) {
        (Some((image, _)), None) => Ok(image),
        (None, _) => {
            let message = "packer ended well and made no image: the docker builder makes one with commit = true, or \
                           with export_path and the post-processor docker-import; and build.packer.only must name \
                           a build of the template";
            Err(Failure::new(Reason::NoImage, message))
        }
        (Some((_, first)), Some((_, second))) => {
            let message = format!(
                "the template made several images, in the builds {first} and {second}: pick one with build.packer.only"
            );
            Err(Failure::new(Reason::SeveralImages, message))
        }
    }
}

/// What packer said, for us and for people, and how it ended.
type Shown = (Outcome, Tail, ExitStatus);

/// Packer in the builder image.
struct Packer<'c> {
    context: &'c Context,
    docker: &'c Docker<'c>,
}

impl Packer<'_> {
    async fn run(
        &self,
        folder: &Path,
        arguments: &[String],
        lines: &mut dyn FnMut(&str),
    ) -> Result<ExitStatus, Failure> {
        let mut command = Command::new("packer");
        command.args(arguments).current_dir(folder);
        environment::prepare(&mut command, self.context);
        self.docker.prepare(&mut command);
        self.context.processes.run(command, lines).await
    }

    async fn version(&self) -> Result<Version, Failure> {
        let (mut found, mut tail) = (None, Tail::default());
        let arguments = ["version", "-machine-readable"].map(str::to_owned);
        self.run(&self.context.places.workspace, &arguments, &mut |line| {
            tail.push(line);
            if let Line::Version(text) = machine::line(line) {
                found = packer::version(&text);
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

    async fn init(&self, template: &Template, version: &Version) -> Result<(), Failure> {
        let _step = self.context.log.step("packer init");
        let (outcome, tail, status) = self.show("init", &[], template).await?;
        if status.success() {
            return Ok(());
        }
        let message = format!(
            "packer {} cannot install the plugins of the template: have them in the builder image (packer plugins \
             install). {}",
            version.text,
            complaint(&outcome, &tail)
        );
        Err(Failure::new(Reason::BuilderUnsuitable, message))
    }

    async fn validate(&self, template: &Template, selection: &[String]) -> Result<(), Failure> {
        let _step = self.context.log.step("packer validate");
        let (outcome, tail, status) = self.show("validate", selection, template).await?;
        if status.success() {
            return Ok(());
        }
        let said = complaint(&outcome, &tail);
        let message = format!("packer refuses the template {}: {said}", self.context.job.packer.template);
        Err(Failure::new(Reason::TemplateInvalid, message))
    }

    async fn build(&self, template: &Template, selection: &[String]) -> Result<Outcome, Failure> {
        ansible::install(self.context);
        let step = self.context.log.step("packer build");
        let (tries, (outcome, tail, status)) = self.try_build(template, selection).await?;
        if status.success() {
            return Ok(outcome);
        }
        let seconds = step.began().elapsed().as_secs();
        if let Some(failure) = self.docker.out_of_memory(seconds).await {
            return Err(failure);
        }
        let known = Known {
            outcome: &outcome,
            tail: &tail,
            status,
            task: ansible::failed_task(self.context),
            groups: advice::on_groups(self.context, &template.text),
            local: self.context.job.parent.as_ref().map(|parent| parent.local_name.as_str()),
            tries,
        };
        Err(known.failure())
    }

    /// Runs packer, and once more where a container lost a script of packer's before it ran. The answer tells how
    /// often it ran.
    #[expect(clippy::disallowed_methods, reason = "a stage may wait: no reconcile runs here")]
    async fn try_build(&self, template: &Template, selection: &[String]) -> Result<(usize, Shown), Failure> {
        let mut tries = 1;
        loop {
            let shown = self.show("build", selection, template).await?;
            if shown.2.success() || !shown.0.has_lost_script() || tries == TRIES {
                return Ok((tries, shown));
            }
            tries += 1;
            self.context.log.say(format_args!(
                "a script was gone before it could run, as when systemd wipes /tmp while it boots: try {tries} of {TRIES}"
            ));
            sleep(BETWEEN_TRIES).await;
        }
    }

    /// Runs a command of packer and shows what it says to people.
    async fn show(&self, command: &str, selection: &[String], template: &Template) -> Result<Shown, Failure> {
        let mut arguments = vec![command.to_owned(), "-machine-readable".to_owned()];
        if command == "build" {
            arguments.push("-color=false".to_owned());
        }
        arguments.extend_from_slice(selection);
        arguments.push(template.argument.to_string_lossy().into_owned());
        let (mut outcome, mut tail) = (Outcome::default(), Tail::default());
        let mut lines = |line: &str| {
            let line = machine::line(line);
            for text in line.text().into_iter().flat_map(str::lines) {
                self.context.log.line(text);
                if line.tells() {
                    tail.push(text);
                }
            }
            outcome.add(line);
        };
        let status = self.run(&template.folder, &arguments, &mut lines).await?;
        Ok((outcome, tail, status))
    }
}

/// What packer complained of, or its last lines.
fn complaint(outcome: &Outcome, tail: &Tail) -> String {
    let errors = outcome.complaint();
    if errors.trim().is_empty() { tail.last(LINES) } else { truncate_middle(&errors, 800) }
}

/// What is known of a run of packer that failed.
struct Known<'k> {
    outcome: &'k Outcome,
    tail: &'k Tail,
    status: ExitStatus,
    /// The task of a playbook that ended it.
    task: Option<FailedTask>,
    /// Why its containers cannot start on this node.
    groups: Option<&'static str>,
    /// The parent's name in the engine.
    local: Option<&'k str>,
    /// How often it ran.
    tries: usize,
}

impl Known<'_> {
    /// Why it failed, by the best that is known.
    fn failure(self) -> Failure {
        let said = complaint(self.outcome, self.tail);
        let said = truncate_middle(&said, 400);
        if let Some(advice) = self.groups {
            let message = format!("{advice} Packer said: {said}");
            return Failure::new(Reason::BuildFailed, message);
        }
        if let Some(local) = self.local.filter(|local| self.outcome.has_not_pulled(local)) {
            let message = format!(
                "the template pulls {local}, which is only in the engine: name $(parent.reference), or set pull = false"
            );
            return Failure::new(Reason::BuildFailed, message);
        }
        if let Some(task) = self.task {
            return task.failure(Reason::TaskFailed);
        }
        if self.tries > 1 {
            let message = format!(
                "in {} tries a script was gone before it could run, or its interpreter is not in the image: let the \
                 template wait until systemd has booted, or set remote_folder or inline_shebang. Packer said: {said}",
                self.tries
            );
            return Failure::new(Reason::BuildFailed, message);
        }
        let (ending, last) = (ending(self.status), self.tail.last(LINES));
        Failure::new(Reason::BuildFailed, format!("packer build ended with {ending}: {said}\nIts last lines: {last}"))
    }
}

#[cfg(test)]
mod tests;

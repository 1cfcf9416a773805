//! A run of packer with a template, from its check to its end.

use std::{io, path::PathBuf, time::Duration};

use tokio::time::sleep;

use super::{
    call::{self, Version},
    explanation::Known,
    ground::{Explained, Ground},
    machine_readable::Outcome,
    prepare::{self, Template},
    program::{Program, Ran},
};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, recipe::packer::Packer},
    runner::{ansible, context::Context, report::local, source},
};

/// How often packer runs where the container loses its scripts, and the pause before it runs again.
const TRIES: usize = 10;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// A run of packer that went well.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Where it ran: its relative paths begin there.
    pub(super) folder: PathBuf,
    /// The post-processors that it did not see.
    pub(super) left_out: Vec<String>,
}

/// Lets packer build a template of the source.
pub(super) async fn built(context: &Context, ground: Ground<'_>, recipe: &Packer<String>) -> Result<Ended, Failure> {
    let program = Program { context, ground };
    let version = program.version().await?;
    let template = prepare::template(&program, &version, recipe).await?;
    let files: Result<Vec<PathBuf>, _> =
        recipe.variable_files.iter().map(|file| source::place(context, file.as_str())).collect();
    let secrets = context.job.steps.build.secret_file().map(|file| context.places.secrets.join(file.path));
    let selection = call::selection(recipe, &files?, secrets.as_deref());
    if let Some(advice) = program.ground.advice_on_groups(&template.text) {
        // Otherwise people would see a container that hangs.
        context.log.say(format_args!("warning: {advice}"));
    }
    let packer = TemplateRun { program, template, selection };
    if packer.template.wants_plugins {
        packer.init(&version).await?;
    }
    packer.validate().await?;
    let outcome = packer.build().await?;
    let Template { folder, left_out, .. } = packer.template;
    Ok(Ended { outcome, folder, left_out })
}

/// Packer with its template, ready to run.
struct TemplateRun<'c> {
    program: Program<'c>,
    template: Template,
    /// The arguments that say what is built.
    selection: Vec<String>,
}

impl TemplateRun<'_> {
    async fn init(&self, version: &Version) -> Result<(), Failure> {
        let _step = self.program.context.log.step("packer init");
        let ran = self.show("init", &[], &[]).await?;
        if ran.status.success() {
            return Ok(());
        }
        let message = format!(
            "packer {} cannot install the plugins of the template: have them in the builder image (packer plugins \
             install). {}",
            version.text,
            ran.complaint()
        );
        Err(Failure::new(Reason::BuilderUnsuitable, message))
    }

    /// Lets packer check the template.
    async fn validate(&self) -> Result<(), Failure> {
        let _step = self.program.context.log.step("packer validate");
        let ran = self.show("validate", &[], &self.selection).await?;
        if ran.status.success() {
            return self.template.check_uploads();
        }
        let complaint = ran.complaint();
        let advice = self.template.advice(&complaint).map(|advice| format!(" ({advice})")).unwrap_or_default();
        let (written, place) = (&self.template.written, self.template.place());
        let message = format!("packer, in {place}, refuses the template {written}: {complaint}{advice}");
        Err(Failure::new(Reason::TemplateInvalid, message))
    }

    async fn build(&self) -> Result<Outcome, Failure> {
        let context = self.program.context;
        ansible::install(context).await;
        let _step = context.log.step("packer build");
        let (tries, ran) = self.program.ground.during(self.try_build()).await?;
        if ran.status.success() {
            return Ok(ran.outcome);
        }
        let Explained { failure, ended } = self.program.ground.explain().await;
        Err(failure.unwrap_or_else(|| self.failure(&ran, tries, ended)))
    }

    fn failure(&self, ran: &Ran, tries: usize, ended: Option<String>) -> Failure {
        let Program { context, ground } = &self.program;
        let parent = context.job.parent.as_ref();
        let known = Known {
            ran,
            task: ansible::failed_task(context),
            ended,
            shown: ground.shown(context, ran.outcome.has_lost_machine()),
            groups: ground.advice_on_groups(&self.template.text),
            local: parent.map(|parent| parent.local_name.as_str()),
            tries,
            place: self.template.place(),
            advice: self.template.advice(&ran.complaint()),
        };
        known.failure()
    }

    /// Runs packer, and once more where a container lost a script of packer's before it ran. The answer tells how
    /// often it ran.
    #[expect(clippy::disallowed_methods, reason = "a stage may wait: no reconcile runs here")]
    async fn try_build(&self) -> Result<(usize, Ran), Failure> {
        let mut tries = 1;
        loop {
            let ran = self.show("build", &["-color=false"], &self.selection).await?;
            let is_gone = ran.outcome.has_lost_script() && ran.lost_for().is_none();
            let may_pass = is_gone && self.program.ground.retries();
            if ran.status.success() || !may_pass || tries == TRIES {
                return Ok((tries, ran));
            }
            tries += 1;
            self.program.context.log.say(format_args!(
                "a script was gone before it could run, as when systemd wipes /tmp while it boots: try {tries} of {TRIES}"
            ));
            sleep(BETWEEN_TRIES).await;
        }
    }

    /// Runs a command of packer on the template. As soon as packer has read it, the user's own files are in their
    /// places again: what runs in the build may copy them.
    async fn show(&self, command: &str, options: &[&str], selection: &[String]) -> Result<Ran, Failure> {
        let mut arguments: Vec<String> =
            [command, "-machine-readable"].iter().chain(options).map(|&argument| argument.to_owned()).collect();
        arguments.extend_from_slice(selection);
        arguments.push(self.template.argument.to_string_lossy().into_owned());
        let failed = |error: io::Error| local("the files of the template cannot be replaced", &error);
        let mut laid = self.template.overlay.lay(&self.program.context.places.state()).map_err(failed)?;
        // What fails here is tried again, and told, when packer has ended.
        let mut begun = || drop(laid.lift());
        let ran = self.program.show(&self.template.folder, &arguments, &mut begun).await?;
        laid.lift().map_err(failed)?;
        Ok(ran)
    }
}

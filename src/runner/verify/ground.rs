//! Where a test step finds what it tests: in the engine, or as a machine that is booted of it.

use std::{fs, future::Future, time::Duration};

use tokio::{process::Command, time::Instant};

use super::output::Output;
use crate::{
    api::{build::Stage, condition::Reason},
    plan::{
        failure::Failure,
        recipe::{Login as Written, steps::secret_login},
    },
    runner::{
        context::Context,
        engine::{Containers, Engine, Seen, Watch, explained},
        machine::{Access, Login, Machine, Proof, Started},
        network,
        products::{Disk, Images, Target},
        report::local,
    },
};

/// How long before the end of the stage nobody waits for a machine any more.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// What is tested.
pub(super) enum Ground<'g> {
    /// An image of the engine.
    Engine {
        /// The engine.
        engine: &'g Engine<'g>,
        /// Its images.
        images: &'g Images<'g>,
    },
    /// A box, by the disk in it.
    Machine(&'g Disk),
}

/// What is tested, as one step has it.
pub(super) enum Stand<'g> {
    /// The engine, and the container that tests connect to, where they do.
    Engine {
        /// The engine.
        engine: &'g Engine<'g>,
        /// Its images.
        images: &'g Images<'g>,
        /// What is seen of containers from the beginning of the step.
        watch: Watch<'g>,
        /// The container.
        target: Option<Target<'g>>,
    },
    /// A machine that runs.
    Machine {
        /// The machine.
        machine: Box<Machine<'g>>,
        /// How it is reached.
        access: Access,
        /// Those that the program of the step starts besides.
        others: Started<'g>,
    },
}

/// A step, as far as what it tests depends on it.
pub(super) struct Step<'s> {
    /// From 1.
    pub(super) number: usize,
    /// Whether its program connects to what it tests.
    pub(super) connects: bool,
    /// How it logs in to a machine.
    pub(super) login: Option<&'s Written>,
}

impl<'g> Ground<'g> {
    /// Makes ready what a step tests.
    ///
    /// # Errors
    /// A container does not start, or a machine does not let anybody in.
    pub(super) async fn begin(&self, context: &'g Context, step: &Step<'_>) -> Result<Stand<'g>, Failure> {
        match *self {
            Self::Engine { engine, images } => {
                let watch = Watch::over(engine);
                // It stands in the names of the tests.
                let name = format!("image-{}", step.number);
                let target =
                    if step.connects { Some(images.start_for_test(name, &context.job.image).await?) } else { None };
                Ok(Stand::Engine { engine, images, watch, target })
            }
            Self::Machine(disk) => boot(context, disk, step).await,
        }
    }

    /// Why the containers of a program cannot start on this node, by the file that says how it starts them.
    pub(super) fn advice(&self, containers: &str) -> Option<&'static str> {
        match self {
            Self::Engine { engine, .. } => engine.advice_on_groups(containers),
            Self::Machine(_) => None,
        }
    }
}

/// Boots a box, and waits until it lets somebody in. A machine that does not ends when it is dropped.
async fn boot<'g>(context: &'g Context, disk: &Disk, step: &Step<'_>) -> Result<Stand<'g>, Failure> {
    let login = login(context, step)?;
    let folder = context.places.workspace.join(format!("machine-{}", step.number));
    let mut machine = Box::new(Machine::boot(context, &disk.boot(folder)).await?);
    // Before the time of the stage is up: a machine says more of why it does not answer.
    let time = Duration::from_secs(context.job.timeouts.verify).saturating_sub(LAST_WORDS);
    let access = machine.ready(&login, Instant::now() + time).await?;
    let others = Started::prepare(context, Stage::Verify).await?;
    Ok(Stand::Machine { machine, access, others })
}

fn login(context: &Context, step: &Step<'_>) -> Result<Login, Failure> {
    let Some(written) = step.login else { return Ok(Login::vagrant()) };
    let user = written.user.clone();
    let Some(file) = secret_login(step.number, Some(written)) else { return Ok(Login { user, ..Login::vagrant() }) };
    let text = fs::read_to_string(context.places.secrets.join(&file.path));
    let text = text.map_err(|error| local("the key or password of the login cannot be read", &error))?;
    let is_key = text.trim_start().starts_with("-----BEGIN ");
    let proof = if is_key { Proof::Keys(vec![text]) } else { Proof::Password(text.trim_end_matches('\n').to_owned()) };
    Ok(Login { user, proof })
}

impl Stand<'_> {
    /// The further arguments of a program that has an option for the host.
    pub(super) fn arguments(&self, option: &str) -> Vec<String> {
        match self {
            Self::Engine { target, .. } => target.iter().map(|target| format!("{option}={}", target.host())).collect(),
            Self::Machine { access, .. } => vec![
                format!("{option}={}", Access::testinfra_host()),
                format!("--ssh-config={}", access.config.display()),
            ],
        }
    }

    /// Tells a program where it finds what it tests.
    pub(super) fn environment(&self, command: &mut Command, context: &Context) {
        match self {
            Self::Engine { engine, .. } => engine.environment(command),
            Self::Machine { access, others, .. } => {
                network::prepare(command, context, false);
                others.environment(command);
                command
                    .env("IMAGECHAIN_SSH_CONFIG", &access.config)
                    .envs(access.environment.iter().map(|(name, value)| (name, value)));
            }
        }
    }

    /// Lets the program of the step run.
    pub(super) async fn during<T>(&self, program: impl Future<Output = T>) -> T {
        match self {
            Self::Engine { watch, .. } => watch.during(program).await,
            Self::Machine { others, .. } => others.during(program).await,
        }
    }

    /// Ends it, when the program has ended. The answer is the failure with what explains it, and whether a container of
    /// the image ran; `None` where that cannot be told.
    pub(super) async fn end(
        self,
        context: &Context,
        output: &Output,
        failure: Option<Failure>,
    ) -> (Option<Failure>, Option<bool>) {
        match self {
            Self::Engine { images, watch, target, .. } => {
                let Seen { containers, out_of_memory } = watch.finish(failure.is_some()).await;
                let lost = lost(&containers, output, target.as_ref());
                let failure = failure.map(|failure| out_of_memory.unwrap_or_else(|| explained(failure, lost)));
                let ran = images.ran(&context.job.image, &containers).await;
                if let Some(target) = target {
                    target.remove().await;
                }
                (failure, ran)
            }
            Self::Machine { mut machine, .. } => {
                let failure = match (failure, machine.end().await) {
                    (Some(failure), ended) if output.lost_contact || ended.is_some() => {
                        Some(machine.explained(failure).await)
                    }
                    // Who passes beside a machine that was killed has not tested it.
                    (None, Some(ended)) if ended.reason != Reason::VerificationFailed => Some(ended),
                    (failure, _) => failure,
                };
                machine.stop(Duration::ZERO).await;
                // It was booted: no test need have reached it.
                (failure, None)
            }
        }
    }
}

/// Which containers ended by themselves that tests could not do without: the target, and all where the output says that
/// something was not reached.
fn lost(containers: &Containers, output: &Output, target: Option<&Target<'_>>) -> Option<String> {
    let target = target.map(Target::name);
    containers.ended(|container| output.lost_contact || Some(container.name.as_str()) == target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::machine::Boot;

    /// What a step ends with whose machine has an empty disk.
    async fn ended(failure: Option<Failure>, is_killed: bool) -> Option<Failure> {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::below(folder.path());
        let mut machine = Box::new(Machine::boot(&context, &Boot::empty(folder.path())).await.unwrap());
        let access = Access { port: 22, config: folder.path().join("config"), environment: vec![] };
        let others = Started::prepare(&context, Stage::Verify).await.unwrap();
        if is_killed {
            context.processes.kill();
            // It hears of the end.
            machine.ready(&Login::vagrant(), Instant::now() + Duration::from_mins(1)).await.unwrap_err();
        }
        let stand = Stand::Machine { machine, access, others };
        stand.end(&context, &Output::default(), failure).await.0
    }

    #[tokio::test]
    async fn whatever_a_test_says_beside_a_machine_that_was_killed_does_not_count() {
        let failed = || Failure::new(Reason::TestsFailed, "1 of 2 tests failed");
        assert_eq!(ended(None, false).await, None);
        assert_eq!(ended(Some(failed()), false).await, Some(failed()));
        for said in [None, Some(failed())] {
            let told = ended(said, true).await.unwrap();
            assert_eq!(told.reason, Reason::StageInterrupted, "{}", told.message);
        }
    }
}

//! What all stages have in common: the job, the marks that keep a stage from running twice, time limits, the
//! engine's life, and the report.

use std::{fs, future::pending, io, os::unix::fs::PermissionsExt, pin::pin, process::ExitCode, time::Duration};

use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use super::{
    builders,
    context::Context,
    engine,
    places::Places,
    publish,
    report::{self, local},
    source, verify,
};
use crate::{
    api::{build::Stage, condition::Reason, profile::Engine},
    plan::{failure::Failure, observed::Report},
};

/// How long programs have to end by themselves. The kubelet gives the container twice that.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the work may take to notice that its program was killed.
const AFTERMATH: Duration = Duration::from_secs(5);

/// Runs a stage, leaves its report and says by its exit code whether it went well.
pub(super) fn run(stage: Stage, places: &Places) -> ExitCode {
    let report = reported(stage, places);
    let json = report::to_json(&report);
    if let Some(failure) = &report.failure {
        let task = failure.task.as_ref().map(|task| format!(" [{task}]")).unwrap_or_default();
        eprintln!("imagechain: {} failed: {}{task}: {}", stage.container(), failure.reason, failure.message);
    }
    // Without its report the stage has failed, and the operator says so.
    let kept = fs::write(places.state().join(done(stage)), &json);
    match report::write(&json, &places.termination).and(kept) {
        Ok(()) if report.failure.is_none() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("imagechain: the report cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn reported(stage: Stage, places: &Places) -> Report {
    let mut report = report::empty(stage);
    let result = match begin(stage, places) {
        Ok(Begun::First) => work(stage, places, &mut report),
        Ok(Begun::Before(earlier)) => return *earlier,
        Err(failure) => Err(failure),
    };
    report.failure = result.err();
    report
}

/// Whether a stage ran before in this pod.
enum Begun {
    First,
    /// It did, and this is what it said.
    Before(Box<Report>),
}

/// The kubelet may start a container again that has ended, or that was lost with the node.
fn begin(stage: Stage, places: &Places) -> Result<Begun, Failure> {
    let marks = places.state();
    let failed = |error: io::Error| local("the workspace cannot be written", &error);
    if stage == Stage::Source {
        for folder in [&marks, &places.temporary()] {
            fs::create_dir_all(folder).map_err(failed)?;
            // Each stage is another user, or has other capabilities.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)).map_err(failed)?;
        }
    }
    if let Ok(text) = fs::read_to_string(marks.join(done(stage)))
        && let Ok(report) = crate::outcome::report::parse(stage, &text)
    {
        return Ok(Begun::Before(Box::new(report)));
    }
    match fs::OpenOptions::new().write(true).create_new(true).open(marks.join(stage.container().name())) {
        Ok(_) => Ok(Begun::First),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::new(
            Reason::StageInterrupted,
            format!(
                "the container {} was started a second time, and the first had not come to its end",
                stage.container()
            ),
        )),
        Err(error) => Err(failed(error)),
    }
}

fn done(stage: Stage) -> String {
    format!("{}.json", stage.container())
}

fn work(stage: Stage, places: &Places, report: &mut Report) -> Result<(), Failure> {
    let context = Context::read(places)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| local("the stage cannot begin", &error))?;
    let result = runtime.block_on(bounded(stage, &context, report));
    result.map_err(|failure| Failure {
        message: context.log.redacted(&failure.message),
        task: failure.task.map(|task| context.log.redacted(&task)),
        ..failure
    })
}

/// Runs a stage within its time, and while the engine that it uses lives.
async fn bounded(stage: Stage, context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut requests = signal(SignalKind::terminate()).map_err(|error| local("signals cannot be received", &error))?;
    let uses_engine = stage != Stage::Source && context.job.engine != Engine::None;
    let instance = if uses_engine { Some(engine::expect(context).await?) } else { None };
    let mut work = pin!(run_stage(stage, context, report));
    let ending = tokio::select! {
        result = &mut work => return explained(context, instance.as_deref(), result),
        why = gone(context, instance.as_deref()) => why,
        _ = requests.recv() => Failure::new(Reason::StageInterrupted, "the pod was asked to end"),
        late = late(stage, context) => late,
    };
    context.log.say(&ending.message);
    if context.processes.close() && timeout(PATIENCE, &mut work).await.is_err() {
        context.processes.kill();
        // What it would say now is explained by why it was ended.
        let _ = timeout(AFTERMATH, &mut work).await;
    }
    Err(ending)
}

async fn run_stage(stage: Stage, context: &Context, report: &mut Report) -> Result<(), Failure> {
    match stage {
        Stage::Source => source::run(context).await,
        Stage::Build => builders::run(context, report).await,
        Stage::Verify => verify::run(context, report).await,
        Stage::Publish => publish::run(context, report).await,
    }
}

/// Programs fail for a dead engine before anybody looks whether it lives.
fn explained(context: &Context, instance: Option<&str>, result: Result<(), Failure>) -> Result<(), Failure> {
    let why = result.as_ref().err().and(instance).and_then(|instance| engine::look(&context.places, instance).err());
    match why {
        Some(why) => Err(Failure::new(Reason::EngineRestarted, why)),
        None => result,
    }
}

async fn gone(context: &Context, instance: Option<&str>) -> Failure {
    match instance {
        Some(instance) => Failure::new(Reason::EngineRestarted, engine::gone(&context.places, instance).await),
        None => pending().await,
    }
}

async fn late(stage: Stage, context: &Context) -> Failure {
    let limits = &context.job.timeouts;
    let (reason, what, seconds) = match stage {
        Stage::Source => (Reason::TransferTimeout, "fetching the source", limits.source),
        Stage::Build => (Reason::BuildTimeout, "the build (timeouts.build)", limits.build),
        Stage::Verify => (Reason::VerifyTimeout, "the tests (timeouts.verify)", limits.verify),
        Stage::Publish => (Reason::TransferTimeout, "pushing the image", limits.publish),
    };
    let _ = timeout(Duration::from_secs(seconds), pending::<()>()).await;
    Failure::new(reason, format!("{what} took longer than {seconds} s: the stage was ended"))
}

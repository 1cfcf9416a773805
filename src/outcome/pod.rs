//! The state of a build pod, from what the kubelet and the stages say of it. The class of a failure comes
//! from the state of the pod and from the runner's own report, never from the text of a log.

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::report::{self, Report, ReportError, truncate};
use crate::api::{
    build::{Stage, StageStatus},
    condition::Reason,
};

/// The exit code with which the engine says that this node or profile will not do (engine shim).
pub const ENGINE_UNAVAILABLE: i32 = 71;
/// The exit code that containerd gives a container that it finds gone after a restart of the node.
const LOST: i32 = 255;
/// 128 + SIGKILL.
const KILLED: i32 = 137;
/// The most of a message of the kubelet or scheduler that is kept, in bytes.
const LONGEST_MESSAGE: usize = 512;

/// The stages in the order in which they run.
const STAGES: [Stage; 4] = [Stage::Source, Stage::Build, Stage::Verify, Stage::Publish];

/// The name of a stage's container.
#[must_use]
pub const fn container(stage: Stage) -> &'static str {
    match stage {
        Stage::Source => "source",
        Stage::Engine => "engine",
        Stage::Build => "build",
        Stage::Verify => "verify",
        Stage::Publish => "publish",
    }
}

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// How far it is.
    pub state: State,
    /// When its stages ran, as far as they did.
    pub stages: Vec<StageStatus>,
    /// The reports of the stages that have ended, in order.
    pub reports: Vec<Report>,
}

/// How far a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No stage has begun. What holds it may pass by itself; past `timeouts.pending` it counts as the failure.
    Pending(Option<Failure>),
    /// A stage runs, or the next is about to.
    Running(Stage),
    /// All stages ended well.
    Succeeded,
    /// It has failed, or cannot go on.
    Failed(Failure),
}

/// What went wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where; absent where no stage had begun.
    pub stage: Option<Stage>,
    /// What.
    pub reason: Reason,
    /// What happened, in a sentence.
    pub message: String,
    /// The task or test that failed.
    pub task: Option<String>,
}

impl Failure {
    fn new(stage: Option<Stage>, reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        truncate(&mut message, LONGEST_MESSAGE);
        Self { stage, reason, message, task: None }
    }
}

/// Looks at a pod.
#[must_use]
pub fn observe(pod: &Pod) -> Observation {
    let Some(status) = &pod.status else {
        return Observation { state: State::Pending(None), stages: Vec::new(), reports: Vec::new() };
    };
    let stages = STAGES.into_iter().filter_map(|stage| times(stage, find(status, stage)?)).collect();
    let ended = STAGES.into_iter().filter_map(|stage| Some((stage, terminated(find(status, stage)?)?)));
    let reports = ended.filter_map(|(stage, end)| report_of(stage, end).ok()).collect();
    Observation { state: state(status), stages, reports }
}

/// The checks in the order in which they win: what befell the pod as a whole explains what its containers
/// say, and the engine's end explains that of a stage that used it.
fn state(status: &PodStatus) -> State {
    let failure = whole_pod(status).or_else(|| engine(status)).or_else(|| stages(status));
    match failure {
        Some(failure) => State::Failed(failure),
        None if status.phase.as_deref() == Some("Succeeded") => State::Succeeded,
        None if status.phase.as_deref() == Some("Failed") => {
            State::Failed(Failure::new(None, Reason::PodLost, told(status, "the pod failed, and nobody says why")))
        }
        None => current(status),
    }
}

/// What befell the pod as a whole.
fn whole_pod(status: &PodStatus) -> Option<Failure> {
    let disruption = condition(status, "DisruptionTarget", "True");
    if let Some(message) = disruption {
        return Some(Failure::new(running(status), Reason::PodDisrupted, told_or(message, "the pod was disrupted")));
    }
    match status.reason.as_deref() {
        // An eviction by the node's need has the condition above: this one is for the pod's own limits.
        Some("Evicted") => {
            let message = told(status, "the pod used more disk than it may");
            Some(Failure::new(running(status), Reason::StorageLimitExceeded, message))
        }
        Some("DeadlineExceeded") => {
            let message = told(status, "the pod lived longer than the profile's deadline");
            Some(Failure::new(running(status), Reason::PodDeadlineExceeded, message))
        }
        Some("NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown") => {
            Some(Failure::new(running(status), Reason::NodeLost, told(status, "the node went away")))
        }
        _ if status.phase.as_deref() == Some("Unknown") => {
            Some(Failure::new(running(status), Reason::NodeLost, told(status, "the node does not answer")))
        }
        _ => None,
    }
}

/// The kubelet starts the engine again whenever it ends; but what was built in it is gone.
fn engine(status: &PodStatus) -> Option<Failure> {
    let engine = find(status, Stage::Engine)?;
    let last = engine.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let now = terminated(engine).filter(|end| by_itself(status, end));
    if last.is_none() && now.is_none() && engine.restart_count == 0 {
        return None;
    }
    let end = last.or(now);
    let message = end.and_then(|end| end.message.as_deref()).unwrap_or_default();
    if end.is_some_and(|end| end.exit_code == ENGINE_UNAVAILABLE) {
        let message = told_or(message, "the container engine cannot run on this node");
        return Some(Failure::new(Some(Stage::Engine), Reason::EngineUnavailable, message));
    }
    let why = end.map_or_else(|| "nobody says why".to_owned(), describe);
    let message = format!("the container engine was restarted during the build ({why}): what it held is gone");
    Some(Failure::new(Some(Stage::Engine), Reason::EngineRestarted, message))
}

/// Whether the engine ended of its own accord. The kubelet ends it after the last stage, and after a stage
/// that failed.
fn by_itself(status: &PodStatus, engine: &ContainerStateTerminated) -> bool {
    let mut ends = STAGES.into_iter().filter_map(|stage| Some((stage, terminated(find(status, stage)?)?)));
    let closing = ends.find(|(stage, end)| *stage == Stage::Publish || stage_failure(*stage, end).is_some());
    match closing.map(|(_, end)| (&engine.finished_at, &end.finished_at)) {
        Some((Some(engine), Some(stage))) => engine.0 < stage.0,
        Some(_) => false,
        None => true,
    }
}

/// The first stage that failed.
fn stages(status: &PodStatus) -> Option<Failure> {
    STAGES.into_iter().find_map(|stage| stage_failure(stage, terminated(find(status, stage)?)?))
}

fn stage_failure(stage: Stage, end: &ContainerStateTerminated) -> Option<Failure> {
    let reason = end.reason.as_deref().unwrap_or_default();
    // The kernel's and the runtime's word comes before that of a process that may have been cut off.
    if reason == "OOMKilled" {
        let message = format!("the container {} needed more memory than it may have", container(stage));
        return Some(Failure::new(Some(stage), Reason::OutOfMemory, message));
    }
    if matches!(reason, "Unknown" | "ContainerStatusUnknown") {
        let message = format!("the node lost the container {}: it was restarted, or crashed", container(stage));
        return Some(Failure::new(Some(stage), Reason::NodeLost, message));
    }
    if matches!(reason, "StartError" | "ContainerCannotRun") {
        let message = told_or(end.message.as_deref().unwrap_or_default(), "the container could not be started");
        return Some(Failure::new(Some(stage), Reason::ContainerConfigInvalid, message));
    }
    match report_of(stage, end) {
        Ok(Report { failure: Some(failure), .. }) => {
            Some(Failure { task: failure.task, ..Failure::new(Some(stage), failure.reason, failure.message) })
        }
        Ok(_) if end.exit_code == 0 => None,
        Ok(_) => Some(unexplained(stage, end, "although it reports that all went well")),
        Err(error) => Some(without_report(stage, end, &error)),
    }
}

fn without_report(stage: Stage, end: &ContainerStateTerminated, error: &ReportError) -> Failure {
    match end.exit_code {
        LOST => {
            let message = format!("the container {} was lost with its node", container(stage));
            Failure::new(Some(stage), Reason::NodeLost, message)
        }
        KILLED => {
            let message = format!(
                "the container {} was killed, nobody says by whom; it may have been out of memory",
                container(stage)
            );
            Failure::new(Some(stage), Reason::ContainerKilled, message)
        }
        _ => unexplained(stage, end, &error.to_string()),
    }
}

fn unexplained(stage: Stage, end: &ContainerStateTerminated, why: &str) -> Failure {
    let message = format!("the container {} ended with {}: {why}", container(stage), describe(end));
    Failure::new(Some(stage), Reason::StageInterrupted, message)
}

/// A pod that has neither failed nor ended.
fn current(status: &PodStatus) -> State {
    match running(status) {
        Some(stage) => State::Running(stage),
        None => State::Pending(held(status)),
    }
}

/// The stage that runs, or that comes next after those that have ended.
fn running(status: &PodStatus) -> Option<Stage> {
    let begun = |stage: &Stage| find(status, *stage).and_then(|each| each.state.as_ref()).is_some_and(has_begun);
    let last = STAGES.into_iter().rfind(begun)?;
    let ended = find(status, last).is_some_and(|each| terminated(each).is_some());
    let next = STAGES.into_iter().skip_while(|stage| *stage != last).nth(1);
    if ended { next.or(Some(last)) } else { Some(last) }
}

fn has_begun(state: &ContainerState) -> bool {
    state.running.is_some() || state.terminated.is_some()
}

/// What keeps the first stage from beginning, in the words of the scheduler or the kubelet.
fn held(status: &PodStatus) -> Option<Failure> {
    if let Some(message) = condition(status, "PodScheduled", "False") {
        return Some(Failure::new(None, Reason::Unschedulable, told_or(message, "no node fits the pod")));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(|each| each.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = match waiting.reason.as_deref()? {
            "ImagePullBackOff"
            | "ErrImagePull"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => Reason::ImagePullFailed,
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "PreCreateHookError" => {
                Reason::ContainerConfigInvalid
            }
            _ => return None,
        };
        let message = told_or(waiting.message.as_deref().unwrap_or_default(), waiting.reason.as_deref()?);
        Some(Failure::new(None, reason, message))
    })
}

fn find(status: &PodStatus, stage: Stage) -> Option<&ContainerStatus> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.into_iter().find(|each| each.name == container(stage))
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref()?.terminated.as_ref()
}

fn report_of(stage: Stage, end: &ContainerStateTerminated) -> Result<Report, ReportError> {
    report::parse(stage, end.message.as_deref().unwrap_or_default())
}

fn times(stage: Stage, container: &ContainerStatus) -> Option<StageStatus> {
    let now = container.state.as_ref()?;
    let (started_at, finished_at): (Option<Time>, Option<Time>) = match (&now.running, &now.terminated) {
        (Some(running), _) => (running.started_at.clone(), None),
        (None, Some(end)) => (end.started_at.clone(), end.finished_at.clone()),
        (None, None) => return None,
    };
    Some(StageStatus { name: stage, started_at, finished_at })
}

/// The message of a condition, if it is there with that status.
fn condition<'s>(status: &'s PodStatus, kind: &str, value: &str) -> Option<&'s str> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|each| each.type_ == kind && each.status == value)?;
    Some(found.message.as_deref().unwrap_or_default())
}

fn told(status: &PodStatus, otherwise: &str) -> String {
    told_or(status.message.as_deref().unwrap_or_default(), otherwise)
}

fn told_or(message: &str, otherwise: &str) -> String {
    if message.trim().is_empty() { otherwise.to_owned() } else { message.trim().to_owned() }
}

fn describe(end: &ContainerStateTerminated) -> String {
    match end.reason.as_deref() {
        Some(reason) if !matches!(reason, "Error" | "") => format!("{reason}, exit code {}", end.exit_code),
        _ => format!("exit code {}", end.exit_code),
    }
}

#[cfg(test)]
mod tests;

//! The state of a build pod, from what the kubelet and the stages say of it. The class of a failure comes
//! from the state of the pod and from the runner's own report, never from the text of a log.

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::report::{self, ReportError};
use crate::{
    api::{
        build::{Container, Stage, StageStatus},
        condition::Reason,
    },
    plan::{
        failure::Failure,
        observed::{Observation, Placement, Report, State},
        text::{LONGEST_OF_KUBELET, truncate_middle},
    },
};

/// The exit code with which the engine says that this node or profile will not do (engine shim).
pub const ENGINE_UNAVAILABLE: i32 = 71;
/// The exit code that containerd gives a container that it finds gone after a restart of the node.
const LOST: i32 = 255;
/// 128 + SIGKILL.
const KILLED: i32 = 137;

/// A failure with a message of bounded length.
fn failure(container: Option<Container>, reason: Reason, message: impl AsRef<str>) -> Failure {
    Failure { container, ..Failure::new(reason, truncate_middle(message.as_ref(), LONGEST_OF_KUBELET)) }
}

/// Looks at a pod.
#[must_use]
pub fn observe(pod: &Pod) -> Observation {
    let deleting = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let Some(status) = &pod.status else {
        let state = State::Waiting { stage: None, since: None, held: None };
        let placement = placement(pod);
        return Observation { state, placement, over: false, deleting, stages: Vec::new(), reports: Vec::new() };
    };
    let stages = Stage::ALL.into_iter().filter_map(|stage| times(stage, find(status, stage)?)).collect();
    let ended = Stage::ALL.into_iter().filter_map(|stage| Some((stage, terminated(find(status, stage)?)?)));
    let reports: Vec<_> = ended.filter_map(|(stage, end)| report_of(stage, end).ok()).collect();
    let over = is_over(pod);
    let state = with_limit(state(status), pod, &reports);
    Observation { state, placement: placement(pod), over, deleting, stages, reports }
}

/// Whether all containers of a pod have ended.
#[must_use]
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether a pod has its node. The kubelet notes its own start where the scheduler's word is not there.
#[must_use]
pub fn placement(pod: &Pod) -> Placement {
    let status = pod.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| &status.conditions).flatten();
    let scheduled = conditions.find(|each| each.type_ == "PodScheduled");
    let has_begun = status.is_some_and(|status| begun(status).is_some());
    if scheduled.is_some_and(|each| each.status == "False") && !has_begun {
        return Placement::Refused;
    }
    let word = scheduled.filter(|each| each.status == "True").and_then(|each| each.last_transition_time.as_ref());
    let since = word.or_else(|| status?.start_time.as_ref()).map(|time| time.0);
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if since.is_some() || has_node || has_begun {
        return Placement::Placed { since };
    }
    Placement::Open
}

/// Says how much memory the container may have that needed more: the kubelet does not. A stage that reports that, of what
/// the engine ended, has said all of it.
fn with_limit(seen: State, pod: &Pod, reports: &[Report]) -> State {
    let has_said = |container: Container| {
        let mut failures = reports.iter().filter_map(|report| Some((report.stage, report.failure.as_ref()?.reason)));
        failures.any(|(stage, reason)| stage.container() == container && reason == Reason::OutOfMemory)
    };
    let (container, found) = match seen {
        State::Failed(Failure { container: Some(container), reason: Reason::OutOfMemory, ref message, .. })
            if !has_said(container) =>
        {
            (container, message)
        }
        other => return other,
    };
    let limit = memory_limit(pod, container).map_or_else(String::new, |limit| format!(" (limit {limit})"));
    let message = format!("{found}{limit}: raise resources.memory of the profile, or need less");
    State::Failed(failure(Some(container), Reason::OutOfMemory, message))
}

fn memory_limit(pod: &Pod, container: Container) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let container = containers.find(|each| each.name == container.name())?;
    container.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.as_str())
}

/// The checks in the order in which they win: what befell the pod as a whole explains what its containers
/// say, and the engine's end explains that of a stage that used it.
fn state(status: &PodStatus) -> State {
    // What has ended well stays so, whatever befalls the pod afterwards. The kubelet ends the engine some seconds
    // later: what comes next does not wait for that.
    if has_come_to_its_end(status) && stages(status).is_none() {
        return State::Succeeded;
    }
    let found = whole_pod(status).or_else(|| engine(status)).or_else(|| stages(status));
    match found {
        Some(found) => State::Failed(found),
        None if matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) => {
            State::Failed(failure(None, Reason::PodLost, told(status, "the pod ended, and nobody says why")))
        }
        None => current(status),
    }
}

/// Whether the last stage has ended, and so all of them: the kubelet starts none before the one before it ended well.
fn has_come_to_its_end(status: &PodStatus) -> bool {
    let last = find(status, Stage::Publish).and_then(terminated);
    last.is_some() || status.phase.as_deref() == Some("Succeeded")
}

/// What befell the pod as a whole.
fn whole_pod(status: &PodStatus) -> Option<Failure> {
    let disruption = condition(status, "DisruptionTarget", "True");
    if let Some(message) = disruption {
        return Some(failure(running(status), Reason::PodDisrupted, told_or(message, "the pod was disrupted")));
    }
    match status.reason.as_deref() {
        // An eviction by the node's need has the condition above: this one is for the pod's own limits.
        Some("Evicted") => {
            let message = told(status, "the pod used more disk than it may");
            Some(failure(running(status), Reason::StorageLimitExceeded, message))
        }
        Some("DeadlineExceeded") => {
            let message = told(status, "the pod lived longer than the profile's deadline");
            Some(failure(running(status), Reason::PodDeadlineExceeded, message))
        }
        Some("NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown") => {
            Some(failure(running(status), Reason::NodeLost, told(status, "the node went away")))
        }
        _ if status.phase.as_deref() == Some("Unknown") => {
            Some(failure(running(status), Reason::NodeLost, told(status, "the node does not answer")))
        }
        _ => None,
    }
}

/// The kubelet starts the engine again whenever it ends; but what was built in it is gone.
fn engine(status: &PodStatus) -> Option<Failure> {
    let engine = find(status, Container::Engine)?;
    let last = engine.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let now = terminated(engine).filter(|end| by_itself(status, end));
    if last.is_none() && now.is_none() && engine.restart_count == 0 {
        return None;
    }
    let end = last.or(now);
    let message = end.and_then(|end| end.message.as_deref()).unwrap_or_default();
    if end.is_some_and(|end| end.exit_code == ENGINE_UNAVAILABLE) {
        let message = told_or(message, "the container engine cannot run on this node");
        return Some(failure(Some(Container::Engine), Reason::EngineUnavailable, message));
    }
    // The containers of the build run in the engine's cgroup: it is the build that needs more memory, and it
    // would need as much the next time.
    if end.is_some_and(is_out_of_memory) {
        let message = format!("{}, and the containers of the build run in it", out_of_memory(Container::Engine));
        return Some(failure(Some(Container::Engine), Reason::OutOfMemory, message));
    }
    // Nobody asks how a container ended that was lost with its node.
    if end.is_some_and(is_lost) {
        return Some(lost(Container::Engine));
    }
    let why = end.map_or_else(|| "nobody says why".to_owned(), describe);
    let message = format!("the container engine was restarted during the build ({why}): what it held is gone");
    Some(failure(Some(Container::Engine), Reason::EngineRestarted, message))
}

/// Whether the engine ended of its own accord. The kubelet ends it after the last stage, and after a stage
/// that failed.
fn by_itself(status: &PodStatus, engine: &ContainerStateTerminated) -> bool {
    let mut ends = Stage::ALL.into_iter().filter_map(|stage| Some((stage, terminated(find(status, stage)?)?)));
    let closing = ends.find(|(stage, end)| *stage == Stage::Publish || stage_failure(*stage, end).is_some());
    match closing.map(|(_, end)| (&engine.finished_at, &end.finished_at)) {
        Some((Some(engine), Some(stage))) => engine.0 < stage.0,
        Some(_) => false,
        None => true,
    }
}

/// The first stage that failed.
fn stages(status: &PodStatus) -> Option<Failure> {
    Stage::ALL.into_iter().find_map(|stage| stage_failure(stage, terminated(find(status, stage)?)?))
}

/// Of a container that ended well, a child was killed that it could do without.
fn is_out_of_memory(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref() == Some("OOMKilled") && end.exit_code != 0
}

/// Whether the node found it gone when it came back.
fn is_lost(end: &ContainerStateTerminated) -> bool {
    matches!(end.reason.as_deref(), Some("Unknown" | "ContainerStatusUnknown"))
}

fn lost(container: Container) -> Failure {
    let message = format!("the node lost the container {container}: it was restarted, or crashed");
    failure(Some(container), Reason::NodeLost, message)
}

fn out_of_memory(container: Container) -> String {
    format!("the container {container} needed more memory than it may have")
}

fn stage_failure(stage: Stage, end: &ContainerStateTerminated) -> Option<Failure> {
    let container = stage.container();
    let reason = end.reason.as_deref().unwrap_or_default();
    // The kernel's and the runtime's word comes before that of a process that may have been cut off.
    if is_out_of_memory(end) {
        return Some(failure(Some(container), Reason::OutOfMemory, out_of_memory(container)));
    }
    if is_lost(end) {
        return Some(lost(container));
    }
    if matches!(reason, "StartError" | "ContainerCannotRun") {
        let message = told_or(end.message.as_deref().unwrap_or_default(), "the container could not be started");
        return Some(failure(Some(container), Reason::ContainerConfigInvalid, message));
    }
    match report_of(stage, end) {
        Ok(Report { failure: Some(reported), .. }) => {
            // Bounded already, by more than the messages of the kubelet: this is what people have to act on.
            Some(reported.of(container))
        }
        Ok(_) if end.exit_code == 0 => None,
        Ok(_) => Some(unexplained(container, end, "although it reports that all went well")),
        Err(error) => Some(without_report(container, end, &error)),
    }
}

fn without_report(container: Container, end: &ContainerStateTerminated, error: &ReportError) -> Failure {
    match end.exit_code {
        LOST => {
            let message = format!("the container {container} was lost with its node");
            failure(Some(container), Reason::NodeLost, message)
        }
        KILLED => {
            let message =
                format!("the container {container} was killed, nobody says by whom; it may have been out of memory");
            failure(Some(container), Reason::ContainerKilled, message)
        }
        _ => unexplained(container, end, &error.to_string()),
    }
}

fn unexplained(container: Container, end: &ContainerStateTerminated, why: &str) -> Failure {
    let message = format!("the container {container} ended with {}: {why}", describe(end));
    failure(Some(container), Reason::StageInterrupted, message)
}

/// A pod that has neither failed nor ended.
fn current(status: &PodStatus) -> State {
    let Some(last) = begun(status) else {
        return State::Waiting { stage: None, since: None, held: held(status) };
    };
    let Some(end) = find(status, last).and_then(terminated) else { return State::Running(last) };
    // The kubelet pulls a stage's image, and starts the engine, only when the stage before has ended.
    let since = end.finished_at.as_ref().map(|time| time.0);
    State::Waiting { stage: Some(after(last)), since, held: held(status) }
}

/// The last stage that has begun.
fn begun(status: &PodStatus) -> Option<Stage> {
    let has = |stage: &Stage| find(status, *stage).and_then(|each| each.state.as_ref()).is_some_and(has_begun);
    Stage::ALL.into_iter().rfind(has)
}

fn after(stage: Stage) -> Stage {
    Stage::ALL.into_iter().skip_while(|each| *each != stage).nth(1).unwrap_or(stage)
}

/// The stage that runs, or that comes next after those that have ended.
fn running(status: &PodStatus) -> Option<Container> {
    let last = begun(status)?;
    Some(if find(status, last).and_then(terminated).is_some() { after(last) } else { last }.container())
}

fn has_begun(state: &ContainerState) -> bool {
    state.running.is_some() || state.terminated.is_some()
}

/// What keeps the next stage from beginning, in the words of the scheduler or the kubelet.
fn held(status: &PodStatus) -> Option<Failure> {
    if let Some(message) = condition(status, "PodScheduled", "False") {
        return Some(failure(None, Reason::Unschedulable, told_or(message, "no node fits the pod")));
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
        Some(failure(None, reason, message))
    })
}

fn find(status: &PodStatus, container: impl Into<Container>) -> Option<&ContainerStatus> {
    let name = container.into().name();
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.into_iter().find(|each| each.name == name)
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

//! Every class of failure, from pods as the kubelet writes them.

// A table of JSON reads better without references, and in one piece.
#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::condition::Class;

/// A pod whose containers have the given states.
fn pod(phase: &str, containers: Value) -> Value {
    let all = containers.as_object().unwrap();
    let statuses = |main: bool| -> Vec<Value> {
        let chosen = all.iter().filter(|(name, _)| (*name == "publish") == main);
        chosen
            .map(|(name, state)| {
                let mut status = json!({"name": name, "ready": false, "restartCount": 0, "image": "i", "imageID": ""});
                status.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
                status
            })
            .collect()
    };
    json!({"status": {"phase": phase, "initContainerStatuses": statuses(false), "containerStatuses": statuses(true)}})
}

fn with(mut pod: Value, field: &str, value: Value) -> Value {
    pod["status"][field] = value;
    pod
}

fn ended(code: i32, reason: &str, message: Value) -> Value {
    let message = message.as_str().map_or_else(|| message.to_string(), ToOwned::to_owned);
    json!({"state": {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-01-01T00:00:09Z"}}})
}

fn good(stage: &str) -> Value {
    ended(0, "Completed", json!({"stage": stage}))
}

fn running_since() -> Value {
    json!({"state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}})
}

fn waiting(reason: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": "the kubelet's own words"}}})
}

fn see(pod: Value) -> Observation {
    observe(&serde_json::from_value(pod).unwrap())
}

/// A pod whose source stage ended well and whose build stage ended like this.
fn build_ended(code: i32, reason: &str, message: Value) -> Value {
    pod("Failed", json!({"source": good("source"), "engine": running_since(), "build": ended(code, reason, message)}))
}

fn failed_report(stage: &str, reason: &str) -> Value {
    json!({"stage": stage, "failure": {"reason": reason, "message": "what happened", "task": "web : install nginx"}})
}

#[test]
fn every_failure_has_its_reason_and_class() {
    use Reason as R;
    let building =
        || pod("Running", json!({"source": good("source"), "engine": running_since(), "build": running_since()}));
    let condition =
        |kind: &str, status: &str| json!([{"type": kind, "status": status, "message": "the node's own words"}]);
    let restarted = |code: i32, reason: &str| {
        let last = json!({"terminated": {"exitCode": code, "reason": reason, "message": ""}});
        let engine = json!({"restartCount": 1, "state": {"running": {}}, "lastState": last});
        pod("Running", json!({"source": good("source"), "engine": engine, "build": running_since()}))
    };
    let verify = |reason: &str| {
        let verify = ended(1, "Error", failed_report("verify", reason));
        pod("Failed", json!({"source": good("source"), "build": good("build"), "verify": verify}))
    };
    let cases: Vec<(&str, Value, Reason, Class)> = vec![
        (
            "preempted, drained, evicted by the node",
            with(building(), "conditions", condition("DisruptionTarget", "True")),
            R::PodDisrupted,
            Class::Infrastructure,
        ),
        ("node shut down", with(building(), "reason", json!("NodeShutdown")), R::NodeLost, Class::Infrastructure),
        ("node does not answer", with(building(), "phase", json!("Unknown")), R::NodeLost, Class::Infrastructure),
        (
            "machine crash, as containerd tells it",
            build_ended(255, "Unknown", json!("")),
            R::NodeLost,
            Class::Infrastructure,
        ),
        (
            "machine crash, as the kubelet tells it",
            build_ended(137, "ContainerStatusUnknown", json!("")),
            R::NodeLost,
            Class::Infrastructure,
        ),
        ("machine crash, without a reason", build_ended(255, "Error", json!("")), R::NodeLost, Class::Infrastructure),
        ("killed", build_ended(137, "Error", json!("")), R::ContainerKilled, Class::Infrastructure),
        ("ended without a word", build_ended(2, "Error", json!("")), R::StageInterrupted, Class::Infrastructure),
        (
            "ended with a cut report",
            build_ended(1, "Error", json!("{\"stage\":\"bui")),
            R::StageInterrupted,
            Class::Infrastructure,
        ),
        (
            "a good report with a bad exit code",
            build_ended(1, "Error", json!({"stage": "build"})),
            R::StageInterrupted,
            Class::Infrastructure,
        ),
        (
            "a good exit code without a report",
            build_ended(0, "Completed", json!("")),
            R::StageInterrupted,
            Class::Infrastructure,
        ),
        (
            "a failure that is none",
            build_ended(1, "Error", failed_report("build", "LinksReady")),
            R::StageInterrupted,
            Class::Infrastructure,
        ),
        ("the engine was restarted", restarted(137, "Error"), R::EngineRestarted, Class::Infrastructure),
        ("the engine was lost with its node", restarted(255, "Unknown"), R::NodeLost, Class::Infrastructure),
        ("the engine was out of memory", restarted(137, "OOMKilled"), R::OutOfMemory, Class::Resource),
        (
            "the engine was out of memory, and the stage with it",
            with_engine(ended(137, "OOMKilled", json!("")), "2026-01-01T00:00:05Z"),
            R::OutOfMemory,
            Class::Resource,
        ),
        (
            "the engine ended after the stage, which says why",
            with_engine(ended(137, "OOMKilled", json!("")), "2026-01-01T00:00:20Z"),
            R::TaskFailed,
            Class::Build,
        ),
        (
            "the registry is down",
            build_ended(1, "Error", failed_report("build", "RegistryUnavailable")),
            R::RegistryUnavailable,
            Class::Infrastructure,
        ),
        (
            "out of memory, whatever else it says",
            build_ended(137, "OOMKilled", failed_report("build", "TaskFailed")),
            R::OutOfMemory,
            Class::Resource,
        ),
        (
            "evicted for its own limit",
            with(with(building(), "phase", json!("Failed")), "reason", json!("Evicted")),
            R::StorageLimitExceeded,
            Class::Resource,
        ),
        ("disk full", build_ended(1, "Error", failed_report("build", "DiskFull")), R::DiskFull, Class::Resource),
        ("a task failed", build_ended(1, "Error", failed_report("build", "TaskFailed")), R::TaskFailed, Class::Build),
        (
            "a wrong template",
            build_ended(1, "Error", failed_report("build", "TemplateInvalid")),
            R::TemplateInvalid,
            Class::Build,
        ),
        ("a test failed", verify("TestsFailed"), R::TestsFailed, Class::Verification),
        ("not idempotent", verify("NotIdempotent"), R::NotIdempotent, Class::Verification),
        ("the engine cannot run here", restarted(71, "Error"), R::EngineUnavailable, Class::Configuration),
        (
            "a container cannot start",
            build_ended(128, "StartError", json!("exec: no such file")),
            R::ContainerConfigInvalid,
            Class::Configuration,
        ),
        (
            "too late for the profile",
            with(building(), "reason", json!("DeadlineExceeded")),
            R::PodDeadlineExceeded,
            Class::Deadline,
        ),
        (
            "too late for the build",
            build_ended(1, "Error", failed_report("build", "BuildTimeout")),
            R::BuildTimeout,
            Class::Deadline,
        ),
        (
            "no right to push",
            build_ended(1, "Error", failed_report("build", "PushDenied")),
            R::PushDenied,
            Class::Dependency,
        ),
    ];
    for (what, pod, reason, class) in cases {
        match see(pod).state {
            State::Failed(failure) => {
                assert_eq!((failure.reason, failure.reason.class()), (reason, class), "{what}: {failure:?}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// A pod whose build stage failed at nine seconds, and whose engine ended then.
fn with_engine(mut engine: Value, at: &str) -> Value {
    engine["state"]["terminated"]["finishedAt"] = json!(at);
    let build = ended(1, "Error", failed_report("build", "TaskFailed"));
    pod("Failed", json!({"source": good("source"), "engine": engine, "build": build}))
}

/// Who ended first tells whether the stage failed of its own accord, or because the engine had gone.
#[test]
fn the_end_of_the_engine_is_told_from_its_clean_up() {
    for (at, reason) in
        [("2026-01-01T00:00:20Z", Reason::TaskFailed), ("2026-01-01T00:00:05Z", Reason::EngineRestarted)]
    {
        let state = see(with_engine(ended(137, "Error", json!("")), at)).state;
        assert!(matches!(&state, State::Failed(failure) if failure.reason == reason), "{at}: {state:?}");
    }
}

#[test]
fn a_pod_that_waits_says_what_for() {
    let cases = [
        (json!({"source": waiting("ImagePullBackOff")}), Reason::ImagePullFailed),
        (json!({"source": waiting("CreateContainerConfigError")}), Reason::ContainerConfigInvalid),
    ];
    for (containers, reason) in cases {
        let state = see(pod("Pending", containers)).state;
        assert!(
            matches!(&state, State::Waiting { stage: None, held: Some(held), .. } if held.reason == reason && held.message == "the kubelet's own words"),
            "{state:?}"
        );
    }
    let conditions = json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]);
    let state = see(with(pod("Pending", json!({})), "conditions", conditions)).state;
    assert!(
        matches!(&state, State::Waiting { held: Some(held), .. } if held.reason == Reason::Unschedulable && held.message.starts_with("0/3"))
    );
    for harmless in [json!({}), json!({"source": waiting("PodInitializing")})] {
        assert_eq!(see(pod("Pending", harmless)).state, State::Waiting { stage: None, since: None, held: None });
    }
    assert_eq!(observe(&Pod::default()).state, State::Waiting { stage: None, since: None, held: None });
}

#[test]
fn a_pod_has_its_node_from_when_the_scheduler_says_so() {
    let (noon, later) = ("2026-01-01T12:00:00Z", "2026-01-01T12:00:03Z");
    let scheduled = |status: &str| json!([{"type": "PodScheduled", "status": status, "lastTransitionTime": noon}]);
    let placed = |since: Option<&str>| Placement::Placed { since: since.and_then(|time| time.parse().ok()) };
    let begun = || pod("Pending", json!({"source": running_since()}));
    for (pod, expected) in [
        (pod("Pending", json!({})), Placement::Open),
        (json!({}), Placement::Open),
        (with(pod("Pending", json!({})), "conditions", scheduled("False")), Placement::Refused),
        (with(with(begun(), "conditions", scheduled("True")), "startTime", json!(later)), placed(Some(noon))),
        // Without the scheduler's word, the kubelet's counts; and nothing runs without a node.
        (with(begun(), "startTime", json!(later)), placed(Some(later))),
        (with(begun(), "conditions", scheduled("False")), placed(None)),
        (begun(), placed(None)),
        (json!({"spec": {"containers": [], "nodeName": "n"}}), placed(None)),
    ] {
        assert_eq!(see(pod.clone()).placement, expected, "{pod}");
    }
}

#[test]
fn a_pod_goes_through_its_stages() {
    let source = pod("Pending", json!({"source": running_since(), "build": waiting("PodInitializing")}));
    assert_eq!(see(source).state, State::Running(Stage::Source));
    let between = pod("Pending", json!({"source": good("source"), "engine": waiting("PodInitializing")}));
    let since = "2026-01-01T00:00:09Z".parse().ok();
    assert_eq!(see(between).state, State::Waiting { stage: Some(Stage::Build), since, held: None });
    // The builder image is pulled only now: the commonest mistake shows here.
    let unpulled = pod(
        "Pending",
        json!({"source": good("source"), "engine": running_since(), "build": waiting("ImagePullBackOff")}),
    );
    let state = see(unpulled).state;
    assert!(
        matches!(&state, State::Waiting { stage: Some(Stage::Build), held: Some(held), .. } if held.reason == Reason::ImagePullFailed),
        "{state:?}"
    );
    let done = json!({
        "source": good("source"), "build": good("build"), "verify": good("verify"), "publish": good("publish"),
        // The kubelet ends the engine when the stages are done, by SIGTERM or SIGKILL.
        "engine": ended(137, "Error", json!("")),
    });
    let mut published = done.clone();
    published["engine"] = running_since();
    let published = see(pod("Running", published));
    assert_eq!((published.state, published.over), (State::Succeeded, false), "nobody waits for the engine's end");
    let drained = json!([{"type": "DisruptionTarget", "status": "True", "message": "the node is drained"}]);
    assert_eq!(see(with(pod("Succeeded", done.clone()), "conditions", drained)).state, State::Succeeded, "it is done");
    let done = see(pod("Succeeded", done));
    assert_eq!((done.state, done.over), (State::Succeeded, true));
    assert_eq!(done.reports.iter().map(|report| report.stage).collect::<Vec<_>>(), Stage::ALL);
    assert_eq!(done.stages.len(), 4);
}

#[test]
fn a_failure_names_the_stage_and_the_task() {
    let State::Failed(failure) = see(build_ended(1, "Error", failed_report("build", "TaskFailed"))).state else {
        panic!("it failed")
    };
    assert_eq!(failure.container, Some(Container::Build));
    assert_eq!((failure.message.as_str(), failure.task.as_deref()), ("what happened", Some("web : install nginx")));
}

/// The kubelet says that it was too much, and not how much would have been allowed.
#[test]
fn out_of_memory_names_the_container_and_its_limit() {
    let container = |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"memory": limit}}});
    let spec = json!({"initContainers": [container("engine", "6Gi"), container("build", "2Gi")], "containers": []});
    let engine =
        json!({"restartCount": 1, "state": {"running": {}}, "lastState": ended(137, "OOMKilled", json!(""))["state"]});
    let engine = pod("Running", json!({"source": good("source"), "engine": engine, "build": running_since()}));
    for (mut pod, container, begin) in [
        (
            build_ended(137, "OOMKilled", json!("")),
            Container::Build,
            "the container build needed more memory than it may have (limit 2Gi): ",
        ),
        (
            engine,
            Container::Engine,
            "the container engine needed more memory than it may have, and the containers of the build run in it (limit 6Gi): ",
        ),
    ] {
        let unlimited = see(pod.clone()).state;
        assert!(matches!(unlimited, State::Failed(failure) if failure.message.contains("raise resources.memory")));
        pod["spec"] = spec.clone();
        let State::Failed(failure) = see(pod).state else { panic!("it failed") };
        assert_eq!(failure.container, Some(container));
        assert!(failure.message.starts_with(begin), "{}", failure.message);
    }
}

/// The stage knows the limit of the containers that it starts, which is another than its own.
#[test]
fn what_the_engine_ended_is_told_as_the_stage_tells_it() {
    let mut pod = build_ended(1, "Error", failed_report("build", "OutOfMemory"));
    let limits = json!({"limits": {"memory": "256Mi"}});
    pod["spec"] = json!({"initContainers": [{"name": "build", "resources": limits}], "containers": []});
    let State::Failed(failure) = see(pod).state else { panic!("it failed") };
    assert_eq!(failure.message, "what happened");
}

#[test]
fn what_was_lacked_and_when_it_must_be_gone_are_kept() {
    let mut report = failed_report("build", "BaseImageNotFound");
    report["failure"]["lacked"] = json!("image/docker.io/library/debian:13");
    let mut pod = build_ended(1, "Error", report);
    assert_eq!(see(pod.clone()).deleting, None);
    pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:30Z"});
    let seen = see(pod);
    assert_eq!(seen.deleting, "2026-01-01T00:00:30Z".parse().ok());
    let State::Failed(failure) = seen.state else { panic!("it failed") };
    assert_eq!(failure.missing.unwrap().to_string(), "image/docker.io/library/debian:13");
}

#[test]
fn what_a_stage_reports_is_not_cut_again() {
    let mut report = failed_report("build", "TaskFailed");
    report["failure"]["message"] = json!("x".repeat(900));
    let State::Failed(failure) = see(build_ended(1, "Error", report)).state else { panic!("it failed") };
    assert_eq!(failure.message.len(), 900);
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        Just("OOMKilled".to_owned()),
        Just("Unknown".to_owned()),
        Just("Evicted".to_owned()),
        Just("Failed".to_owned()),
        Just("{\"stage\":\"build\"}".to_owned()),
    ]
}

proptest! {
    /// Any phase, any number of containers of any name in any state: there is an answer, and it is bounded.
    #[test]
    fn any_pod_has_a_state(
        phase in any_text(), reason in any_text(),
        containers in proptest::collection::vec((prop_oneof![Just("build".to_owned()), Just("engine".to_owned()), any_text()], any::<i32>(), any_text(), any_text(), any::<i32>()), 0..20),
    ) {
        let statuses: Vec<_> = containers.into_iter().map(|(name, code, reason, message, restarts)| json!({
            "name": name, "ready": false, "restartCount": restarts, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}},
        })).collect();
        let observation = see(json!({"status": {"phase": phase, "reason": reason, "initContainerStatuses": statuses}}));
        if let State::Failed(failure) = observation.state {
            prop_assert!(failure.message.len() <= 1024, "the schema's bound");
        }
    }
}

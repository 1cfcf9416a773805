//! The statuses of build pods, as a kubelet and the stages would write them.

use imagechain::{
    api::{build::Stage, condition::Reason},
    plan::{failure::Failure, observed::Report},
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::kubelet::report;

/// A stage reports why it failed.
pub fn failed(at: Stage, reason: Reason) -> Value {
    let before = [Stage::Source, Stage::Build, Stage::Verify].into_iter().take_while(|stage| *stage != at);
    let mut stages: Vec<_> = before.map(|stage| (stage, Some(report(stage)))).collect();
    let failure = Failure { task: Some("the task".to_owned()), ..Failure::new(reason, "what the stage says") };
    stages.push((at, Some(Report { failure: Some(failure), ..report(at) })));
    status("Failed", &stages)
}

/// The pod was evicted by a drain of its node.
pub fn disrupted() -> Value {
    let mut status = status("Failed", &[(Stage::Source, Some(report(Stage::Source)))]);
    status["conditions"] = condition("DisruptionTarget", "True", "drained");
    status
}

/// The pod as a whole failed, and the kubelet says why.
pub fn whole(phase: &str, reason: &str) -> Value {
    let mut status = status(phase, &[(Stage::Source, Some(report(Stage::Source))), (Stage::Build, None)]);
    status["reason"] = json!(reason);
    status["message"] = json!("what the kubelet says");
    status
}

/// The kubelet evicted the pod, since one of its containers needed more disk than it may have.
pub fn evicted() -> Value {
    let mut status = whole("Failed", "Evicted");
    status["message"] = json!("Container build exceeded its local ephemeral storage limit \"5Gi\". ");
    status
}

/// The build stage ended without a word: the kubelet has the reason and the exit code.
pub fn silent(reason: &str, code: i32) -> Value {
    let mut status = status("Failed", &[(Stage::Source, Some(report(Stage::Source))), (Stage::Build, None)]);
    status["initContainerStatuses"][1]["state"] = terminated(reason, code);
    status
}

/// The engine beside the running build ended and was started again.
pub fn engine_restarted(reason: &str, code: i32) -> Value {
    let mut status = status("Running", &[(Stage::Source, Some(report(Stage::Source))), (Stage::Build, None)]);
    let engine = json!({"name": "engine", "image": "i", "imageID": "", "ready": true, "restartCount": 1,
        "state": {"running": {"startedAt": now()}}, "lastState": terminated(reason, code)});
    status["initContainerStatuses"].as_array_mut().expect("containers").push(engine);
    status
}

/// A container cannot be made, or its image not be pulled.
pub fn held(reason: &str) -> Value {
    let mut status = status("Pending", &[]);
    status["initContainerStatuses"] = json!([{"name": "source", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "what the kubelet says"}}}]);
    status
}

/// No node fits.
pub fn unschedulable() -> Value {
    let mut status = status("Pending", &[]);
    status["conditions"] = condition("PodScheduled", "False", "0/1 nodes are available");
    status
}

/// The status of a pod whose stages have ended with a report, or run still.
pub fn status(phase: &str, stages: &[(Stage, Option<Report>)]) -> Value {
    let now = now();
    let container = |(stage, report): &(Stage, Option<Report>)| {
        let state = match report {
            None => json!({"running": {"startedAt": now}}),
            Some(report) => json!({"terminated": {
                "exitCode": i32::from(report.failure.is_some()), "startedAt": now, "finishedAt": now,
                "message": serde_json::to_string(report).expect("JSON"),
            }}),
        };
        json!({"name": stage.container(), "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    };
    let of = |main: bool| -> Vec<Value> {
        stages.iter().filter(|(stage, _)| (*stage == Stage::Publish) == main).map(container).collect()
    };
    json!({"phase": phase, "startTime": now, "initContainerStatuses": of(false), "containerStatuses": of(true)})
}

fn terminated(reason: &str, code: i32) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": now(), "finishedAt": now()}})
}

fn condition(kind: &str, value: &str, message: &str) -> Value {
    json!([{"type": kind, "status": value, "reason": "Told", "message": message, "lastTransitionTime": now()}])
}

fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).expect("a time").to_string()
}

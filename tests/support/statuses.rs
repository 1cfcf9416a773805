//! The statuses of build pods, as a kubelet and the stages would write them.

use imagechain::{
    api::{
        build::{Stage, Verification},
        condition::Reason,
    },
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
    json!({"phase": "Pending", "conditions": condition("PodScheduled", "False", "0/1 nodes are available")})
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

/// The same status of a pod that the version before made: its stages report in the words of that version, which are
/// written out here, since the present types may change. A release changes them to those of the one before it.
pub fn in_words_before(mut status: Value) -> Value {
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let message = container.pointer_mut("/state/terminated/message");
            if let Some(message) = message {
                let report = serde_json::from_str(message.as_str().expect("a text")).expect("a report");
                *message = json!(words_before(&report).to_string());
            }
        }
    }
    status
}

/// A report as commit 91cba78 writes it.
fn words_before(report: &Report) -> Value {
    let failure = report.failure.as_ref().map(|failure| {
        present(json!({
            "reason": failure.reason.to_string(), "message": failure.message, "task": failure.task,
            "lacked": failure.missing.as_ref().map(ToString::to_string),
        }))
    });
    let step = |step: &Verification| {
        present(json!({
            "step": step.step, "passed": step.passed, "tests": step.tests, "failures": step.failures,
            "seconds": step.seconds,
        }))
    };
    let steps: Vec<Value> = report.verification.iter().map(step).collect();
    present(json!({
        "stage": report.stage.container().name(), "failure": failure, "imageId": report.content,
        "repository": report.repository, "digest": report.digest, "size": report.size,
        "verification": (!steps.is_empty()).then_some(steps),
    }))
}

/// Without what is null.
fn present(mut object: Value) -> Value {
    object.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    object
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

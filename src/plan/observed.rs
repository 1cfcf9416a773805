//! Facts about pods, as plain data. `outcome` reads them from what the kubelet and the stages say.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::api::build::{Stage, StageStatus, Verification};

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// How far it is.
    pub state: State,
    /// Whether it has its node.
    pub placement: Placement,
    /// Whether all of its containers have ended. One that has failed may still run: its engine was
    /// restarted, or its node takes its time to end it.
    pub over: bool,
    /// Its `deletionTimestamp`, if somebody has asked for its end: by when it should be gone, since the API
    /// server adds the grace period to the time of the request.
    pub deleting: Option<Timestamp>,
    /// When its stages ran, as far as they did.
    pub stages: Vec<StageStatus>,
    /// The reports of the stages that have ended, in order.
    pub reports: Vec<Report>,
}

impl Observation {
    /// Whether the pod goes on as it should: nothing follows from it, and people may hear of it a moment later,
    /// together with its next step.
    #[must_use]
    pub const fn is_progress(&self) -> bool {
        let goes_on = matches!(self.state, State::Running(_) | State::Waiting { held: None, .. });
        goes_on && !self.over && self.deleting.is_none()
    }
}

/// Whether a pod has its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The scheduler has not spoken yet.
    Open,
    /// The scheduler finds none.
    Refused,
    /// It has one.
    Placed {
        /// Since when; absent where nobody says.
        since: Option<Timestamp>,
    },
}

/// Why the scheduler finds no node for a pod, as far as the nodes tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// It finds one, or what is in the way is not the size of the pod.
    #[default]
    Unknown,
    /// Nodes are large enough, and others have what they have: how much is short, and whom the pod waits for.
    Short(String),
    /// No node that it may be on is large enough: how much is asked for, and what the largest has.
    Never(String),
}

/// How far a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The first stage, or the next one, has not begun. What holds it may pass by itself; past
    /// `timeouts.pending` it counts as the failure.
    Waiting {
        /// The stage that waits; absent for the first, as nothing has begun.
        stage: Option<Stage>,
        /// Since when, if not since the pod was made.
        since: Option<Timestamp>,
        /// What holds it, if anybody says so.
        held: Option<Failure>,
    },
    /// A stage runs.
    Running(Stage),
    /// All stages ended well.
    Succeeded,
    /// It has failed, or cannot go on.
    Failed(Failure),
}

/// What a stage says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which stage.
    pub stage: Stage,
    /// What went wrong; absent where all went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Of `build`, `verify` and `publish`: the digest of the product's content, which must be the same in all of them.
    #[serde(rename = "imageId", default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Of `publish`: the repository that it pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Of `publish`: the digest of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Of `publish`: the size of the layers in the registry, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Of `verify`: the result of each step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verification: Vec<Verification>,
    /// Of `build`: what of the recipe would have published by itself, and was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::Reason;

    #[test]
    fn only_what_decides_nothing_is_progress() {
        let failure = Failure::new(Reason::PodLost, "");
        let waiting = |held| State::Waiting { stage: Some(Stage::Build), since: None, held };
        let cases = [
            (waiting(None), true),
            (State::Running(Stage::Verify), true),
            (waiting(Some(failure.clone())), false),
            (State::Succeeded, false),
            (State::Failed(failure), false),
        ];
        for (state, expected) in cases {
            let placement = Placement::Placed { since: None };
            let seen =
                Observation { state, placement, over: false, deleting: None, stages: Vec::new(), reports: Vec::new() };
            assert_eq!(seen.is_progress(), expected, "{seen:?}");
            let (ended, leaving) = (Observation { over: true, ..seen.clone() }, Some(Timestamp::UNIX_EPOCH));
            assert!(!ended.is_progress() && !Observation { deleting: leaving, ..seen }.is_progress());
        }
    }
}

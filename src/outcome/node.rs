//! What is known of the node of a pod.

use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};

/// Since when a node does not answer; `None`: it does. Of a node that is not there any more, since ever.
///
/// The node controller sets `Ready` to `Unknown` when a kubelet has not renewed its lease for
/// `node-monitor-grace-period` (50 s by default). A kubelet that says of itself that it is not ready answers.
#[must_use]
pub fn down_since(node: Option<&Node>) -> Option<Timestamp> {
    let Some(node) = node else { return Some(Timestamp::MIN) };
    let mut conditions = node.status.iter().flat_map(|status| &status.conditions).flatten();
    let ready = conditions.find(|each| each.type_ == "Ready").filter(|each| each.status == "Unknown")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MAX, |time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_is_down_when_nobody_hears_of_it() {
        let node = |status: &str| {
            let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let other = json!({"type": "DiskPressure", "status": "Unknown"});
            serde_json::from_value::<Node>(json!({"status": {"conditions": [other, ready]}})).unwrap()
        };
        assert_eq!(down_since(None), Some(Timestamp::MIN), "it was deleted");
        assert_eq!(down_since(Some(&node("Unknown"))), "2026-01-01T00:00:00Z".parse().ok());
        for answers in [node("True"), node("False"), Node::default()] {
            assert_eq!(down_since(Some(&answers)), None);
        }
    }
}

//! The rules of a true status, checked over every status that a test computes. They are those of kstatus
//! (what `kubectl wait`, Flux and Argo CD read) and of Flux's checker of conditions, made stricter.

use std::collections::BTreeSet;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use crate::api::condition::{Class, ConditionType, Reason};

/// Which rules a status breaks, as sentences; none if it is as it should be.
#[must_use]
pub fn violations(conditions: &[Condition], observed: i64, generation: i64, now: Timestamp) -> Vec<String> {
    let mut broken: Vec<String> = conditions.iter().flat_map(|each| of_one(each, observed, now)).collect();
    broken.extend(of_all(conditions, observed, generation).into_iter().map(ToOwned::to_owned));
    broken
}

fn of_one(condition: &Condition, observed: i64, now: Timestamp) -> Vec<String> {
    let kind = ConditionType::ALL.into_iter().find(|kind| kind.to_string() == condition.type_);
    let reason = Reason::ALL.iter().find(|reason| reason.to_string() == condition.reason);
    let rules = [
        (kind.is_some(), "its type is on the list"),
        (reason.is_some(), "its reason is on the list"),
        (matches!(condition.status.as_str(), "True" | "False" | "Unknown"), "its status is True, False or Unknown"),
        (
            condition.status == "True" || !kind.is_some_and(ConditionType::is_abnormal_true),
            "what is bad when true is there only while it is true",
        ),
        (!condition.message.trim().is_empty() && condition.message.len() <= 2048, "its message is there and short"),
        (condition.last_transition_time.0 <= now, "its last transition is not in the future"),
        (condition.observed_generation == Some(observed), "it is about the generation of the status"),
    ];
    let broken = rules.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, rule)| format!("{}: not so: {rule}", condition.type_)).collect()
}

fn of_all(conditions: &[Condition], observed: i64, generation: i64) -> Vec<&'static str> {
    let types: BTreeSet<_> = conditions.iter().map(|each| each.type_.as_str()).collect();
    let status = |kind: ConditionType| {
        conditions.iter().find(|each| each.type_ == kind.to_string()).map(|each| each.status.as_str())
    };
    let is_true = |kind: ConditionType| status(kind) == Some("True");
    let class = |kind: ConditionType| {
        let condition = conditions.iter().find(|each| each.type_ == kind.to_string())?;
        Reason::ALL.iter().find(|reason| reason.to_string() == condition.reason).map(|reason| reason.class())
    };
    let up_to_date = conditions.iter().find(|each| each.type_ == ConditionType::UpToDate.to_string());
    let is_held = up_to_date.is_some_and(|each| each.reason == Reason::Suspended.to_string());
    let (reconciling, stalled) = (is_true(ConditionType::Reconciling), is_true(ConditionType::Stalled));
    let rules = [
        (types.len() == conditions.len(), "no type is there twice"),
        (
            status(ConditionType::Ready).is_some() || is_held,
            "Ready is always there, unless all that is left is held by suspend",
        ),
        (!(reconciling && stalled), "Reconciling and Stalled are never there together"),
        (
            reconciling == (status(ConditionType::Ready) == Some("Unknown")),
            "Ready is Unknown while Reconciling, and only then",
        ),
        (stalled == (status(ConditionType::Ready) == Some("False")), "Ready is False while Stalled, and only then"),
        (
            !is_true(ConditionType::Ready) || class(ConditionType::Ready) == Some(Class::Success),
            "Ready is True for a reason of success",
        ),
        ((-1..=generation).contains(&observed), "the observed generation is not ahead"),
        (!is_true(ConditionType::Ready) || observed == generation, "Ready is True for the present generation only"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "m".to_owned(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: Some(1),
        }
    }

    #[test]
    fn each_rule_can_be_broken() {
        let ready = condition("Ready", "True", "LinksReady");
        let (reconciling, stalled) =
            (condition("Reconciling", "True", "Building"), condition("Stalled", "True", "TaskFailed"));
        let changed = |change: fn(&mut Condition)| {
            let mut one = condition("Ready", "True", "LinksReady");
            change(&mut one);
            vec![one]
        };
        let cases: Vec<(&str, Vec<Condition>)> = vec![
            ("type is on the list", vec![ready.clone(), condition("Happy", "True", "LinksReady")]),
            ("reason is on the list", vec![condition("Ready", "True", "Whatever")]),
            ("True, False or Unknown", vec![condition("Ready", "true", "LinksReady")]),
            ("only while it is true", vec![ready.clone(), condition("Stalled", "False", "LinksReady")]),
            ("message is there", changed(|one| one.message.clear())),
            ("not in the future", changed(|one| one.last_transition_time = Time(Timestamp::MAX))),
            ("generation of the status", changed(|one| one.observed_generation = Some(2))),
            ("there twice", vec![ready.clone(), ready.clone()]),
            ("Ready is always there", vec![]),
            (
                "never there together",
                vec![condition("Ready", "Unknown", "Building"), reconciling.clone(), stalled.clone()],
            ),
            ("Unknown while Reconciling", vec![ready.clone(), reconciling]),
            ("Unknown while Reconciling", vec![condition("Ready", "Unknown", "Building")]),
            ("False while Stalled", vec![ready, stalled]),
            ("False while Stalled", vec![condition("Ready", "False", "TaskFailed")]),
            ("reason of success", vec![condition("Ready", "True", "Building")]),
        ];
        for (rule, conditions) in cases {
            let broken = violations(&conditions, 1, 1, Timestamp::UNIX_EPOCH);
            assert!(broken.iter().any(|each| each.contains(rule)), "{rule} in {broken:?}");
        }
        let good = [condition("Ready", "True", "LinksReady")];
        assert!(violations(&good, 1, 2, Timestamp::UNIX_EPOCH).iter().any(|each| each.contains("present generation")));
        assert!(violations(&good, 1, 0, Timestamp::UNIX_EPOCH).iter().any(|each| each.contains("not ahead")));
        assert!(violations(&good, 1, 1, Timestamp::UNIX_EPOCH).is_empty());
    }
}

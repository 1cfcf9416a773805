use serde_json::{Value, json};

use super::*;
use crate::plan::invariant;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selector(written: Value) -> LabelSelector {
    serde_json::from_value(written).unwrap()
}

fn reason<T>(checked: Result<T, Failure>) -> Option<Reason> {
    checked.err().map(|failure| failure.reason)
}

#[test]
fn a_namespace_is_let_in_by_its_labels_alone() {
    let tenant = json!({"matchLabels": {"tenant": "yes"}});
    let wrong = json!({"matchExpressions": [{"key": "tenant", "operator": "Like", "values": ["y"]}]});
    let some = json!({"matchExpressions": [{"key": "tenant", "operator": "Exists"}]});
    for (allowed, found, good) in [
        (json!({}), labels(&[]), true),
        (tenant.clone(), labels(&[("tenant", "yes"), ("other", "1")]), true),
        (tenant.clone(), labels(&[("tenant", "no")]), false),
        (tenant, labels(&[]), false),
        (some, labels(&[("tenant", "")]), true),
        (wrong, labels(&[("tenant", "yes")]), false),
    ] {
        let checked = check_namespace("docker", &selector(allowed.clone()), "team-a", &found);
        assert_eq!(reason(checked), (!good).then_some(Reason::ProfileNotAllowed), "{allowed} {found:?}");
    }
}

#[test]
fn an_execution_namespace_is_one_by_its_label() {
    let not_ready = Some(Reason::ExecutionNamespaceNotReady);
    for (found, expected) in [
        (None, not_ready),
        (Some(labels(&[])), not_ready),
        (Some(labels(&[(EXECUTION_LABEL, "false")])), not_ready),
        (Some(labels(&[(EXECUTION_LABEL, "true")])), None),
    ] {
        assert_eq!(reason(check_execution("builds", found.as_ref())), expected, "{found:?}");
    }
}

#[test]
fn each_gate_refuses_by_itself() {
    assert_eq!(reason(check_suspend(true)), Some(Reason::Suspended));
    assert_eq!(reason(check_suspend(false)), None);
    assert_eq!(reason(check_profile(None, "docker")), Some(Reason::ProfileNotFound));
    let invalid = ProfileFact::Invalid("spec.images".to_owned());
    assert_eq!(reason(check_profile(Some(&invalid), "docker")), Some(Reason::SpecInvalid));
    assert_eq!(reason(check_use("docker", "team-a", "default", false)), Some(Reason::ProfileNotAllowed));
    assert_eq!(reason(check_use("docker", "team-a", "default", true)), None);
}

#[test]
fn who_waits_for_its_turn_hears_behind_how_many() {
    assert_eq!(reason(check_turn("docker", Ok(()))), None);
    for (wait, expected) in [
        (
            Wait::Limit { limit: 1, before: 0 },
            "1 build runs with the BuildProfile «docker», as many as its maxConcurrentBuilds allows",
        ),
        (
            Wait::Limit { limit: 4, before: 2 },
            "4 builds run with the BuildProfile «docker», as many as its maxConcurrentBuilds allows; behind 2 older builds",
        ),
        (
            Wait::Room { before: 1 },
            "no node has room yet for another build with the BuildProfile «docker»; behind 1 older build",
        ),
    ] {
        let held = check_turn("docker", Err(wait)).unwrap_err();
        assert_eq!((held.reason, held.message.as_str()), (Reason::WaitingForSlot, expected));
    }
}

#[test]
fn the_lines_that_grant_can_be_typed() {
    assert_eq!(
        grant("system:serviceaccount:imagechain-system:imagechain", "team-a", ObjectKind::Secret, "push"),
        "kubectl create role imagechain-secret-push -n team-a --verb=get,list,watch --resource=secrets \
         --resource-name=push && kubectl create rolebinding imagechain-secret-push -n team-a \
         --role=imagechain-secret-push --serviceaccount=imagechain-system:imagechain"
    );
    assert!(
        grant("bob", "team-a", ObjectKind::ConfigMap, "files")
            .ends_with("--role=imagechain-configmap-files --user=bob")
    );
}

#[test]
fn statuses_hold_the_rules_of_kstatus() {
    let now = Timestamp::from_second(1).unwrap();
    let held = || Failure::new(Reason::ExecutionNamespaceNotReady, "why ".repeat(1000));
    for checked in [Ok(()), Err(held())] {
        let status = of_profile(&BuildProfileStatus::default(), 3, now, &checked);
        assert_eq!(invariant::violations(&status.conditions, 3, 3, now), Vec::<String>::new());
    }
    let status = refused(&ImageBuildStatus::default(), 1, now, &held());
    assert_eq!(invariant::violations(&status.conditions, 1, 1, now), Vec::<String>::new());
}

//! Attempts that lacked something.

use super::{
    super::*,
    world::{Fate, World, valid},
};
use crate::api::{build::Lacked, condition::ConditionType};

fn lacking(what: Option<&'static str>, times: usize) -> World {
    let mut world = World::new(valid(0, 0), vec![Fate::Lacks(what); times]);
    world.depend("secret/token", None);
    world.run(10);
    assert_eq!((world.made.len(), world.condition(ConditionType::Ready)), (1, ("Unknown", "SecretNotFound")));
    assert!(world.stored.finished_at.is_none(), "it is not over");
    world
}

/// What counts is what was lacked; who does not say what, is answered by any change. Nothing of that is kept
/// in memory: each turn is that of an operator that was just started.
#[test]
fn what_was_lacked_lets_it_go_on_and_nothing_else() {
    let (token, files) = (("secret/token", "1"), ("configmap/files", "2"));
    for (what, change, goes_on) in [
        (Some("secret/token"), token, true),
        (Some("secret/token"), files, false),
        (None, token, true),
        (None, files, true),
        // What the build does not name is nothing that could change.
        (Some("secret/other"), files, true),
    ] {
        let mut world = lacking(what, 1);
        let of = what.filter(|what| *what == "secret/token");
        let lacked = world.stored.attempts[0].lacked.clone().unwrap();
        assert_eq!(lacked.of.as_deref(), of);
        assert_eq!(lacked.version.is_none(), of.is_some(), "it was not there");
        world.depend(change.0, Some(change.1));
        world.turn(usize::MAX);
        assert_eq!(world.made.len(), if goes_on { 2 } else { 1 }, "{what:?} and {change:?}: at once, or not at all");
        world.run(10);
        world.check_schema();
        assert_eq!(world.condition(ConditionType::Ready).0, if goes_on { "True" } else { "False" });
    }
}

/// Since when it is missing stands in the status: each turn is that of an operator that was just started.
#[test]
fn what_is_missing_is_somebodys_matter_after_a_time() {
    let mut world = World::new(valid(0, 0), vec![]);
    world.permission = Gate::Closed(Failure::new(Reason::AccessNotGranted, "why"));
    world.turn(usize::MAX);
    let since = world.stored.lacking_since.as_ref().unwrap().0;
    assert_eq!(world.plan().wake, Some(later(since, Duration::from_mins(10))), "it is looked at then, and not before");
    for (seconds, reason, told) in [
        (300, Reason::AccessNotGranted, ("Unknown", "")),
        // It is found, and lacks something else: the time is one.
        (299, Reason::SecretNotFound, ("Unknown", "")),
        (1, Reason::SecretNotFound, ("False", "SecretNotFound")),
        (3600, Reason::SecretNotFound, ("False", "SecretNotFound")),
    ] {
        world.permission = Gate::Closed(Failure::new(reason, "why"));
        world.pass(seconds);
        world.turn(usize::MAX);
        let stalled = world.stored.conditions.iter().find(|each| each.type_ == "Stalled");
        let stalled = stalled.map_or("", |each| each.reason.as_str());
        assert_eq!((world.condition(ConditionType::Ready).0, stalled), told, "{seconds} s later");
        world.check_schema();
    }
    world.permission = Gate::Open(());
    world.run(6);
    assert_eq!((world.condition(ConditionType::Ready).0, &world.stored.lacking_since), ("True", &None));
}

#[test]
fn people_read_what_it_waits_for() {
    let mut world = lacking(Some("secret/token"), 1);
    let pod = &world.stored.attempts[0].pod;
    assert_eq!(
        world.message(),
        format!(
            "it goes on when secret/token changes: what happened; until 1970-01-12T14:48:42Z: \
             kubectl logs -n builds {pod} -c build"
        )
    );
    world.run(60);
    assert!(world.pods.is_empty());
    assert_eq!(world.message(), "it goes on when secret/token changes: what happened");
}

/// The report of a refused push names nothing; only one Secret was used for it.
#[test]
fn a_refused_push_goes_on_when_its_secret_changes_and_nothing_else() {
    let mut world = World::new(valid(0, 0), vec![Fate::Bad(Reason::PushDenied)]);
    world.depend("staging-secret/push", Some("1"));
    world.run(10);
    assert!(
        world.message().starts_with("it goes on when the Secret «push» of builds changes: "),
        "{}",
        world.message()
    );
    world.depend("secret/token", Some("2"));
    world.run(10);
    assert_eq!(world.made.len(), 1);
    world.depend("staging-secret/push", Some("2"));
    world.run(10);
    assert_eq!((world.made.len(), world.condition(ConditionType::Ready).0), (2, "True"));
}

/// The Secret is mended while the attempt still runs with what it was before.
#[test]
fn a_change_during_the_attempt_is_not_missed() {
    let mut world = World::new(valid(0, 0), vec![Fate::Lacks(Some("secret/token"))]);
    world.depend("secret/token", Some("1"));
    world.run(1);
    world.depend("secret/token", Some("2"));
    world.run(10);
    assert_eq!((world.made.len(), world.condition(ConditionType::Ready).0), (2, "True"));
}

/// A Secret that is written all the time, and never gets any better.
#[test]
fn a_loop_of_changes_is_slow_and_has_an_end() {
    let mut world = World::new(valid(0, 0), vec![Fate::Lacks(Some("configmap/files")); 99]);
    world.flaps = true;
    world.run(300);
    world.check_schema();
    assert_eq!((world.made.len(), world.condition(ConditionType::Stalled)), (10, ("True", "SecretNotFound")));
    assert!(world.stored.finished_at.is_some());
    let failure = world.stored.failure.as_ref().unwrap();
    assert!(failure.message.starts_with("10 attempts lacked something"), "{}", failure.message);
    let pauses: Vec<_> = world
        .stored
        .attempts
        .windows(2)
        .map(|pair| {
            let ended = pair[0].finished_at.as_ref().unwrap().0;
            pair[1].started_at.0.as_second() - ended.as_second()
        })
        .collect();
    // What the operator looks at every 61 s: none, then 20 s, 40 s and so on.
    assert_eq!(pauses, [0, 61, 61, 122, 183, 366, 366, 366, 366]);
}

/// With the largest budgets, all attempts that can be fit into the status.
#[test]
fn the_status_holds_all_attempts() {
    let each = [
        Fate::Lacks(None),
        Fate::Bad(Reason::PodDisrupted),
        Fate::Bad(Reason::PodDisrupted),
        Fate::Bad(Reason::TaskFailed),
    ];
    let fates = each.into_iter().cycle().take(19).chain(vec![Fate::Bad(Reason::PodDisrupted); 10]);
    let mut world = World::restless((20, 5), fates.chain(vec![Fate::Lacks(None); 9]).collect());
    world.run(1000);
    world.check_schema();
    let lacked = |attempt: &&Attempt| attempt.lacked.as_ref().is_some_and(|lacked: &Lacked| lacked.version.is_some());
    assert_eq!(world.stored.attempts.iter().filter(lacked).count(), 10);
    assert!(world.made.len() > 30 && world.made.len() <= 36, "{}", world.made.len());
    assert_eq!(world.condition(ConditionType::Ready), ("False", "SecretNotFound"));
}

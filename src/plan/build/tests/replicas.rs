//! Several operators, of which some see what was: caches lag, each for itself, and leases are lost late.

use proptest::prelude::*;

use super::{
    super::*,
    properties::any_fate,
    world::{Fate, World, object, valid},
};
use crate::api::condition::ConditionType;

/// The old status wants a pod that was made, ended, recorded and deleted long ago.
#[test]
fn a_stale_operator_makes_no_pod_of_an_ended_attempt() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.turn(1); // The intent is stored; the pod is not made.
    let (intended, none) = (world.stored.clone(), world.pods.clone());
    assert!(matches!(world.plan().actions.as_slice(), [Action::CreatePod { attempt: 1, .. }]));
    world.run(20);
    assert_eq!((world.condition(ConditionType::Ready).1, world.pods.len()), ("BuildTimeout", 0));
    world.turn_on(&intended, &none, usize::MAX);
    assert_eq!((world.made.as_slice(), world.pods.len()), (&[1][..], 0));
}

#[test]
fn an_intent_stands_only_in_the_build_that_has_it() {
    let mut world = World::new(valid(6, 0), vec![]);
    world.turn(1);
    let actions = world.plan().actions;
    let [Action::CreatePod { only_if, .. }] = actions.as_slice() else { panic!("a pod") };
    let live = ImageBuild { status: Some(world.stored.clone()), ..object(6, 0) };
    assert!(only_if.stands_in(&live, None));
    let changed = |change: fn(&mut ImageBuild)| {
        let mut other = live.clone();
        change(&mut other);
        only_if.stands_in(&other, None)
    };
    assert!(!changed(|build| build.metadata.uid = Some("other".to_owned())), "it was made anew");
    assert!(!changed(|build| build.metadata.deletion_timestamp = Some(super::time())), "it is being deleted");
    assert!(!changed(|build| build.status = None), "nobody has decided on it");
    assert!(!changed(|build| build.status.as_mut().unwrap().finished_at = Some(super::time())), "it is over");
    assert!(!changed(|build| attempt(build).number = 2), "another attempt is open");
    assert!(!changed(|build| attempt(build).pod_uid = Some("p".to_owned())), "it had its pod");
    world.add(1, "before", Fate::Hangs);
    assert!(!only_if.stands_in(&live, Some(&world.pods[0].seen())), "the pod before runs");
}

fn attempt(build: &mut ImageBuild) -> &mut Attempt {
    build.status.as_mut().unwrap().attempts.last_mut().unwrap()
}

/// A pod of the open attempt that is not the one that was recorded: that one is lost, and this one goes.
#[test]
fn a_second_pod_of_an_attempt_is_deleted_and_not_followed() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.run(2);
    world.pods.clear();
    world.add(1, "late", Fate::Good);
    world.turn(usize::MAX);
    let attempt = &world.stored.attempts[0];
    assert_eq!((attempt.reason, attempt.pod_uid.as_deref()), (Some(Reason::PodLost), Some("pod-0")));
    assert!(world.pods.iter().all(|pod| pod.deleting.is_some()), "the late one is being deleted");
    world.run(10);
    assert_eq!((world.made.as_slice(), world.condition(ConditionType::Ready).0), (&[1, 2][..], "True"));
    assert!(world.pods.iter().all(|pod| pod.uid == "pod-1"));
}

/// A cache of pods that lags behind that of builds does not show the pod whose UID is recorded.
#[test]
fn a_pod_that_is_only_not_seen_yet_is_not_lost() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.run(3);
    let status = world.stored.clone();
    assert_eq!(world.plan_on(&status, &[], world.now).confirm, Some(status.attempts[0].pod.to_string()));
    world.turn_on(&status, &[], usize::MAX);
    assert_eq!((world.stored == status, world.pods.len()), (true, 1));
}

proptest! {
    /// Operators that crash anywhere and see old statuses and old pods, each as old as it may be: there is
    /// one pod for each attempt, never two alive (the world checks that whenever one is made), and the end is
    /// that of a world with one operator.
    #[test]
    fn old_eyes_do_no_harm(
        fates in proptest::collection::vec(any_fate(), 0..8),
        turns in proptest::collection::vec((0_usize..6, 0_usize..6, 0_usize..4, any::<bool>()), 0..80),
    ) {
        let mut calm = World::restless((6, 1), fates.clone());
        calm.run(400);
        let mut world = World::restless((6, 1), fates);
        for (status_age, pods_age, steps, passes) in turns {
            let of = |age: usize| world.past[world.past.len().saturating_sub(age + 1)].clone();
            let status = if status_age == 0 { world.stored.clone() } else { of(status_age).0 };
            let pods = if pods_age == 0 { world.pods.clone() } else { of(pods_age).1 };
            world.turn_on(&status, &pods, steps);
            if passes {
                // A pod that vanishes before anybody has recorded it would be made again, and rightly so.
                world.turn(usize::MAX);
                world.pass(61);
            }
        }
        world.run(400);
        prop_assert_eq!(world.condition(ConditionType::Ready), calm.condition(ConditionType::Ready));
        prop_assert_eq!(&world.made, &calm.made);
        prop_assert!(world.made.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", world.made);
        prop_assert!(world.pods.is_empty());
    }
}

//! What is told: each failure once, and no progress.

use proptest::prelude::*;

use super::{
    super::*,
    properties::any_fate,
    world::{Fate, World, valid},
};
use crate::plan::event::{self, Kind};

fn told(world: &World) -> Vec<(Kind, Reason)> {
    world.events.iter().map(|event| (event.kind, event.reason)).collect()
}

#[test]
fn failures_are_told_once_and_progress_is_not() {
    use Kind::{Normal, Warning};
    let lost = Fate::Bad(Reason::PodDisrupted);
    let cases = [
        (vec![Fate::Good], vec![]),
        (vec![lost.clone(), Fate::Good], vec![(Warning, Reason::PodDisrupted)]),
        (vec![Fate::Bad(Reason::TaskFailed)], vec![(Warning, Reason::TaskFailed)]),
        (
            vec![lost.clone(), lost],
            vec![
                (Warning, Reason::PodDisrupted),
                (Warning, Reason::PodDisrupted),
                (Warning, Reason::InfrastructureRetriesExhausted),
            ],
        ),
        (vec![Fate::Lacks(Some("configmap/files"))], vec![(Warning, Reason::SecretNotFound)]),
    ];
    for (fates, expected) in cases {
        let mut world = World::new(valid(1, 0), fates);
        world.run(30);
        assert_eq!(told(&world), expected, "{:?}", world.events);
    }
    let mut world = World::new(valid(1, 0), vec![Fate::Hangs]);
    world.permission = Gate::Closed(Failure::new(Reason::ProfileNotFound, "there is no profile docker"));
    world.run(3);
    assert_eq!(told(&world), [(Warning, Reason::ProfileNotFound)]);
    assert_eq!(world.events[0].message, "there is no profile docker");
    world.permission = Gate::Open(());
    world.run(2);
    world.cancelled = Some((Reason::Superseded, "the chain has changed"));
    world.run(3);
    assert_eq!(told(&world)[1..], [(Normal, Reason::Superseded)]);
}

#[test]
fn an_attempt_is_told_with_its_pod() {
    let mut world = World::new(valid(1, 0), vec![Fate::Bad(Reason::PodDisrupted)]);
    world.run(10);
    let pod = &world.stored.attempts[0].pod;
    assert_eq!(world.events[0].message, format!("attempt 1 (pod {pod}): what happened"));
}

proptest! {
    /// Every attempt that failed is told once, whatever crashes: the status that tells it is written once.
    #[test]
    fn nothing_is_told_twice(
        fates in proptest::collection::vec(any_fate(), 0..8),
        crashes in proptest::collection::vec(0_usize..3, 0..40),
    ) {
        let mut world = World::restless((6, 1), fates);
        for steps in crashes {
            world.turn(steps);
            prop_assert_eq!(event::of_build(&world.stored, &world.stored), vec![]);
            world.pass(61);
        }
        world.run(400);
        let failed = world.stored.attempts.iter().filter(|attempt| attempt.reason.is_some()).count();
        let told = world.events.iter().filter(|event| event.message.starts_with("attempt ")).count();
        let last = usize::from(world.stored.failure.is_some());
        prop_assert!((failed.saturating_sub(last)..=failed).contains(&told), "{:?}", world.events);
        prop_assert!(world.events.iter().all(|event| event.message.len() <= 1024));
    }
}

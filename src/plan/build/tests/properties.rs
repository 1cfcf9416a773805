//! What holds in every world.

use proptest::prelude::*;

use super::{
    super::*,
    world::{Fate, World, valid},
};
use crate::api::condition::ConditionType;

pub fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Good),
        3 => Just(Fate::Bad(Reason::PodDisrupted)),
        1 => Just(Fate::Bad(Reason::TaskFailed)),
        1 => Just(Fate::Bad(Reason::OutOfMemory)),
        1 => Just(Fate::Lacks(None)),
        1 => Just(Fate::Lacks(Some("configmap/files"))),
        1 => Just(Fate::Lies),
        2 => Just(Fate::Vanishes),
        1 => Just(Fate::Waits),
        1 => Just(Fate::Hangs),
        2 => Just(Fate::Limps),
        1 => Just(Fate::Unpulled),
        1 => Just(Fate::Strands),
        1 => Just(Fate::Clings),
    ]
}

impl World {
    /// A world where what is lacked changes all the time, so that every build comes to an end.
    pub fn restless(retries: (u32, u32), fates: Vec<Fate>) -> Self {
        Self { flaps: true, ..Self::new(valid(retries.0, retries.1), fates) }
    }

    /// Nothing but time passes: until the wake the plan stays, and then it changes.
    fn check_wake(&self, ahead: i64) {
        let plan = self.plan();
        assert_eq!(plan.status, self.stored, "the world is at rest");
        let after = |seconds: i64| self.now.checked_add(Duration::from_secs(seconds.unsigned_abs())).unwrap();
        let left = plan.wake.map_or(i64::MAX, |wake| wake.as_second() - self.now.as_second());
        assert!(left > 0, "the wake has passed: {plan:?}");
        let same = |other: &Plan| (&other.status, &other.actions) == (&plan.status, &plan.actions);
        for seconds in
            [0, ahead, left.saturating_sub(1)].into_iter().filter(|seconds| (0..left.min(1 << 30)).contains(seconds))
        {
            let then = self.plan_on(&self.stored, &self.pods, after(seconds));
            assert!(same(&then), "after {seconds} of {left} s it is {then:?} and was {plan:?}");
        }
        if left < 1 << 30 {
            let then = self.plan_on(&self.stored, &self.pods, after(left));
            assert!(!same(&then), "it wakes for nothing after {left} s: {plan:?}");
        }
    }
}

proptest! {
    /// Whatever the pods do, and wherever the operator crashes: it ends, every status on the way is true, no
    /// two pods live at once, and the end is that of a world without crashes.
    #[test]
    fn every_build_comes_to_its_end(
        fates in proptest::collection::vec(any_fate(), 0..10),
        crashes in proptest::collection::vec(0_usize..3, 0..40),
        retries in (0_u32..7, 0_u32..3),
    ) {
        let mut calm = World::restless(retries, fates.clone());
        calm.run(400);
        let mut world = World::restless(retries, fates);
        for steps in crashes {
            world.turn(steps);
            world.turn(usize::MAX);
            world.pass(61);
        }
        world.run(400);
        world.check_bounds();
        prop_assert!(world.stored.finished_at.is_some(), "{:?}", world.stored);
        prop_assert!(world.pods.is_empty());
        prop_assert_eq!(world.condition(ConditionType::Ready), calm.condition(ConditionType::Ready));
        prop_assert_eq!(&world.made, &calm.made);
    }

    /// At any moment: to decide again on the world that a plan has made changes nothing; and nothing but time
    /// changes it later, at the time that the plan says.
    #[test]
    fn a_plan_is_done_once_and_says_when_to_wake(
        fates in proptest::collection::vec(any_fate(), 0..5), ahead in 1_i64..5000, flaps in any::<bool>(),
        deadline in prop_oneof![1_u64..900, Just(21600)],
    ) {
        let deadline = Duration::from_secs(deadline);
        let mut world = World { deadline, flaps, ..World::restless((6, 1), fates) };
        for _ in 0..60 {
            for _ in 0..3 {
                world.turn(usize::MAX);
            }
            let again = world.plan();
            prop_assert_eq!(&again.actions, &[]);
            prop_assert_eq!(&again.status, &world.stored);
            world.check_wake(ahead);
            world.pass(61);
        }
    }
}

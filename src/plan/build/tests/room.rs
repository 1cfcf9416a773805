//! What becomes of a build whose pod finds no node.

use super::{
    super::*,
    world::{Fate, World, pod_failure, valid},
};
use crate::{
    api::condition::ConditionType,
    plan::observed::{Placement, State},
};

const READY: ConditionType = ConditionType::Ready;

/// The world after the pod was made, and so many minutes have passed.
fn after(fate: Fate, minutes: usize) -> World {
    let mut world = World::new(valid(6, 0), vec![fate]);
    world.run(minutes);
    world
}

#[test]
fn a_pod_for_which_there_is_no_room_is_waited_for_without_limit() {
    // `timeouts.pending` is a minute, the profile's deadline six hours.
    let mut world = after(Fate::Queues(600), 500);
    world.check_schema();
    assert_eq!((world.condition(READY), world.message()), (("Unknown", "WaitingForSlot"), "no node has room yet"));
    assert_eq!((world.made.len(), world.plan().wake), (1, None), "nothing but an event changes that");
    assert_eq!(world.stored.attempts[0].scheduled_at, None);
    world.run(200);
    assert_eq!((world.made.len(), world.condition(READY)), (1, ("True", "NothingToTest")));
}

#[test]
fn a_pod_that_no_node_can_hold_fails_at_once() {
    let world = after(Fate::TooLarge, 2);
    world.check_schema();
    assert_eq!((world.made.len(), world.condition(READY)), (1, ("False", "Unschedulable")));
    let failure = world.stored.failure.as_ref().unwrap();
    assert_eq!((failure.class, failure.message.as_str()), (Reason::Unschedulable.class(), "no node is large enough"));
    assert_eq!(world.stored.duration.as_deref(), Some("0s"), "it never ran");
}

#[test]
fn what_waits_for_no_room_waits_as_long_as_the_chain_says_by_now() {
    let raised = |pending: Option<u64>| {
        let mut world = World::new(valid(6, 0), vec![Fate::Waits]);
        world.pending = pending.map(Duration::from_secs);
        world.run(3);
        world.condition(READY).1.to_owned()
    };
    assert_eq!([None, Some(600), Some(30)].map(raised), ["Unschedulable", "PodPending", "Unschedulable"]);
}

/// What was before the node counts neither for `timeouts.pending` nor for the deadline.
#[test]
fn time_counts_from_the_node_on() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.turn(usize::MAX);
    let created = world.pods[0].created;
    world.pass(7 * 3600);
    let seen = |seconds_ago: u64, state: &State| {
        let since = world.now.checked_sub(Duration::from_secs(seconds_ago)).unwrap();
        let (placement, state) = (Placement::Placed { since: Some(since) }, state.clone());
        Observation { state, placement, over: false, deleting: None, stages: Vec::new(), reports: Vec::new() }
    };
    let ready = |seen: &Observation| {
        let status = world.plan_seeing(seen).status;
        assert!(status.attempts[0].scheduled_at.as_ref().unwrap().0 > created);
        status.conditions.iter().find(|each| each.type_ == READY.to_string()).unwrap().reason.clone()
    };
    let waiting = State::Waiting { stage: None, since: None, held: None };
    let held =
        State::Waiting { stage: None, since: None, held: Some(pod_failure(None, Reason::ImagePullFailed, None)) };
    assert_eq!(ready(&seen(10, &waiting)), "PodPending");
    assert_eq!(ready(&seen(59, &held)), "PodPending");
    assert_eq!(ready(&seen(61, &held)), "ImagePullFailed");
    assert_eq!(ready(&seen(6 * 3600, &State::Running(crate::api::build::Stage::Build))), "Building");
}

/// The duration that people see is the run: without the queue, and without the pauses between attempts.
#[test]
fn the_duration_is_how_long_pods_had_a_node() {
    let run = |fates: Vec<Fate>| {
        let mut world = World::new(valid(6, 0), fates);
        world.run(700);
        let status = world.stored;
        let spans = status.attempts.iter().map(|attempt| {
            let ended = attempt.finished_at.as_ref().unwrap().0.as_second();
            ended - attempt.scheduled_at.as_ref().unwrap().0.as_second()
        });
        (status.duration.unwrap(), spans.sum::<i64>(), status.finished_at.unwrap().0.as_second() - 1_000_000)
    };
    let (alone, seconds, _) = run(vec![Fate::Good]);
    assert_eq!((alone.as_str(), seconds), ("2m02s", 122));
    let (twice, seconds, all) = run(vec![Fate::Bad(Reason::PodDisrupted), Fate::Good]);
    assert_eq!((twice.as_str(), seconds), ("4m04s", 244));
    assert!(all > seconds, "there was a pause");
}

//! Pods that do not end by themselves: their time, their node, their deletion.

use super::{
    super::*,
    world::{Fate, World, valid, whole},
};
use crate::api::condition::ConditionType;

#[test]
fn no_pod_outlives_the_deadline() {
    for fate in [Fate::Hangs, Fate::Waits] {
        let mut world = World::new(valid(6, 0), vec![fate]);
        world.deadline = Duration::from_secs(30);
        world.turn(usize::MAX);
        world.turn(usize::MAX);
        let wake = world.plan().wake.unwrap();
        world.pass(wake.as_second() - world.now.as_second());
        world.turn(usize::MAX);
        world.run(2);
        assert!(world.stored.finished_at.is_some() && world.pods.is_empty(), "{:?}", world.stored);
    }
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.deadline = Duration::from_mins(5);
    world.run(10);
    assert_eq!(world.condition(ConditionType::Ready), ("False", "PodDeadlineExceeded"));
    assert_eq!(world.message(), "the pod lived longer than the profile's deadline of 300 s");
    let status = &world.stored;
    let lived = status.finished_at.as_ref().unwrap().0.as_second() - status.attempts[0].started_at.0.as_second();
    assert!((360..=360 + 61).contains(&lived), "the kubelet has a minute to do it: {lived}");
}

/// A node that does not answer for five minutes is dead: its pod is removed without its word, and the next
/// attempt begins. Until then nothing is made beside it.
#[test]
fn a_pod_on_a_dead_node_is_given_up() {
    let mut world = World::new(valid(6, 0), vec![Fate::Strands]);
    world.run(6);
    assert_eq!((world.made.len(), world.condition(ConditionType::Ready).1), (1, "Building"));
    world.run(10);
    let attempt = &world.stored.attempts[0];
    assert_eq!((attempt.reason, attempt.pod_uid.as_deref()), (Some(Reason::NodeLost), Some("pod-0")));
    assert!(attempt.message.as_deref().is_some_and(|text| text.starts_with("the node of the pod does not answer")));
    assert_eq!((world.made.as_slice(), world.condition(ConditionType::Ready).0), (&[1, 2][..], "True"));
}

/// Kubernetes evicts the pods of a node that is gone; they stay in Terminating until somebody does as here.
#[test]
fn a_pod_that_is_deleted_on_a_dead_node_is_given_up_too() {
    let mut world = World::new(valid(6, 0), vec![Fate::Strands]);
    world.run(3);
    world.pods[0].deleting = Some(whole(world.now));
    world.turn(usize::MAX);
    world.run(1);
    let waiting = world.plan();
    assert_eq!((world.made.len(), world.pods.len()), (1, 1), "nothing is made beside it");
    assert!(waiting.wake.is_some(), "it is not waited for for ever");
    world.run(10);
    assert_eq!((world.made.as_slice(), world.condition(ConditionType::Ready).0), (&[1, 2][..], "True"));
    assert_eq!(world.stored.attempts[0].reason, Some(Reason::PodLost));
}

/// The node answers, and yet the pod stays: nobody knows what runs there.
#[test]
fn a_pod_that_clings_is_waited_for_and_named() {
    let mut world = World::new(valid(6, 1), vec![Fate::Clings]);
    world.run(2);
    world.pods[0].deleting = Some(whole(world.now));
    world.run(2);
    let pod = world.stored.attempts[0].pod.clone();
    assert_eq!(world.message(), format!("the pod {pod} of attempt 1 has not ended yet"));
    world.run(8);
    assert_eq!(world.made, [1]);
    assert!(world.message().ends_with(&format!("kubectl delete pod -n builds {pod} --grace-period=0 --force")));
    world.run(20);
    assert_eq!((world.made.as_slice(), world.condition(ConditionType::Ready).0), (&[1, 2][..], "True"));
}

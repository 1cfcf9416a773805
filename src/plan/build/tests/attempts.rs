//! How attempts follow each other.

use super::{
    super::*,
    world::{Fate, World, pod_failure, reports, valid},
};
use crate::{
    api::{
        build::{Container, Outcome, Stage, Verification},
        condition::ConditionType,
    },
    plan::observed::{Placement, State},
};

#[test]
fn a_good_pod_makes_an_artifact() {
    let mut world = World::new(valid(6, 0), vec![Fate::Good]);
    world.run(6);
    world.check_schema();
    assert_eq!(world.made, [1]);
    let artifact = world.stored.artifact.clone().unwrap();
    assert_eq!(artifact.reference.0, format!("r.example/staging@sha256:{}", "d".repeat(64)));
    assert_eq!(artifact.short_digest, "dddddddddddd");
    assert_eq!(world.condition(ConditionType::Ready), ("True", "NothingToTest"));
    assert_eq!(world.outcomes(), [Some(Outcome::Succeeded)]);
    world.run(15);
    assert!(world.pods.is_empty(), "the pod is kept for ten minutes");
}

#[test]
fn each_class_of_failure_has_its_sequel() {
    use Reason as R;
    let lost = |times: usize| vec![Fate::Bad(R::PodDisrupted); times];
    let cases = vec![
        ("two lost pods", valid(6, 0), lost(2), 3, ("True", "NothingToTest")),
        ("six lost pods", valid(6, 0), lost(6), 7, ("True", "NothingToTest")),
        ("seven lost pods", valid(6, 0), lost(7), 7, ("False", "InfrastructureRetriesExhausted")),
        ("no retries", valid(0, 0), lost(1), 1, ("False", "InfrastructureRetriesExhausted")),
        ("a pod that vanishes", valid(6, 0), vec![Fate::Vanishes], 2, ("True", "NothingToTest")),
        ("a failed task", valid(6, 0), vec![Fate::Bad(R::TaskFailed)], 1, ("False", "TaskFailed")),
        ("a failed task with a retry", valid(6, 1), vec![Fate::Bad(R::TaskFailed)], 2, ("True", "NothingToTest")),
        (
            "two failed tests with a retry",
            valid(6, 1),
            vec![Fate::Bad(R::TestsFailed), Fate::Bad(R::TaskFailed)],
            2,
            ("False", "TaskFailed"),
        ),
        ("out of memory", valid(6, 1), vec![Fate::Bad(R::OutOfMemory)], 1, ("False", "OutOfMemory")),
        (
            "no engine on this node",
            valid(6, 1),
            vec![Fate::Bad(R::EngineUnavailable)],
            1,
            ("False", "EngineUnavailable"),
        ),
        ("another image was tested", valid(6, 1), vec![Fate::Lies; 2], 2, ("False", "ImageMismatch")),
        ("no node for a minute", valid(6, 1), vec![Fate::Waits], 1, ("False", "Unschedulable")),
        ("a build without end", valid(6, 1), vec![Fate::Hangs], 1, ("False", "BuildTimeout")),
        ("an engine that was restarted", valid(6, 0), vec![Fate::Limps], 2, ("True", "NothingToTest")),
        ("an image that cannot be pulled", valid(6, 0), vec![Fate::Unpulled], 1, ("False", "ImagePullFailed")),
        ("no right to push", valid(6, 1), vec![Fate::Bad(R::PushDenied)], 1, ("False", "PushDenied")),
    ];
    for (what, build, fates, pods, ready) in cases {
        let mut world = World::new(build, fates);
        world.run(90);
        world.check_schema();
        assert_eq!(
            (world.made.len(), world.condition(ConditionType::Ready)),
            (pods, ready),
            "{what}: {:?}",
            world.stored
        );
    }
}

/// The moments between two stages are told as the next one: what people see goes forward, and is written less often.
#[test]
fn between_two_stages_the_next_one_is_told() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.turn(usize::MAX);
    let ready = |state: &State| {
        let stages = Vec::new();
        let (state, placement) = (state.clone(), Placement::Placed { since: None });
        let seen = Observation { state, placement, over: false, deleting: None, stages, reports: Vec::new() };
        let conditions = world.plan_seeing(&seen).status.conditions;
        let found = conditions.into_iter().find(|each| each.type_ == ConditionType::Ready.to_string()).unwrap();
        (found.reason, found.message)
    };
    let waiting = |stage, held| State::Waiting { stage, since: None, held };
    for (stage, reason) in
        [(Stage::Build, Reason::Building), (Stage::Verify, Reason::Verifying), (Stage::Publish, Reason::Staging)]
    {
        let between = ready(&waiting(Some(stage), None));
        assert_eq!(between.0, reason.to_string());
        assert_eq!(between, ready(&State::Running(stage)), "nothing changes when it begins");
        let held = pod_failure(Some(stage.container()), Reason::ImagePullFailed, None);
        assert_eq!(ready(&waiting(Some(stage), Some(held))), ("PodPending".to_owned(), "what happened".to_owned()));
    }
    assert_eq!(ready(&waiting(None, None)).0, "PodPending");
}

#[test]
fn nothing_begins_without_permission() {
    let mut world = World::new(valid(6, 0), vec![]);
    for (reason, ready) in
        [(Reason::WaitingForSlot, "Unknown"), (Reason::Suspended, "Unknown"), (Reason::ProfileNotFound, "Unknown")]
    {
        world.permission = Gate::Closed(Failure::new(reason, "why"));
        world.run(3);
        assert_eq!(
            (world.made.len(), world.condition(ConditionType::Ready)),
            (0, (ready, reason.to_string().as_str()))
        );
    }
    world.permission = Gate::Open(());
    world.run(6);
    assert_eq!(world.condition(ConditionType::Ready).0, "True");
}

/// However far the turn of the cancellation gets: no pod runs on, and no attempt stays open.
#[test]
fn who_cancels_ends_it_at_any_time() {
    let long: &'static str = Box::leak("ü".repeat(5000).into_boxed_str());
    for (turns, steps) in (0..4).flat_map(|turns| [(turns, 1), (turns, 2)]) {
        let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
        world.run(turns);
        world.cancelled = Some((Reason::CancelledByUser, long));
        world.turn(steps);
        world.run(2);
        world.check_schema();
        assert_eq!(world.condition(ConditionType::Ready), ("False", "CancelledByUser"));
        assert!(world.pods.is_empty(), "after {turns} turns and {steps} steps");
        assert!(world.stored.attempts.iter().all(|attempt| attempt.outcome.is_some()), "{:?}", world.stored);
    }
}

fn step(image_ran: Option<bool>) -> Verification {
    Verification { step: "molecule".to_owned(), passed: true, tests: None, failures: None, seconds: 1, image_ran }
}

#[test]
fn tests_that_never_ran_the_image_pass_with_a_word_of_it() {
    let (no, yes, unknown) = (Some(false), Some(true), None);
    for (ran, reason, warned) in [
        (vec![], Reason::NothingToTest, false),
        (vec![no], Reason::TestsPassed, true),
        (vec![no, no], Reason::TestsPassed, true),
        (vec![no, yes], Reason::TestsPassed, false),
        // As a version before reports it, and where what ran is gone.
        (vec![unknown], Reason::TestsPassed, false),
        (vec![no, unknown], Reason::TestsPassed, false),
    ] {
        let steps: Vec<Verification> = ran.iter().map(|ran| step(*ran)).collect();
        let (found, message) = verdict::passed(ArtifactKind::Image, &steps);
        assert_eq!((found, message.contains("no container of it ran")), (reason, warned), "{message}");
    }
}

#[test]
fn the_steps_of_the_last_attempt_are_told_when_it_fails() {
    let (tests, build) = (Fate::Bad(Reason::TestsFailed), Fate::Bad(Reason::BuildFailed));
    for (fates, expected) in [
        (vec![tests.clone()], vec![true, false]),
        (vec![build.clone(), tests.clone()], vec![true, false]),
        // It came to no test.
        (vec![tests, build], vec![]),
    ] {
        let mut world = World::new(valid(0, u32::try_from(fates.len()).unwrap() - 1), fates);
        world.run(100);
        world.check_schema();
        let passed: Vec<bool> = world.stored.verification.iter().map(|step| step.passed).collect();
        assert_eq!(passed, expected, "{:?}", world.fates);
    }
}

#[test]
fn the_tests_of_all_steps_are_counted() {
    for (tests, said) in [
        (vec![Some(3)], "its test step passed (3 tests)"),
        (vec![Some(3), None, Some(4)], "its 3 test steps passed (7 tests)"),
        (vec![Some(1)], "its test step passed (1 test)"),
        // A scenario that only runs its playbook.
        (vec![None], "its test step passed (no tests reported)"),
        (vec![Some(0), None], "its 2 test steps passed (no tests reported)"),
    ] {
        let steps: Vec<_> = tests.iter().map(|tests| Verification { tests: *tests, ..step(None) }).collect();
        assert_eq!(verdict::passed(ArtifactKind::Image, &steps).1, format!("the image is built and {said}"));
    }
}

#[test]
fn what_would_have_published_by_itself_is_told() {
    let mut all = reports(false);
    all[0].left_out = vec!["docker-push".to_owned()];
    let staging = "r.example/staging".parse().unwrap();
    assert_eq!(verdict::product(ArtifactKind::Image, &all, 0, &staging).unwrap().left_out, ["docker-push"]);
}

#[test]
fn what_was_not_tested_is_not_verified() {
    let step = |passed: &bool| Verification { passed: *passed, ..step(None) };
    let cases = [
        (vec![true, true], 2, true),
        (vec![true, false], 2, false),
        (vec![true], 2, false),
        (vec![], 1, false),
        (vec![true], 0, false),
    ];
    for (reported, expected, good) in cases {
        let mut all = reports(false);
        all[1].verification = reported.iter().map(step).collect();
        let staging = "r.example/staging".parse().unwrap();
        assert_eq!(
            verdict::product(ArtifactKind::Image, &all, expected, &staging).is_ok(),
            good,
            "{reported:?} of {expected}"
        );
    }
}

/// What a pod says of itself may be forged: only what is in its place is taken.
#[test]
fn an_image_in_another_repository_is_refused() {
    let mut world = World::new(valid(6, 0), vec![Fate::Good]);
    world.staging = "r.example/other".parse().ok();
    world.run(6);
    world.check_schema();
    assert_eq!(world.condition(ConditionType::Ready), ("False", "ImageMismatch"));
    assert!(
        world.message().starts_with(
            "the image was pushed to r.example/staging, and not to the staging repository r.example/other"
        )
    );
    assert!(world.stored.artifact.is_none());
}

#[test]
fn nobody_judges_without_the_profile() {
    let mut world = World::new(valid(6, 0), vec![Fate::Good]);
    let staging = world.staging.take();
    world.run(6);
    assert_eq!(world.condition(ConditionType::Ready), ("Unknown", "ProfileNotFound"));
    world.staging = staging;
    world.run(1);
    assert_eq!(world.condition(ConditionType::Ready).0, "True");
}

#[test]
fn who_could_make_a_pod_wants_a_slot() {
    let mut world = World::new(valid(6, 0), vec![Fate::Bad(Reason::PodDisrupted), Fate::Hangs]);
    world.permission = Gate::Closed(Failure::new(Reason::WaitingForSlot, "four others run"));
    world.run(2);
    assert!(world.wants_pod(), "it waits for one");
    world.permission = Gate::Open(());
    world.run(1);
    assert!(!world.wants_pod(), "it has one");
    world.run(1);
    world.turn(usize::MAX);
    assert_eq!((world.wants_pod(), world.condition(ConditionType::Ready).1), (false, "BackingOff"));
    world.pass(61);
    assert!(world.wants_pod(), "the pause is over");
    world.run(15);
    assert_eq!((world.wants_pod(), world.condition(ConditionType::Ready).1), (false, "BuildTimeout"));
}

/// The failure of an attempt stays readable while the next ones run, with the line that shows more.
#[test]
fn every_failure_says_what_happened_and_where_to_look() {
    let mut world = World::new(valid(1, 0), vec![Fate::Bad(Reason::PodDisrupted); 2]);
    world.run(2);
    world.turn(usize::MAX);
    let pod = world.stored.attempts[0].pod.clone();
    let line = format!("what happened; until 1970-01-12T14:48:42Z: kubectl logs -n builds {pod} -c build");
    assert_eq!(
        world.message(),
        format!("the next attempt begins at 1970-01-12T13:48:52Z: attempt 1 ended with PodDisrupted: {line}")
    );
    world.run(6);
    assert_eq!(world.condition(ConditionType::Ready), ("False", "InfrastructureRetriesExhausted"));
    let pod = &world.stored.attempts[1].pod;
    assert!(
        world.message().ends_with(&format!("kubectl logs -n builds {pod} -c build"))
            && world.message().starts_with("2 attempts were lost, the last one by PodDisrupted: what happened; until "),
        "{}",
        world.message()
    );
    let kept: Vec<_> = world.stored.attempts.iter().map(|attempt| attempt.message.as_deref()).collect();
    assert_eq!(kept, [Some("what happened"); 2]);
    // Of a pod that is deleted at once, there is nothing to see.
    let mut world = World::new(valid(1, 0), vec![Fate::Hangs]);
    world.run(15);
    assert_eq!(world.message(), "the stage build took longer than 600 s");
}

/// However long a message is: the line that shows more is whole.
#[test]
fn long_messages_leave_room_for_the_line() {
    let mut world = World::new(valid(0, 0), vec![]);
    world.turn(usize::MAX);
    world.turn(usize::MAX);
    let mut seen = world.pods[0].seen();
    let mut failure = super::world::pod_failure(Some(Container::Build), Reason::TaskFailed, None);
    failure.message = "ü".repeat(600);
    let started = Some(world.stored.attempts[0].started_at.clone());
    seen.stages = vec![crate::api::build::StageStatus { name: Stage::Build, started_at: started, finished_at: None }];
    (seen.state, seen.over) = (crate::plan::observed::State::Failed(failure), true);
    let plan = world.plan_seeing(&seen);
    let failure = plan.status.failure.clone().unwrap();
    assert!(failure.message.ends_with(" -c build") && failure.message.len() <= 1024, "{}", failure.message.len());
    world.stored = plan.status;
    world.check_schema();
}

/// The kubelet ends the engine after the stages: who deletes the pod before loses the logs.
#[test]
fn a_pod_of_which_a_stage_has_failed_may_end_by_itself_for_a_minute() {
    use crate::plan::observed::State;
    for (seconds, over, closed, deleted) in [(1, false, false, 0), (1, true, true, 0), (60, false, true, 1)] {
        let mut world = World::new(valid(0, 0), vec![]);
        world.turn(usize::MAX);
        world.turn(usize::MAX);
        let mut seen = world.pods[0].seen();
        let failure = super::world::pod_failure(Some(Container::Build), Reason::TaskFailed, None);
        let ended = world.stored.attempts[0].started_at.clone();
        seen.stages = vec![crate::api::build::StageStatus {
            name: Stage::Build,
            started_at: Some(ended.clone()),
            finished_at: Some(ended.clone()),
        }];
        (seen.state, seen.over) = (State::Failed(failure), over);
        world.now = super::super::later(ended.0, std::time::Duration::from_secs(seconds));
        let plan = world.plan_seeing(&seen);
        let found = (plan.status.finished_at.is_some(), plan.actions.len());
        assert_eq!(found, (closed, deleted), "{seconds} s, over: {over}");
        assert!(closed || plan.wake.is_some());
    }
}

#[test]
fn a_strangers_pod_is_left_alone() {
    let mut world = World::new(valid(6, 0), vec![]);
    world.turn(1); // The intent is stored; the pod is not made.
    world.name_taken = true;
    world.run(3);
    assert!(world.made.is_empty());
    assert_eq!(world.condition(ConditionType::Stalled), ("True", "NameCollision"));
    world.name_taken = false;
    world.run(6);
    assert_eq!(world.condition(ConditionType::Ready).0, "True");
}

/// A timeout is recorded, and the operator crashes before it deletes the pod.
#[test]
fn a_pod_whose_deletion_was_lost_is_deleted_by_the_next_one() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.run(11);
    while world.stored.finished_at.is_none() {
        world.turn(1);
        world.pass(61);
    }
    assert_eq!((world.condition(ConditionType::Ready).1, world.pods.len()), ("BuildTimeout", 1));
    world.run(1);
    assert!(world.pods.is_empty());
}

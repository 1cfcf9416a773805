//! One build against a world that is played: pods that end as they are told, an operator that crashes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{
        build::{ImageBuild, Verification},
        crd,
    },
    plan::{invariant, observed::Report, problem::Problems, schema, validate},
};

fn spec(infrastructure: u32, build: u32) -> Value {
    json!({
        "profile": "docker", "source": {"configMap": {"name": "files"}}, "build": {"packer": {"template": "a.json"}},
        "retry": {"infrastructure": infrastructure, "build": build}, "timeouts": {"pending": "1m", "build": "10m"},
    })
}

fn valid(infrastructure: u32, build: u32) -> ValidBuild {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web"},
        "spec": spec(infrastructure, build),
    });
    let object: ImageBuild = serde_json::from_value(object).unwrap();
    validate::build(&object).unwrap()
}

/// How a pod ends.
#[derive(Clone, Debug)]
enum Fate {
    Good,
    Bad(Reason),
    /// It tests another image than it built.
    Lies,
    /// It is deleted by somebody before it ends.
    Vanishes,
    /// It never gets a node.
    Waits,
    /// Its build stage never ends.
    Hangs,
    /// Its engine was restarted: it has failed, but its containers run on.
    Limps,
    /// The image of its build stage cannot be pulled.
    Unpulled,
}

/// A pod of the played world.
#[derive(Clone, Debug)]
struct PlayedPod {
    number: i32,
    uid: String,
    created: Timestamp,
    fate: Fate,
    looks: u32,
}

impl PlayedPod {
    fn seen(&self) -> Observation {
        let started = StageStatus { name: Stage::Build, started_at: Some(Time(self.created)), finished_at: None };
        let held = |reason| Some(pod_failure(None, reason));
        let waiting = |stage, held| State::Waiting { stage, since: None, held };
        let state = match (&self.fate, self.looks) {
            (Fate::Waits, _) => waiting(None, held(Reason::Unschedulable)),
            (_, 0) => waiting(None, None),
            (Fate::Unpulled, _) => waiting(Some(Stage::Build), held(Reason::ImagePullFailed)),
            (_, 1) | (Fate::Hangs, _) => State::Running(Stage::Build),
            (Fate::Bad(reason), _) => State::Failed(pod_failure(Some(Stage::Build), *reason)),
            (Fate::Limps, _) => State::Failed(pod_failure(Some(Stage::Engine), Reason::EngineRestarted)),
            _ => State::Succeeded,
        };
        let reports = if state == State::Succeeded { reports(matches!(self.fate, Fate::Lies)) } else { Vec::new() };
        let stages = if self.looks == 0 { Vec::new() } else { vec![started] };
        let over = matches!(state, State::Succeeded | State::Failed(_)) && !matches!(self.fate, Fate::Limps);
        Observation { state, over, deleting: false, stages, reports }
    }

    fn facts<'a>(&'a self, seen: &'a Observation) -> OwnPod<'a> {
        OwnPod { attempt: self.number, uid: &self.uid, created: self.created, seen }
    }

    fn lives(&self) -> bool {
        !self.seen().over
    }
}

fn pod_failure(stage: Option<Stage>, reason: Reason) -> PodFailure {
    PodFailure { stage, reason, message: "what happened".to_owned(), task: None }
}

fn reports(lies: bool) -> Vec<Report> {
    let digest = |letter: &str| Some(format!("sha256:{}", letter.repeat(64)));
    let report = |stage: Stage, image: &str| Report {
        stage,
        failure: None,
        image_id: digest(image),
        repository: (stage == Stage::Publish).then(|| "r.example/staging".to_owned()),
        digest: (stage == Stage::Publish).then(|| digest("d")).flatten(),
        size: Some(7),
        verification: Vec::new(),
    };
    vec![report(Stage::Build, "a"), report(Stage::Verify, if lies { "b" } else { "a" }), report(Stage::Publish, "a")]
}

/// A world with one build in it.
struct World {
    build: ValidBuild,
    /// The status as the API server has it.
    stored: ImageBuildStatus,
    pods: Vec<PlayedPod>,
    fates: Vec<Fate>,
    made: Vec<i32>,
    now: Timestamp,
    permission: Permission,
    name_taken: bool,
    dependency_changed: bool,
    cancelled: Option<(Reason, &'static str)>,
}

const RETENTION: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(1));

impl World {
    fn new(build: ValidBuild, fates: Vec<Fate>) -> Self {
        Self {
            build,
            stored: ImageBuildStatus { observed_generation: -1, ..ImageBuildStatus::default() },
            pods: Vec::new(),
            fates,
            made: Vec::new(),
            now: Timestamp::from_second(1_000_000).unwrap(),
            permission: Permission::Granted,
            name_taken: false,
            dependency_changed: false,
            cancelled: None,
        }
    }

    fn plan(&self) -> Plan {
        let seen: Vec<_> = self.pods.iter().map(PlayedPod::seen).collect();
        let pods: Vec<_> = self.pods.iter().zip(&seen).map(|(pod, seen)| pod.facts(seen)).collect();
        decide(&Scene {
            name: "web",
            uid: "u",
            generation: 1,
            build: &self.build,
            previous: &self.stored,
            permission: self.permission.clone(),
            pods: &pods,
            name_taken: self.name_taken,
            dependency_changed: self.dependency_changed,
            cancelled: self.cancelled,
            retention: RETENTION,
            now: self.now,
        })
    }

    /// One turn: decide, write the status, act. A crash loses what comes after so many of these steps.
    fn turn(&mut self, steps_before_crash: usize) {
        let plan = self.plan();
        let broken = invariant::violations(&plan.status.conditions, plan.status.observed_generation, 1, self.now);
        assert!(broken.is_empty(), "{broken:?} in {:?}", plan.status);
        self.check_write(&plan.status);
        if steps_before_crash == 0 {
            return;
        }
        self.stored = plan.status;
        for action in plan.actions.into_iter().take(steps_before_crash - 1) {
            self.act(action);
        }
    }

    /// What the API server would refuse, and what would be a lie.
    fn check_write(&self, next: &ImageBuildStatus) {
        assert!(next.attempts.len() >= self.stored.attempts.len(), "attempts are never taken back");
        if self.stored.finished_at.is_some() {
            let result = |status: &ImageBuildStatus| {
                (status.finished_at.clone(), status.artifact.clone(), status.failure.clone())
            };
            assert_eq!(result(next), result(&self.stored), "a result is written once");
        }
        let open = next.attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
        assert!(open <= 1, "at most one attempt is open: {next:?}");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod { attempt, name } => {
                assert!(
                    self.stored.attempts.iter().any(|each| each.number == attempt),
                    "the intent of {attempt} is not stored"
                );
                assert!(!self.pods.iter().any(PlayedPod::lives), "another pod lives");
                assert_eq!(name, name::pod("web", "u", attempt.unsigned_abs()));
                if self.pods.iter().any(|pod| pod.number == attempt) {
                    return; // The name is taken: the API server says so.
                }
                let index = self.made.len();
                self.made.push(attempt);
                let fate = self.fates.get(index).cloned().unwrap_or(Fate::Good);
                self.pods.push(PlayedPod {
                    number: attempt,
                    uid: format!("pod-{index}"),
                    created: self.now,
                    fate,
                    looks: 0,
                });
            }
            Action::DeletePod { uid, .. } => self.pods.retain(|pod| pod.uid != uid),
        }
    }

    /// Time goes on, and with it the pods.
    fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
        for pod in &mut self.pods {
            pod.looks += 1;
        }
        self.pods.retain(|pod| !matches!(pod.fate, Fate::Vanishes) || pod.looks < 2);
    }

    fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn(usize::MAX);
            self.pass(61);
        }
    }

    /// What the API server would say of the status.
    fn check_schema(&self) {
        let object = json!({"spec": spec(0, 0), "status": self.stored});
        let mut problems = Problems::default();
        schema::check_object(&crd::all()[1], &object, &mut problems);
        assert_eq!(problems.into_vec(), []);
    }

    fn condition(&self, kind: ConditionType) -> (&str, &str) {
        let found = self.stored.conditions.iter().find(|each| each.type_ == kind.to_string());
        found.map_or(("", ""), |each| (&each.status, &each.reason))
    }
}

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
    assert_eq!(
        world.stored.attempts.iter().map(|attempt| attempt.outcome).collect::<Vec<_>>(),
        [Some(Outcome::Succeeded)]
    );
    world.run(15);
    assert!(world.pods.is_empty(), "the pod is kept for ten minutes");
}

#[test]
fn each_class_of_failure_has_its_sequel() {
    use Reason as R;
    let lost = |times: usize| vec![Fate::Bad(R::PodDisrupted); times];
    let cases = [
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

#[test]
fn a_dependency_that_appears_lets_it_go_on() {
    let mut world = World::new(valid(0, 0), vec![Fate::Bad(Reason::SecretNotFound)]);
    world.run(10);
    assert_eq!((world.made.len(), world.condition(ConditionType::Stalled)), (1, ("True", "SecretNotFound")));
    assert!(world.stored.finished_at.is_none(), "it is not over");
    world.dependency_changed = true;
    world.turn(usize::MAX);
    world.dependency_changed = false;
    world.run(10);
    assert_eq!((world.made.len(), world.condition(ConditionType::Ready).0), (2, "True"));
}

#[test]
fn nothing_begins_without_permission() {
    let mut world = World::new(valid(6, 0), vec![]);
    for (reason, ready) in
        [(Reason::WaitingForSlot, "Unknown"), (Reason::Suspended, "Unknown"), (Reason::ProfileNotFound, "False")]
    {
        world.permission = Permission::Held(reason, "why".to_owned());
        world.run(3);
        assert_eq!(
            (world.made.len(), world.condition(ConditionType::Ready)),
            (0, (ready, reason.to_string().as_str()))
        );
    }
    world.permission = Permission::Granted;
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

#[test]
fn what_was_not_tested_is_not_verified() {
    let step = |passed: &bool| Verification {
        step: "molecule".to_owned(),
        passed: *passed,
        tests: None,
        failures: None,
        seconds: 1,
    };
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
        assert_eq!(verdict::artifact(&all, expected).is_ok(), good, "{reported:?} of {expected}");
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
    world.turn(usize::MAX);
    assert!(world.pods.is_empty());
}

#[test]
fn the_wake_is_when_time_alone_changes_the_plan() {
    let mut world = World::new(valid(6, 0), vec![Fate::Hangs]);
    world.turn(usize::MAX);
    world.pass(0);
    world.turn(usize::MAX);
    let wake = world.plan().wake.unwrap();
    let before = world.plan();
    world.now = Timestamp::from_second(wake.as_second() - 1).unwrap();
    assert_eq!(world.plan().status, before.status, "nothing changes before");
    world.now = wake;
    assert_ne!(world.plan().status, before.status, "something does then");
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Good),
        3 => Just(Fate::Bad(Reason::PodDisrupted)),
        1 => Just(Fate::Bad(Reason::TaskFailed)),
        1 => Just(Fate::Bad(Reason::OutOfMemory)),
        1 => Just(Fate::Lies),
        2 => Just(Fate::Vanishes),
        1 => Just(Fate::Waits),
        1 => Just(Fate::Hangs),
        2 => Just(Fate::Limps),
        1 => Just(Fate::Unpulled),
    ]
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
        let mut calm = World::new(valid(retries.0, retries.1), fates.clone());
        calm.run(120);
        let mut world = World::new(valid(retries.0, retries.1), fates);
        for steps in crashes {
            world.turn(steps);
            world.turn(usize::MAX);
            world.pass(61);
        }
        world.run(120);
        prop_assert!(world.stored.finished_at.is_some(), "{:?}", world.stored);
        prop_assert!(world.pods.is_empty());
        prop_assert_eq!(world.condition(ConditionType::Ready), calm.condition(ConditionType::Ready));
        prop_assert_eq!(&world.made, &calm.made);
    }

    /// To decide again on the world that a plan has made changes nothing.
    #[test]
    fn a_plan_is_done_once(fates in proptest::collection::vec(any_fate(), 0..4), turns in 0_usize..20) {
        let mut world = World::new(valid(2, 0), fates);
        world.run(turns);
        world.turn(usize::MAX);
        world.turn(usize::MAX);
        let again = world.plan();
        prop_assert_eq!(again.actions, vec![]);
        prop_assert_eq!(again.status, world.stored);
    }
}

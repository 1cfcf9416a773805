//! The played world: one build, its pods, and what the API server holds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::super::*;
use crate::{
    api::{
        build::{Container, Outcome, Stage, StageStatus, Verification},
        condition::{Class, ConditionType},
        crd,
    },
    plan::{
        event::{self, Event},
        invariant, name,
        observed::{Placement, Report, State},
        validate::{self, problem::Problems, schema},
    },
};

pub fn spec(infrastructure: u32, build: u32) -> Value {
    json!({
        "profile": "docker", "source": {"configMap": {"name": "files"}}, "build": {"packer": {"template": "a.json"}},
        "retry": {"infrastructure": infrastructure, "build": build}, "timeouts": {"pending": "1m", "build": "10m"},
    })
}

pub fn object(infrastructure: u32, build: u32) -> ImageBuild {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "web", "uid": "u"},
        "spec": spec(infrastructure, build),
    });
    serde_json::from_value(object).unwrap()
}

pub fn valid(infrastructure: u32, build: u32) -> ValidBuild {
    validate::build(&object(infrastructure, build)).unwrap()
}

/// How a pod ends.
#[derive(Clone, Debug)]
pub enum Fate {
    Good,
    Bad(Reason),
    /// It lacks what it names, or does not say what.
    Lacks(Option<&'static str>),
    /// It tests another image than it built.
    Lies,
    /// It is deleted by somebody before it ends.
    Vanishes,
    /// It never gets a node.
    Waits,
    /// No node has room for it before so many turns have passed.
    Queues(u32),
    /// No node is large enough for it.
    TooLarge,
    /// Its build stage never ends.
    Hangs,
    /// Its engine was restarted: it has failed, but its containers run on.
    Limps,
    /// The image of its build stage cannot be pulled.
    Unpulled,
    /// Its node dies while it builds: nobody confirms its end.
    Strands,
    /// Its build stage never ends, and it does not go away for long after it was deleted.
    Clings,
}

/// A pod of the played world.
#[derive(Clone, Debug)]
pub struct PlayedPod {
    pub number: i32,
    pub uid: String,
    pub created: Timestamp,
    pub fate: Fate,
    pub looks: u32,
    pub deleting: Option<Timestamp>,
    pub node_down: Option<Timestamp>,
    pub room: Room,
}

impl PlayedPod {
    pub fn seen(&self) -> Observation {
        let started = StageStatus { name: Stage::Build, started_at: Some(Time(self.created)), finished_at: None };
        let held = |reason| Some(pod_failure(None, reason, None));
        let waiting = |stage, held| State::Waiting { stage, since: None, held };
        let failed = |container, reason, missing| State::Failed(pod_failure(Some(container), reason, missing));
        let state = match (&self.fate, self.looks) {
            (Fate::Waits | Fate::TooLarge, _) => waiting(None, held(Reason::Unschedulable)),
            (Fate::Queues(turns), looks) if looks < *turns => waiting(None, held(Reason::Unschedulable)),
            (_, 0) => waiting(None, None),
            (Fate::Unpulled, _) => waiting(Some(Stage::Build), held(Reason::ImagePullFailed)),
            (_, 1) | (Fate::Hangs | Fate::Strands | Fate::Clings, _) => State::Running(Stage::Build),
            (Fate::Bad(reason), _) if reason.class() == Class::Verification => failed(Container::Verify, *reason, None),
            (Fate::Bad(reason), _) => failed(Container::Build, *reason, None),
            (Fate::Lacks(what), _) => failed(Container::Build, Reason::SecretNotFound, *what),
            (Fate::Limps, _) => failed(Container::Engine, Reason::EngineRestarted, None),
            _ => State::Succeeded,
        };
        let reports = match &state {
            State::Succeeded => reports(matches!(self.fate, Fate::Lies)),
            State::Failed(failure) if failure.container == Some(Container::Verify) => failed_tests(),
            _ => Vec::new(),
        };
        let stages = if self.looks == 0 { Vec::new() } else { vec![started] };
        let over = matches!(state, State::Succeeded | State::Failed(_)) && !matches!(self.fate, Fate::Limps);
        let placement = match self.fate {
            Fate::Waits | Fate::TooLarge => Placement::Refused,
            Fate::Queues(turns) if self.looks < turns => Placement::Refused,
            _ if self.looks == 0 => Placement::Open,
            _ => Placement::Placed { since: Some(self.created) },
        };
        Observation { state, placement, over, deleting: self.deleting, stages, reports }
    }

    fn facts<'a>(&'a self, seen: &'a Observation) -> OwnPod<'a> {
        let (number, created, node_down) = (self.number, self.created, self.node_down);
        OwnPod { attempt: number, uid: &self.uid, created, node_down, room: &self.room, seen }
    }

    pub fn lives(&self) -> bool {
        !self.seen().over
    }

    /// Whether it is there after a deletion: what has ended goes at once, what runs is ended first.
    fn outlives(&mut self, force: bool, now: Timestamp) -> bool {
        if force || !self.lives() {
            return false;
        }
        self.deleting.get_or_insert(later(whole(now), Duration::from_secs(30)));
        true
    }

    /// Whether it is there a while later.
    fn goes_on(&self, now: Timestamp) -> bool {
        match (&self.fate, self.deleting) {
            (Fate::Vanishes, None) => self.looks < 2,
            (Fate::Strands, Some(_)) if self.node_down.is_some() => true,
            (Fate::Clings, Some(time)) => now < later(time, Duration::from_mins(20)),
            (_, deleting) => deleting.is_none(),
        }
    }
}

pub fn pod_failure(container: Option<Container>, reason: Reason, missing: Option<&str>) -> Failure {
    let missing = missing.and_then(|missing| missing.parse().ok()).map(Box::new);
    Failure { container, missing, ..Failure::new(reason, "what happened") }
}

pub fn reports(lies: bool) -> Vec<Report> {
    let digest = |letter: &str| Some(format!("sha256:{}", letter.repeat(64)));
    let report = |stage: Stage, image: &str| Report {
        stage,
        failure: None,
        content: digest(image),
        repository: (stage == Stage::Publish).then(|| "r.example/staging".to_owned()),
        digest: (stage == Stage::Publish).then(|| digest("d")).flatten(),
        size: Some(7),
        verification: Vec::new(),
        left_out: Vec::new(),
    };
    vec![report(Stage::Build, "a"), report(Stage::Verify, if lies { "b" } else { "a" }), report(Stage::Publish, "a")]
}

/// Of a pod whose second test step failed.
fn failed_tests() -> Vec<Report> {
    let step = |number: i32| Verification {
        step: format!("{number} command"),
        passed: number == 1,
        tests: None,
        failures: None,
        seconds: 1,
        image_ran: None,
    };
    let of_verify = |report: Report| Report { verification: vec![step(1), step(2)], ..report };
    reports(false).into_iter().filter(|report| report.stage == Stage::Verify).map(of_verify).collect()
}

/// Kubernetes' times have no parts of a second.
pub fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap()
}

/// A world with one build in it.
pub struct World {
    pub build: ValidBuild,
    /// The status as the API server has it.
    pub stored: ImageBuildStatus,
    pub pods: Vec<PlayedPod>,
    /// What status and pods were, turn by turn: what an operator may still see.
    pub past: Vec<(ImageBuildStatus, Vec<PlayedPod>)>,
    pub fates: Vec<Fate>,
    /// The attempts of all pods that were ever made.
    pub made: Vec<i32>,
    pub events: Vec<Event>,
    pub now: Timestamp,
    pub permission: Gate<()>,
    pub staging: Option<Repository>,
    pub deadline: Duration,
    pub pending: Option<Duration>,
    pub name_taken: bool,
    pub dependencies: Versions,
    /// Whether what the build names changes all the time.
    pub flaps: bool,
    pub cancelled: Option<(Reason, &'static str)>,
}

pub const RETENTION: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(1));

impl World {
    pub fn new(build: ValidBuild, fates: Vec<Fate>) -> Self {
        let stored = ImageBuildStatus { observed_generation: -1, ..ImageBuildStatus::default() };
        Self {
            build,
            past: vec![(stored.clone(), Vec::new())],
            stored,
            pods: Vec::new(),
            fates,
            made: Vec::new(),
            events: Vec::new(),
            now: Timestamp::new(1_000_000, 500_000_000).unwrap(),
            permission: Gate::Open(()),
            staging: "r.example/staging".parse().ok(),
            deadline: Duration::from_hours(6),
            pending: None,
            name_taken: false,
            dependencies: Versions::from([("configmap/files".parse().unwrap(), Some("1".to_owned()))]),
            flaps: false,
            cancelled: None,
        }
    }

    pub fn plan(&self) -> Plan {
        self.plan_on(&self.stored, &self.pods, self.now)
    }

    /// The plan of an operator that sees these.
    pub fn plan_on(&self, status: &ImageBuildStatus, pods: &[PlayedPod], now: Timestamp) -> Plan {
        self.with_scene(status, pods, now, decide)
    }

    pub fn wants_pod(&self) -> bool {
        self.with_scene(&self.stored, &self.pods, self.now, wants_pod)
    }

    /// The plan where the one pod looks like this.
    pub fn plan_seeing(&self, seen: &Observation) -> Plan {
        let pod = &self.pods[0];
        self.ask(&self.stored, &[pod.facts(seen)], self.now, decide)
    }

    fn with_scene<T>(
        &self,
        status: &ImageBuildStatus,
        pods: &[PlayedPod],
        now: Timestamp,
        answer: impl Fn(&Scene<'_>) -> T,
    ) -> T {
        let seen: Vec<_> = pods.iter().map(PlayedPod::seen).collect();
        let pods: Vec<_> = pods.iter().zip(&seen).map(|(pod, seen)| pod.facts(seen)).collect();
        self.ask(status, &pods, now, answer)
    }

    fn ask<T>(
        &self,
        status: &ImageBuildStatus,
        pods: &[OwnPod<'_>],
        now: Timestamp,
        answer: impl Fn(&Scene<'_>) -> T,
    ) -> T {
        answer(&Scene {
            name: "web",
            uid: "u",
            generation: 1,
            build: &self.build,
            kind: ArtifactKind::Image,
            previous: status,
            permission: self.permission.clone(),
            execution_namespace: "builds",
            staging: self.staging.as_ref(),
            deadline: self.deadline,
            pending: self.pending,
            retention: RETENTION,
            pods,
            name_taken: self.name_taken,
            dependencies: &self.dependencies,
            cancelled: self.cancelled,
            now,
        })
    }

    /// One turn: decide, write the status, act. A crash loses what comes after so many of these steps.
    pub fn turn(&mut self, steps_before_crash: usize) {
        self.turn_on(&self.stored.clone(), &self.pods.clone(), steps_before_crash);
    }

    /// One turn of an operator that sees these.
    pub fn turn_on(&mut self, status: &ImageBuildStatus, pods: &[PlayedPod], steps_before_crash: usize) {
        let plan = self.plan_on(status, pods, self.now);
        let broken = invariant::violations(&plan.status.conditions, plan.status.observed_generation, 1, self.now);
        assert!(broken.is_empty(), "{broken:?} in {:?}", plan.status);
        if steps_before_crash == 0 || plan.confirm.is_some_and(|name| !self.is_confirmed(&name, pods)) {
            return;
        }
        if plan.status != *status {
            if *status != self.stored {
                return; // 409: what it was decided on has changed.
            }
            self.check_write(&plan.status);
            self.events.extend(event::of_build(&self.stored, &plan.status));
            self.stored = plan.status;
        }
        for action in plan.actions.into_iter().take(steps_before_crash - 1) {
            self.act(action);
        }
        self.past.push((self.stored.clone(), self.pods.clone()));
    }

    /// Whether a pod is as an operator has seen it.
    fn is_confirmed(&self, name: &str, seen: &[PlayedPod]) -> bool {
        let find = |pods: &[PlayedPod]| {
            let pod = pods.iter().find(|pod| name == name::pod("web", "u", pod.number.unsigned_abs()))?;
            Some((pod.uid.clone(), pod.looks, pod.deleting, pod.node_down))
        };
        find(&self.pods) == find(seen)
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
        for (before, after) in self.stored.attempts.iter().zip(&next.attempts) {
            assert!(before.outcome.is_none() || before == after, "an ended attempt changes: {before:?}, {after:?}");
            assert!(before.pod_uid.is_none() || before.pod_uid == after.pod_uid, "an attempt gets another pod");
        }
        assert!(next.attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number), "{next:?}");
        let open = next.attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
        assert!(open <= 1, "at most one attempt is open: {next:?}");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::CreatePod { attempt, name, only_if } => {
                assert_eq!(name, name::pod("web", "u", attempt.unsigned_abs()));
                if self.is_wanted(&only_if) && !self.pods.iter().any(|pod| pod.number == attempt) {
                    self.make(attempt);
                }
            }
            Action::DeletePod { name, uid, force } => {
                let now = self.now;
                let number = self.pods.iter().find(|pod| pod.uid == uid).map(|pod| pod.number);
                assert!(number.is_none_or(|number| name == name::pod("web", "u", number.unsigned_abs())));
                self.pods.retain_mut(|pod| pod.uid != uid || pod.outlives(force, now));
            }
        }
    }

    /// What the live read before a creation says.
    fn is_wanted(&self, only_if: &Intent) -> bool {
        let live = ImageBuild { status: Some(self.stored.clone()), ..object(0, 0) };
        let name = |pod: &PlayedPod| name::pod("web", "u", pod.number.unsigned_abs());
        let before = self.pods.iter().find(|pod| only_if.after.as_ref() == Some(&name(pod)));
        only_if.stands_in(&live, before.map(PlayedPod::seen).as_ref())
    }

    fn make(&mut self, attempt: i32) {
        let stored = self.stored.attempts.iter().find(|each| each.number == attempt);
        let stored = stored.expect("the intent is stored");
        assert!(stored.outcome.is_none(), "a pod for attempt {attempt}, which has ended");
        assert!(!self.pods.iter().any(PlayedPod::lives), "another pod lives");
        let index = self.made.len();
        self.made.push(attempt);
        let fate = self.fates.get(index).cloned().unwrap_or(Fate::Good);
        self.add(attempt, &format!("pod-{index}"), fate);
    }

    pub fn add(&mut self, number: i32, uid: &str, fate: Fate) {
        let (uid, created) = (uid.to_owned(), whole(self.now));
        let room = match fate {
            Fate::Queues(_) => Room::Short("no node has room yet".to_owned()),
            Fate::TooLarge => Room::Never("no node is large enough".to_owned()),
            _ => Room::Unknown,
        };
        self.pods.push(PlayedPod { number, uid, created, fate, looks: 0, deleting: None, node_down: None, room });
    }

    /// Time goes on, and with it the pods.
    pub fn pass(&mut self, seconds: i64) {
        self.now = self.now.checked_add(Duration::from_secs(seconds.unsigned_abs())).unwrap();
        let now = self.now;
        for pod in &mut self.pods {
            pod.looks += 1;
            if matches!(pod.fate, Fate::Strands) && pod.looks >= 2 {
                pod.node_down.get_or_insert(whole(now));
            }
        }
        self.pods.retain(|pod| pod.goes_on(now));
        if self.flaps {
            self.depend("configmap/files", Some(&now.to_string()));
        }
    }

    /// What the build names is this now.
    pub fn depend(&mut self, name: &str, version: Option<&str>) {
        self.dependencies.insert(name.parse().unwrap(), version.map(ToOwned::to_owned));
    }

    pub fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn(usize::MAX);
            self.pass(61);
            if self.stored.finished_at.is_some() && self.pods.is_empty() {
                break; // Nothing happens any more, as `properties` shows.
            }
        }
    }

    /// What the API server would say of the status.
    pub fn check_schema(&self) {
        let object = json!({"spec": spec(0, 0), "status": self.stored});
        let mut problems = Problems::default();
        schema::check_object(&crd::all()[1], &object, &mut problems);
        assert_eq!(problems.into_vec(), []);
        self.check_bounds();
    }

    /// The part of it that depends on how long the story is.
    pub fn check_bounds(&self) {
        assert!(self.stored.attempts.len() <= 40, "{} attempts", self.stored.attempts.len());
        let bytes = |text: &str, most: usize| assert!(text.len() <= most, "{} bytes: {text}", text.len());
        self.stored.attempts.iter().filter_map(|each| each.message.as_ref()).for_each(|text| bytes(text, 256));
        self.stored.failure.iter().for_each(|failure| bytes(&failure.message, 1024));
    }

    pub fn condition(&self, kind: ConditionType) -> (&str, &str) {
        let found = self.stored.conditions.iter().find(|each| each.type_ == kind.to_string());
        found.map_or(("", ""), |each| (&each.status, &each.reason))
    }

    /// What people read of it.
    pub fn message(&self) -> &str {
        let ready = self.stored.conditions.iter().find(|each| each.type_ == ConditionType::Ready.to_string());
        ready.map_or("", |ready| &ready.message)
    }

    pub fn outcomes(&self) -> Vec<Option<Outcome>> {
        self.stored.attempts.iter().map(|attempt| attempt.outcome).collect()
    }
}

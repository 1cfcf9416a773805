//! Every order in which two replicas may act on a chain of two links, each on what it sees now or saw some
//! time ago, with crashes, lost pods and a registry that is away: explored breadth first from each moment of
//! two ordinary lives and each pair of such moments, as far as the budget goes. The decisions are the real ones; the rest is tests/worlds/world.

use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Write},
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use imagechain::api::{REQUESTED_AT, chain::LinkState};
use serde_json::json;
use stateright::{Checker, Model, Property};

use crate::world::{
    self, World, chain, link,
    operator::Operator,
    pods::{self, Loss},
};

/// How many states CI explores at least; `make test-long` sets `MODEL_STATES`.
const STATES: usize = 20_000;
/// Faults, changes by users, and replicas that fall behind, on the way from one start.
const BUDGETS: (u8, u8, u8) = (3, 1, 2);
/// One state in so many is let come to rest.
const SAMPLE: u64 = 499;

/// The world at one moment, and what may still go wrong.
#[derive(Clone)]
struct Moment {
    world: Arc<World>,
    /// Crashes, lost pods and registries that go away.
    faults: u8,
    /// Changes by users.
    changes: u8,
    /// Replicas that fall behind.
    lags: u8,
    /// The invariant that was broken on the way here.
    broken: Option<String>,
    /// Stands for all of it.
    print: u64,
}

/// What may happen next. Replicas, builds and pods by their number.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Chain(usize, Option<usize>),
    Build(usize, usize, Option<usize>),
    FallBehind(usize),
    CatchUp(usize),
    Pod(usize),
    Disrupt(usize),
    Delete(usize),
    Registry,
    MoveTag,
    Edit,
    Push,
    Time,
}

/// Writes a text into a hash, without keeping it.
struct Printer(DefaultHasher);

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

fn print(world: &World, budgets: (u8, u8, u8)) -> u64 {
    let mut printer = Printer(DefaultHasher::new());
    budgets.hash(&mut printer.0);
    write!(printer, "{:?}{:?}{:?}{:?}", world.now, world.outage, world.files, world.pods).unwrap();
    write!(printer, "{:?}{:?}{:?}{:?}", world.tags, world.strayed, world.staged, world.unrecorded).unwrap();
    for chain in world.chains.values() {
        write!(printer, "{:?}{:?}", chain.metadata, chain.status).unwrap();
    }
    for build in world.builds.values() {
        write!(printer, "{:?}{:?}", build.metadata, build.status).unwrap();
    }
    for operator in &world.operators {
        write!(printer, "{:?}", operator.memory()).unwrap();
        // Nothing that is seen changes without a new version, but for pods.
        let Some(old) = &operator.sees else { continue };
        for version in old.chains.values().map(|chain| &chain.metadata.resource_version) {
            write!(printer, "old {version:?}").unwrap();
        }
        for build in old.builds.values() {
            write!(printer, "{:?}{:?}", build.metadata.name, build.metadata.resource_version).unwrap();
        }
        write!(printer, "{:?}", old.pods).unwrap();
    }
    printer.0.finish()
}

impl Moment {
    fn of(world: World, (faults, changes, lags): (u8, u8, u8)) -> Self {
        let print = print(&world, (faults, changes, lags));
        Self { world: Arc::new(world), faults, changes, lags, broken: None, print }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods: Vec<_> = self.world.pods.iter().map(|pod| (&pod.name, pod.phase, pod.loss)).collect();
        write!(out, "{:?} {pods:?} {:?}", self.world.now, self.broken)
    }
}

/// What is wrong with a world's end, once the faults stop. Whoever begins looks at what was moved before.
fn rest(world: &World) -> Option<String> {
    let mut world = world.clone();
    let end = catch_unwind(AssertUnwindSafe(|| {
        world.outage = world::Outage::default();
        world.pass(1);
        let now = world.now;
        for operator in &mut world.operators {
            operator.sees = None;
            operator.crash(now);
        }
        world.settle();
        let ready = world.states("shop").iter().all(|(_, state)| *state == LinkState::Ready);
        assert!(ready && world.condition("shop", "Ready").0 == "True", "no rest: {:#?}", world.status("shop").links);
        assert_eq!(world.condition("shop", "UpToDate").0, "True");
        let strayed: Vec<_> = world.strayed.iter().collect();
        assert!(strayed.is_empty(), "{strayed:?} were not put back");
    }));
    end.err().map(|panic| told(&*panic))
}

fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// Two replicas, from some moments on, until so many states were seen.
struct Replicas {
    starts: Vec<Moment>,
    wanted: usize,
    seen: Arc<Seen>,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    states: Mutex<HashSet<u64>>,
    /// Whether no further ones are looked for.
    enough: AtomicBool,
    /// The ends of those that were let come to rest: the same state is reached in several ways.
    ends: Mutex<HashMap<u64, Option<String>>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes a state down, and says what is wrong with its end, if it is one of the sample.
    fn take(&self, next: &Moment) -> Option<String> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(next.print);
        if !next.print.is_multiple_of(SAMPLE) {
            return None;
        }
        let known = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&next.print).cloned();
        known.unwrap_or_else(|| {
            let end = rest(&next.world);
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(next.print, end.clone());
            end
        })
    }
}

impl Step {
    fn budget(&self, moment: &Moment) -> Option<(u8, u8, u8)> {
        let Moment { faults, changes, lags, .. } = *moment;
        match self {
            Self::Chain(_, Some(_)) | Self::Build(_, _, Some(_)) | Self::Disrupt(_) | Self::Delete(_) => {
                Some((faults.checked_sub(1)?, changes, lags))
            }
            Self::Registry if !moment.world.outage.registry => Some((faults.checked_sub(1)?, changes, lags)),
            Self::Edit | Self::Push | Self::MoveTag => Some((faults, changes.checked_sub(1)?, lags)),
            Self::FallBehind(_) => Some((faults, changes, lags.checked_sub(1)?)),
            _ => Some((faults, changes, lags)),
        }
    }

    fn take(&self, world: &mut World) {
        match *self {
            Self::Chain(replica, writes) => {
                world.reconcile_chain(replica, "shop", writes.unwrap_or(usize::MAX));
            }
            Self::Build(replica, build, writes) => {
                let name = world.builds.keys().nth(build).unwrap().clone();
                world.reconcile_build(replica, &name, writes.unwrap_or(usize::MAX));
            }
            Self::FallBehind(replica) => {
                let mut old = world.clone();
                old.operators.clear();
                world.operators[replica].sees = Some(Arc::new(old));
            }
            Self::CatchUp(replica) => world.operators[replica].sees = None,
            Self::Pod(index) => pods::advance(world, index),
            Self::Disrupt(index) => {
                world.pods[index].loss = Loss::Disrupted;
                world.pods[index].phase = 2;
            }
            Self::Delete(index) => drop(world.pods.remove(index)),
            Self::Registry => world.outage.registry = !world.outage.registry,
            Self::MoveTag => {
                if let Some(tag) = world.tags.keys().next().cloned() {
                    world.move_tag(&tag, Some("somebody's"));
                }
            }
            Self::Edit => world.edit("shop", |spec| {
                spec["links"][0]["build"]["packer"]["variables"] = json!({"a": "1"});
            }),
            Self::Push => {
                world.push(&["base"]);
                world.annotate("shop", REQUESTED_AT, "now");
            }
            Self::Time => {
                if let Some(wake) = world.next_wake() {
                    world.now = wake;
                }
            }
        }
    }
}

impl Model for Replicas {
    type State = Moment;
    type Action = Step;

    fn init_states(&self) -> Vec<Moment> {
        self.starts.clone()
    }

    fn actions(&self, moment: &Moment, steps: &mut Vec<Step>) {
        if moment.broken.is_some() || self.seen.enough.load(Ordering::Relaxed) {
            return;
        }
        for replica in 0..2 {
            steps.extend([None, Some(1), Some(2)].map(|writes| Step::Chain(replica, writes)));
            for build in 0..moment.world.builds.len() {
                steps.extend([None, Some(1)].map(|writes| Step::Build(replica, build, writes)));
            }
            let behind = moment.world.operators[replica].sees.is_some();
            steps.push(if behind { Step::CatchUp(replica) } else { Step::FallBehind(replica) });
        }
        for (index, _) in moment.world.pods.iter().enumerate().filter(|(_, pod)| pod.lives()) {
            steps.extend([Step::Pod(index), Step::Disrupt(index), Step::Delete(index)]);
        }
        steps.extend([Step::Registry, Step::MoveTag, Step::Edit, Step::Push]);
        if moment.world.pods.iter().all(|pod| !pod.lives()) {
            steps.push(Step::Time);
        }
    }

    fn next_state(&self, moment: &Moment, step: Step) -> Option<Moment> {
        let budgets = step.budget(moment)?;
        let mut world = World::clone(&moment.world);
        let result = catch_unwind(AssertUnwindSafe(|| step.take(&mut world)));
        if let Err(panic) = result {
            return Some(Moment { broken: Some(told(&*panic)), print: moment.print ^ 1, ..moment.clone() });
        }
        let mut next = Moment::of(world, budgets);
        if next.print == moment.print {
            return None;
        }
        self.seen.enough.fetch_or(self.seen.count() >= self.wanted, Ordering::Relaxed);
        next.broken = returned(&next.world).or_else(|| self.seen.take(&next));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("what must hold holds", |_, moment: &Moment| moment.broken.is_none())]
    }
}

/// The moments of a life, until nothing happens any more: before each pass over a chain, and after each write about
/// a build. At first the first pod may be deleted while it runs; at last somebody pushes.
fn life(first_is_lost: bool) -> Vec<World> {
    let mut world = World::new();
    world.operators = vec![Operator::default(); 2];
    world.push(&["base", "web"]);
    let mut spec = chain(&[link("base", None), link("web", Some("base"))]);
    spec["parallelism"] = json!(1);
    world.apply("shop", spec);
    let mut moments = vec![world.clone()];
    let mut to_lose = first_is_lost;
    let mut to_push = !first_is_lost;
    loop {
        let before = print(&world, (0, 0, 0));
        world.reconcile_chain(0, "shop", usize::MAX);
        let builds: Vec<_> = world.builds.keys().cloned().collect();
        for build in builds {
            world.reconcile_build(0, &build, 1);
        }
        if to_lose && world.pods.iter().any(|pod| pod.phase == 1) {
            to_lose = false;
            world.pods.clear();
        }
        for index in 0..world.pods.len() {
            pods::advance(&mut world, index);
        }
        if print(&world, (0, 0, 0)) == before {
            if let Some(wake) = world.next_wake().filter(|_| first_is_lost && world.tags.is_empty()) {
                // The second attempt waits for its time; nothing else in a life does.
                world.now = wake;
            } else if to_push {
                to_push = false;
                Step::Push.take(&mut world);
            } else {
                return moments;
            }
        }
        moments.push(world.clone());
    }
}

/// What the second replica may see at a moment: all as it was at an earlier one, or only the pods, the builds or the
/// chain, as each of its caches may lag behind for itself.
fn behind(present: &World, past: &World) -> [World; 4] {
    let (mut all, mut pods, mut builds, mut chains) = (past.clone(), present.clone(), present.clone(), present.clone());
    pods.pods.clone_from(&past.pods);
    builds.builds.clone_from(&past.builds);
    chains.chains.clone_from(&past.chains);
    for view in [&mut all, &mut pods, &mut builds, &mut chains] {
        view.operators.clear();
    }
    [all, pods, builds, chains]
}

/// Every moment, and every one in which the second replica still sees an earlier one: what is far apart in a life is
/// one step apart then.
fn starts() -> Vec<Moment> {
    let mut starts = Vec::new();
    for moments in [life(false), life(true)] {
        assert!(moments.len() > 6, "a life has more than {} moments", moments.len());
        for (index, present) in moments.iter().enumerate() {
            starts.push(present.clone());
            for view in moments[..index].iter().flat_map(|past| behind(present, past)) {
                let mut world = present.clone();
                world.operators[1].sees = Some(Arc::new(view));
                starts.push(world);
            }
        }
    }
    let mut known = HashSet::new();
    let starts = starts.into_iter().map(|world| Moment::of(world, BUDGETS));
    starts.filter(|moment| known.insert(moment.print)).collect()
}

/// A tag that went back to an image that it had before: nobody asks for that in a life.
fn returned(world: &World) -> Option<String> {
    let moves = &world.log.promotions;
    let back = moves.iter().enumerate().find(|(index, (tag, digest))| {
        let before: Vec<_> = moves[..*index].iter().filter(|(each, _)| each == tag).collect();
        before.last().is_some_and(|(_, last)| last != digest) && before.iter().any(|(_, each)| each == digest)
    });
    back.map(|(_, (tag, digest))| format!("S4: {tag} goes back to {digest}"))
}

#[test]
fn two_replicas_do_no_harm_whatever_they_see() {
    #[expect(clippy::disallowed_methods, reason = "how far to look is said by make test-long")]
    let wanted = std::env::var("MODEL_STATES").ok().and_then(|text| text.parse().ok()).unwrap_or(STATES);
    let starts = starts();
    let from = starts.len();
    let seen = Arc::new(Seen::default());
    let model = Replicas { starts, wanted, seen: Arc::clone(&seen) };
    let checker = model.checker().threads(2).spawn_bfs().join();
    // The way to what was found is gone once more.
    seen.enough.store(false, Ordering::Relaxed);
    let found = checker.discoveries();
    let path = found.values().next().map(|path| path.clone().into_actions());
    let broken = found.values().next().map(|path| path.last_state().broken.clone());
    println!(
        "{} states from {from} starts, {} steps deep, {} of them let come to rest",
        seen.count(),
        checker.max_depth(),
        seen.ends.lock().unwrap_or_else(PoisonError::into_inner).len()
    );
    assert!(found.is_empty(), "{path:?}: {broken:?}");
    assert!(seen.count() >= wanted, "only {} states of {wanted} were explored", seen.count());
}

//! Random chains in a random world: whatever happens, the invariants hold at every step; and once the faults
//! stop, all comes to rest where the last facts say, as if nothing had happened.

use std::{
    env,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use imagechain::{
    api::{
        CANCEL, REQUESTED_AT,
        chain::{ImageChain, LinkState, OnFailure},
    },
    plan::{
        chain::{Claim, taken},
        recipe::OutputKey,
    },
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{RngSeed, TestCaseError, TestRunner},
};
use serde_json::{Value, json};

use crate::world::{self, World, chain, invariants, link, pods::Loss};

/// The names of links.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// The chains; the second is not in every world.
const CHAINS: [&str; 2] = ["shop", "second"];

/// A tree of links and what is said of all of them.
#[derive(Clone, Debug)]
struct Tree {
    /// For each link after the first: the earlier link that it stands on; none for the base.
    parents: Vec<Option<Index>>,
    published: Vec<bool>,
    on_failure: u8,
    parallelism: u8,
    retries: u8,
    history: u8,
    interval: bool,
    second: Second,
}

/// A second chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    None,
    /// Its link stands on the first link of the other.
    Above,
    /// It publishes the first link's tag.
    SameTag,
}

/// What happens. Small numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Event {
    Round,
    Chain { operator: u8, chain: u8, writes: u8 },
    Build { operator: u8, build: u8, writes: u8 },
    Pass(u8),
    SeesOld(u8),
    SeesAll(u8),
    Push(u8),
    Base,
    Break(u8),
    Mend,
    Request(u8),
    Variable(u8),
    Tags(u8),
    AddLink(u8),
    RemoveLink,
    OnFailure(u8),
    Suspend(u8),
    Git,
    Registry,
    PushRights,
    Lose(u8),
    DeletePod(u8),
    Unstage(u8),
    MoveTag(u8),
    DeleteTag(u8),
    WipeStatus(u8),
    DeleteBuild(u8),
    Recreate(u8),
    Cancel(u8),
}

fn tree() -> impl Strategy<Value = Tree> {
    let links = (
        prop::collection::vec(prop::option::weighted(0.8, any::<Index>()), 0..6),
        prop::collection::vec(prop::bool::weighted(0.8), 6),
    );
    let second = prop_oneof![4 => Just(Second::None), 1 => Just(Second::Above), 1 => Just(Second::SameTag)];
    (links, 0..3_u8, 1..4_u8, 0..2_u8, 0..3_u8, any::<bool>(), second).prop_map(
        |((parents, published), on_failure, parallelism, retries, history, interval, second)| Tree {
            parents,
            published,
            on_failure,
            parallelism,
            retries,
            history,
            interval,
            second,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let small = || 0..6_u8;
    prop_oneof![
        10 => Just(Event::Round),
        6 => (0..3_u8, 0..2_u8, small()).prop_map(|(operator, chain, writes)| Event::Chain { operator, chain, writes }),
        6 => (0..3_u8, small(), 0..4_u8).prop_map(|(operator, build, writes)| Event::Build { operator, build, writes }),
        6 => small().prop_map(Event::Pass),
        2 => (0..3_u8).prop_map(Event::SeesOld),
        2 => (0..3_u8).prop_map(Event::SeesAll),
        2 => small().prop_map(Event::Push),
        1 => Just(Event::Base),
        2 => small().prop_map(Event::Break),
        1 => Just(Event::Mend),
        2 => small().prop_map(Event::Request),
        1 => small().prop_map(Event::Variable),
        1 => small().prop_map(Event::Tags),
        1 => small().prop_map(Event::AddLink),
        1 => Just(Event::RemoveLink),
        1 => (0..3_u8).prop_map(Event::OnFailure),
        1 => (0..2_u8).prop_map(Event::Suspend),
        1 => Just(Event::Git),
        1 => Just(Event::Registry),
        1 => Just(Event::PushRights),
        3 => (0..3_u8).prop_map(Event::Lose),
        1 => small().prop_map(Event::DeletePod),
        1 => small().prop_map(Event::Unstage),
        2 => small().prop_map(Event::MoveTag),
        1 => small().prop_map(Event::DeleteTag),
        1 => (0..2_u8).prop_map(Event::WipeStatus),
        1 => small().prop_map(Event::DeleteBuild),
        1 => (0..2_u8).prop_map(Event::Recreate),
        1 => small().prop_map(Event::Cancel),
    ]
}

fn policy(number: u8) -> Value {
    json!(["StopDependents", "StopAll", "Continue"][usize::from(number) % 3])
}

impl Tree {
    fn links(&self) -> Vec<Value> {
        let mut links = vec![link(NAMES[0], None)];
        for (index, parent) in self.parents.iter().enumerate() {
            let parent = parent.map(|parent| NAMES[parent.index(index + 1)]);
            links.push(link(NAMES[index + 1], parent));
        }
        let private = links.iter_mut().zip(&self.published).filter(|(_, published)| !**published);
        private.for_each(|(link, _)| drop(link.as_object_mut().unwrap().remove("publish")));
        links
    }

    fn spec(&self) -> Value {
        let mut spec = chain(&self.links());
        spec["onFailure"] = policy(self.on_failure);
        spec["parallelism"] = json!(self.parallelism);
        spec["history"] = json!({"succeeded": self.history, "failed": self.history});
        if self.interval {
            spec["triggers"] = json!({"interval": "5m"});
        }
        for link in spec["links"].as_array_mut().unwrap() {
            link["retry"] = json!({"build": self.retries, "infrastructure": 2});
        }
        spec
    }

    fn second(&self) -> Option<Value> {
        let mut top = link("top", None);
        match self.second {
            Second::None => return None,
            Second::Above => top["from"] = json!({"chain": {"name": "shop", "link": "a"}}),
            Second::SameTag => top["publish"]["image"]["repository"] = json!("r.example/shop/a"),
        }
        Some(chain(&[top]))
    }

    fn world(&self) -> World {
        let mut world = World::new();
        world.operators = vec![world::operator::Operator::default(); 3];
        world.push(&NAMES);
        world.push(&["top"]);
        world.apply("shop", self.spec());
        world.pass(1);
        if let Some(second) = self.second() {
            world.apply("second", second);
        }
        world
    }
}

/// One of what there is.
fn pick<T: Clone>(all: impl IntoIterator<Item = T>, number: u8) -> Option<T> {
    let all: Vec<T> = all.into_iter().collect();
    all.get(usize::from(number) % all.len().max(1)).cloned()
}

/// Changes one link of the first chain, if it is there.
fn edit_link(world: &mut World, number: u8, change: impl FnOnce(&mut Value)) {
    world.edit("shop", |spec| {
        let links = spec["links"].as_array_mut().unwrap();
        let index = usize::from(number) % links.len();
        change(&mut links[index]);
    });
}

impl Event {
    fn happen(&self, world: &mut World, moment: usize) {
        match *self {
            Self::Round => world.round(),
            Self::Chain { operator, chain, writes } => {
                let writes = if writes == 5 { usize::MAX } else { usize::from(writes) };
                world.reconcile_chain(usize::from(operator), CHAINS[usize::from(chain)], writes);
            }
            Self::Build { operator, build, writes } => {
                let writes = if writes == 3 { usize::MAX } else { usize::from(writes) };
                if let Some(name) = pick(world.builds.keys().cloned(), build) {
                    world.reconcile_build(usize::from(operator), &name, writes);
                }
            }
            Self::Pass(number) => world.pass([0, 1, 11, 60, 301, 4000][usize::from(number)]),
            Self::SeesOld(operator) => {
                let mut old = world.clone();
                old.operators.clear();
                world.operators[usize::from(operator)].sees = Some(Arc::new(old));
            }
            Self::SeesAll(operator) => world.operators[usize::from(operator)].sees = None,
            Self::Lose(number) => {
                world.losses.push([Loss::Disrupted, Loss::Deleted, Loss::Registry][usize::from(number)]);
            }
            _ => self.change_facts(world, moment),
        }
    }

    fn change_facts(&self, world: &mut World, moment: usize) {
        match *self {
            Self::Push(number) => world.push(&[NAMES[usize::from(number)]]),
            Self::Base => *world.bases.get_mut("r.example/debian:13").unwrap() += 1,
            Self::Break(number) => {
                let name = NAMES[usize::from(number)];
                world.broken.insert((name.to_owned(), world.files[name]));
            }
            Self::Mend => world.broken.clear(),
            Self::Git => world.outage.git = !world.outage.git,
            Self::Registry => world.outage.registry = !world.outage.registry,
            Self::PushRights => world.outage.push = !world.outage.push,
            Self::Unstage(number) => {
                if let Some(digest) = pick(world.staged.clone(), number) {
                    world.staged.remove(&digest);
                }
            }
            Self::MoveTag(number) | Self::DeleteTag(number) => {
                if let Some(tag) = pick(world.tags.keys().cloned(), number) {
                    let image = format!("somebody's image {moment}");
                    world.move_tag(&tag, matches!(self, Self::MoveTag(_)).then_some(image.as_str()));
                }
            }
            Self::DeletePod(number) => {
                if let Some(uid) = pick(world.pods.iter().map(|pod| pod.uid.clone()), number) {
                    world.pods.retain(|pod| pod.uid != uid);
                }
            }
            Self::DeleteBuild(number) => {
                if let Some(name) = pick(world.builds.keys().cloned(), number) {
                    let build = world.builds.remove(&name).unwrap();
                    world.pods.retain(|pod| Some(&pod.build_uid) != build.metadata.uid.as_ref());
                }
            }
            Self::Cancel(number) => {
                if let Some(name) = pick(world.builds.keys().cloned(), number) {
                    world.annotate_build(&name, CANCEL, "somebody says so");
                }
            }
            _ => self.change_objects(world, moment),
        }
    }

    fn change_objects(&self, world: &mut World, moment: usize) {
        let chain = |number: u8| pick(world.chains.keys().cloned(), number).unwrap();
        match *self {
            Self::Request(number) => world.annotate(&chain(number), REQUESTED_AT, &format!("request {moment}")),
            Self::Variable(number) => edit_link(world, number, |link| {
                link["build"]["packer"]["variables"] = json!({"moment": moment.to_string()});
            }),
            Self::Tags(number) => edit_link(world, number, |link| {
                if link.get("publish").is_some_and(|publish| !publish.is_null()) {
                    link["publish"]["image"]["tags"] = json!(["1", format!("t{moment}")]);
                }
            }),
            Self::AddLink(number) => world.edit("shop", |spec| {
                let links = spec["links"].as_array_mut().unwrap();
                let parent = NAMES[usize::from(number) % links.len()].to_owned();
                if let Some(name) = NAMES.get(links.len()) {
                    links.push(link(name, Some(&parent)));
                }
            }),
            Self::RemoveLink => world.edit("shop", |spec| {
                let links = spec["links"].as_array_mut().unwrap();
                links.truncate((links.len() - 1).max(1));
            }),
            Self::OnFailure(number) => world.edit("shop", |spec| spec["onFailure"] = policy(number)),
            Self::Suspend(number) => world.edit(&chain(number), |spec| {
                let suspended = spec["suspend"] == json!(true);
                spec["suspend"] = json!(!suspended);
            }),
            Self::WipeStatus(number) => {
                let (name, version) = (chain(number), world.version());
                let chain = world.chain_mut(&name);
                chain.status = None;
                chain.metadata.resource_version = Some(version);
            }
            Self::Recreate(number) => {
                let name = chain(number);
                let spec = serde_json::to_value(&world.chains[&name].spec).unwrap();
                world.delete_chain(&name);
                world.apply(&name, spec);
            }
            _ => unreachable!("it is handled before"),
        }
    }
}

/// The faults stop: everything answers, everybody sees what there is.
fn stop_faults(world: &mut World) {
    world.outage = world::Outage::default();
    world.losses.clear();
    world.pass(1);
    for operator in &mut world.operators {
        operator.sees = None;
        // As when a Secret changes: what was refused is forgotten.
        operator.crash(world.now);
    }
}

/// Chains, the oldest first: it owns what several want.
fn by_age(world: &World) -> Vec<&ImageChain> {
    let mut chains: Vec<_> = world.chains.values().map(AsRef::as_ref).collect();
    chains.sort_by_key(|chain| (chain.metadata.creation_timestamp.as_ref().unwrap().0, chain.uid()));
    chains
}

/// At rest, what a status says of a link is so, whatever became of it.
fn is_true(world: &World) {
    for chain in world.chains.values().filter(|chain| !chain.spec.suspend) {
        let status = chain.status.as_ref().unwrap();
        for (link, spec) in status.links.iter().zip(&chain.spec.links) {
            let passing = matches!(
                link.state,
                LinkState::Pending | LinkState::Queued | LinkState::Building | LinkState::Publishing
            );
            assert!(!passing, "{} rests as {:?}: {:?}", link.name, link.state, link.message);
            let wanted = spec.publish.as_ref().filter(|_| link.state == LinkState::Ready);
            for tag in wanted.iter().flat_map(|publish| &publish.image.as_ref().unwrap().tags) {
                let repository = &link.published.as_ref().unwrap().repository;
                let leads_to = world.tags.get(&format!("{repository}:{tag}"));
                assert_eq!(
                    leads_to,
                    Some(&link.verified.as_ref().unwrap().reference.0.rsplit('@').next().unwrap().to_owned())
                );
            }
        }
    }
}

/// At rest, what is published is where it was put, whatever became of the link since, and whoever has moved it.
fn is_put_back(world: &World) {
    let claims: Vec<_> = world.chains.values().map(|chain| Claim::of(chain)).collect();
    for chain in world.chains.values().filter(|chain| !chain.spec.suspend) {
        let others = taken(&Claim::of(chain), &claims);
        let status = chain.status.as_ref().unwrap();
        for (link, spec) in status.links.iter().zip(&chain.spec.links) {
            let (Some(published), Some(publish)) = (&link.published, &spec.publish) else { continue };
            let image = publish.image.as_ref().unwrap();
            // Other tags wait for an image of the present inputs, and an image that is gone for one that is made anew.
            let same = image.tags.iter().map(|tag| &tag.0).eq(published.tags.iter().map(|tag| &tag.0));
            let is_its_own = same && others.is_empty();
            if !is_its_own || !world.staged.contains(&published.digest.0) {
                continue;
            }
            for tag in &published.tags {
                let leads_to = world.tags.get(&format!("{}:{tag}", published.repository));
                assert_eq!(leads_to, Some(&published.digest.0), "{}: {link:#?}", chain.name_any());
            }
            assert_eq!(published.drifted, [], "{}", link.name);
        }
        assert!(status.conditions.iter().all(|each| each.type_ != "Drifted"), "{:?}", status.conditions);
    }
}

/// Where a link must stand.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Ready(String),
    Failed,
    Blocked,
    Conflict,
    /// Nothing of what it stands on has ever been verified.
    Waiting,
    NoChain,
}

/// What the facts alone say of every link, in order. Only what a failed link made last is taken from the
/// status: history, no fact.
fn fates(world: &World, object: &ImageChain, token: &str) -> Vec<(String, Fate)> {
    let claims: Vec<_> = world.chains.values().map(|chain| Claim::of(chain)).collect();
    let others = taken(&Claim::of(object), &claims);
    let mut fates: Vec<(String, Fate)> = Vec::new();
    for link in &object.spec.links {
        let image = link.publish.as_ref().and_then(|publish| publish.image.as_ref());
        let conflict = image.is_some_and(|image| {
            others.keys().any(|output| match output {
                OutputKey::Tag(repository, tag) => {
                    repository.to_string() == image.repository.0
                        && image.tags.iter().any(|own| own.0 == tag.to_string())
                }
                OutputKey::Package(..) => false,
            })
        });
        let fate = match below(world, object, link, &fates) {
            _ if conflict => Fate::Conflict,
            Err(fate) => fate,
            Ok(_) if world.broken.contains(&(link.name.0.clone(), world.files[&link.name.0])) => Fate::Failed,
            Ok(parent) => Fate::Ready(content(world, object, link, &parent, token)),
        };
        fates.push((link.name.0.clone(), fate));
    }
    fates
}

/// The digest that a link stands on.
fn below(
    world: &World,
    object: &ImageChain,
    link: &imagechain::api::chain::Link,
    fates: &[(String, Fate)],
) -> Result<String, Fate> {
    let verified = |chain: &str, link: &str| {
        let links = world.status(chain).links.into_iter();
        let verified = links.filter(|each| each.name.0 == link).find_map(|each| each.verified)?;
        verified.reference.0.rsplit('@').next().map(ToOwned::to_owned)
    };
    let from = link.from.as_ref().unwrap();
    if let Some(other) = &from.chain {
        let known = world.chains.get(&other.name.0);
        let known = known.is_some_and(|chain| chain.spec.links.iter().any(|link| link.name == other.link));
        return if known { verified(&other.name.0, &other.link.0).ok_or(Fate::Waiting) } else { Err(Fate::NoChain) };
    }
    let Some(parent) = &from.link else {
        return Ok(world::digest(&["r.example/debian:13", &world.bases["r.example/debian:13"].to_string()]));
    };
    match &fates.iter().find(|(name, _)| *name == parent.0).unwrap().1 {
        Fate::Ready(digest) => Ok(digest.clone()),
        _ if object.spec.on_failure == OnFailure::Continue => {
            verified(&object.name_any(), &parent.0).ok_or(Fate::Blocked)
        }
        _ => Err(Fate::Blocked),
    }
}

/// What a build of these facts makes.
fn content(
    world: &World,
    object: &ImageChain,
    link: &imagechain::api::chain::Link,
    parent: &str,
    token: &str,
) -> String {
    // The hash of the files is the core's own business: it is that of any build of the same files.
    let same = world.builds.values().find(|build| {
        let of = build.spec.chain_ref.as_ref().unwrap();
        Some(&of.uid) == object.metadata.uid.as_ref()
            && of.link == link.name
            && build.spec.inputs.as_ref().unwrap().request.as_deref() == Some(token)
            && build.spec.inputs.as_ref().unwrap().parent.as_ref().unwrap().0.ends_with(parent)
    });
    let Some(same) = same else { return "nobody has built it".to_owned() };
    let inputs = same.spec.inputs.as_ref().unwrap();
    let version = world.commits[&inputs.revision].get(&link.name.0);
    assert_eq!(version, world.files.get(&link.name.0), "{} is built of old files", link.name);
    assert_eq!(same.spec.build, link.build, "{} is built by an old recipe", link.name);
    world::content(&link.name.0, inputs, &serde_json::to_string(&link.build).unwrap())
}

/// Compares every link with what the facts say.
fn compare(world: &World, token: &str) -> bool {
    let mut smooth = true;
    for object in by_age(world) {
        let fates = fates(world, object, token);
        let failed = fates.iter().any(|(_, fate)| *fate != Fate::Failed);
        let any_failed = fates.iter().any(|(_, fate)| *fate == Fate::Failed);
        let stop_all = object.spec.on_failure == OnFailure::StopAll && any_failed && failed;
        let all_ready = fates.iter().all(|(_, fate)| matches!(fate, Fate::Ready(_)));
        smooth &= all_ready;
        let status = world.status(&object.name_any());
        for ((name, fate), link) in fates.iter().zip(&status.links) {
            let right = match fate {
                // Links that are due beside the one that fails may or may not have begun before it.
                _ if stop_all && link.state == LinkState::Blocked => true,
                Fate::Ready(digest) => {
                    link.state == LinkState::Ready && link.verified.as_ref().unwrap().reference.0.ends_with(digest)
                }
                Fate::Failed => link.state == LinkState::Failed,
                Fate::Blocked | Fate::Waiting => link.state == LinkState::Blocked,
                Fate::Conflict | Fate::NoChain => link.state == LinkState::Stalled,
            };
            assert!(right, "{}/{name} must be {fate:?}, and is {link:#?}", object.name_any());
        }
        let ready = world.condition(&object.name_any(), "Ready");
        assert_eq!(
            ready.0 == "True" && status.conditions.iter().all(|each| each.type_ != "Degraded"),
            all_ready,
            "{ready:?}"
        );
    }
    smooth
}

/// The end of a fresh world with the same facts, in which nothing goes wrong.
fn fresh(world: &World) -> World {
    let mut fresh = World::new();
    fresh.files.clone_from(&world.files);
    fresh.push(&[]);
    fresh.bases.clone_from(&world.bases);
    for chain in by_age(world) {
        fresh.apply(&chain.name_any(), serde_json::to_value(&chain.spec).unwrap());
        let token = chain.annotations().get(REQUESTED_AT).unwrap();
        fresh.annotate(&chain.name_any(), REQUESTED_AT, token);
        fresh.pass(1);
    }
    fresh.settle();
    invariants::no_flapping(&fresh);
    fresh
}

/// Kinds and states of links, tags with their digests, conditions.
fn end(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, chain) in &world.chains {
        let status = chain.status.as_ref().unwrap();
        for link in &status.links {
            let digest = |reference: &str| reference.rsplit('@').next().unwrap_or_default().to_owned();
            let verified = link.verified.as_ref().map(|verified| digest(&verified.reference.0));
            let published = link.published.as_ref().map(|published| (published.tags.clone(), published.digest.clone()));
            lines.push(format!("{name}/{} {:?} {verified:?} {published:?}", link.name, link.state));
        }
        lines.extend(
            status.conditions.iter().map(|each| format!("{name} {} {} {}", each.type_, each.status, each.reason)),
        );
    }
    lines
}

fn live(world: &mut World, events: &[Event]) {
    for (moment, event) in events.iter().enumerate() {
        event.happen(world, moment);
    }
    stop_faults(world);
    world.settle();
    is_true(world);
    is_put_back(world);
    let chains: Vec<_> = world.chains.keys().cloned().collect();
    for chain in &chains {
        world.edit(chain, |spec| spec["suspend"] = json!(false));
    }
    world.settle();
    is_true(world);
    is_put_back(world);
    // What had failed, or was built of old facts as nobody asked for new ones, ends with a request.
    for chain in &chains {
        world.annotate(chain, REQUESTED_AT, "the last");
    }
    world.settle();
    is_true(world);
    is_put_back(world);
    if compare(world, "the last") {
        assert_eq!(end(world), end(&fresh(world)), "the end is that of a world without faults");
    }
    let writes = world.log.writes;
    world.settle();
    assert_eq!(world.log.writes, writes, "idle is silent");
}

/// A world, for the reader of a failed test.
fn tell(world: &World) -> String {
    let mut out = format!("now {}, files {:?}, broken {:?}\n", world.now, world.files, world.broken);
    let since = world.now.duration_since(Timestamp::UNIX_EPOCH).as_secs();
    writeln!(out, "tags {:#?}\nstaged {:?}, at {since}", world.tags, world.staged).unwrap();
    for (name, chain) in &world.chains {
        writeln!(out, "chain {name}: {}", serde_json::to_string_pretty(&chain.status).unwrap()).unwrap();
    }
    for (name, build) in &world.builds {
        let inputs = serde_json::to_string(&build.spec.inputs).unwrap();
        writeln!(out, "build {name}: {inputs} {}", serde_json::to_string(&build.status).unwrap()).unwrap();
    }
    writeln!(out, "pods {:#?}\nlog {:#?}", world.pods, world.log).unwrap();
    out
}

fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// CI plays the same worlds each time, so that what it says is about the change that it looks at; `make test-long`
/// draws new ones, and more (`WORLDS`, `WORLDS_SEED`). Half of them are those of one test, as each has one processor.
fn half(which: u64) -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "how many and which is said by make test-long")]
    let number = |name: &str, usual: u64| env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    ProptestConfig {
        cases: u32::try_from(number("WORLDS", 40).div_ceil(2)).expect("not so many"),
        rng_seed: RngSeed::Fixed(number("WORLDS_SEED", 20_261_121) + which),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    }
}

fn play(which: u64) {
    let worlds = (tree(), prop::collection::vec(event(), 0..40));
    let played = TestRunner::new(half(which)).run(&worlds, |(tree, events)| {
        let mut world = tree.world();
        let result = catch_unwind(AssertUnwindSafe(|| live(&mut world, &events)));
        result.map_err(|panic| TestCaseError::fail(format!("{}\n{}", told(&*panic), tell(&world))))
    });
    played.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_happens_the_end_is_that_of_the_last_facts() {
    play(0);
}

#[test]
fn whatever_else_happens_the_end_is_that_of_the_last_facts() {
    play(1);
}

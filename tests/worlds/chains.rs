//! Chains in a small world: every decision by a scenario that a user would know.

use imagechain::api::{REQUESTED_AT, chain::LinkState};
use serde_json::json;

use crate::world::{self, World, chain, link};

/// A world with the chain `shop` of three links, all of it published.
fn settled() -> World {
    let mut world = World::new();
    world.push(&["base", "web", "dev"]);
    world.apply("shop", chain(&[link("base", None), link("web", Some("base")), link("dev", Some("web"))]));
    world.settle();
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));
    world
}

fn condition(world: &World, kind: &str) -> String {
    let (status, reason) = world.condition("shop", kind);
    format!("{status} {reason}").trim().to_owned()
}

#[test]
fn a_chain_is_built_in_order_and_published() {
    let world = settled();
    assert_eq!(world.made_since(0), ["base: FirstBuild", "web: FirstBuild", "dev: FirstBuild"]);
    assert_eq!(world.log.pods.len(), 3);
    assert_eq!(world.tags.len(), 3);
    assert_eq!(condition(&world, "UpToDate"), "True NothingToDo");
    assert!(world.states("shop").iter().all(|(_, state)| *state == LinkState::Ready));
    let status = world.status("shop");
    assert_eq!(status.ready.as_deref(), Some("3/3"));
    assert!(status.last_image.unwrap().starts_with("r.example/shop/dev:1@sha256:"));
}

/// What was rebuilt, and why, when something changed in a chain that was up to date.
#[test]
fn what_changes_decides_what_is_rebuilt() {
    type Change = fn(&mut World);
    let cases: &[(&str, Change, &[&str])] = &[
        ("nothing", |_| {}, &[]),
        ("the same object again", |world| world.edit("shop", |_| {}), &[]),
        ("a push to the second link's files, seen on request only", |world| world.push(&["web"]), &[]),
        (
            "a push to the second link's files",
            |world| {
                interval(world);
                world.push(&["web"]);
            },
            &["web: SourceChanged", "dev: ParentChanged"],
        ),
        (
            "a push to other files",
            |world| {
                interval(world);
                world.push(&["README"]);
            },
            &[],
        ),
        (
            "a push to two links' files",
            |world| {
                interval(world);
                world.push(&["base", "dev"]);
            },
            &["base: SourceChanged", "web: ParentChanged", "dev: SourceChanged, ParentChanged"],
        ),
        (
            "a base tag that moves",
            |world| {
                interval(world);
                world.bases.insert("r.example/debian:13".to_owned(), 2);
            },
            &["base: BaseImageChanged", "web: ParentChanged", "dev: ParentChanged"],
        ),
        (
            "a request",
            |world| world.annotate("shop", REQUESTED_AT, "now"),
            &["base: Requested", "web: ParentChanged, Requested", "dev: ParentChanged, Requested"],
        ),
        (
            "a variable of the third link",
            |world| world.edit("shop", |spec| spec["links"][2]["build"]["packer"]["variables"] = json!({"a": "1"})),
            &["dev: SpecChanged"],
        ),
        (
            "the publication of a link",
            |world| world.edit("shop", |spec| spec["links"][1]["publish"]["image"]["tags"] = json!(["1", "latest"])),
            &[],
        ),
        ("a timeout", |world| world.edit("shop", |spec| spec["links"][1]["timeouts"] = json!({"build": "1h"})), &[]),
        (
            "another builder image",
            |world| {
                let builder = format!("r.example/builder@{}", world::digest(&["other"]));
                world.put_profile(json!({"images": {"builder": builder}}));
            },
            &["base: ProfileChanged", "web: ParentChanged, ProfileChanged", "dev: ParentChanged, ProfileChanged"],
        ),
        (
            "a new link in the middle of nothing",
            |world| {
                world.push(&["tool"]);
                world.edit("shop", |spec| spec["links"].as_array_mut().unwrap().push(link("tool", Some("base"))));
            },
            &["tool: FirstBuild"],
        ),
        ("a link less", |world| world.edit("shop", |spec| spec["links"].as_array_mut().unwrap().truncate(2)), &[]),
        (
            "a wiped status",
            |world| {
                let version = world.version();
                let chain = world.chain_mut("shop");
                chain.status = None;
                chain.metadata.resource_version = Some(version);
            },
            &[],
        ),
        ("all builds deleted", |world| world.builds.clear(), &[]),
        (
            "a chain that is made anew under the same name",
            |world| {
                let spec = serde_json::to_value(&world.chains["shop"].spec).unwrap();
                world.delete_chain("shop");
                world.apply("shop", spec);
            },
            &["base: FirstBuild", "web: FirstBuild", "dev: FirstBuild"],
        ),
    ];
    for (what, change, made) in cases {
        let mut world = settled();
        let moment = world.log.builds.len();
        change(&mut world);
        world.settle();
        world.pass(600);
        world.settle();
        assert_eq!(world.made_since(moment), *made, "{what}");
        assert_eq!(condition(&world, "Ready"), "True LinksReady", "{what}");
        assert_eq!(condition(&world, "UpToDate"), "True NothingToDo", "{what}");
        let writes = world.log.writes;
        world.settle();
        assert_eq!(world.log.writes, writes, "{what}: idle is silent");
    }
}

/// Lets the chain be looked at every five minutes.
fn interval(world: &mut World) {
    world.edit("shop", |spec| spec["triggers"] = json!({"interval": "5m"}));
    world.settle();
}

/// Where a chain stands after something went wrong, and after it was put right.
#[test]
fn what_goes_wrong_holds_what_it_must_and_recovers_by_itself() {
    type Change = fn(&mut World);
    /// `Ready`, `UpToDate`, `Degraded`, the states of the links, and how many tags lead somewhere.
    type Expected = (&'static str, &'static str, &'static str, &'static str, usize);
    const READY: Expected = ("True LinksReady", "True NothingToDo", "", "Ready Ready Ready", 3);
    let cases: &[(&str, Change, Expected, Change)] = &[
        (
            "a first build that fails",
            |world| {
                world.broken.insert(("web".to_owned(), 1));
                three(world);
            },
            ("False TaskFailed", "False TaskFailed", "", "Ready Failed Blocked", 1),
            |world| {
                world.push(&["web"]);
                world.annotate("shop", REQUESTED_AT, "again");
            },
        ),
        (
            "a rebuild that fails in the background",
            |world| {
                three(world);
                world.settle();
                world.broken.insert(("web".to_owned(), 2));
                world.push(&["web"]);
                interval(world);
            },
            ("True LinksReady", "False TaskFailed", "True TaskFailed", "Ready Failed Blocked", 3),
            |world| world.push(&["web"]),
        ),
        (
            "a new recipe that fails",
            |world| {
                three(world);
                world.settle();
                world.broken.insert(("web".to_owned(), 1));
                world.edit("shop", |spec| spec["links"][1]["build"]["packer"]["variables"] = json!({"a": "1"}));
            },
            ("False TaskFailed", "False TaskFailed", "", "Ready Failed Blocked", 3),
            |world| {
                world.broken.clear();
                world.edit("shop", |spec| spec["links"][1]["build"]["packer"]["variables"] = json!({"a": "2"}));
            },
        ),
        (
            "a profile that is missing",
            |world| {
                world.profiles.clear();
                three(world);
            },
            ("False ProfileNotFound", "False ProfileNotFound", "", "Stalled Stalled Stalled", 0),
            |world| world.put_profile(json!({})),
        ),
        (
            "a base that is missing",
            |world| {
                world.bases.clear();
                three(world);
            },
            ("False BaseImageNotFound", "False BaseImageNotFound", "", "Stalled Blocked Blocked", 0),
            |world| {
                world.bases.insert("r.example/debian:13".to_owned(), 1);
                world.annotate("shop", REQUESTED_AT, "again");
            },
        ),
        (
            "files that are not in the commit",
            |world| {
                three(world);
                world.files.remove("web");
            },
            ("False RevisionNotFound", "False RevisionNotFound", "", "Ready Stalled Blocked", 1),
            |world| {
                world.push(&["web"]);
                world.annotate("shop", REQUESTED_AT, "again");
            },
        ),
        (
            "a ConfigMap that is missing",
            |world| {
                three(world);
                world.edit("shop", |spec| spec["links"][2]["source"] = json!({"configMap": {"name": "absent"}}));
            },
            ("False ConfigMapNotFound", "False ConfigMapNotFound", "", "Ready Ready Stalled", 2),
            |world| {
                let files = [("dev/a.json".to_owned(), "{}".to_owned())];
                world.config_maps.insert("absent".to_owned(), files.into());
                world.edit("shop", |spec| spec["links"][2]["paths"] = json!([]));
            },
        ),
        (
            "a registry that refuses the push of tags",
            |world| {
                world.outage.push = true;
                three(world);
            },
            ("False PushDenied", "False PushDenied", "", "Stalled Stalled Stalled", 0),
            |world| {
                world.outage.push = false;
            },
        ),
        (
            "staging on another registry",
            |world| {
                world.put_profile(json!({"registry": {"staging": {"repository": "other.example/staging"}}}));
                three(world);
            },
            ("False StagingNotMountable", "False StagingNotMountable", "", "Stalled Stalled Stalled", 0),
            |world| world.put_profile(json!({"registry": {"staging": {"repository": world::STAGING}}})),
        ),
        (
            "a tag of an older chain",
            |world| {
                world.push(&["base"]);
                world.apply("older", chain(&[link("base", None)]));
                world.settle();
                world.pass(1);
                three(world);
            },
            ("False OutputConflict", "False OutputConflict", "", "Stalled Blocked Blocked", 1),
            |world| world.delete_chain("older"),
        ),
        (
            "a link of a chain that is missing",
            |world| {
                three(world);
                world.edit("shop", |spec| spec["links"][0]["from"] = json!({"chain": {"name": "os", "link": "base"}}));
            },
            ("False ChainNotFound", "False ChainNotFound", "", "Stalled Blocked Blocked", 0),
            |world| {
                let mut os = link("base", None);
                os["publish"] = json!({"image": {"repository": "r.example/os", "tags": ["1"]}});
                world.apply("os", chain(&[os]));
                world.settle();
                world.tags.remove("r.example/os:1");
            },
        ),
        (
            "an object that is wrong in itself",
            |world| {
                three(world);
                world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["template"] = json!("../a"));
            },
            ("False SpecInvalid", "Unknown SpecInvalid", "", "", 0),
            |world| {
                world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["template"] = json!("base/a.json"));
            },
        ),
    ];
    for (what, harm, expected, mend) in cases {
        let mut world = World::new();
        harm(&mut world);
        world.settle();
        let states: Vec<_> = world.states("shop").iter().map(|(_, state)| format!("{state:?}")).collect();
        let (ready, up_to_date) = (condition(&world, "Ready"), condition(&world, "UpToDate"));
        let seen = (&*ready, &*up_to_date, &*condition(&world, "Degraded"), &*states.join(" "), world.tags.len());
        assert_eq!(seen, *expected, "{what}: {:#?}", world.status("shop").links);
        mend(&mut world);
        world.settle();
        let states: Vec<_> = world.states("shop").iter().map(|(_, state)| format!("{state:?}")).collect();
        let (ready, up_to_date) = (condition(&world, "Ready"), condition(&world, "UpToDate"));
        let seen = (&*ready, &*up_to_date, &*condition(&world, "Degraded"), &*states.join(" "), world.tags.len());
        assert_eq!(seen, READY, "{what}, mended: {:#?}", world.status("shop").links);
    }
}

/// The chain `shop` of three links, with its files.
fn three(world: &mut World) {
    world.push(&["base", "web", "dev"]);
    world.apply("shop", chain(&[link("base", None), link("web", Some("base")), link("dev", Some("web"))]));
}

/// What a link that fails means for the others.
#[test]
fn on_failure_decides_what_else_is_built() {
    let links = || {
        let side = link("side", Some("base"));
        [link("base", None), link("web", Some("base")), link("dev", Some("web")), side]
    };
    let cases = [
        (
            "StopDependents",
            "Ready Failed Blocked Ready",
            vec!["base: SourceChanged", "web: SourceChanged, ParentChanged", "side: ParentChanged"],
        ),
        ("StopAll", "Ready Failed Blocked Blocked", vec!["base: SourceChanged", "web: SourceChanged, ParentChanged"]),
        (
            "Continue",
            "Ready Failed Ready Ready",
            vec![
                "base: SourceChanged",
                "web: SourceChanged, ParentChanged",
                "dev: SourceChanged",
                "side: ParentChanged",
            ],
        ),
    ];
    for (policy, states, made) in cases {
        let mut world = World::new();
        world.push(&["base", "web", "dev", "side"]);
        let mut spec = chain(&links());
        spec["onFailure"] = json!(policy);
        // One at a time: the link that fails has failed before the last one is due.
        spec["parallelism"] = json!(1);
        world.apply("shop", spec);
        world.settle();
        let moment = world.log.builds.len();
        world.broken.insert(("web".to_owned(), 2));
        world.push(&["base", "web", "dev"]);
        world.annotate("shop", "other", "annotation");
        interval(&mut world);
        world.pass(600);
        world.settle();
        assert_eq!(world.made_since(moment), made, "{policy}");
        let seen: Vec<_> = world.states("shop").iter().map(|(_, state)| format!("{state:?}")).collect();
        assert_eq!(seen.join(" "), states, "{policy}");
    }
}

/// What a change does to a build that runs.
#[test]
fn a_change_while_running() {
    type Change = fn(&mut World);
    let cases: &[(&str, Change, &[&str], &[&str])] = &[
        (
            "another recipe cancels it",
            |world| world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["variables"] = json!({"a": "1"})),
            &["base: SpecChanged"],
            &["Superseded", "Verified"],
        ),
        (
            "a request cancels it",
            |world| world.annotate("shop", REQUESTED_AT, "now"),
            &["base: Requested"],
            &["Superseded", "Verified"],
        ),
        (
            "another recipe and back",
            |world| {
                let spec = serde_json::to_value(&world.chains["shop"].spec).unwrap();
                world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["variables"] = json!({"a": "1"}));
                world.round();
                world.apply("shop", spec);
            },
            &["base: SpecChanged"],
            &["Superseded", "Verified"],
        ),
        (
            "a push lets it end, and only the newest is built",
            |world| {
                world.push(&["base"]);
                world.pass(301);
                world.round();
                world.push(&["base"]);
                world.pass(301);
            },
            &["base: SourceChanged"],
            &["Verified", "Verified"],
        ),
        (
            "a suspended chain lets it end and publishes nothing",
            |world| {
                world.edit("shop", |spec| spec["suspend"] = json!(true));
                world.settle();
                assert!(world.tags.is_empty());
                // What is promised is neither more nor less: nobody who goes by kstatus is kept waiting.
                assert_eq!(condition(world, "Ready"), "");
                assert_eq!(condition(world, "UpToDate"), "False Suspended");
                world.edit("shop", |spec| spec["suspend"] = json!(false));
            },
            &[],
            &["Verified"],
        ),
        (
            "a link that is removed is ended, and forgotten",
            |world| {
                world.edit("shop", |spec| spec["links"][0]["name"] = json!("other"));
            },
            &["other: FirstBuild"],
            &["Verified"],
        ),
    ];
    for (what, change, made, ends) in cases {
        let mut world = World::new();
        world.push(&["base"]);
        let mut spec = chain(&[link("base", None)]);
        spec["triggers"] = json!({"interval": "5m"});
        world.apply("shop", spec);
        for _ in 0..3 {
            world.round();
        }
        assert_eq!(world.log.pods.len(), 1, "{what}: it runs");
        let moment = world.log.builds.len();
        change(&mut world);
        world.settle();
        assert_eq!(world.made_since(moment), *made, "{what}");
        let mut seen: Vec<_> = world.builds.values().map(|build| end_of(build)).collect();
        seen.sort_unstable();
        assert_eq!(seen, *ends, "{what}");
        assert_eq!(condition(&world, "UpToDate"), "True NothingToDo", "{what}");
        assert_eq!(world.log.promotions.len(), 1, "{what}: only the newest is published");
    }
}

fn end_of(build: &imagechain::api::build::ImageBuild) -> String {
    let failure = build.status.as_ref().and_then(|status| status.failure.as_ref());
    failure.map_or_else(|| "Verified".to_owned(), |failure| failure.reason.to_string())
}

/// Back to earlier inputs: the earlier image is published again, unless it is gone.
#[test]
fn earlier_inputs_give_the_earlier_image() {
    for lost in [false, true] {
        let mut world = World::new();
        world.push(&["base"]);
        let mut spec = chain(&[link("base", None)]);
        spec["triggers"] = json!({"interval": "5m"});
        world.apply("shop", spec);
        world.settle();
        let (files, first) = (world.files.clone(), world.tags["r.example/shop/base:1"].clone());
        world.push(&["base"]);
        world.pass(400);
        world.settle();
        assert_ne!(world.tags["r.example/shop/base:1"], first);
        let pods = world.log.pods.len();
        world.reset(files);
        if lost {
            world.staged.remove(&first);
        }
        world.pass(400);
        world.settle();
        assert_eq!(world.tags["r.example/shop/base:1"], first, "the earlier image is published");
        let made: Vec<_> = world.made_since(2);
        let expected: &[&str] = if lost { &["base: ArtifactGone, SourceChanged"] } else { &[] };
        assert_eq!(
            (made, world.log.pods.len()),
            (expected.iter().map(ToString::to_string).collect(), pods + expected.len())
        );
    }
}

/// Times of creation are whole seconds: which build was the last one, the status tells.
#[test]
fn causes_are_told_from_the_last_build_whatever_the_clock_says() {
    let at_once = |world: &mut World| {
        for _ in 0..8 {
            world.round();
            world.pass(0);
        }
    };
    for value in ["1", "2", "3", "4", "5"] {
        let mut world = World::new();
        world.push(&["base"]);
        world.apply("shop", chain(&[link("base", None)]));
        at_once(&mut world);
        let first = world.tags["r.example/shop/base:1"].clone();
        world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["variables"] = json!({"a": value}));
        at_once(&mut world);
        let made: Vec<_> = world.builds.values().map(|build| build.metadata.creation_timestamp.clone()).collect();
        assert_eq!(made[0], made[1]);
        world.staged.remove(&first);
        world.edit("shop", |spec| spec["links"][0]["build"]["packer"] = json!({"template": "base/a.json"}));
        at_once(&mut world);
        assert_eq!(world.made_since(2), ["base: ArtifactGone, SpecChanged"]);
    }
}

#[test]
fn a_request_that_is_removed_changes_nothing() {
    let mut world = settled();
    world.annotate("shop", REQUESTED_AT, "now");
    world.settle();
    assert_eq!(world.log.builds.len(), 6);
    assert_eq!(world.status("shop").last_handled_request.as_deref(), Some("now"));
    let version = world.version();
    let chain = world.chain_mut("shop");
    chain.metadata.annotations = None;
    chain.metadata.resource_version = Some(version);
    world.settle();
    assert_eq!(world.log.builds.len(), 6);
    assert_eq!(world.status("shop").last_handled_request.as_deref(), Some("now"));
}

#[test]
fn servers_that_are_away_are_waited_for() {
    let mut world = World::new();
    world.outage.git = true;
    three(&mut world);
    for _ in 0..5 {
        world.round();
        world.pass(61);
    }
    assert_eq!(condition(&world, "Ready"), "Unknown SourceUnavailable");
    world.outage = world::Outage { git: false, registry: true, push: false };
    for _ in 0..20 {
        world.round();
        world.pass(61);
    }
    assert_eq!(condition(&world, "Ready"), "Unknown RegistryUnavailable");
    world.outage.registry = false;
    world.settle();
    assert_eq!(condition(&world, "Ready"), "True LinksReady");
    // What is up to date stays so while nobody can say otherwise.
    interval(&mut world);
    world.outage = world::Outage { git: true, registry: true, push: false };
    world.pass(400);
    world.round();
    assert_eq!(condition(&world, "Ready"), "True LinksReady");
    assert_eq!(condition(&world, "UpToDate"), "Unknown SourceUnavailable");
    world.outage = world::Outage::default();
    world.settle();
    assert_eq!(condition(&world, "UpToDate"), "True NothingToDo");
}

#[test]
fn links_of_several_chains_wait_for_each_other_but_not_in_a_circle() {
    let mut world = World::new();
    world.push(&["base", "web"]);
    let mut web = link("web", None);
    web["from"] = json!({"chain": {"name": "os", "link": "base"}});
    world.apply("shop", chain(&[web.clone()]));
    world.settle();
    assert_eq!(condition(&world, "Ready"), "False ChainNotFound");
    world.apply("os", chain(&[link("base", None)]));
    world.settle();
    assert_eq!(condition(&world, "Ready"), "True LinksReady");
    world.annotate("os", REQUESTED_AT, "now");
    world.settle();
    assert_eq!(world.made_since(2), ["base: Requested", "web: ParentChanged"]);
    world.edit("os", |spec| spec["links"][0]["from"] = json!({"chain": {"name": "shop", "link": "web"}}));
    world.settle();
    for (chain, path) in [("shop", "shop/web → os/base → shop/web"), ("os", "os/base → shop/web → os/base")] {
        let status = world.status(chain);
        assert_eq!(status.links[0].reason, Some(imagechain::api::condition::Reason::DependencyCycle));
        assert!(status.links[0].message.as_ref().unwrap().contains(path), "{status:#?}");
    }
}

#[test]
fn finished_builds_are_forgotten_but_for_those_in_use() {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["history"] = json!({"succeeded": 1, "failed": 1});
    spec["triggers"] = json!({"interval": "30s"});
    world.apply("shop", spec);
    for round in 0..12_u32 {
        if round % 3 == 1 {
            world.broken.insert(("base".to_owned(), round + 2));
        }
        world.settle();
        world.push(&["base"]);
        world.pass(60);
    }
    world.settle();
    let mut ends: Vec<_> = world.builds.values().map(|build| end_of(build)).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["TaskFailed", "Verified"]);
    assert_eq!(world.log.builds.len(), 13);
}

#[test]
fn of_builds_that_ended_in_the_same_second_the_earlier_is_forgotten() {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["history"] = json!({"succeeded": 1, "failed": 1});
    world.apply("shop", spec);
    world.settle();
    let begun = world.now;
    // Names are hashes: which of two comes first is chance.
    for round in 0..8 {
        world.push(&["base"]);
        world.annotate("shop", REQUESTED_AT, &round.to_string());
        for _ in 0..12 {
            world.round();
            world.pass(0);
        }
        let published = world.status("shop").links[0].published.clone().unwrap().build.0;
        assert_eq!(world.builds.keys().collect::<Vec<_>>(), [&published], "round {round}");
    }
    assert_eq!(world.now, begun, "it was all the same second");
}

#[test]
fn no_more_builds_run_than_may() {
    for parallelism in [1, 3] {
        let mut world = World::new();
        let names: Vec<_> = (0..8).map(|number| format!("l{number}")).collect();
        world.push(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut spec = chain(&names.iter().map(|name| link(name, None)).collect::<Vec<_>>());
        spec["parallelism"] = json!(parallelism);
        world.apply("shop", spec);
        let mut most = 0;
        for _ in 0..100 {
            world.round();
            most = most.max(world.pods.iter().filter(|pod| pod.lives()).count());
            world.pass(10);
        }
        assert_eq!((most, condition(&world, "Ready").as_str()), (parallelism, "True LinksReady"));
    }
}

/// the image that is made again may have the digest of the one that was lost.
#[test]
fn an_image_that_is_lost_before_it_is_published_is_made_again() {
    for build_is_deleted in [false, true] {
        let mut world = World::new();
        world.outage.push = true;
        world.push(&["base"]);
        world.apply("shop", chain(&[link("base", None)]));
        world.settle();
        world.staged.clear();
        if build_is_deleted {
            world.builds.clear();
        }
        world.outage.push = false;
        let now = world.now;
        world.operators[0].crash(now);
        world.pass(1);
        world.settle();
        assert_eq!(condition(&world, "Ready"), "True LinksReady");
        assert_eq!((world.log.pods.len(), world.tags.len()), (2, 1), "{build_is_deleted}");
    }
}

/// A published tag that somebody else moved meanwhile is moved again when it comes back.
#[test]
fn a_tag_that_was_given_away_and_comes_back_is_published_again() {
    let mut world = settled();
    let first = world.tags["r.example/shop/base:1"].clone();
    // The second link takes the first one's tag, whose own publication is elsewhere for that time.
    world.edit("shop", |spec| {
        spec["links"][0]["publish"]["image"]["tags"] = json!(["2"]);
        spec["links"][1]["publish"]["image"] = json!({"repository": "r.example/shop/base", "tags": ["1"]});
    });
    world.settle();
    assert_ne!(world.tags["r.example/shop/base:1"], first);
    world.edit("shop", |spec| {
        spec["links"][0]["publish"]["image"]["tags"] = json!(["1"]);
        spec["links"][1]["publish"]["image"] = json!({"repository": "r.example/shop/web", "tags": ["1"]});
    });
    world.settle();
    assert_eq!((&world.tags["r.example/shop/base:1"], world.log.builds.len()), (&first, 3));
}

#[test]
fn who_has_published_a_tag_keeps_it_from_an_older_chain() {
    let mut world = World::new();
    world.push(&["base", "web"]);
    world.apply("older", chain(&[link("web", None)]));
    world.settle();
    world.pass(60);
    world.apply("shop", chain(&[link("base", None)]));
    world.settle();
    let published = world.tags["r.example/shop/base:1"].clone();
    world.edit("older", |spec| spec["links"][0]["publish"]["image"]["repository"] = json!("r.example/shop/base"));
    world.settle();
    assert_eq!(world.condition("older", "Ready").1, "OutputConflict");
    assert_eq!(
        (condition(&world, "Ready").as_str(), &world.tags["r.example/shop/base:1"]),
        ("True LinksReady", &published)
    );
}

#[test]
fn a_restart_does_not_forget_what_is_wrong_with_the_source() {
    let mut world = World::new();
    three(&mut world);
    world.files.remove("web");
    world.settle();
    let now = world.now;
    world.operators[0].crash(now);
    // A server that is away is not asked in every pass: the world ends a pass that asks the same again.
    world.outage.git = true;
    world.round();
    assert_eq!(condition(&world, "Ready"), "Unknown SourceUnavailable");
    world.outage.git = false;
    world.settle();
    assert_eq!(condition(&world, "Ready"), "False RevisionNotFound");
}

#[test]
fn a_replaced_build_may_be_forgotten() {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["history"] = json!({"succeeded": 0, "failed": 0});
    world.apply("shop", spec.clone());
    for _ in 0..3 {
        world.round();
    }
    world.edit("shop", |spec| spec["links"][0]["build"]["packer"]["variables"] = json!({"a": "1"}));
    world.round();
    world.apply("shop", spec);
    world.settle();
    world.builds.retain(|_, build| end_of(build) == "Verified");
    world.settle();
    assert_eq!((world.log.builds.len(), condition(&world, "UpToDate").as_str()), (2, "True NothingToDo"));
}

#[test]
fn what_stands_on_a_stopped_link_is_stopped() {
    let mut world = World::new();
    world.push(&["a", "b", "c"]);
    world.broken.insert(("a".to_owned(), 1));
    let mut spec = chain(&[link("a", None), link("b", None), link("c", Some("b"))]);
    spec["onFailure"] = json!("StopAll");
    spec["parallelism"] = json!(1);
    world.apply("shop", spec);
    world.settle();
    assert_eq!(condition(&world, "Ready"), "False TaskFailed");
    let reasons: Vec<_> =
        world.status("shop").links.iter().map(|link| link.reason.map(|each| each.to_string())).collect();
    assert_eq!(reasons, ["TaskFailed", "ChainStopped", "ParentFailed"].map(|each| Some(each.to_owned())));
}

#[test]
fn other_terms_try_a_failed_build_again() {
    let mut world = World::new();
    world.push(&["base"]);
    world.broken.insert(("base".to_owned(), 1));
    world.apply("shop", chain(&[link("base", None)]));
    world.settle();
    assert_eq!(condition(&world, "Ready"), "False TaskFailed");
    world.broken.clear();
    world.edit("shop", |spec| spec["links"][0]["timeouts"] = json!({"build": "3h"}));
    world.settle();
    assert_eq!(
        (condition(&world, "Ready").as_str(), world.made_since(1)),
        ("True LinksReady", vec!["base: SpecChanged".to_owned()])
    );
}

#[test]
fn a_strangers_build_with_our_name_is_told() {
    let mut world = World::new();
    world.push(&["base"]);
    world.apply("shop", chain(&[link("base", None)]));
    world.settle();
    let (name, there) = world.builds.pop_first().unwrap();
    let mut stranger = there.as_ref().clone();
    stranger.spec.chain_ref = None;
    stranger.spec.inputs = None;
    let version = world.version();
    let shop = world.chain_mut("shop");
    (shop.status, shop.metadata.resource_version) = (None, Some(version));
    stranger.metadata.annotations = Some([(imagechain::api::CANCEL.to_owned(), "stop".to_owned())].into());
    stranger.status = None;
    world.builds.insert(name.clone(), stranger.into());
    world.pods.clear();
    for _ in 0..3 {
        world.round();
    }
    assert_eq!(condition(&world, "Ready"), "False NameCollision");
    world.builds.clear();
    let now = world.now;
    world.operators[0].crash(now);
    world.settle();
    assert_eq!(condition(&world, "Ready"), "True LinksReady");
}

/// what a build replaces is part of its key, and must not be forgotten before it.
#[test]
fn a_build_that_was_replaced_is_not_missed() {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["history"] = json!({"succeeded": 0, "failed": 0});
    world.apply("shop", spec);
    world.settle();
    world.staged.clear();
    world.pass(1);
    world.edit("shop", |spec| spec["links"][0]["publish"]["image"]["tags"] = json!(["1", "latest"]));
    world.settle();
    assert_eq!(world.made_since(0), ["base: FirstBuild", "base: ArtifactGone"]);
    assert_eq!((world.log.pods.len(), world.tags.len()), (2, 2));
}

//! Tags that hold the time of the build: each build is a version of its own.

use kube::ResourceExt;
use serde_json::json;

use crate::world::{World, chain, digest, link};

/// A chain of one link, which looks every five minutes and puts its tags back; published.
fn settled(tags: &[&str]) -> World {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["triggers"] = json!({"interval": "5m"});
    spec["drift"] = json!("Correct");
    spec["links"][0]["publish"]["image"]["tags"] = json!(tags);
    world.apply("shop", spec);
    world.settle();
    world
}

/// The published tags with what they lead to.
fn published(world: &World) -> Vec<(String, String)> {
    let tag = |name: &String| name.rsplit(':').next().unwrap().to_owned();
    world.tags.iter().map(|(name, digest)| (tag(name), digest.clone())).collect()
}

/// The time at which the last build was made.
fn time(world: &World) -> i64 {
    world.builds.values().map(|build| build.creation_timestamp().unwrap().0.as_second()).max().unwrap()
}

fn recorded(world: &World) -> Vec<String> {
    let tags = world.status("shop").links.remove(0).published.unwrap().tags;
    tags.iter().map(ToString::to_string).collect()
}

#[test]
fn each_build_has_a_version_of_its_own_and_those_before_stay() {
    let mut world = settled(&["0.1.{{timestamp}}", "latest"]);
    let first = (time(&world), world.tags["r.example/shop/base:latest"].clone());
    let of = |time: i64| format!("0.1.{time}");
    assert_eq!(published(&world), [(of(first.0), first.1.clone()), ("latest".to_owned(), first.1.clone())]);
    assert_eq!(recorded(&world), [of(first.0), "latest".to_owned()]);
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));

    world.pass(60);
    world.push(&["base"]);
    world.settle();
    let second = (time(&world), world.tags["r.example/shop/base:latest"].clone());
    assert!(second.0 > first.0 && second.1 != first.1);
    let expected =
        [(of(first.0), first.1.clone()), (of(second.0), second.1.clone()), ("latest".to_owned(), second.1.clone())];
    assert_eq!(published(&world), expected);
    assert_eq!(recorded(&world), [of(second.0), "latest".to_owned()]);

    // What was published last is watched; a version of an earlier build is left to whoever moves it.
    for time in [first.0, second.0] {
        world.move_tag(&format!("r.example/shop/base:{}", of(time)), Some("theirs"));
    }
    world.pass(331);
    world.settle();
    let at = |time: i64| world.tags[&format!("r.example/shop/base:{}", of(time))].clone();
    assert_eq!((at(first.0), at(second.0)), (digest(&["theirs"]), second.1));
}

#[test]
fn what_was_built_keeps_its_time_wherever_it_is_published_next() {
    for build_is_deleted in [false, true] {
        let mut world = settled(&["latest"]);
        let time = time(&world);
        if build_is_deleted {
            world.builds.clear();
        }
        world.pass(3600);
        for version in ["0.1", "0.2"] {
            world.edit("shop", |spec| {
                spec["links"][0]["publish"]["image"]["tags"] = json!([format!("{version}.{{{{timestamp}}}}")]);
            });
            world.settle();
            assert_eq!(recorded(&world), [format!("{version}.{time}")], "{build_is_deleted}");
        }
        assert_eq!(world.log.builds.len(), 1, "publish is not part of the key");
    }
}

/// The status of an operator that did not write it down, and the build is gone: nobody knows the time.
#[test]
fn an_image_of_an_unknown_time_is_built_again_where_a_tag_holds_it() {
    let mut world = settled(&["latest"]);
    world.builds.clear();
    let status = world.chain_mut("shop").status.as_mut().unwrap();
    let link = &mut status.links[0];
    link.verified.as_mut().unwrap().created = None;
    link.published.as_mut().unwrap().created = None;
    world.settle();
    assert_eq!((world.log.builds.len(), recorded(&world)), (1, vec!["latest".to_owned()]), "nothing needs it");
    world.pass(60);
    world.edit("shop", |spec| spec["links"][0]["publish"]["image"]["tags"] = json!(["0.1.{{timestamp}}"]));
    world.settle();
    assert_eq!((world.log.builds.len(), recorded(&world)), (2, vec![format!("0.1.{}", time(&world))]));
}

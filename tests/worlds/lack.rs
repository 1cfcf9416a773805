//! What is missing, and may come: for a time nobody is told to act.

use imagechain::api::chain::LinkState;
use serde_json::json;

use crate::world::{World, chain, link};

/// A chain whose profile is missing, and a link that gives it so many minutes.
fn lacking(patience: &str) -> World {
    let mut world = World::new();
    world.push(&["base"]);
    world.profiles.clear();
    let mut base = link("base", None);
    base["timeouts"] = json!({"dependency": patience});
    world.apply("shop", chain(&[base]));
    world.round();
    world
}

fn conditions(world: &World) -> Vec<String> {
    let conditions = world.status("shop").conditions.into_iter();
    conditions.filter(|each| each.type_ != "UpToDate").map(|each| format!("{} {}", each.type_, each.status)).collect()
}

#[test]
fn it_is_at_work_until_the_patience_ends_and_goes_on_after_that_too() {
    let mut world = lacking("5m");
    let began = world.now;
    assert_eq!(conditions(&world), ["Ready Unknown", "Reconciling True"]);
    let link = world.status("shop").links.remove(0);
    assert_eq!((link.state, link.lacking_since.unwrap().0), (LinkState::Pending, began));
    world.pass(200);
    // Another one counts from the same moment.
    let now = world.now;
    world.operators[0].crash(now);
    world.round();
    assert_eq!(conditions(&world), ["Ready Unknown", "Reconciling True"]);
    let wake = world.next_wake().unwrap();
    assert_eq!(wake.as_second() - began.as_second(), 300, "it is looked at when the patience ends, and not before");
    world.now = wake;
    world.round();
    assert_eq!(conditions(&world), ["Ready False", "Stalled True"]);
    assert_eq!(world.states("shop"), [("base".to_owned(), LinkState::Stalled)]);
    let writes = world.log.writes;
    world.pass(3600);
    world.round();
    assert_eq!(world.log.writes, writes, "nothing new is said");
    world.put_profile(json!({}));
    world.settle();
    assert_eq!(world.condition("shop", "Ready").0, "True");
    assert_eq!(world.status("shop").links[0].lacking_since, None);
}

#[test]
fn what_comes_in_time_is_no_failure() {
    let mut world = lacking("10m");
    world.pass(599);
    world.put_profile(json!({}));
    world.settle();
    let stalled: Vec<_> = world.log.changes.keys().filter(|(_, _, kind)| kind == "Stalled").collect();
    assert_eq!((stalled.len(), world.condition("shop", "Ready").0), (0, "True".to_owned()));
}

/// A build counts for itself, and its link tells what it says.
#[test]
fn the_time_of_a_build_is_not_counted_twice() {
    let mut world = World::new();
    world.push(&["base"]);
    world.apply("shop", chain(&[link("base", None)]));
    world.denied = true;
    world.round();
    world.round();
    let since = world.builds.values().next().unwrap().status.as_ref().unwrap().lacking_since.clone().unwrap().0;
    world.round();
    assert_eq!(world.states("shop"), [("base".to_owned(), LinkState::Pending)]);
    assert_eq!(world.condition("shop", "Ready"), ("Unknown".to_owned(), "ProfileNotAllowed".to_owned()));
    world.now = world.next_wake().unwrap();
    assert_eq!(world.now.as_second() - since.as_second(), 600);
    world.round();
    world.round();
    assert_eq!(world.states("shop"), [("base".to_owned(), LinkState::Stalled)]);
    assert_eq!(world.condition("shop", "Stalled"), ("True".to_owned(), "ProfileNotAllowed".to_owned()));
    world.denied = false;
    world.settle();
    assert_eq!(world.condition("shop", "Ready").0, "True");
}

#[test]
fn a_refused_push_is_waited_for_as_well() {
    let mut world = World::new();
    world.push(&["base"]);
    world.apply("shop", chain(&[link("base", None)]));
    world.outage.push = true;
    for _ in 0..8 {
        world.round();
        world.pass(1);
    }
    assert_eq!(world.states("shop"), [("base".to_owned(), LinkState::Publishing)]);
    assert_eq!(world.condition("shop", "Ready"), ("Unknown".to_owned(), "PushDenied".to_owned()));
    world.settle();
    assert_eq!(world.condition("shop", "Stalled"), ("True".to_owned(), "PushDenied".to_owned()));
    world.outage.push = false;
    world.settle();
    assert_eq!(world.condition("shop", "Ready").0, "True");
}

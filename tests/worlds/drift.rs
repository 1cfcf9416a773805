//! Published tags that somebody else moves or deletes.

use imagechain::{
    api::{
        REQUESTED_AT,
        chain::{DriftedTag, ImageChainStatus},
        condition::Reason,
    },
    plan::{
        chain::is_past,
        event::{self, Event, Kind},
        lookup::Subject,
        recipe::Destination,
    },
};
use serde_json::json;

use crate::world::{World, chain, digest, link};

const TAG: &str = "r.example/shop/base:1";

/// A chain of one link, which looks every five minutes; published.
fn settled(drift: &str) -> World {
    let mut world = World::new();
    world.push(&["base"]);
    let mut spec = chain(&[link("base", None)]);
    spec["triggers"] = json!({"interval": "5m"});
    spec["drift"] = json!(drift);
    world.apply("shop", spec);
    world.settle();
    world
}

fn condition(world: &World) -> Option<(String, String)> {
    let found = world.status("shop").conditions.into_iter().find(|each| each.type_ == "Drifted")?;
    Some((found.reason, found.message))
}

fn drifted(world: &World) -> Vec<DriftedTag> {
    world.status("shop").links.remove(0).published.unwrap().drifted
}

fn reasons(before: &ImageChainStatus, world: &World) -> Vec<(Kind, Reason, String)> {
    let events = event::of_chain(before, &world.status("shop"));
    events.into_iter().map(|Event { kind, reason, message }| (kind, reason, message)).collect()
}

#[test]
fn a_tag_that_somebody_moved_is_told_and_put_back() {
    for to in [Some("theirs"), None] {
        let mut world = settled("Correct");
        let (ours, made) = (world.tags[TAG].clone(), world.log.builds.len());
        world.move_tag(TAG, to);
        world.round();
        assert!(drifted(&world).is_empty(), "nobody looks before the interval is over");
        world.pass(331);
        let before = world.status("shop");
        world.reconcile_chain(0, "shop", usize::MAX);
        assert_eq!(drifted(&world)[0].leads_to.as_ref().map(|each| each.0.clone()), to.map(|to| digest(&[to])));
        let told = to.map_or_else(
            || format!("{TAG}, which led to {ours}, is gone"),
            |to| format!("{TAG} leads to {}, and not to {ours}", digest(&[to])),
        );
        let since = drifted(&world)[0].since.0;
        assert_eq!(
            condition(&world),
            Some(("TagsOverwritten".to_owned(), format!("«base»: {told} (since {since}); it is put back")))
        );
        assert_eq!(
            world.condition("shop", "Ready").0,
            "True",
            "the image of this generation is verified and published"
        );
        assert_eq!(reasons(&before, &world), [(Kind::Warning, Reason::TagsOverwritten, format!("«base»: {told}"))]);
        let before = world.status("shop");
        world.reconcile_chain(0, "shop", usize::MAX);
        assert_eq!((world.tags[TAG].clone(), condition(&world), drifted(&world)), (ours.clone(), None, vec![]));
        let led = to.map_or("it was gone".to_owned(), |to| format!("it led to {}", digest(&[to])));
        assert_eq!(
            reasons(&before, &world),
            [(Kind::Normal, Reason::TagsPutBack, format!("«base»: r.example/shop/base:1 ({led}) → {ours} again"))]
        );
        world.settle();
        assert_eq!((world.tags[TAG].clone(), world.log.builds.len()), (ours, made), "nothing is built for it");
    }
}

#[test]
fn whoever_only_wants_a_report_gets_one() {
    let mut world = settled("Report");
    let (ours, moves) = (world.tags[TAG].clone(), world.log.promotions.len());
    world.move_tag(TAG, Some("theirs"));
    world.settle();
    let since = drifted(&world)[0].since.clone();
    let (reason, message) = condition(&world).unwrap();
    assert_eq!(reason, "TagsOverwritten");
    assert!(message.ends_with("; put it back, or set spec.drift to Correct"), "{message}");
    assert_eq!(
        (world.condition("shop", "Ready").0, world.condition("shop", "UpToDate").0),
        ("True".into(), "True".into())
    );
    world.move_tag(TAG, Some("somebody else's"));
    world.settle();
    assert_eq!((drifted(&world)[0].since.clone(), world.log.promotions.len()), (since, moves), "it is one drift");
    assert!(condition(&world).unwrap().1.contains(&digest(&["somebody else's"])), "where it leads now");
    world.tags.insert(TAG.to_owned(), ours);
    world.settle();
    assert_eq!(condition(&world), None, "somebody has put it back");
}

#[test]
fn a_request_looks_at_once_and_so_does_whoever_begins() {
    for begins in [false, true] {
        let mut world = settled("Report");
        world.edit("shop", |spec| drop(spec.as_object_mut().unwrap().remove("triggers")));
        world.settle();
        world.move_tag(TAG, None);
        world.settle();
        assert!(drifted(&world).is_empty(), "without an interval, nobody looks by time");
        if begins {
            world.pass(1);
            let now = world.now;
            world.operators[0].crash(now);
        } else {
            world.annotate("shop", REQUESTED_AT, "now");
        }
        world.round();
        assert_eq!(drifted(&world).len(), 1, "begins: {begins}");
    }
}

#[test]
fn what_cannot_be_asked_is_no_drift_and_what_cannot_be_moved_says_why() {
    let mut world = settled("Correct");
    world.move_tag(TAG, Some("theirs"));
    world.outage.registry = true;
    world.pass(331);
    world.round();
    assert_eq!(condition(&world), None, "a registry that is away");
    world.outage = crate::world::Outage { push: true, ..Default::default() };
    world.settle();
    let (_, message) = condition(&world).unwrap();
    assert!(message.ends_with("; it cannot be put back now: the registry refuses"), "{message}");
    assert_eq!(world.condition("shop", "Ready").0, "True");
    world.outage.push = false;
    world.settle();
    assert_eq!((condition(&world), world.strayed.len()), (None, 0));
}

#[test]
fn a_suspended_chain_tells_of_it_and_moves_nothing() {
    let mut world = settled("Correct");
    world.edit("shop", |spec| spec["suspend"] = json!(true));
    world.settle();
    world.move_tag(TAG, Some("theirs"));
    world.settle();
    assert!(condition(&world).unwrap().1.ends_with("; it is put back when spec.suspend is gone"));
    assert_eq!(world.strayed.len(), 1);
    world.edit("shop", |spec| spec["suspend"] = json!(false));
    world.settle();
    assert_eq!((condition(&world), world.strayed.len()), (None, 0));
}

#[test]
fn what_was_asked_about_an_earlier_move_is_forgotten() {
    let mut world = settled("Correct");
    let image = json!({"repository": "r.example/shop/base", "tags": ["1"]});
    let written = serde_json::from_value(json!({"image": image})).unwrap();
    let subject = Subject::Published {
        destination: Destination::of(&written).unwrap().filled(None).unwrap(),
        digest: world.tags[TAG].clone(),
        shown: world.tags[TAG].clone(),
        moved: world.status("shop").links.remove(0).published.unwrap().at.map(|at| at.0),
        profile: "docker".to_owned(),
    };
    assert!(!is_past(&subject, &world.status("shop")));
    world.push(&["base"]);
    world.settle();
    assert!(is_past(&subject, &world.status("shop")));
}

/// A look that was begun before our own move says nothing about what came of it, whatever it saw.
#[test]
fn an_own_move_is_no_drift() {
    let mut world = settled("Correct");
    let moves = world.log.promotions.len();
    // The operator ends between the tag and the status that tells of it.
    world.push(&["base"]);
    world.annotate("shop", REQUESTED_AT, "now");
    for _ in 0..6 {
        world.round();
        world.pass(1);
        if world.log.promotions.len() > moves {
            break;
        }
        let next = world.plan_chain(0, "shop").unwrap();
        if next.actions.iter().any(|action| matches!(action, imagechain::plan::chain::Action::Promote(_))) {
            assert!(!world.reconcile_chain(0, "shop", 1), "it dies before it writes");
        }
    }
    assert!(!world.unrecorded.is_empty(), "the tag is moved, and nobody has written it down");
    for _ in 0..4 {
        world.round();
        assert_eq!((condition(&world), drifted(&world)), (None, vec![]));
    }
    world.settle();
    let tags: Vec<_> = world.log.promotions[moves..].iter().map(|(_, digest)| digest.clone()).collect();
    assert!(tags.iter().all(|digest| *digest == world.tags[TAG]), "it never goes back: {tags:?}");
}

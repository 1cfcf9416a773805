use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Standing::*, *};

fn contender(name: &str, created: i64, standing: Standing) -> Contender {
    Contender { created: Timestamp::from_second(created).unwrap(), name: name.to_owned(), standing }
}

/// Those whose turn it is, by name.
fn admitted(all: &[Contender], limit: Option<u32>, room: Option<usize>) -> Vec<&str> {
    let wanting = all.iter().filter(|each| each.standing == Wants);
    wanting.filter(|own| turn(own, all, limit, || room).is_ok()).map(|own| own.name.as_str()).collect()
}

#[test]
fn the_oldest_that_wait_come_first() {
    let all = [
        contender("a/young", 9, Wants),
        contender("b/old", 2, Wants),
        contender("a/runs", 3, Runs),
        contender("a/ends", 1, Runs),
        contender("a/old", 2, Wants),
    ];
    for (limit, room, expected) in [
        (None, None, &["a/young", "b/old", "a/old"][..]),
        (Some(2), None, &[]),
        (Some(3), None, &["a/old"]),
        (Some(4), None, &["b/old", "a/old"]),
        (Some(4), Some(1), &["a/old"]),
        (None, Some(2), &["b/old", "a/old"]),
        (None, Some(0), &["a/old"]),
    ] {
        assert_eq!(admitted(&all, limit, room), expected, "limit {limit:?}, room {room:?}");
    }
}

#[test]
fn nobody_younger_makes_a_pod_beside_one_that_waits_for_room() {
    let own = contender("a/own", 5, Wants);
    let turn_beside = |other: Contender, room| turn(&own, &[other, own.clone()], None, || room);
    let (short, placing, runs) =
        (|at| contender("a/x", at, Short), |at| contender("a/x", at, Placing), contender("a/x", 1, Runs));
    for (other, room, expected) in [
        (short(1), Some(9), Err(Wait::Room { before: 1 })),
        (short(9), Some(0), Ok(())),
        (placing(1), Some(1), Err(Wait::Room { before: 1 })),
        (placing(1), Some(2), Ok(())),
        (placing(1), None, Ok(())),
        (placing(9), Some(0), Ok(())),
        (runs.clone(), Some(0), Ok(())),
    ] {
        assert_eq!(turn_beside(other.clone(), room), expected, "{other:?}, room {room:?}");
    }
    let all = [short(1), contender("a/y", 2, Wants), runs];
    assert_eq!(turn(&own, &all, None, || None), Err(Wait::Room { before: 2 }));
    assert_eq!(turn(&own, &all, Some(2), || None), Err(Wait::Limit { limit: 2, before: 2 }));
}

fn build(status: &Value) -> ImageBuild {
    let spec = json!({
        "profile": "p", "source": {"inline": {"files": {"a.json": "{}"}}}, "build": {"packer": {"template": "a.json"}},
    });
    serde_json::from_value(json!({"metadata": {"name": "b"}, "spec": spec, "status": status})).unwrap()
}

fn says(reason: &str, attempt: &Value) -> ImageBuild {
    let time = "2026-11-21T08:00:00Z";
    let mut attempt = attempt.clone();
    attempt
        .as_object_mut()
        .unwrap()
        .extend(json!({"number": 1, "pod": "p", "startedAt": time}).as_object().unwrap().clone());
    let ready =
        json!({"type": "Ready", "status": "Unknown", "reason": reason, "message": "m", "lastTransitionTime": time});
    build(&json!({"observedGeneration": 1, "conditions": [ready], "attempts": [attempt]}))
}

#[test]
fn what_keeps_others_waiting_is_read_from_pod_and_status() {
    let seen = |placement, room| Some(Seen { placement, room, deleting: false });
    let (unknown, short, never) = (Room::Unknown, Room::Short(String::new()), Room::Never(String::new()));
    let any = says("Building", &json!({}));
    for (pod, expected) in [
        (seen(Placement::Open, &unknown), Placing),
        (seen(Placement::Refused, &short), Short),
        // They end by themselves, and what they lack, the others lack, too.
        (seen(Placement::Refused, &unknown), Runs),
        (seen(Placement::Refused, &never), Runs),
        (seen(Placement::Placed { since: None }, &unknown), Runs),
        (Some(Seen { placement: Placement::Open, room: &unknown, deleting: true }), Runs),
    ] {
        assert_eq!(standing(&any, pod), Some(expected), "{pod:?}");
    }
    let (gone, ended) = (json!({"podUid": "u"}), json!({"outcome": "Failed"}));
    for (build, expected) in [
        (build(&json!(null)), Some(Wants)),
        (says("WaitingForSlot", &json!({})), Some(Wants)),
        (says("PodPending", &json!({})), Some(Placing)),
        (says("PodPending", &gone), None),
        (says("BackingOff", &ended), None),
        (says("SecretNotFound", &json!({})), None),
        (says("Suspended", &json!({})), None),
    ] {
        assert_eq!(standing(&build, None), expected, "{:?}", build.status);
    }
    let mut leaving = says("WaitingForSlot", &json!({}));
    assert!(waits(&leaving) && !waits(&any));
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-21T08:00:00Z")).unwrap();
    assert_eq!(standing(&leaving, None), None);
}

/// Builds of some ages and standings, by name.
fn any_builds() -> impl Strategy<Value = Vec<Contender>> {
    let standing = prop_oneof![3 => Just(Wants), 1 => Just(Placing), 1 => Just(Short), 1 => Just(Runs)];
    proptest::collection::btree_map("[a-z]{2}", (0_i64..4, standing), 0..12).prop_map(|all| {
        all.into_iter().map(|(name, (created, standing))| contender(&name, created, standing)).collect()
    })
}

proptest! {
    #[test]
    fn the_limit_holds_and_no_slot_is_left_to_nobody(all in any_builds(), limit in 0_u32..8, order in any::<prop::sample::Index>()) {
        let let_in = admitted(&all, Some(limit), None);
        let held = all.iter().filter(|each| each.standing != Wants).count();
        let oldest_short = all.iter().filter(|each| each.standing == Short).map(|each| (each.created, &each.name)).min();
        let behind = |each: &&Contender| oldest_short.is_none_or(|short| (each.created, &each.name) < short);
        let waiting = all.iter().filter(|each| each.standing == Wants).filter(behind).count();
        prop_assert_eq!(let_in.len(), (limit as usize).saturating_sub(held).min(waiting));
        for each in all.iter().filter(|each| let_in.contains(&each.name.as_str())) {
            let passed_by = all.iter().any(|other| {
                other.standing == Wants && (other.created, &other.name) < (each.created, &each.name) && !let_in.contains(&other.name.as_str())
            });
            prop_assert!(!passed_by, "an older one waits for {}", each.name);
        }
        let mut turned = all.clone();
        if !turned.is_empty() {
            turned.rotate_left(order.index(all.len()));
            turned.reverse();
        }
        let mut other = admitted(&turned, Some(limit), None);
        let mut let_in = let_in;
        other.sort_unstable();
        let_in.sort_unstable();
        prop_assert_eq!(other, let_in);
    }

    /// A scheduler that always places the youngest pod that waits, on nodes with room for so many: still, the older
    /// build comes before the younger one, whatever the scheduler and the look-ups of room do.
    #[test]
    fn who_is_older_runs_first_under_any_scheduler(
        ages in proptest::collection::btree_map("[a-z]{2}", 0_i64..4, 1..12), places in 1_usize..4, knows_room in any::<bool>(),
    ) {
        let mut all: Vec<_> = ages.iter().map(|(name, created)| contender(name, *created, Wants)).collect();
        let mut ran: Vec<(Timestamp, String)> = Vec::new();
        for _ in 0..=3 * all.len() {
            // One after another, as the reconciler lets them in.
            for index in 0..all.len() {
                let running = all.iter().filter(|each| each.standing == Runs).count();
                let room = knows_room.then_some(places - running);
                if all[index].standing == Wants && turn(&all[index], &all, None, || room).is_ok() {
                    all[index].standing = if knows_room || running < places { Placing } else { Short };
                }
            }
            let placing: Vec<_> = all.iter().filter(|each| matches!(each.standing, Placing | Short)).cloned().collect();
            let free = places - all.iter().filter(|each| each.standing == Runs).count();
            for chosen in placing.iter().rev().take(free) {
                ran.push((chosen.created, chosen.name.clone()));
            }
            let chosen: Vec<_> = placing.iter().rev().take(free).map(|each| each.name.clone()).collect();
            all.retain(|each| each.standing != Runs);
            for each in &mut all {
                if chosen.contains(&each.name) {
                    each.standing = Runs;
                } else if each.standing == Placing {
                    each.standing = Short;
                }
            }
        }
        prop_assert!(all.is_empty(), "nobody waits for ever: {all:?}");
        if knows_room {
            let mut expected = ran.clone();
            expected.sort();
            for (place, each) in ran.iter().enumerate() {
                let proper = expected.iter().position(|other| other == each).unwrap();
                // Those that are placed at once are in any order.
                prop_assert!(place.abs_diff(proper) < places, "{ran:?}");
            }
        }
    }
}

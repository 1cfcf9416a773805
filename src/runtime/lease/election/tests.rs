//! A played API server and contenders that freeze, are cut off, end and come again, in any order.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TIMES: Times =
    Times { duration: Duration::from_secs(15), valid: Duration::from_secs(10), period: Duration::from_secs(2) };

/// The lease as a server keeps it: a write names the version that it replaces.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    /// What the write made, if it went through.
    fn write(&mut self, step: Step, seen: Option<&Lease>) -> Option<LeaseSpec> {
        let mut metadata = self.lease.as_ref().map(|lease| lease.metadata.clone()).unwrap_or_default();
        let (spec, fits) = match step {
            Step::Wait => return None,
            Step::Create(spec) => (spec, self.lease.is_none()),
            Step::Update(spec) => (spec, self.lease.is_some() && seen.is_some_and(|seen| seen.metadata == metadata)),
        };
        self.version += 1;
        metadata.resource_version = Some(self.version.to_string());
        metadata.uid.get_or_insert(self.version.to_string());
        // Renewals differ, as real ones do by their time.
        let date = Timestamp::from_second(i64::try_from(self.version).unwrap()).unwrap();
        let spec = LeaseSpec { renew_time: spec.renew_time.is_some().then_some(MicroTime(date)), ..spec };
        fits.then(|| {
            self.lease = Some(Lease { metadata, spec: Some(spec.clone()) });
            spec
        })
    }
}

/// One contender, its request on the way.
struct Played {
    election: Election,
    /// What it saw and when, if it is between its look and its write.
    looked: Option<(Option<Lease>, Instant)>,
    /// A write that went through, whose answer it does not have yet.
    unanswered: Option<(LeaseSpec, Instant)>,
}

impl Played {
    fn new(identity: &str) -> Self {
        Self { election: Election::new(identity.to_owned(), TIMES), looked: None, unanswered: None }
    }

    fn is_current(&self, now: Instant) -> bool {
        self.election.claimed_until().is_some_and(|end| now < end)
    }

    /// Does the next part of its turn: looks, or decides on what it saw and writes, or hears the answer.
    fn advance(&mut self, server: &mut Server, now: Instant) {
        if let Some((spec, asked)) = self.unanswered.take() {
            self.election.written(Some(&spec), asked);
        } else if let Some((seen, asked)) = self.looked.take() {
            let step = self.election.step(seen.as_ref(), Look { asked, answered: now }, Timestamp::UNIX_EPOCH);
            self.unanswered = server.write(step, seen.as_ref()).map(|spec| (spec, now));
        } else {
            self.looked = Some((server.lease.clone(), now));
        }
    }

    fn turn(&mut self, server: &mut Server, now: Instant) {
        for _ in 0..3 {
            self.advance(server, now);
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// One part of one contender's turn.
    Advance(usize),
    /// Time passes; who does nothing meanwhile is frozen, cut off or slow.
    Pass(u64),
    /// The contender is killed; the next of its place has another identity.
    Kill(usize),
    Release(usize),
    /// Somebody deletes the lease.
    Delete,
    /// An answer is lost: the contender does not know that its write went through.
    Lose(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..3_usize;
    prop_oneof![
        12 => who.clone().prop_map(Act::Advance),
        4 => (0..4_000_u64).prop_map(Act::Pass),
        1 => (4_000..70_000_u64).prop_map(Act::Pass),
        1 => who.clone().prop_map(Act::Kill),
        1 => who.clone().prop_map(Act::Release),
        1 => Just(Act::Delete),
        1 => who.prop_map(Act::Lose),
    ]
}

fn released(played: &mut Played, server: &mut Server) {
    let lease = server.lease.clone();
    if let Some(spec) = lease.as_ref().and_then(|lease| played.election.release(lease.spec.as_ref()?)) {
        server.write(Step::Update(spec), lease.as_ref());
    }
    // It ends: what was on its way has no one to come back to.
    (played.looked, played.unanswered) = (None, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn never_two_at_once_and_always_one_in_the_end(acts in prop::collection::vec(act(), 1..200)) {
        let mut server = Server::default();
        let mut now = Instant::now();
        let mut contenders: Vec<_> = (0..3).map(|n| Played::new(&format!("{n}"))).collect();
        for (ordinal, act) in acts.into_iter().enumerate() {
            match act {
                Act::Advance(n) => contenders[n].advance(&mut server, now),
                Act::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                Act::Kill(n) => contenders[n] = Played::new(&format!("{n}-{ordinal}")),
                Act::Release(n) => released(&mut contenders[n], &mut server),
                Act::Delete => server.lease = None,
                Act::Lose(n) => contenders[n].unanswered = None,
            }
            let current = contenders.iter().filter(|each| each.is_current(now)).count();
            prop_assert!(current <= 1, "{current} at once after {ordinal}");
        }
        // Nothing happens any more but turns: within twice `duration` one leads, and stays.
        for _ in 0..16 {
            now += TIMES.period;
            for each in &mut contenders {
 each.turn(&mut server, now);
}
        }
        prop_assert_eq!(contenders.iter().filter(|each| each.is_current(now)).count(), 1);
    }
}

/// Runs the turns of the contenders for so many periods.
fn run(contenders: &mut [&mut Played], server: &mut Server, now: &mut Instant, periods: u32) {
    for _ in 0..periods {
        *now += TIMES.period;
        for each in contenders.iter_mut() {
            each.turn(server, *now);
        }
    }
}

#[test]
fn a_frozen_leader_finds_its_claim_over_before_it_can_ask_anybody() {
    let (mut server, mut now) = (Server::default(), Instant::now());
    let (mut old, mut other) = (Played::new("old"), Played::new("other"));
    run(&mut [&mut old], &mut server, &mut now, 10);
    assert!(old.is_current(now));
    run(&mut [&mut other], &mut server, &mut now, 8);
    assert!(!old.is_current(now) && !other.is_current(now), "nobody leads between the two");
    run(&mut [&mut other], &mut server, &mut now, 22);
    assert!(!old.is_current(now) && other.is_current(now));
    run(&mut [&mut old, &mut other], &mut server, &mut now, 1);
    assert!(!old.is_current(now) && other.is_current(now));
}

#[test]
fn a_released_lease_is_taken_soon_and_transitions_are_counted() {
    let (mut server, mut now) = (Server::default(), Instant::now());
    let (mut old, mut other) = (Played::new("old"), Played::new("other"));
    run(&mut [&mut old], &mut server, &mut now, 10);
    run(&mut [&mut other, &mut old], &mut server, &mut now, 10);
    released(&mut old, &mut server);
    run(&mut [&mut other], &mut server, &mut now, 1);
    assert!(other.is_current(now));
    let spec = server.lease.unwrap().spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("other"), Some(2)), "{spec:?}");
}

#[test]
fn a_deleted_lease_is_made_again_by_its_holder_at_once() {
    let (mut server, mut now) = (Server::default(), Instant::now());
    let (mut old, mut other) = (Played::new("old"), Played::new("other"));
    run(&mut [&mut old], &mut server, &mut now, 10);
    run(&mut [&mut other, &mut old], &mut server, &mut now, 10);
    server.lease = None;
    run(&mut [&mut other, &mut old], &mut server, &mut now, 1);
    assert!(old.is_current(now) && server.lease.is_some());
    run(&mut [&mut other, &mut old], &mut server, &mut now, 20);
    assert!(old.is_current(now) && !other.is_current(now));
}

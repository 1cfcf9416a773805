//! What one contender does about the lease that it sees: a function of what it saw before and of the time of
//! its own machine. It never compares that with times of others: it times how long a lease stands unchanged.
//!
//! Why two are never current at once, as long as clocks run equally fast within `duration / valid`: a claim
//! ends `valid` after the *start* of the last write that went through. Another takes a lease only after the
//! same lease stood unchanged before its eyes for `duration`, which is longer and began later. A lease that is
//! gone may still have a holder with a claim: anybody makes it anew, but nobody's, and whoever wants it waits
//! for `duration` before that one, too; only who holds a claim takes it at once. A lease that was held and is
//! empty was released by its holder, who had given up the claim before.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

use super::times::Times;

/// What follows from a look at the lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until the next look.
    Wait,
    /// Create the lease; who comes second is refused.
    Create(LeaseSpec),
    /// Replace exactly the version that was seen; who comes second is refused.
    Update(LeaseSpec),
}

/// When the lease was read: somewhere between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Before the request.
    pub asked: Instant,
    /// After the answer.
    pub answered: Instant,
}

/// What one contender remembers.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    times: Times,
    /// What was seen last, by UID, and since when it stands so.
    seen: Option<(Option<String>, LeaseSpec, Instant)>,
    claimed_until: Option<Instant>,
}

impl Election {
    /// A contender that has seen nothing. The identity must be another for each process.
    #[must_use]
    pub fn new(identity: String, times: Times) -> Self {
        Self { identity, times, seen: None, claimed_until: None }
    }

    /// Until when this contender is the leader if it cannot renew; may be over.
    #[must_use]
    pub fn claimed_until(&self) -> Option<Instant> {
        self.claimed_until
    }

    /// What to do about what was found by a look. `date` goes into the lease, for people.
    pub fn step(&mut self, found: Option<&Lease>, look: Look, date: Timestamp) -> Step {
        let mine = self.claimed_until.is_some_and(|end| look.answered < end);
        let Some(lease) = found else {
            // Made by who has no claim, it is nobody's.
            return Step::Create(if mine { self.spec(None, date) } else { LeaseSpec::default() });
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let since = self.unchanged_since(lease.metadata.uid.as_deref(), &spec, look.answered);
        let old = look.asked.saturating_duration_since(since) >= self.times.duration;
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let released = holder.is_empty() && spec.lease_transitions.is_some_and(|transitions| transitions > 0);
        let is_ours = holder == self.identity || (holder.is_empty() && mine);
        if !holder.is_empty() && !is_ours {
            // Whatever was claimed is over.
            self.claimed_until = None;
        }
        if is_ours || released || old { Step::Update(self.spec(Some(&spec), date)) } else { Step::Wait }
    }

    /// A write that began at `asked` went through: if it made the lease ours, the claim is counted from there.
    pub fn written(&mut self, spec: Option<&LeaseSpec>, asked: Instant) {
        if spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity) {
            self.claimed_until = asked.checked_add(self.times.valid);
        }
    }

    /// The lease without us, if we hold it. The claim is over.
    pub fn release(&mut self, held: &LeaseSpec) -> Option<LeaseSpec> {
        self.claimed_until = None;
        let mine = held.holder_identity.as_deref() == Some(&self.identity);
        mine.then(|| LeaseSpec { holder_identity: None, ..held.clone() })
    }

    /// Since when the lease stands as it was found.
    fn unchanged_since(&mut self, uid: Option<&str>, found: &LeaseSpec, now: Instant) -> Instant {
        match &self.seen {
            Some((seen, spec, since)) if seen.as_deref() == uid && spec == found => *since,
            _ => {
                self.seen = Some((uid.map(str::to_owned), found.clone(), now));
                now
            }
        }
    }

    /// The lease as ours.
    fn spec(&self, old: Option<&LeaseSpec>, date: Timestamp) -> LeaseSpec {
        let renewal = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.duration.as_secs()).ok(),
            acquire_time: renewal.map_or(Some(MicroTime(date)), |old| old.acquire_time.clone()),
            renew_time: Some(MicroTime(date)),
            lease_transitions: Some(if renewal.is_some() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests;

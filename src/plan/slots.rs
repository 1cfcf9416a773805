//! Whose turn it is to begin an attempt, where only so many builds may run at once, or find room: those with a profile.
//! The Kubernetes scheduler knows no order, so a younger build makes no pod while an older one waits for room.

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{
        build::ImageBuild,
        condition::{ConditionType, Reason},
    },
    plan::observed::{Placement, Room},
};

/// A build that has a pod or wants one, as one of those that share a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contender {
    /// When the build was made.
    pub created: Timestamp,
    /// Its name with its namespace: unique among those that share the profile.
    pub name: String,
    /// How far it has come.
    pub standing: Standing,
}

/// How far a build has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It would make a pod, as far as is known of it.
    Wants,
    /// Its pod is made, or about to be, and has no node; what it lacks, nobody has said.
    Placing,
    /// Its pod waits for room.
    Short,
    /// Its pod has a node.
    Runs,
}

/// Why it is not the turn of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// As many run as the profile allows.
    Limit {
        /// The limit.
        limit: u32,
        /// How many older ones wait.
        before: usize,
    },
    /// Older ones wait for room.
    Room {
        /// How many.
        before: usize,
    },
}

/// Whether it is the turn of a build. Of those that want a pod the oldest go first, as many as the limit lets, and as
/// many as there may be room for. Where there is none, the oldest alone makes its pod: it is the one that the
/// scheduler tries to place. `room` is asked for only where somebody is before it, and without an answer counts for
/// nothing.
///
/// # Errors
/// It is not.
pub fn turn(
    own: &Contender,
    all: &[Contender],
    limit: Option<u32>,
    room: impl FnOnce() -> Option<usize>,
) -> Result<(), Wait> {
    let others = || all.iter().filter(|each| each.name != own.name);
    let is_older = |each: &&Contender| (each.created, &each.name) < (own.created, &own.name);
    let older = |standing| others().filter(is_older).filter(|each| each.standing == standing).count();
    let (queued, short) = (older(Standing::Wants), older(Standing::Short));
    let before = queued + short + older(Standing::Placing);
    if let Some(limit) = limit {
        let held = others().filter(|each| each.standing != Standing::Wants).count();
        if held.saturating_add(queued) >= usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(Wait::Limit { limit, before });
        }
    }
    let placing = others().filter(|each| matches!(each.standing, Standing::Placing | Standing::Short)).count();
    let is_full = || room().is_some_and(|room| queued.saturating_add(placing) >= room);
    if short > 0 || before > 0 && is_full() { Err(Wait::Room { before }) } else { Ok(()) }
}

/// What is known of a pod that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Whether it has its node.
    pub placement: Placement,
    /// Why it has none.
    pub room: &'a Room,
    /// Whether somebody has asked for its end.
    pub deleting: bool,
}

/// How far a build has come, by its pod or, without one, by what it says of itself; `None`: it keeps nobody waiting.
/// What nobody has looked at yet may want a pod.
#[must_use]
pub fn standing(build: &ImageBuild, pod: Option<Seen<'_>>) -> Option<Standing> {
    match pod {
        Some(Seen { placement: Placement::Open, deleting: false, .. }) => Some(Standing::Placing),
        Some(Seen { placement: Placement::Refused, room: Room::Short(_), deleting: false }) => Some(Standing::Short),
        // It takes a place among those that run, and keeps nobody else from a node.
        Some(_) => Some(Standing::Runs),
        None => without_pod(build),
    }
}

fn without_pod(build: &ImageBuild) -> Option<Standing> {
    if build.is_finished() || build.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = build.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| &status.conditions);
    let Some(ready) = conditions.find(|each| each.type_ == ConditionType::Ready.to_string()) else {
        return Some(Standing::Wants);
    };
    let is_open = || {
        let last = status.and_then(|status| status.attempts.last());
        last.is_some_and(|attempt| attempt.outcome.is_none() && attempt.pod_uid.is_none())
    };
    if ready.reason == Reason::WaitingForSlot.to_string() {
        return Some(Standing::Wants);
    }
    (ready.reason == Reason::PodPending.to_string() && is_open()).then_some(Standing::Placing)
}

/// Whether a build waits for its turn, or its pod for room, as it says of itself.
#[must_use]
pub fn waits(build: &ImageBuild) -> bool {
    let mut conditions = build.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|each| each.type_ == ConditionType::Ready.to_string());
    !build.is_finished() && ready.is_some_and(|ready| ready.reason == Reason::WaitingForSlot.to_string())
}

#[cfg(test)]
mod tests;

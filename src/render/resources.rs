//! How the containers share what the profile grants the whole build.
//!
//! A stage and the engine run at the same time, the stages one after another: so the pod as a whole needs
//! the engine's share and one stage's, and both together are what the profile grants. Requests equal limits:
//! a build that was admitted is not killed for the memory of its neighbours. Processor time is the exception:
//! what one of the two leaves is for the other, up to all that the profile grants.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::plan::valid::ValidProfile;

/// A stage gets this part of everything, up to the bounds below: it is packer, ansible or pytest, which talk
/// to the engine. What they build and test runs inside the engine, in its control group.
const STAGE_PART: u64 = 4;
const MOST_STAGE_MILLI_CPU: u64 = 1000;
const MOST_STAGE_MEMORY: u64 = 2 << 30;

/// What a stage may have.
pub(super) fn stage(profile: &ValidProfile) -> ResourceRequirements {
    container(profile, share(profile))
}

/// What the engine may have.
pub(super) fn engine(profile: &ValidProfile) -> ResourceRequirements {
    let [cpu, memory, storage] = share(profile);
    container(profile, [profile.milli_cpu - cpu, profile.memory_bytes - memory, profile.storage_bytes - storage])
}

/// What the pod may have as a whole. Where the cluster knows no limits of pods (Kubernetes before 1.34), it leaves
/// this out, and a stage and the engine can each use the processor time that is meant for both.
pub(super) fn pod(profile: &ValidProfile) -> ResourceRequirements {
    let amounts = BTreeMap::from([
        ("cpu".to_owned(), thousandths(profile.milli_cpu)),
        ("memory".to_owned(), bytes(profile.memory_bytes)),
    ]);
    ResourceRequirements { limits: Some(amounts.clone()), requests: Some(amounts), ..ResourceRequirements::default() }
}

/// A stage's processor time, memory and disk.
fn share(profile: &ValidProfile) -> [u64; 3] {
    let whole = |bytes: u64| bytes & !((1 << 20) - 1);
    [
        (profile.milli_cpu / STAGE_PART).min(MOST_STAGE_MILLI_CPU),
        whole(profile.memory_bytes / STAGE_PART).min(MOST_STAGE_MEMORY),
        whole(profile.storage_bytes / STAGE_PART),
    ]
}

fn container(profile: &ValidProfile, [milli_cpu, memory, storage]: [u64; 3]) -> ResourceRequirements {
    let amounts = |milli_cpu: u64| {
        BTreeMap::from([
            ("cpu".to_owned(), thousandths(milli_cpu)),
            ("memory".to_owned(), bytes(memory)),
            ("ephemeral-storage".to_owned(), bytes(storage)),
        ])
    };
    ResourceRequirements {
        limits: Some(amounts(profile.milli_cpu)),
        requests: Some(amounts(milli_cpu)),
        ..ResourceRequirements::default()
    }
}

fn thousandths(amount: u64) -> Quantity {
    Quantity(if amount.is_multiple_of(1000) { (amount / 1000).to_string() } else { format!("{amount}m") })
}

/// An amount of bytes as the API server writes it back: with the largest suffix that loses nothing.
pub(super) fn bytes(amount: u64) -> Quantity {
    let suffixes = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let exact = suffixes.into_iter().find(|(_, bits)| amount.is_multiple_of(1 << bits));
    Quantity(exact.map_or_else(|| amount.to_string(), |(suffix, bits)| format!("{}{suffix}", amount >> bits)))
}

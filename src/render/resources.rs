//! How the containers share what the profile grants the whole build.
//!
//! A stage and the engine run at the same time, the stages one after another: so the pod as a whole needs
//! the engine's share and one stage's, and both together are what the profile grants. Requests equal limits unless the
//! profile says less: a build that was admitted is not killed for the memory of its neighbours. Processor time is the
//! exception: what one of the two leaves is for the other, up to all that the profile grants. Without an engine, a stage
//! that boots machines may have all.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use crate::plan::{
    quantity,
    valid::{Requested, ValidProfile},
};

/// A stage gets this part of everything, up to the bounds below: it is packer, ansible or pytest, which talk
/// to the engine. What they build and test runs inside the engine, in its control group.
const STAGE_PART: u64 = 4;
const MOST_STAGE_MILLI_CPU: u64 = 1000;
const MOST_STAGE_MEMORY: u64 = 2 << 30;

/// Processor time in thousandths, memory and disk.
type Amounts = [u64; 3];

/// What a stage may have beside an engine.
pub(super) fn part(profile: &ValidProfile) -> ResourceRequirements {
    let [_, memory, storage] = part_of(granted(profile));
    container(part_of(requested(profile)), [profile.milli_cpu, memory, storage])
}

/// What the engine may have beside a stage.
pub(super) fn rest(profile: &ValidProfile) -> ResourceRequirements {
    let [_, memory, storage] = rest_of(granted(profile));
    container(rest_of(requested(profile)), [profile.milli_cpu, memory, storage])
}

/// What a stage may have that is alone.
pub(super) fn whole(profile: &ValidProfile) -> ResourceRequirements {
    container(requested(profile), granted(profile))
}

/// What the pod may have as a whole. Where the cluster knows no limits of pods (Kubernetes before 1.34), it leaves
/// this out, and a stage and the engine can each use the processor time that is meant for both.
pub(super) fn pod(profile: &ValidProfile) -> ResourceRequirements {
    let amounts = |[milli_cpu, memory, _]: Amounts| {
        BTreeMap::from([("cpu".to_owned(), thousandths(milli_cpu)), ("memory".to_owned(), bytes(memory))])
    };
    ResourceRequirements {
        limits: Some(amounts(granted(profile))),
        requests: Some(amounts(requested(profile))),
        ..ResourceRequirements::default()
    }
}

const fn granted(profile: &ValidProfile) -> Amounts {
    [profile.milli_cpu, profile.memory_bytes, profile.storage_bytes]
}

const fn requested(profile: &ValidProfile) -> Amounts {
    let Requested { milli_cpu, memory_bytes, storage_bytes } = profile.requests;
    [milli_cpu, memory_bytes, storage_bytes]
}

/// A stage's part.
fn part_of([milli_cpu, memory, storage]: Amounts) -> Amounts {
    let whole = |bytes: u64| bytes & !((1 << 20) - 1);
    [
        (milli_cpu / STAGE_PART).min(MOST_STAGE_MILLI_CPU),
        whole(memory / STAGE_PART).min(MOST_STAGE_MEMORY),
        whole(storage / STAGE_PART),
    ]
}

/// The engine's part.
fn rest_of(all: Amounts) -> Amounts {
    let ([milli_cpu, memory, storage], [cpu_of_stage, memory_of_stage, storage_of_stage]) = (all, part_of(all));
    [milli_cpu - cpu_of_stage, memory - memory_of_stage, storage - storage_of_stage]
}

/// A container that asks for so much, and may have so much.
fn container(requests: Amounts, limits: Amounts) -> ResourceRequirements {
    let amounts = |[milli_cpu, memory, storage]: Amounts| {
        BTreeMap::from([
            ("cpu".to_owned(), thousandths(milli_cpu)),
            ("memory".to_owned(), bytes(memory)),
            ("ephemeral-storage".to_owned(), bytes(storage)),
        ])
    };
    // A part is a whole number of MiB: of a little less, the rest may be a little more.
    let [most_cpu, most_memory, most_storage] = limits;
    let [milli_cpu, memory, storage] = requests;
    let requests = [milli_cpu.min(most_cpu), memory.min(most_memory), storage.min(most_storage)];
    ResourceRequirements {
        limits: Some(amounts(limits)),
        requests: Some(amounts(requests)),
        ..ResourceRequirements::default()
    }
}

fn thousandths(amount: u64) -> Quantity {
    Quantity(quantity::shown(amount))
}

/// An amount of bytes as the API server writes it back.
pub(super) fn bytes(amount: u64) -> Quantity {
    Quantity(quantity::shown_bytes(amount))
}

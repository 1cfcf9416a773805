//! Profiles.

use kube::ResourceExt;

use crate::{
    api::profile::{BuildProfile, ResourceQuantity, Resources},
    plan::{
        duration,
        image::{Reference, Repository},
        problem::{Problem, Problems},
        valid::ValidProfile,
    },
};

/// The least memory of a build: the engine keeps 256 MiB for itself and wants at least as much beside it.
const LEAST_MEMORY: u64 = 512 << 20;

/// Validates a profile.
///
/// # Errors
/// All problems, at least one.
pub fn profile(object: &BuildProfile) -> Result<ValidProfile, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    super::check_label(&object.name_any(), &mut problems);
    let builder = problems.take("spec.images.builder", spec.images.builder.0.parse::<Reference>());
    let engine = spec.images.engine.as_ref().unwrap_or(&spec.images.builder);
    let engine = match &spec.images.engine {
        Some(_) => problems.take("spec.images.engine", engine.0.parse::<Reference>()),
        None => builder.clone(),
    };
    let [cpu, memory, storage] = resources(&spec.resources, &mut problems);
    let staging =
        spec.registry.staging.as_ref().map(|staging| {
            problems.take("spec.registry.staging.repository", staging.repository.0.parse::<Repository>())
        });
    let keep_succeeded = problems.take("spec.podRetention.succeeded", duration::parse(&spec.pod_retention.succeeded.0));
    let keep_failed = problems.take("spec.podRetention.failed", duration::parse(&spec.pod_retention.failed.0));
    let deadline = problems.take("spec.deadline", duration::parse(&spec.deadline.0));
    let valid = || {
        Some(ValidProfile {
            builder: builder?,
            engine: engine?,
            execution_namespace: spec.execution_namespace.to_string(),
            milli_cpu: cpu?,
            memory_bytes: memory?,
            storage_bytes: storage?,
            max_concurrent: spec.max_concurrent_builds.and_then(|most| u32::try_from(most).ok()),
            staging: staging.map_or(Some(None), |staging| staging.map(Some))?,
            keep_succeeded: keep_succeeded?,
            keep_failed: keep_failed?,
            deadline: deadline?,
        })
    };
    problems.finish(valid())
}

fn resources(written: &Resources, problems: &mut Problems) -> [Option<u64>; 3] {
    let cpu = problems.take("spec.resources.cpu", thousandths(&written.cpu).ok_or(MALFORMED));
    let bytes = |quantity: &ResourceQuantity| thousandths(quantity).map(|amount| amount / 1000).ok_or(MALFORMED);
    let memory = problems.take("spec.resources.memory", bytes(&written.memory));
    if memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        problems.add("spec.resources.memory", "must be 512Mi or more: the engine keeps 256Mi of it for itself");
    }
    [cpu, memory, problems.take("spec.resources.storage", bytes(&written.storage))]
}

const MALFORMED: &str = "must be a whole number with one of the suffixes m, k, M, G, T, Ki, Mi, Gi, Ti or none";

/// A quantity in thousandths: Kubernetes' smallest suffix is `m`.
fn thousandths(quantity: &ResourceQuantity) -> Option<u64> {
    let text = quantity.0.as_str();
    let (digits, suffix) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(unit)
}

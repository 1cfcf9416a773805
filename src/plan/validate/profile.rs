//! Profiles.

use k8s_openapi::api::core::v1::Toleration;
use kube::ResourceExt;

use crate::{
    api::profile::{
        self as api, BuildProfile, BuildProfileSpec, Engine, Registry, Requests, ResourceQuantity, Resources, Staging,
    },
    plan::{
        duration,
        image::{Reference, Repository, canonical},
        network::Proxy,
        quantity::thousandths,
        valid::{Requested, ValidNetwork, ValidProfile, ValidStaging},
        validate::{
            label::check_label,
            problem::{Problem, Problems},
        },
    },
};

/// The least of each resource that the containers of a build pod can share: below, the engine refuses to
/// start (it wants 512 MiB), or the kernel cannot grant so small a part of a processor.
const LEAST_MILLI_CPU: u64 = 100;
const LEAST_MEMORY: u64 = 1 << 30;
const LEAST_STORAGE: u64 = 1 << 30;
/// The least that a node must have free: below, a container's part of it rounds to nothing.
const LEAST_REQUEST_MILLI_CPU: u64 = 10;
const LEAST_REQUEST_BYTES: u64 = 64 << 20;

/// Validates a profile.
///
/// # Errors
/// All problems, at least one.
pub fn profile(object: &BuildProfile) -> Result<ValidProfile, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    check_label(&object.name_any(), &mut problems);
    let builder = problems.take("spec.images.builder", spec.images.builder.0.parse::<Reference>());
    let engine_image = match &spec.images.engine {
        Some(engine) => problems.take("spec.images.engine", engine.0.parse::<Reference>()),
        None => builder.clone(),
    };
    check_nodes(spec, &mut problems);
    check_hypervisor(spec, &mut problems);
    let limits = limits(&spec.resources, &mut problems);
    let requests = requests(&spec.resources.requests, limits, &mut problems);
    let [cpu, memory, storage] = limits;
    let staging = spec.registry.staging.as_ref().map(|written| staging(written, &mut problems));
    let keep_succeeded = problems.take("spec.podRetention.succeeded", duration::parse(&spec.pod_retention.succeeded.0));
    let keep_failed = problems.take("spec.podRetention.failed", duration::parse(&spec.pod_retention.failed.0));
    let deadline = problems.take("spec.deadline", duration::parse(&spec.deadline.0));
    let Registry { mirrors, insecure, certificate_authority, .. } = &spec.registry;
    let valid = || {
        Some(ValidProfile {
            builder: builder?,
            engine_image: engine_image?,
            isolation: spec.isolation,
            engine: spec.engine,
            hypervisor: spec.hypervisor,
            kvm: spec.kvm.as_ref().map(|kvm| kvm.resource.0.clone()),
            execution_namespace: spec.execution_namespace.to_string(),
            platform: spec.platform.clone(),
            node_selector: spec.node_selector.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
            tolerations: spec.tolerations.clone(),
            milli_cpu: cpu?,
            memory_bytes: memory?,
            storage_bytes: storage?,
            requests: requests?,
            max_concurrent: spec.max_concurrent_builds.and_then(|most| u32::try_from(most).ok()),
            staging: staging.map_or(Some(None), |staging| staging.map(Some))?,
            mirrors: mirrors
                .iter()
                .map(|each| (canonical(&each.registry.0).to_owned(), canonical(&each.mirror.0).to_owned()))
                .collect(),
            insecure: insecure.iter().map(|host| canonical(&host.0).to_owned()).collect(),
            certificate_authority: certificate_authority.as_ref().map(|map| map.name.to_string()),
            network: spec.network.as_ref().map(network).unwrap_or_default(),
            keep_succeeded: keep_succeeded?,
            keep_failed: keep_failed?,
            deadline: deadline?,
        })
    };
    problems.finish(valid())
}

fn network(written: &api::Network) -> ValidNetwork {
    let proxy = written.proxy.as_ref().map(|proxy| Proxy {
        http: proxy.http.as_ref().map(ToString::to_string),
        https: proxy.https.as_ref().map(ToString::to_string),
        no_proxy: proxy.no_proxy.iter().map(ToString::to_string).collect(),
    });
    ValidNetwork {
        certificate_authority: written.certificate_authority.as_ref().map(|map| map.name.to_string()),
        proxy,
    }
}

fn staging(written: &Staging, problems: &mut Problems) -> Option<ValidStaging> {
    let repository = problems.take("spec.registry.staging.repository", Repository::written(&written.repository.0))?;
    Some(ValidStaging { repository, secret: written.secret_ref.as_ref().map(|secret| secret.name.to_string()) })
}

/// What makes images, or what makes boxes, and not some of both: the schema refuses most of it, too.
fn check_hypervisor(spec: &BuildProfileSpec, problems: &mut Problems) {
    match (spec.engine, spec.hypervisor) {
        (Engine::Docker, None) | (Engine::None, Some(_)) => {}
        (Engine::Docker, Some(_)) => problems.add("spec.engine", "must be None in a profile with a hypervisor"),
        (Engine::None, None) => problems.add("spec.engine", "must be Docker in a profile without a hypervisor"),
    }
    if spec.images.engine.is_some() && spec.hypervisor.is_some() {
        problems.add("spec.images.engine", "leave it out: a profile with a hypervisor has no container engine");
    }
    if spec.kvm.is_some() && spec.hypervisor.is_none() {
        problems.add("spec.kvm", "goes with hypervisor: Qemu");
    }
    // What the schema lets through and the API server then refuses in every pod.
    if spec.kvm.as_ref().is_some_and(|kvm| kvm.resource.0.contains("kubernetes.io/")) {
        problems.add("spec.kvm.resource", "must not be of kubernetes.io, whose resources are Kubernetes' own");
    }
}

/// What the schema lets through and the API server then refuses in every pod.
fn check_nodes(spec: &BuildProfileSpec, problems: &mut Problems) {
    for key in spec.node_selector.keys().filter(|key| !is_label_key(key)) {
        problems.add(
            format_args!("spec.nodeSelector[{key:?}]"),
            "must be the key of a label: letters, digits and . _ - with an optional domain and / in front",
        );
    }
    for (index, toleration) in spec.tolerations.iter().enumerate() {
        if let Some(message) = wrong(toleration) {
            problems.add(format_args!("spec.tolerations[{index}]"), message);
        }
    }
}

/// Kubernetes' rules for tolerations (`ValidateTolerations` of its core validation).
fn wrong(toleration: &Toleration) -> Option<&'static str> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, operator, value) = (text(&toleration.key), text(&toleration.operator), text(&toleration.value));
    let effect = text(&toleration.effect);
    match operator.as_str() {
        _ if !key.is_empty() && !is_label_key(&key) => Some("key must be the key of a taint"),
        "" | "Equal" if key.is_empty() => Some("operator must be Exists where key is left out"),
        "" | "Equal" if !is_label_value(&value) => Some("value must be the value of a taint"),
        "Exists" if !value.is_empty() => Some("value must be left out where operator is Exists"),
        "" | "Equal" | "Exists" => match effect.as_str() {
            "" | "NoSchedule" | "PreferNoSchedule" if toleration.toleration_seconds.is_some() => {
                Some("tolerationSeconds goes with the effect NoExecute only")
            }
            "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute" => None,
            _ => Some("effect must be NoSchedule, PreferNoSchedule or NoExecute"),
        },
        _ => Some("operator must be Exists or Equal"),
    }
}

/// The grammar of keys of labels and taints: a name, before it a domain and a slash or nothing.
fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_part = |part: &str| {
        let inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
        part.bytes().all(inner) && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    !name.is_empty()
        && is_label_value(name)
        && domain.is_none_or(|domain| domain.len() <= 253 && domain.split('.').all(is_part))
}

fn is_label_value(value: &str) -> bool {
    let is_end = |letter: Option<u8>| letter.is_none_or(|letter| letter.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"._-".contains(&letter))
        && is_end(value.bytes().next())
        && is_end(value.bytes().last())
}

/// What a build may have, of each resource.
fn limits(written: &Resources, problems: &mut Problems) -> [Option<u64>; 3] {
    [
        ("cpu", milli(&written.cpu), LEAST_MILLI_CPU, "must be 100m or more"),
        ("memory", bytes(&written.memory), LEAST_MEMORY, "must be 1Gi or more: the engine alone needs 512Mi"),
        ("storage", bytes(&written.storage), LEAST_STORAGE, "must be 1Gi or more"),
    ]
    .map(|(name, amount, least, message)| {
        let path = format!("spec.resources.{name}");
        let amount = problems.take(&path, amount.ok_or(MALFORMED))?;
        if amount < least {
            problems.add(path, message);
        }
        Some(amount)
    })
}

/// What a node must have free for it: what is written, or all that it may have.
fn requests(
    written: &Requests,
    [cpu, memory, storage]: [Option<u64>; 3],
    problems: &mut Problems,
) -> Option<Requested> {
    let Requests { cpu: own_cpu, memory: own_memory, storage: own_storage } = written;
    let [milli_cpu, memory_bytes, storage_bytes] = [
        ("cpu", own_cpu.as_ref().map(milli), cpu, LEAST_REQUEST_MILLI_CPU, "must be 10m or more"),
        ("memory", own_memory.as_ref().map(bytes), memory, LEAST_REQUEST_BYTES, "must be 64Mi or more"),
        ("storage", own_storage.as_ref().map(bytes), storage, LEAST_REQUEST_BYTES, "must be 64Mi or more"),
    ]
    .map(|(name, own, limit, least, message)| {
        let Some(own) = own else { return limit };
        let path = format!("spec.resources.requests.{name}");
        let amount = problems.take(&path, own.ok_or(MALFORMED))?;
        if amount < least {
            problems.add(&path, message);
        }
        if limit.is_some_and(|limit| amount > limit) {
            problems.add(path, format_args!("must not be more than spec.resources.{name}"));
        }
        Some(amount)
    });
    Some(Requested { milli_cpu: milli_cpu?, memory_bytes: memory_bytes?, storage_bytes: storage_bytes? })
}

const MALFORMED: &str = "must be a whole number with one of the suffixes m, k, M, G, T, Ki, Mi, Gi, Ti or none";

fn milli(quantity: &ResourceQuantity) -> Option<u64> {
    thousandths(&quantity.0).filter(|amount| *amount > 0)
}

fn bytes(quantity: &ResourceQuantity) -> Option<u64> {
    milli(quantity).map(|amount| amount / 1000)
}

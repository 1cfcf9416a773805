//! What holds for the pod of every valid build.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Secret, SecretVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::plan::{
    job::SECRETS,
    network::Proxy,
    quantity::thousandths,
    recipe::{Source, steps::HEAVIEST},
    valid::ValidNetwork,
};

/// What Kubernetes allows for all annotations of an object, in bytes.
const ANNOTATIONS: usize = 256 << 10;

/// Values with and without placeholders; those of the parent only where there is one.
fn value(with_parent: bool) -> impl Strategy<Value = String> {
    let placeholders =
        ["$(build.name)", "$(source.revision)", "$(source.path)", "$$(x)", "$(parent.reference)", "$(parent.local)"];
    let usable: usize = if with_parent { 6 } else { 4 };
    ("\\PC{0,12}", 0..usable)
        .prop_map(move |(text, index)| format!("{}{}", text.replace('$', "s"), placeholders[index]))
}

fn variables(with_parent: bool) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", value(with_parent), 0..4).prop_map(|map| json!(map))
}

fn secret_variables() -> impl Strategy<Value = Value> {
    let places = prop::collection::btree_map("[A-Z][A-Z0-9_]{0,8}", ("[a-z]{1,3}", "[a-z._-]{1,5}"), 0..4);
    places.prop_map(|places| {
        let variable = |(name, (secret, key)): (String, (String, String))| {
            json!({"name": name, "secretKeyRef": {"name": secret, "key": key}})
        };
        places.into_iter().map(variable).collect()
    })
}

fn source() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"git": {"url": "https://git.example/a.git"}})),
        Just(json!({"git": {"url": "https://git.example/a.git", "secretRef": {"name": "git"}}})),
        Just(json!({"git": {"url": "ssh://git.example/a.git", "directory": "ü", "secretRef": {"name": "git"}}})),
        Just(json!({"configMap": {"name": "files"}})),
        "\\PC{0,40}".prop_map(|text| json!({"inline": {"files": {"a.json": text, "roles/b \"c\".yml": ""}}})),
    ]
}

fn parent() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(json!({"image": "registry.example/debian:13"}))),
        Just(Some(json!({"image": "debian", "as": "local/debian:1", "secretRef": {"name": "pull"}}))),
        Just(Some(json!({"link": "base"}))),
        Just(Some(json!({"chain": {"name": "os", "link": "base"}}))),
    ]
}

fn step(with_parent: bool) -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![Just("molecule"), Just("pytest"), Just("command")];
    (kinds, variables(with_parent), secret_variables()).prop_map(|(kind, environment, secrets)| {
        let mut step = json!({"environment": environment, "secretVariables": secrets});
        if kind == "command" {
            step["arguments"] = json!(["true", "$(image.local)"]);
        }
        json!({kind: step})
    })
}

fn build() -> impl Strategy<Value = Value> {
    parent().prop_flat_map(|parent| {
        let with_parent = parent.is_some();
        let steps = prop::collection::vec(step(with_parent), 0..4);
        (Just(parent), source(), variables(with_parent), secret_variables(), steps).prop_map(
            |(parent, source, variables, secrets, verify)| {
                let mut build = json!({
                    "chainRef": {"name": "shop", "uid": "uid-of-shop", "link": "web"}, "profile": "docker", "source": source,
                    "build": {"packer": {"template": "a.json", "variables": variables, "secretVariables": secrets}},
                    "verify": verify,
                });
                if let Some(parent) = parent {
                    build["from"] = parent;
                }
                build
            },
        )
    })
}

fn profile() -> impl Strategy<Value = Value> {
    let bytes = prop_oneof![
        (1_u32..1000).prop_map(|n| format!("{n}Gi")),
        (1_073_741_824_u64..1 << 45).prop_map(|n| n.to_string())
    ];
    let asked = prop::option::of((1_u32..50, 67_108_864_u64..=1_073_741_824));
    (100_u32..100_000, bytes.clone(), bytes, any::<[bool; 3]>(), asked).prop_map(
        |(cpu, memory, storage, [staged, secret, ca], asked)| {
            let mut profile = full_profile();
            profile["resources"] = json!({"cpu": format!("{cpu}m"), "memory": memory, "storage": storage});
            if let Some((cpu_part, bytes)) = asked {
                let requests = json!({"cpu": format!("{}m", (cpu / cpu_part).max(10)), "memory": bytes.to_string()});
                profile["resources"]["requests"] = requests;
            }
            let mut registry = json!({});
            if staged {
                registry["staging"] = json!({"repository": "registry.example/staging"});
                if secret {
                    registry["staging"]["secretRef"] = json!({"name": "staging"});
                }
            }
            if ca {
                registry["certificateAuthority"] = json!({"name": "authority"});
            }
            profile["registry"] = registry;
            profile
        },
    )
}

/// Which rules a pod and its Secret break, as sentences.
fn broken(pod: &Pod, secret: Option<&Secret>, fixture: &Fixture) -> Vec<&'static str> {
    let rules = [
        (labels_are_valid(pod), "labels have valid values"),
        (json!(pod.metadata.annotations).to_string().len() < ANNOTATIONS, "the annotations are not too large"),
        (mounts_are_volumes(pod), "what is mounted is a volume, and every volume is mounted"),
        (paths_are_apart(pod), "no container mounts two volumes in one place"),
        (projections_are_keys(pod, secret), "what is projected is in the Secret, and all of the Secret is projected"),
        (one_reader_each(pod), "each part of the Secret is in the container that it is named after"),
        (files_are_there(pod), "every file that the job names is in a container"),
        (
            shares_add_up(pod, fixture),
            "the engine and a stage, or a stage alone, have what the profile grants, and each has something",
        ),
        (!json!(pod).to_string().contains(CANARY), "no secret value is in the pod"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| rule).collect()
}

fn labels_are_valid(pod: &Pod) -> bool {
    let is_end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    let is_inside = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    pod.metadata.labels.iter().flatten().all(|(_, value)| {
        value.len() <= 63
            && is_end(value.chars().next())
            && is_end(value.chars().last())
            && value.chars().all(is_inside)
    })
}

fn mounts_are_volumes(pod: &Pod) -> bool {
    let volumes: BTreeSet<_> = spec(pod).volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
    let mounts = containers(pod).into_iter().flat_map(|each| each.volume_mounts.iter().flatten());
    mounts.map(|mount| mount.name.as_str()).collect::<BTreeSet<_>>() == volumes
}

fn paths_are_apart(pod: &Pod) -> bool {
    containers(pod).into_iter().all(|each| {
        let paths: Vec<_> = each.volume_mounts.iter().flatten().map(|mount| &mount.mount_path).collect();
        paths.iter().collect::<BTreeSet<_>>().len() == paths.len()
    })
}

fn secret_volumes(pod: &Pod) -> Vec<(&str, &SecretVolumeSource)> {
    let volumes = spec(pod).volumes.iter().flatten();
    volumes.filter_map(|volume| Some((volume.name.as_str(), volume.secret.as_ref()?))).collect()
}

fn projections_are_keys(pod: &Pod, secret: Option<&Secret>) -> bool {
    let volumes = secret_volumes(pod);
    let names_fit = volumes.iter().all(|(_, volume)| volume.secret_name == pod.metadata.name);
    let items = volumes.iter().flat_map(|(_, volume)| volume.items.iter().flatten());
    let projected: BTreeSet<_> = items.map(|item| item.key.as_str()).collect();
    let data = secret.and_then(|secret| secret.data.as_ref());
    names_fit && projected == data.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn one_reader_each(pod: &Pod) -> bool {
    secret_volumes(pod).into_iter().all(|(name, _)| {
        let mounts = |each: &&Container| each.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        let readers: Vec<_> = containers(pod).into_iter().filter(mounts).map(|each| each.name.clone()).collect();
        readers == [name.trim_end_matches("-secrets")]
    })
}

fn files_are_there(pod: &Pod) -> bool {
    let items = secret_volumes(pod).into_iter().flat_map(|(_, volume)| volume.items.iter().flatten());
    let files: Vec<_> = items.map(|item| format!("{SECRETS}/{}", item.path)).collect();
    let mut named = Vec::new();
    let job = job_of(pod);
    collect(&json!(job), &mut named);
    let of_stages = job.steps.secret_files().into_iter().all(|file| {
        let volume = format!("{}-secrets", file.stage.container());
        let seen = secret_volumes(pod).into_iter().filter(|(name, _)| *name == volume);
        seen.flat_map(|(_, volume)| volume.items.iter().flatten()).any(|item| item.path == file.path)
    });
    of_stages && named.iter().all(|path| files.iter().any(|file| file == path || file.starts_with(&format!("{path}/"))))
}

/// The texts in a document that are paths of secrets.
fn collect(document: &Value, paths: &mut Vec<String>) {
    match document {
        Value::String(text) if text.starts_with(SECRETS) => paths.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, paths)),
        Value::Object(values) => values.values().for_each(|value| collect(value, paths)),
        _ => {}
    }
}

fn shares_add_up(pod: &Pod, fixture: &Fixture) -> bool {
    let amount = |all: &Option<BTreeMap<String, Quantity>>, key: &str| {
        let text = &all.as_ref().unwrap()[key].0;
        thousandths(text).unwrap() / if key == "cpu" { 1 } else { 1000 }
    };
    let given = |name: &str| container(pod, name).resources.clone().unwrap();
    let profile = &fixture.profile;
    let shares = [
        ("cpu", profile.milli_cpu, profile.requests.milli_cpu),
        ("memory", profile.memory_bytes, profile.requests.memory_bytes),
        ("ephemeral-storage", profile.storage_bytes, profile.requests.storage_bytes),
    ];
    if fixture.profile.hypervisor.is_some() {
        return shares.into_iter().all(|(key, granted, requested)| {
            let asks_and_may = |name| [given(name).requests, given(name).limits].map(|all| amount(&all, key));
            ["build", "verify"].into_iter().all(|name| asks_and_may(name) == [requested, granted])
                && ["source", "publish"]
                    .map(asks_and_may)
                    .iter()
                    .all(|[asks, may]| *asks > 0 && asks <= may && *may <= granted)
        });
    }
    let engine = given("engine");
    shares.into_iter().all(|(key, granted, requested)| {
        ["source", "build", "verify", "publish"].map(given).iter().all(|stage| {
            let asked = [amount(&stage.requests, key), amount(&engine.requests, key)];
            let most = [amount(&stage.limits, key), amount(&engine.limits, key)];
            let (asks, may) = (asked.iter().sum::<u64>(), most.iter().sum::<u64>());
            // Of processor time each may have all; what is asked for is cut to whole MiB of what may be had.
            asked.iter().zip(most).all(|(asked, most)| *asked > 0 && *asked <= most)
                && (if key == "cpu" { may == 2 * granted } else { may == granted })
                && (asks == requested || asks < requested && requested < granted && requested - asks < 1 << 20)
        })
    })
}

/// By a profile with a hypervisor, with KVM or without.
fn by_hypervisor(mut profile: Value, accelerated: bool) -> Value {
    profile["engine"] = json!("None");
    if let Some(images) = profile["images"].as_object_mut() {
        images.remove("engine");
    }
    profile["hypervisor"] = json!("Qemu");
    if accelerated {
        profile["kvm"] = json!({"resource": "devices.kubevirt.io/kvm"});
    }
    profile
}

proptest! {
    #[test]
    fn every_pod_is_as_it_should_be(build in build(), profile in profile(), kvm in prop::option::of(any::<bool>())) {
        let profile = match kvm {
            None => profile,
            Some(accelerated) => by_hypervisor(profile, accelerated),
        };
        let fixture = Fixture::new(&build, &profile);
        let attempt = fixture.attempt();
        let (needs, pod) = (attempt.needs(), pod(&attempt));
        let found = found(&needs);
        prop_assert!(needs.lacks(&found).is_empty());
        let secret = secret(&attempt, "pod-uid", &found);
        prop_assert_eq!(broken(&pod, secret.as_ref(), &fixture), [""; 0]);
        prop_assert!(pod == super::super::pod(&attempt), "the same attempt, the same pod");
        let job = job_of(&pod);
        let filled = serde_json::to_string(&job.steps).unwrap().len();
        prop_assert!(filled <= fixture.build.recipe.steps.weight());
    }
}

/// A build whose values are as long as they may be together.
fn heaviest() -> Fixture {
    let mut build = full_build();
    let long = "$(parent.local)".repeat(5);
    let variables: BTreeMap<_, _> = (0..64).map(|n| (format!("v{n}"), long.clone())).collect();
    build["build"]["packer"]["variables"] = json!(variables);
    Fixture::new(&build, &full_profile())
}

#[test]
fn what_is_not_too_heavy_fits_into_an_annotation() {
    let mut fixture = heaviest();
    let weight = fixture.build.recipe.steps.weight();
    assert!((HEAVIEST * 3 / 4..=HEAVIEST).contains(&weight), "{weight}");
    // Everything else at its longest.
    let long = |length: usize| "\"".repeat(length);
    fixture.inputs.revision = long(128);
    fixture.inputs.parent = Some(long(512).as_str().into());
    fixture.build.recipe.parent.as_mut().unwrap().local_name = "l".repeat(512);
    fixture.profile.mirrors = (0..16).map(|n| (format!("{n:0>255}"), long(255))).collect();
    fixture.profile.insecure = (0..16).map(|n| format!("{n:0>255}")).collect();
    let exceptions = (0..64).map(|n| format!("{n:0>255}")).collect();
    let proxy = Proxy { http: Some(long(255)), https: Some(long(255)), no_proxy: exceptions };
    fixture.profile.network = ValidNetwork { certificate_authority: Some(long(253)), proxy: Some(proxy) };
    if let Source::Git { url, revision, .. } = &mut fixture.build.recipe.source {
        (*url, *revision) = (long(1024), long(255));
    }
    let pod = pod(&fixture.attempt());
    let annotations: usize =
        pod.metadata.annotations.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    assert!(annotations < ANNOTATIONS, "{annotations}");
}

type Change = fn(&mut Pod);

fn volumes(pod: &mut Pod) -> &mut Vec<Volume> {
    pod.spec.as_mut().unwrap().volumes.as_mut().unwrap()
}

fn mounts(pod: &mut Pod) -> &mut Vec<VolumeMount> {
    pod.spec.as_mut().unwrap().containers[0].volume_mounts.as_mut().unwrap()
}

#[test]
fn each_rule_can_be_broken() {
    let fixture = full();
    let attempt = fixture.attempt();
    let whole = pod(&attempt);
    let made = secret(&attempt, "pod-uid", &found(&attempt.needs())).unwrap();
    assert_eq!(broken(&whole, Some(&made), &fixture), [""; 0]);
    let changed = |change: Change| {
        let mut pod = whole.clone();
        change(&mut pod);
        broken(&pod, Some(&made), &fixture)
    };
    let cases: [(&str, Change); 8] = [
        ("labels", |pod| drop(pod.metadata.labels.as_mut().unwrap().insert("a".to_owned(), "-".to_owned()))),
        ("too large", |pod| {
            drop(pod.metadata.annotations.as_mut().unwrap().insert("a".to_owned(), "a".repeat(ANNOTATIONS)));
        }),
        ("is a volume", |pod| drop(volumes(pod).remove(1))),
        ("in one place", |pod| {
            let twice = mounts(pod)[0].clone();
            mounts(pod).push(twice);
        }),
        ("is in the Secret", |pod| volumes(pod).retain(|volume| volume.name != "verify-secrets")),
        ("named after", |pod| mounts(pod).iter_mut().for_each(|mount| mount.name = "build-secrets".to_owned())),
        ("every file", |pod| volumes(pod).retain(|volume| volume.name != "source-secrets")),
        ("profile grants", |pod| {
            let resources = pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
            resources.requests.as_mut().unwrap().insert("cpu".to_owned(), Quantity("0".to_owned()));
        }),
    ];
    for (rule, change) in cases {
        let found = changed(change);
        assert!(found.iter().any(|each| each.contains(rule)), "{rule} in {found:?}");
    }
    let told = changed(|pod| drop(pod.metadata.labels.as_mut().unwrap().insert("a".to_owned(), CANARY.to_owned())));
    assert_eq!(told, ["no secret value is in the pod"]);
}

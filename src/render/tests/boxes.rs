//! The pod and the job of a build that makes a box: nothing in it is privileged, and its stages boot machines.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use super::*;
use crate::plan::job::Machine;

const KVM: &str = "devices.kubevirt.io/kvm";

/// A build of a box that uses everything.
pub(super) fn box_build() -> Value {
    let key = |name: &str, key: &str| json!({"name": name, "key": key});
    json!({
        "chainRef": {"name": "shop", "uid": "uid-of-shop", "link": "web"},
        "profile": "docker",
        "from": {"link": "base"},
        "source": {"git": {"url": "https://git.example/shop.git", "revision": "main"}},
        "build": {"box": {"provider": "VirtualBox", "size": "8Gi"}},
        "verify": [
            {"pytest": {"directory": "tests"}, "login": {"user": "debian", "secretKeyRef": key("ssh", "id")}},
            {"command": {
                "arguments": ["true"], "secretVariables": [{"name": "TOKEN", "secretKeyRef": key("vendor", "token")}],
            }},
        ],
    })
}

/// A profile with a hypervisor that uses everything.
pub(super) fn box_profile() -> Value {
    let mut profile = full_profile();
    profile["engine"] = json!("None");
    profile["hypervisor"] = json!("Qemu");
    profile["kvm"] = json!({"resource": KVM});
    profile["images"] = json!({"builder": "registry.example/builder:1"});
    profile
}

fn emulated() -> Value {
    let mut profile = box_profile();
    profile.as_object_mut().unwrap().remove("kvm");
    profile
}

fn fixture() -> Fixture {
    Fixture::new(&box_build(), &box_profile())
}

#[test]
fn the_pod_of_a_box_reads_well() {
    let fixture = fixture();
    let mut pod = pod(&fixture.attempt());
    pod.metadata.annotations.as_mut().unwrap().insert(JOB_ANNOTATION.to_owned(), "the job".to_owned());
    insta::assert_snapshot!(serde_saphyr::to_string(&pod).unwrap());
}

#[test]
fn the_job_of_a_box_reads_well() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&job_of(&pod(&fixture().attempt()))).unwrap());
}

#[test]
fn no_container_is_privileged_and_none_is_an_engine() {
    for profile in [box_profile(), emulated()] {
        let fixture = Fixture::new(&box_build(), &profile);
        let pod = pod(&fixture.attempt());
        let names: Vec<_> = containers(&pod).into_iter().map(|each| each.name.as_str()).collect();
        assert_eq!(names, ["source", "build", "verify", "publish"]);
        for each in containers(&pod) {
            let context = each.security_context.as_ref().unwrap();
            assert_eq!(context.privileged, Some(false), "{}", each.name);
            assert_eq!(each.restart_policy, None, "{}", each.name);
            let program = if each.name == "source" { "imagechain" } else { "/imagechain/bin/imagechain" };
            assert_eq!(each.command.as_ref().unwrap(), &[program, "runner", &each.name]);
        }
        let volumes: Vec<_> = spec(&pod).volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        assert!(!volumes.contains(&"engine") && !volumes.contains(&"graph"), "{volumes:?}");
    }
}

#[test]
fn what_fetches_and_what_pushes_a_box_has_no_rights_at_all() {
    let fixture = fixture();
    let pod = pod(&fixture.attempt());
    for name in ["source", "publish"] {
        let context = container(&pod, name).security_context.as_ref().unwrap();
        assert_eq!(context.run_as_non_root, Some(true), "{name}");
        assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
        assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(context.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]), "{name}");
        assert_eq!(context.capabilities.as_ref().unwrap().add, None, "{name}");
    }
}

/// Limits and requests of a container.
fn amounts(pod: &Pod, name: &str) -> [BTreeMap<String, String>; 2] {
    let given = container(pod, name).resources.clone().unwrap();
    [given.limits, given.requests].map(|all: Option<BTreeMap<String, Quantity>>| {
        all.unwrap_or_default().into_iter().map(|(key, amount)| (key, amount.0)).collect()
    })
}

fn of(cpu: &str, memory: &str, storage: &str) -> BTreeMap<String, String> {
    let all = [("cpu", cpu), ("memory", memory), ("ephemeral-storage", storage)];
    all.into_iter().map(|(key, amount)| (key.to_owned(), amount.to_owned())).collect()
}

#[test]
fn stages_that_boot_machines_have_all_that_the_profile_grants() {
    let fixture = Fixture::new(&box_build(), &emulated());
    let pod = pod(&fixture.attempt());
    for (name, limits, requests) in [
        ("source", of("4", "2Gi", "10Gi"), of("1", "2Gi", "10Gi")),
        ("build", of("4", "8Gi", "40Gi"), of("4", "8Gi", "40Gi")),
        ("verify", of("4", "8Gi", "40Gi"), of("4", "8Gi", "40Gi")),
        ("publish", of("4", "2Gi", "10Gi"), of("1", "2Gi", "10Gi")),
    ] {
        assert_eq!(amounts(&pod, name), [limits, requests], "{name}");
    }
}

#[test]
fn stages_that_boot_machines_ask_for_kvm_where_the_profile_names_it() {
    let asked = |profile: &Value| {
        let fixture = Fixture::new(&box_build(), profile);
        let pod = pod(&fixture.attempt());
        let asks = |name: &&str| amounts(&pod, name)[0].get(KVM).is_some_and(|amount| amount == "1");
        let asking: Vec<_> = ["source", "build", "verify", "publish"].into_iter().filter(asks).collect();
        let of_pod = spec(&pod).resources.as_ref().and_then(|all| all.limits.as_ref());
        assert!(of_pod.is_none_or(|limits| !limits.contains_key(KVM)), "a pod as a whole has no devices");
        asking
    };
    assert_eq!(asked(&box_profile()), ["build", "verify"]);
    assert_eq!(asked(&emulated()), [""; 0]);
}

#[test]
fn a_machine_leaves_room_for_what_runs_beside_it() {
    let mut profile = emulated();
    for (resources, memory, processors) in [
        (json!({}), None, 4),
        (json!({"cpu": "1500m", "memory": "2Gi", "storage": "8Gi"}), Some(2048), 2),
        (json!({"cpu": "100m", "memory": "1Gi", "storage": "1Gi"}), Some(1024), 1),
    ] {
        profile["resources"] = resources;
        let fixture = Fixture::new(&box_build(), &profile);
        let machine: Machine = job_of(&pod(&fixture.attempt())).machine.unwrap();
        assert_eq!(machine.processors, processors);
        assert_eq!(machine.storage, fixture.profile.storage_bytes);
        let granted = memory.unwrap_or(8 << 10);
        assert!((granted / 4..granted).contains(&machine.memory), "{} of {granted} MiB", machine.memory);
    }
}

/// There is no engine that would pull or push: who does it has what it takes.
#[test]
fn stages_that_reach_registries_have_credentials_and_certificates() {
    let seen = |pod: &Pod, name: &str| -> Vec<String> {
        let volumes = spec(pod).volumes.iter().flatten().filter(|volume| volume.name == format!("{name}-secrets"));
        let items = volumes.filter_map(|volume| volume.secret.clone()).flat_map(|secret| secret.items.unwrap());
        items.map(|item| item.path).collect()
    };
    let fixture = fixture();
    let pod = pod(&fixture.attempt());
    assert_eq!(seen(&pod, "build"), ["pull/config.json", "pull.crt", "ca.crt"]);
    assert_eq!(seen(&pod, "verify"), ["verify/1/log-in", "verify/2/TOKEN"]);
    assert_eq!(seen(&pod, "publish"), ["push/config.json", "push.crt", "ca.crt"]);
    let parent = job_of(&pod).parent.unwrap();
    assert!(parent.credentials.unwrap().ends_with("/pull"), "a staged parent is pulled as it was pushed");
    assert!(parent.certificate_authority.unwrap().ends_with("/pull.crt"));
    let image = full();
    let pod = super::super::pod(&image.attempt());
    assert_eq!(job_of(&pod).parent.unwrap().certificate_authority, None, "an engine knows it by its place");
}

#[test]
fn the_job_tells_the_kind_of_the_parent() {
    let mut fixture = fixture();
    assert_eq!(job_of(&pod(&fixture.attempt())).parent.unwrap().kind, ArtifactKind::Image);
    fixture.inputs.parent_kind = ArtifactKind::Box;
    assert_eq!(job_of(&pod(&fixture.attempt())).parent.unwrap().kind, ArtifactKind::Box);
}

#[test]
fn files_of_other_servers_are_fetched_to_where_placeholders_say() {
    let file = |url: &str| json!({"url": url, "sha256": "0".repeat(64)});
    let mut build = box_build();
    build["from"] = json!({"box": file("https://boxes.example/debian.box")});
    build["files"] = json!([{"name": "iso", "url": "https://files.example/a.iso", "sha256": "1".repeat(64)}]);
    let variables = json!({"iso": "$(files.iso)", "disk": "$(parent.disk)", "box": "$(parent.box)"});
    build["build"] = json!({"packer": {"template": "a.json", "variables": variables}});
    let mut fixture = Fixture::new(&build, &box_profile());
    fixture.inputs.parent = None;
    fixture.inputs.parent_kind = ArtifactKind::Box;
    let pod = pod(&fixture.attempt());
    let job = job_of(&pod);
    let fetched: Vec<_> = job.fetch.iter().map(|file| (file.url.as_str(), file.path.as_str())).collect();
    assert_eq!(
        fetched,
        [("https://boxes.example/debian.box", "parent/box"), ("https://files.example/a.iso", "files/iso")]
    );
    let parent = job.parent.unwrap();
    assert!(parent.is_fetched && parent.kind == ArtifactKind::Box && parent.credentials.is_none(), "{parent:?}");
    let crate::plan::recipe::Build::Packer(packer) = job.steps.build else { panic!("by packer") };
    let value = |name: &str| packer.variables.values[name].as_str();
    assert_eq!(value("iso"), "/workspace/files/iso");
    assert_eq!([value("disk"), value("box")], ["/workspace/parent/disk", "/workspace/parent/box"]);
    // What is fetched may be as large as what is built, and takes as long.
    assert_eq!(job.timeouts.source, job.timeouts.build);
}

#[test]
fn a_cache_of_files_is_for_the_job_of_what_fetches_some_and_nothing_else_of_a_pod_shows_it() {
    let cache = "http://cache.example";
    let mut build = box_build();
    let of = |build: &Value, file_cache| {
        let mut pod = pod(&Fixture { file_cache, ..Fixture::new(build, &box_profile()) }.attempt());
        let job = job_of(&pod);
        pod.metadata.annotations.as_mut().unwrap().remove(JOB_ANNOTATION);
        (job, pod)
    };
    assert_eq!(of(&build, Some(cache)), of(&build, None), "nothing is fetched");
    build["files"] = json!([{"name": "iso", "url": "https://files.example/a.iso", "sha256": "1".repeat(64)}]);
    let ((with, shape), (without, plain)) = (of(&build, Some(cache)), of(&build, None));
    assert_eq!((with.file_cache.as_deref(), without.file_cache.as_deref()), (Some(cache), None));
    assert_eq!((Job { file_cache: None, ..with }, shape), (without, plain));
}

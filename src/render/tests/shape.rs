//! Rules of the pod's shape, each by itself.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use serde_json::json;

use super::*;

#[test]
fn only_the_engine_is_privileged() {
    for fixture in [full(), least()] {
        let pod = pod(&fixture.attempt());
        let privileged: Vec<_> = containers(&pod)
            .into_iter()
            .filter(|each| each.security_context.as_ref().and_then(|context| context.privileged) != Some(false))
            .map(|each| each.name.as_str())
            .collect();
        assert_eq!(privileged, ["engine"]);
    }
}

#[test]
fn what_fetches_and_what_pushes_can_do_nothing_else() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    for (name, root) in [("source", false), ("publish", true)] {
        let context = container(&pod, name).security_context.as_ref().unwrap();
        assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
        assert_eq!(context.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]), "{name}");
        assert_eq!(context.capabilities.as_ref().unwrap().add, None, "{name}");
        assert_eq!(context.run_as_user == Some(0), root, "{name}");
    }
    assert_eq!(container(&pod, "source").security_context.as_ref().unwrap().run_as_non_root, Some(true));
}

#[test]
fn the_stages_run_one_after_another_beside_the_engine() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    let names: Vec<_> = containers(&pod).into_iter().map(|each| each.name.as_str()).collect();
    assert_eq!(names, ["source", "engine", "build", "verify", "publish"]);
    for each in containers(&pod) {
        let program = if each.name == "source" { "imagechain" } else { "/imagechain/bin/imagechain" };
        assert_eq!(each.command.as_ref().unwrap(), &[program, "runner", &each.name]);
        assert_eq!(each.restart_policy.as_deref(), (each.name == "engine").then_some("Always"));
        assert_eq!(each.startup_probe.is_some(), each.name == "engine");
    }
}

#[test]
fn the_images_are_those_of_operator_and_inputs() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    let builder = fixture.inputs.builder.0.as_str();
    for (name, image) in [
        ("source", OPERATOR),
        ("engine", fixture.inputs.engine.0.as_str()),
        ("build", builder),
        ("verify", builder),
        ("publish", builder),
    ] {
        assert_eq!(container(&pod, name).image.as_deref(), Some(image), "{name}");
    }
}

#[test]
fn the_pod_has_no_way_to_the_api_server_nor_to_its_node() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    let spec = spec(&pod);
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.enable_service_links, Some(false));
    assert_eq!(spec.service_account_name, None);
    assert_eq!([spec.host_network, spec.host_pid, spec.host_ipc, spec.host_users], [None; 4]);
    for volume in spec.volumes.iter().flatten() {
        let sources = json!(volume).as_object().unwrap().len() - 1;
        let own = [volume.empty_dir.is_some(), volume.secret.is_some(), volume.downward_api.is_some()];
        assert!(sources == 1 && own.contains(&true), "{volume:?}");
    }
}

#[test]
fn what_lasts_too_long_ends() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    assert_eq!(spec(&pod).active_deadline_seconds, Some(6 * 3600));
    assert_eq!(spec(&pod).restart_policy.as_deref(), Some("Never"));
    let timeouts = job_of(&pod).timeouts;
    assert_eq!([timeouts.source, timeouts.build, timeouts.verify, timeouts.publish], [600, 7200, 1800, 1800]);
}

#[test]
fn the_pod_tells_whose_it_is() {
    let expected = |chain: bool| {
        let mut labels = json!({
            "app.kubernetes.io/managed-by": "imagechain",
            "imagechain.dev/buildNamespace": "team-a", "imagechain.dev/build": "shop-web-0123456789",
            "imagechain.dev/buildUid": UID, "imagechain.dev/attempt": "2", "imagechain.dev/profile": "docker",
        });
        if chain {
            labels["imagechain.dev/chain"] = json!("shop");
            labels["imagechain.dev/link"] = json!("web");
        }
        labels
    };
    for (fixture, chain) in [(full(), true), (least(), false)] {
        let pod = pod(&fixture.attempt());
        assert_eq!(json!(pod.metadata.labels), expected(chain));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("builds"));
        assert_eq!(pod.metadata.name, Some(fixture.attempt().pod_name()));
        assert_eq!(pod.metadata.owner_references, None, "its build is in another namespace");
    }
}

#[test]
fn nothing_that_a_tenant_writes_is_in_a_field_of_the_pod() {
    const OWN: &str = "smuggled";
    let command = json!({"arguments": [OWN, "--privileged"], "environment": {"LD_PRELOAD": OWN}});
    let mut build = full_build();
    build["build"]["packer"]["variables"] = json!({"hostPath": OWN});
    build["verify"] = json!([{"command": command}]);
    build["source"] = json!({"inline": {"files": {"packer/web.pkr.hcl": OWN}}});
    let fixture = Fixture::new(&build, &full_profile());
    let mut pod = pod(&fixture.attempt());
    assert!(pod.metadata.annotations.as_mut().unwrap().remove(JOB_ANNOTATION).unwrap().contains(OWN));
    assert!(!json!(pod).to_string().contains(OWN));
    assert!(containers(&pod).into_iter().all(|each| each.env.is_none() && each.env_from.is_none()));
}

#[test]
fn nodes_are_chosen_by_the_profile() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    assert_eq!(json!(spec(&pod).node_selector), json!({"imagechain.dev/pool": "builds"}));
    assert_eq!(json!(spec(&pod).tolerations), full_profile()["tolerations"]);
}

/// Processor time, memory and disk that a stage and the engine ask for, for a profile's.
fn shares(resources: &Value) -> [String; 2] {
    let mut profile = full_profile();
    profile["resources"] = resources.clone();
    let fixture = Fixture::new(&full_build(), &profile);
    let pod = pod(&fixture.attempt());
    let of_pod = spec(&pod).resources.as_ref().unwrap();
    assert_eq!(of_pod.limits, of_pod.requests);
    let whole = of_pod.limits.as_ref().unwrap();
    ["build", "engine"].map(|name| {
        let given = container(&pod, name).resources.as_ref().unwrap();
        let amounts = given.requests.as_ref().unwrap();
        // More than that they get of processor time alone: what nobody else in the pod needs.
        let mut limits = amounts.clone();
        limits.insert("cpu".to_owned(), whole["cpu"].clone());
        assert_eq!(given.limits.as_ref(), Some(&limits));
        ["cpu", "memory", "ephemeral-storage"].map(|key| amounts[key].0.as_str()).join(" ")
    })
}

#[test]
fn a_stage_and_the_engine_share_what_the_profile_grants() {
    for (resources, stage, engine) in [
        (json!({}), "1 2Gi 10Gi", "3 6Gi 30Gi"),
        (json!({"cpu": "100m", "memory": "1Gi", "storage": "1Gi"}), "25m 256Mi 256Mi", "75m 768Mi 768Mi"),
        (json!({"cpu": "16", "memory": "64Gi", "storage": "1Ti"}), "1 2Gi 256Gi", "15 62Gi 768Gi"),
        // What is no multiple of 1 MiB stays with the engine.
        (json!({"cpu": "1", "memory": "2G", "storage": "2G"}), "250m 476Mi 476Mi", "750m 1465701Ki 1465701Ki"),
    ] {
        let [found_stage, found_engine] = shares(&resources);
        assert_eq!((found_stage.as_str(), found_engine.as_str()), (stage, engine), "{resources}");
    }
}

#[test]
fn a_pod_asks_for_less_than_it_may_have_where_the_profile_says_so() {
    let mut profile = full_profile();
    profile["resources"] = json!({"requests": {"cpu": "500m", "memory": "2Gi"}});
    let fixture = Fixture::new(&full_build(), &profile);
    let pod = pod(&fixture.attempt());
    let amounts = |given: &ResourceRequirements| {
        let of = |all: &Option<BTreeMap<String, Quantity>>| {
            let all = all.as_ref().unwrap();
            ["cpu", "memory", "ephemeral-storage"].map(|key| all.get(key).map_or("", |each| each.0.as_str())).join(" ")
        };
        [of(&given.requests), of(&given.limits)]
    };
    let of = |name| amounts(container(&pod, name).resources.as_ref().unwrap());
    assert_eq!(amounts(spec(&pod).resources.as_ref().unwrap()), ["500m 2Gi ", "4 8Gi "]);
    assert_eq!(of("build"), ["125m 512Mi 10Gi", "4 2Gi 10Gi"]);
    assert_eq!(of("engine"), ["375m 1536Mi 30Gi", "4 6Gi 30Gi"]);
}

#[test]
fn staging_falls_back_to_what_is_published() {
    let with = full();
    assert_eq!(job_of(&pod(&with.attempt())).staging.repository, "registry.example/staging");
    let mut profile = full_profile();
    profile["registry"] = json!({});
    let without = Fixture::new(&full_build(), &profile);
    let staging = job_of(&pod(&without.attempt())).staging;
    assert_eq!(staging.repository, "registry.example/team-a/web");
    assert_eq!(staging.tag, without.attempt().pod_name());
    assert_eq!(without.target.secret, Some(ObjectRef::secret("publish")));
    assert_eq!(Target::of(&without.profile, None), None);
}

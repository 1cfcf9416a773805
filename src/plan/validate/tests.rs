//! Every problem is found, with its path, and all of them at once.

// A table of JSON reads better without references.
#![allow(clippy::needless_pass_by_value)]

mod boxes;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::api::profile::BuildProfile;
use crate::plan::recipe::{Origin, Scope, Source};

fn read(spec: Value) -> ImageChain {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "shop"}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn spec(links: &Value) -> Value {
    json!({"profiles": ["docker", "vm"], "source": {"git": {"url": "https://git.example/shop.git"}}, "links": links})
}

fn link(name: &str) -> Value {
    json!({"name": name, "build": {"packer": {"template": "base.json"}}})
}

fn with(mut link: Value, field: &str, value: Value) -> Value {
    link[field] = value;
    link
}

/// The problems of a chain of these links, as people read them.
fn problems(links: &Value) -> Vec<String> {
    match chain(&read(spec(links))) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn one_problem(link: Value, path: &str, sentence: &str) {
    let found = problems(&json!([link]));
    assert!(
        matches!(found.as_slice(), [only] if only.starts_with(&format!("{path}: ")) && only.contains(sentence)),
        "not one problem «{sentence}» at {path}: {found:#?}"
    );
}

#[test]
fn a_good_chain_is_valid_with_its_defaults_filled_in() {
    let web = json!({
        "name": "web", "profile": "vm", "from": {"link": "base"}, "paths": ["roles"],
        "build": {"packer": {"template": "web.json", "variables": {"base": "$(parent.local)"}, "variableFiles": ["prod.json"]}},
        "verify": [{"molecule": {"directory": "test", "environment": {"IMAGE": "$(image.local)"}}}],
        "publish": {"image": {"repository": "r.example/web", "tags": ["1"]}},
    });
    let valid = chain(&read(spec(&json!([link("base"), web])))).unwrap();
    let [base, web] = valid.links.as_slice() else { panic!("two links") };
    assert_eq!((base.profile.as_str(), web.profile.as_str()), ("docker", "vm"));
    assert_eq!(web.recipe.parent.as_ref().map(|parent| &parent.origin), Some(&Origin::Link(0)));
    assert_eq!(
        web.recipe.parent.as_ref().map(|parent| parent.local_name.as_str()),
        Some("imagechain.local/web:parent")
    );
    assert_eq!(base.recipe.paths, Scope::All, "all of the source decides");
    let paths: Vec<_> = web.recipe.paths.named().map(ToString::to_string).collect();
    assert_eq!(paths, ["prod.json", "roles", "test", "web.json"], "what the steps name decides too");
    let rooted = with(with(link("a"), "paths", json!(["roles"])), "verify", json!([{"pytest": {}}]));
    let rooted = chain(&read(spec(&json!([rooted])))).unwrap();
    assert_eq!(rooted.links[0].recipe.paths, Scope::All, "tests at the root are part of what decides");
    let whole = with(with(link("a"), "paths", json!(["roles"])), "build", json!({"packer": {"template": "."}}));
    let whole = chain(&read(spec(&json!([whole])))).unwrap();
    assert_eq!(whole.links[0].recipe.paths, Scope::All, "a template that is the root is all of the source");
    let elsewhere = json!({"packer": {"template": "./packer/", "directory": "."}});
    let elsewhere = with(with(link("a"), "paths", json!(["roles"])), "build", elsewhere);
    let elsewhere = chain(&read(spec(&json!([elsewhere])))).unwrap();
    let paths: Vec<_> = elsewhere.links[0].recipe.paths.named().map(ToString::to_string).collect();
    assert_eq!(paths, ["packer", "roles"], "where packer runs decides nothing by itself");
    assert!(matches!(&base.recipe.source, Source::Git { revision, .. } if revision == "HEAD"));
    assert_eq!(
        (valid.parallelism, base.recipe.limits.infrastructure_retries, base.recipe.limits.build_retries),
        (4, 6, 0)
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let bad = json!({
        "name": "Web", "profile": "gpu", "from": {"link": "none"}, "paths": ["../x"],
        "build": {"packer": {"template": "/etc", "variables": {"1x": "$(id)", "p": "$(parent.tag)"}}},
        "publish": {"image": {"repository": "r.example/A", "tags": ["-"]}},
        "timeouts": {"build": "soon"},
    });
    let found = problems(&json!([link("base"), bad]));
    let paths: Vec<_> = found.iter().filter_map(|problem| problem.split_once(": ").map(|(path, _)| path)).collect();
    assert_eq!(
        paths,
        [
            "spec.links[1].name",
            "spec.links[1].profile",
            "spec.links[1].from.link",
            "spec.links[1].paths[0]",
            "spec.links[1].build.packer.template",
            "spec.links[1].build.packer.variables.1x",
            "spec.links[1].build.packer.variables.1x",
            "spec.links[1].publish.image.repository",
            "spec.links[1].publish.image.tags[0]",
            "spec.links[1].timeouts.build",
        ]
    );
}

#[test]
fn parents_come_first() {
    let child = |name, parent| with(link(name), "from", json!({"link": parent}));
    for (links, sentence) in [
        (json!([child("web", "base"), link("base")]), "move the parent before its children"),
        (json!([child("web", "web")]), "cannot stand on itself"),
        (json!([child("a", "b"), child("b", "a")]), "move the parent before its children"),
    ] {
        let found = problems(&links);
        assert!(found.first().is_some_and(|first| first.contains(sentence)), "{found:#?}");
    }
}

#[test]
fn placeholders_must_have_a_value() {
    let packer = |value: &str| json!({"packer": {"template": "a", "variables": {"v": value}}});
    let path = "spec.links[0].build.packer.variables.v";
    one_problem(with(link("web"), "build", packer("$(parent.reference)")), path, "the link has no from");
    one_problem(with(link("web"), "build", packer("$(image.local)")), path, "in tests only");
    one_problem(with(link("web"), "build", packer("$(whoami)")), path, "none of the placeholders");
    let chained = with(
        with(link("web"), "from", json!({"chain": {"name": "os", "link": "base"}})),
        "build",
        packer("$(parent.tag)"),
    );
    one_problem(chained, path, "only where from is an image");
    let verify = json!([{"command": {"arguments": ["test", "$(parent.digest)"]}}]);
    one_problem(with(link("web"), "verify", verify), "spec.links[0].verify[0].command.arguments[1]", "no from");
}

#[test]
fn outputs_belong_to_one_link() {
    let publish = |repository: &str| json!({"image": {"repository": repository, "tags": ["1", "latest"]}});
    let found = problems(&json!([
        with(link("a"), "publish", publish("r.example/web")),
        with(link("b"), "publish", publish("r.example/web")),
    ]));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|each| each.contains("is published by the link «a» already")), "{found:#?}");

    let below = with(link("a"), "from", json!({"image": "r.example/web:1"}));
    let above = with(with(link("b"), "from", json!({"link": "a"})), "publish", publish("r.example/web"));
    let found = problems(&json!([below, above]));
    assert!(
        matches!(found.as_slice(), [only] if only.contains("r.example/web:1 is what the link is built on")),
        "{found:#?}"
    );

    let own = with(link("a"), "from", json!({"image": "r.example/web"}));
    let found = problems(&json!([with(own, "publish", publish("r.example/web"))]));
    assert!(
        matches!(found.as_slice(), [only] if only.contains("r.example/web:latest is what the link is built on")),
        "{found:#?}"
    );
}

#[test]
fn a_version_in_gitea_has_one_file_for_each_provider() {
    let publish = |provider: &str| {
        json!({"gitea": {"url": "https://git.example", "tag": "team-a/vm", "version": "1.0.0", "provider": provider,
            "secretRef": {"name": "gitea"}}})
    };
    let links = |other: &str| {
        json!([with(link("a"), "publish", publish("Libvirt")), with(link("b"), "publish", publish(other))])
    };
    assert_eq!(problems(&links("VirtualBox")), [""; 0]);
    let file = "https://git.example/api/packages/team-a/vagrant/vm/1.0.0/libvirt.box";
    let expected = format!("spec.links[1].publish.gitea.version: {file} is published by the link «a» already");
    assert_eq!(problems(&links("Libvirt")), [expected]);
    let made = with(with(link("a"), "build", json!({"box": {}})), "from", json!({"image": "r.example/a"}));
    let sentence = "is for VirtualBox, and build.box makes a box for Libvirt";
    one_problem(with(made, "publish", publish("VirtualBox")), "spec.links[0].publish.gitea", sentence);
}

#[test]
fn sources_are_checked() {
    let with_source = |source: Value| with(link("web"), "source", source);
    let git = |url: &str, revision: &str| with_source(json!({"git": {"url": url, "revision": revision}}));
    let (url, revision) = ("spec.links[0].source.git.url", "spec.links[0].source.git.revision");
    for bad in ["file:///etc", "ext::sh -c id", "-oProxyCommand=id", "git.example/a"] {
        one_problem(git(bad, "main"), url, "must begin with");
    }
    one_problem(git("https://me:secret@git.example/a", "main"), url, "must not hold a password");
    one_problem(git("ssh://-oProxyCommand=id/a", "main"), url, "must be a host and a path");
    one_problem(git("https://git.example/a b", "main"), url, "neither query nor fragment");
    for bad in ["--upload-pack=id", "-c", "a..b", "a~1", "a:b", "", "a/", "a.", "a//b", "a/.b", "a.lock", "a.lock/b"] {
        one_problem(git("https://git.example/a", bad), revision, "must be a branch");
    }
    one_problem(
        with_source(json!({"inline": {"files": {"../x": ""}}})),
        "spec.links[0].source.inline.files[\"../x\"]",
        "inside the source",
    );
    one_problem(
        with_source(json!({"inline": {"files": {}}})),
        "spec.links[0].source.inline.files",
        "at least one file",
    );
    one_problem(with_source(json!({})), "spec.links[0].source", "set exactly one of");
}

#[test]
fn variables_have_one_value_each() {
    let secret = |name: &str| json!({"name": name, "secretKeyRef": {"name": "s", "key": "k"}});
    let build =
        |secrets: Value| json!({"packer": {"template": "a", "variables": {"v": "1"}, "secretVariables": secrets}});
    let path = "spec.links[0].build.packer.secretVariables";
    one_problem(
        with(link("web"), "build", build(json!([secret("v")]))),
        &format!("{path}[0].name"),
        "has a value in variables already",
    );
    one_problem(
        with(link("web"), "build", build(json!([secret("a"), secret("a")]))),
        &format!("{path}[1].name"),
        "is there twice",
    );
}

#[test]
fn single_builds_are_checked_as_links_are() {
    let read = |spec: Value| -> ImageBuild {
        let object = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild", "metadata": {"name": "one"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    };
    let good = json!({
        "profile": "docker", "source": {"configMap": {"name": "files"}}, "from": {"image": "debian:13"},
        "build": {"packer": {"template": "a.json", "variables": {"t": "$(parent.tag)"}}},
    });
    let valid = build(&read(good.clone())).unwrap();
    assert_eq!((valid.profile.as_str(), valid.recipe.source), ("docker", Source::ConfigMap("files".to_owned())));
    let mut of_chain = good.clone();
    of_chain["chainRef"] = json!({"name": "shop", "uid": "u", "link": "web"});
    of_chain["inputs"] = json!({"key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "r.example/b:1", "engine": "r.example/b:1"});
    of_chain["from"] = json!({"link": "base"});
    of_chain["build"]["packer"]["variables"] = json!({"t": "$(link.name)"});
    let parent = build(&read(of_chain)).unwrap().recipe.parent.unwrap();
    assert_eq!(
        (parent.origin, parent.local_name.as_str()),
        (Origin::Sibling("base".to_owned()), "imagechain.local/web:parent")
    );
    let mut homeless = good.clone();
    homeless["build"]["packer"]["variables"] = json!({"t": "$(chain.name)"});
    assert!(build(&read(homeless)).unwrap_err()[0].message.contains("belongs to no chain"));
    let mut bad = good;
    bad["from"] = json!({"link": "base"});
    bad["build"]["packer"]["template"] = json!("..");
    let found: Vec<_> = build(&read(bad)).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(found[0].starts_with("spec.from.link: a single build has no earlier links"), "{found:#?}");
    assert!(found[1].starts_with("spec.build.packer.template: "), "{found:#?}");
}

#[test]
fn a_wrong_link_does_not_confuse_those_after_it() {
    let mut spec = json!({"profiles": ["p"], "source": {"configMap": {"name": "files"}}, "links": []});
    for (name, from, template) in [("a", None, "../a"), ("b", Some("a"), "b"), ("c", Some("b"), "c")] {
        let publish = json!({"image": {"repository": "r.example/a", "tags": [name]}});
        let mut link = json!({"name": name, "build": {"packer": {"template": template}}, "publish": publish});
        if let Some(from) = from {
            link["from"] = json!({"link": from});
        }
        spec["links"].as_array_mut().unwrap().push(link);
    }
    let object =
        json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "c"}, "spec": spec});
    let problems = chain(&serde_json::from_value(object).unwrap()).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["spec.links[0].build.packer.template"]);
}

#[test]
fn profiles_are_checked() {
    let read = |spec: Value| -> BuildProfile {
        let object = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "docker"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    };
    let good = json!({"images": {"builder": "r.example/builder:1"}, "executionNamespace": "builds"});
    let valid = profile(&read(good.clone())).unwrap();
    assert_eq!(valid.builder, valid.engine_image, "the builder image has the engine unless another one is named");
    assert_eq!((valid.memory_bytes, valid.storage_bytes, valid.milli_cpu), (8 << 30, 40 << 30, 4000));
    let asked = |requests: Value| {
        let mut spec = good.clone();
        spec["resources"] = json!({"requests": requests});
        let crate::plan::valid::Requested { milli_cpu, memory_bytes, storage_bytes } =
            profile(&read(spec)).unwrap().requests;
        [milli_cpu, memory_bytes, storage_bytes]
    };
    assert_eq!(asked(json!({})), [4000, 8 << 30, 40 << 30], "what is left out is as much as a build may have");
    assert_eq!(asked(json!({"cpu": "500m", "memory": "2Gi"})), [500, 2 << 30, 40 << 30]);
    assert_eq!(asked(json!({"cpu": 2, "memory": "1.5Gi"})), [2000, 3 << 29, 40 << 30], "as Kubernetes takes them");
    let bad = json!({
        "images": {"builder": "r.example/Builder"}, "executionNamespace": "builds", "deadline": "never",
        "resources": {"cpu": "0.05", "memory": "200Mi", "storage": "9999999Ti"},
        "registry": {"staging": {"repository": "r.example/staging:1"}},
    });
    let found: Vec<_> = profile(&read(bad)).unwrap_err().iter().map(ToString::to_string).collect();
    let paths: Vec<_> = found.iter().filter_map(|problem| problem.split_once(": ").map(|(path, _)| path)).collect();
    assert_eq!(
        paths,
        [
            "spec.images.builder",
            "spec.resources.cpu",
            "spec.resources.memory",
            "spec.resources.storage",
            "spec.registry.staging.repository",
            "spec.deadline",
        ]
    );
}

#[test]
fn a_profile_has_an_engine_or_a_hypervisor() {
    let read = |more: Value| {
        let mut spec = json!({"images": {"builder": "r.example/builder:1"}, "executionNamespace": "builds"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "p"}, "spec": spec});
        profile(&serde_json::from_value(object).unwrap())
            .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let kvm = |resource: &str| json!({"engine": "None", "hypervisor": "Qemu", "kvm": {"resource": resource}});
    assert_eq!(read(json!({})).unwrap().hypervisor, None);
    assert_eq!(read(kvm("devices.kubevirt.io/kvm")).unwrap().kvm.as_deref(), Some("devices.kubevirt.io/kvm"));
    assert_eq!(read(json!({"engine": "None", "hypervisor": "Qemu"})).unwrap().kvm, None);
    for (written, expected) in [
        (json!({"hypervisor": "Qemu"}), "spec.engine: must be None in a profile with a hypervisor"),
        (json!({"engine": "None"}), "spec.engine: must be Docker in a profile without a hypervisor"),
        (
            json!({"engine": "None", "hypervisor": "Qemu", "images": {"builder": "r.example/b:1", "engine": "r.example/e:1"}}),
            "spec.images.engine: leave it out: a profile with a hypervisor has no container engine",
        ),
        (json!({"kvm": {"resource": "a.example/kvm"}}), "spec.kvm: goes with hypervisor: Qemu"),
        (
            kvm("devices.kubernetes.io/kvm"),
            "spec.kvm.resource: must not be of kubernetes.io, whose resources are Kubernetes' own",
        ),
    ] {
        assert_eq!(read(written).unwrap_err(), [expected]);
    }
}

#[test]
fn a_box_is_made_of_a_parent() {
    let made = with(link("vm"), "build", json!({"box": {}}));
    one_problem(made.clone(), "spec.links[0].from", "build.box makes it of a parent");
    assert_eq!(problems(&json!([with(made, "from", json!({"image": "debian:13"}))])), [""; 0]);
}

#[test]
fn what_every_pod_would_be_refused_for_is_told_of_the_profile() {
    let problems = |field: &str, value: Value| -> Vec<String> {
        let mut spec = json!({"images": {"builder": "r.example/builder:1"}, "executionNamespace": "builds"});
        spec[field] = value;
        let object = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "docker"}, "spec": spec});
        let found = profile(&serde_json::from_value(object).unwrap()).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    };
    for (field, value) in [
        ("resources", json!({"cpu": "100m", "memory": "1Gi", "storage": "1Gi"})),
        ("resources", json!({"requests": {"cpu": "4", "memory": "8192Mi", "storage": "64Mi"}})),
        ("resources", json!({"requests": {"cpu": "10m"}})),
        ("nodeSelector", json!({"kubernetes.io/os": "linux", "A_b.c": ""})),
        ("tolerations", json!([{"operator": "Exists"}])),
        (
            "tolerations",
            json!([{"key": "a.example/b", "value": "c"}, {"key": "d", "operator": "Equal", "effect": "NoSchedule"}]),
        ),
        ("tolerations", json!([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}])),
    ] {
        assert_eq!(problems(field, value.clone()), [""; 0], "{value}");
    }
    for (field, value, expected) in [
        ("resources", json!({"cpu": "99m"}), "spec.resources.cpu: must be 100m or more"),
        ("resources", json!({"memory": "1023Mi"}), "spec.resources.memory: must be 1Gi or more"),
        ("resources", json!({"storage": "1000M"}), "spec.resources.storage: must be 1Gi or more"),
        (
            "resources",
            json!({"cpu": "500m", "requests": {"cpu": "501m"}}),
            "spec.resources.requests.cpu: must not be more than spec.resources.cpu",
        ),
        ("resources", json!({"requests": {"memory": "9G"}}), "spec.resources.requests.memory: must not be more than"),
        ("resources", json!({"requests": {"storage": "1M"}}), "spec.resources.requests.storage: must be 64Mi or more"),
        ("resources", json!({"requests": {"cpu": "9m"}}), "spec.resources.requests.cpu: must be 10m or more"),
        ("nodeSelector", json!({"a/b/c": ""}), "spec.nodeSelector[\"a/b/c\"]: must be the key of a label"),
        ("nodeSelector", json!({"": ""}), "spec.nodeSelector[\"\"]: "),
        ("nodeSelector", json!({"-a": ""}), "spec.nodeSelector[\"-a\"]: "),
        ("nodeSelector", json!({"A.example/b": ""}), "spec.nodeSelector[\"A.example/b\"]: "),
        ("tolerations", json!([{"key": "a"}, {"key": "b c"}]), "spec.tolerations[1]: key must be"),
        ("tolerations", json!([{}]), "spec.tolerations[0]: operator must be Exists where key is left out"),
        ("tolerations", json!([{"key": "a", "value": "b c"}]), "spec.tolerations[0]: value must be the value"),
        (
            "tolerations",
            json!([{"key": "a", "operator": "Exists", "value": "b"}]),
            "spec.tolerations[0]: value must be left out",
        ),
        ("tolerations", json!([{"key": "a", "operator": "In"}]), "spec.tolerations[0]: operator must be"),
        ("tolerations", json!([{"key": "a", "effect": "Never"}]), "spec.tolerations[0]: effect must be"),
        ("tolerations", json!([{"key": "a", "tolerationSeconds": 5}]), "spec.tolerations[0]: tolerationSeconds"),
    ] {
        let found = problems(field, value);
        assert!(matches!(found.as_slice(), [only] if only.starts_with(expected)), "{expected} in {found:?}");
    }
}

#[test]
fn a_profile_keeps_all_that_pods_are_made_of() {
    let spec = json!({
        "images": {"builder": "r.example/builder:1"}, "executionNamespace": "builds", "platform": "linux/arm64",
        "nodeSelector": {"pool": "builds"}, "tolerations": [{"operator": "Exists"}],
        "registry": {
            "staging": {"repository": "r.example/staging", "secretRef": {"name": "push"}},
            "mirrors": [{"registry": "index.docker.io", "mirror": "m.example"}], "insecure": ["m.example"],
            "certificateAuthority": {"name": "ca"},
        },
    });
    let object = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "docker"}, "spec": spec});
    let valid = profile(&serde_json::from_value(object).unwrap()).unwrap();
    assert_eq!(valid.platform, "linux/arm64");
    assert_eq!(valid.node_selector, BTreeMap::from([("pool".to_owned(), "builds".to_owned())]));
    assert_eq!(json!(valid.tolerations), json!([{"operator": "Exists"}]));
    let staging = valid.staging.unwrap();
    assert_eq!(
        (staging.repository.to_string().as_str(), staging.secret.as_deref()),
        ("r.example/staging", Some("push"))
    );
    assert_eq!(valid.mirrors, BTreeMap::from([("docker.io".to_owned(), "m.example".to_owned())]));
    assert_eq!(valid.insecure, BTreeSet::from(["m.example".to_owned()]));
    assert_eq!(valid.certificate_authority.as_deref(), Some("ca"));
}

#[test]
fn what_is_too_long_for_a_pod_is_told() {
    let variables = |count: usize| {
        let value = "x".repeat(4096);
        (0..count).map(|number| (format!("v{number}"), json!(value))).collect::<serde_json::Map<_, _>>()
    };
    for (count, good) in [(40, true), (60, false)] {
        let packer = json!({"template": "a.json", "variables": variables(count)});
        let problems = chain(&read(spec(&json!([{"name": "a", "build": {"packer": packer}}])))).err();
        let found = problems.unwrap_or_default().iter().any(|problem| problem.path == "spec.links[0].build");
        assert_eq!(found, !good, "{count} variables of 4 KiB");
    }
}

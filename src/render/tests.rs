//! The pod as a whole, and each rule of its shape.

mod boxes;
mod generated;
mod secrets;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    ByteString,
    api::core::v1::{Container, Pod, PodSpec},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{
        JOB_ANNOTATION,
        boxes::ArtifactKind,
        build::{ImageBuild, Inputs},
        profile::{BuildProfile, Isolation},
    },
    plan::{
        job::Job,
        object::{ObjectKind, ObjectRef},
        product,
        recipe::{Destination, RegistryTags},
        valid::{ValidBuild, ValidProfile},
        validate,
    },
};

const UID: &str = "1f0e8a52-7c8b-4d5e-9c1a-000000000001";
const OPERATOR: &str = "registry.example/imagechain/operator:1";

fn hash(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// All that an attempt is made of.
pub(super) struct Fixture {
    pub build: ValidBuild,
    pub profile: ValidProfile,
    pub target: Target,
    pub inputs: Inputs,
    pub of_chain: bool,
    pub file_cache: Option<&'static str>,
}

impl Fixture {
    /// Of a build's spec, without inputs, and of a profile's, as users write them.
    pub fn new(build: &Value, profile: &Value) -> Self {
        let of_chain = build.get("chainRef").is_some();
        let profile: BuildProfile = object("BuildProfile", "docker", profile);
        let profile = validate::profile(&profile).unwrap();
        let inputs = Inputs {
            key: hash('a'),
            parent: build.get("from").map(|_| format!("registry.example/debian@sha256:{}", hash('b')).as_str().into()),
            revision: hash('c')[..40].to_owned(),
            files: hash('d'),
            platform: "linux/amd64".to_owned(),
            builder: format!("registry.example/builder@sha256:{}", hash('e')).as_str().into(),
            engine: format!("registry.example/engine@sha256:{}", hash('f')).as_str().into(),
            isolation: Isolation::Privileged,
            container_engine: profile.engine,
            hypervisor: profile.hypervisor,
            parent_kind: ArtifactKind::Image,
            request: None,
            replaces: None,
        };
        let mut spec = build.clone();
        if of_chain {
            spec["inputs"] = json!(inputs);
        }
        let build: ImageBuild = object("ImageBuild", "shop-web-0123456789", &spec);
        let build = validate::build(&build).unwrap();
        let published = Destination::Tags(RegistryTags {
            kind: product::kind(profile.hypervisor),
            repository: "registry.example/team-a/web".parse().unwrap(),
            tags: BTreeSet::from(["1".parse().unwrap()]),
            secret: Some("publish".to_owned()),
        });
        let target = Target::of(&profile, Some(&published)).unwrap();
        Self { build, profile, target, inputs, of_chain, file_cache: None }
    }

    pub fn attempt(&self) -> Attempt<'_> {
        Attempt {
            name: "shop-web-0123456789",
            namespace: "team-a",
            uid: UID,
            number: 2,
            link: self.of_chain.then_some(("shop", "web")),
            build: &self.build,
            inputs: &self.inputs,
            profile_name: "docker",
            profile: &self.profile,
            target: &self.target,
            operator: Operator { image: OPERATOR, file_cache: self.file_cache },
        }
    }
}

fn object<T: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    let object = json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "team-a"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// A build that uses everything.
fn full_build() -> Value {
    let secret =
        |name: &str, secret: &str, key: &str| json!({"name": name, "secretKeyRef": {"name": secret, "key": key}});
    json!({
        "chainRef": {"name": "shop", "uid": "uid-of-shop", "link": "web"},
        "profile": "docker",
        "from": {"image": "registry.example/debian:13", "as": "team-a/systemd:local", "secretRef": {"name": "pull"}},
        "source": {"git": {
            "url": "https://git.example/shop.git", "revision": "main", "directory": "images", "secretRef": {"name": "git"},
        }},
        "build": {"packer": {
            "template": "packer/web.pkr.hcl",
            "variables": {"base": "$(parent.reference)", "name": "$(link.name) of $(chain.name)", "roles": "$(source.path)/roles", "literal": "$$(link.name)"},
            "secretVariables": [secret("licence", "vendor", "licence.key")],
            "variableFiles": ["packer/prod.pkrvars.hcl"],
            "only": ["docker.web"],
        }},
        "verify": [
            {"molecule": {
                "directory": "ansible", "scenario": "image", "environment": {"IMAGE": "$(image.local)"},
                "secretVariables": [secret("TOKEN", "vendor", "token")],
            }},
            {"command": {
                "arguments": ["test", "-n", "$(parent.tag)@$(parent.digest)"],
                "secretVariables": [secret("TOKEN", "other", "token")],
            }},
        ],
    })
}

/// A profile that uses everything.
fn full_profile() -> Value {
    json!({
        "images": {"builder": "registry.example/builder:1", "engine": "registry.example/engine:1"},
        "executionNamespace": "builds",
        "nodeSelector": {"imagechain.dev/pool": "builds"},
        "tolerations": [{"key": "imagechain.dev/builds", "operator": "Exists", "effect": "NoSchedule"}],
        "registry": {
            "staging": {"repository": "registry.example/staging", "secretRef": {"name": "staging"}},
            "mirrors": [{"registry": "docker.io", "mirror": "mirror.example:5000"}],
            "insecure": ["mirror.example:5000"],
            "certificateAuthority": {"name": "authority"},
        },
        "deadline": "6h",
    })
}

fn full() -> Fixture {
    Fixture::new(&full_build(), &full_profile())
}

/// The least that a build can be.
fn least() -> Fixture {
    let build = json!({
        "profile": "docker", "source": {"git": {"url": "https://git.example/shop.git"}},
        "build": {"packer": {"template": "a.json"}},
    });
    let profile = json!({
        "images": {"builder": "registry.example/builder:1"}, "executionNamespace": "builds",
        "registry": {"staging": {"repository": "registry.example/staging"}},
    });
    Fixture::new(&build, &profile)
}

/// What a cluster holds where all that is needed is there: every value is the canary and its place.
const CANARY: &str = "canary-in-a-coal-mine";

fn found(needs: &Needs<'_>) -> Found {
    let entry = |object: &ObjectRef, key: &str| {
        (key.to_owned(), ByteString(format!("{CANARY}-{}-{key}", object.name).into_bytes()))
    };
    let entries = |(object, keys): (ObjectRef, Keys<'_>)| {
        let entries: BTreeMap<_, _> = match keys {
            Keys::All if object.kind == ObjectKind::Secret => {
                ["username", "password", "identity", "known_hosts"].into_iter().map(|key| entry(&object, key)).collect()
            }
            Keys::All => ["site.yml", "roles"].into_iter().map(|key| entry(&object, key)).collect(),
            Keys::These(keys) => keys.into_iter().map(|key| entry(&object, key)).collect(),
        };
        (object, entries)
    };
    let mut found = Found(needs.objects().into_iter().map(entries).collect());
    // Of what is read whole, some keys may be named besides.
    for lack in needs.lacks(&found) {
        let Lack::Key { kind, name, key, .. } = lack else { continue };
        for (object, entries) in found.0.iter_mut().filter(|(object, _)| object.kind == kind && object.name == name) {
            entries.extend([entry(object, &key)]);
        }
    }
    found
}

fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap()
}

fn containers(pod: &Pod) -> Vec<&Container> {
    spec(pod).init_containers.iter().flatten().chain(&spec(pod).containers).collect()
}

fn container<'p>(pod: &'p Pod, name: &str) -> &'p Container {
    containers(pod).into_iter().find(|each| each.name == name).unwrap()
}

fn job_of(pod: &Pod) -> Job {
    Job::parse(&pod.metadata.annotations.as_ref().unwrap()[JOB_ANNOTATION]).unwrap()
}

#[test]
fn the_pod_reads_well() {
    let fixture = full();
    let mut pod = pod(&fixture.attempt());
    let annotations = pod.metadata.annotations.as_mut().unwrap();
    annotations.insert(JOB_ANNOTATION.to_owned(), "the job".to_owned());
    insta::assert_snapshot!(serde_saphyr::to_string(&pod).unwrap());
}

#[test]
fn the_job_reads_well() {
    let fixture = full();
    insta::assert_snapshot!(serde_json::to_string_pretty(&job_of(&pod(&fixture.attempt()))).unwrap());
}

//! Attempts of every shape that a build can have, and their pods as the operator renders them.
//!
//! A new engine, hypervisor, builder or kind of test gets its variant in [`all`]. The tests that take all of them,
//! such as the one that asks the chart's gates (`tests/servers/gates.rs`), then see its pod, too.

use imagechain::{
    api::{boxes::ArtifactKind, build::ImageBuild, chain::ImageChain, profile::BuildProfile},
    plan::{image::Reference, recipe::Destination, valid::ValidProfile, validate},
    render::{self, Attempt, Operator, Target},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::chart::{self, BUILDS, OPERATOR_IMAGE, digest, merged};

/// The namespace of the builds.
pub const TENANT: &str = "team-a";

/// What the profile `accelerated` calls KVM.
pub const KVM: &str = "devices.kubevirt.io/kvm";

/// What the chart tells the operator of the cache of files.
const FILE_CACHE: &str = "http://imagechain-file-cache.imagechain-system.svc";

const CHAIN: &str = "shop";
const LINK: &str = "web";
const BUILD: &str = "shop-web-0123456789";

/// What an attempt is made of, as a user and an administrator write it.
pub struct Variant {
    /// For messages.
    pub what: String,
    /// The name of its profile, one of [`profiles`].
    pub profile: String,
    /// Whether the operator made the build for a link, or a user made it.
    pub is_of_chain: bool,
    /// The spec of the build, without what the operator adds.
    spec: Value,
    /// Where its link is published; a single build is not.
    publish: Option<Value>,
    /// The kind of its parent, if it has one.
    parent: ArtifactKind,
}

/// Every variant that can be rendered.
pub fn all() -> Vec<Variant> {
    let git = |url: &str| json!({"git": {"url": url, "secretRef": {"name": "git"}}});
    let mut all: Vec<Variant> = ["full", "docker", "pinned", "staged", "emulated", "accelerated"].map(full_by).into();
    all.extend([
        least("the least that a link can be", &json!({})),
        Variant { is_of_chain: false, publish: None, ..least("a single build", &json!({})) },
        least("a git source by ssh", &json!({"source": git("ssh://git@git.example/shop.git")})),
        least("a ConfigMap as source", &json!({"source": {"git": null, "configMap": {"name": "files"}}})),
        least("files of the object", &json!({"source": {"git": null, "inline": {"files": {"a.json": "{}"}}}})),
        least("an earlier link as parent", &json!({"from": {"link": "base"}})),
        least("a link of another chain as parent", &json!({"from": {"chain": {"name": "base", "link": "base"}}})),
        Variant {
            profile: "full".to_owned(),
            ..least("a parent that is pulled as it was staged", &json!({"from": {"link": "base"}}))
        },
        Variant { profile: "docker".to_owned(), ..least("neither staging nor credentials", &json!({})) },
        Variant {
            parent: ArtifactKind::Box,
            ..least_box("another form of a box", &json!({"build": {"box": {"format": "Raw"}}}))
        },
        Variant {
            is_of_chain: false,
            publish: None,
            ..least_box("a single box", &json!({"from": {"link": null, "image": "debian:13"}}))
        },
        Variant { profile: "emulated".to_owned(), ..least_box("a box without staging", &json!({})) },
    ]);
    all
}

/// A link that uses all that a recipe can use, by that profile.
pub fn full_by(profile: &str) -> Variant {
    if has_hypervisor(profile) {
        return full_box_by(profile);
    }
    let variable = |name: &str, key: &str| json!({"name": name, "secretKeyRef": {"name": "vendor", "key": key}});
    let spec = json!({
        "from": {"image": "registry.example/debian:13", "as": "team-a/systemd:local", "secretRef": {"name": "pull"}},
        "source": {"git": {
            "url": "https://git.example/shop.git", "revision": "main", "directory": "images", "secretRef": {"name": "git"},
        }},
        "paths": ["packer", "ansible"],
        "build": {"packer": {
            "template": "packer/web.pkr.hcl",
            "variables": {"base": "$(parent.reference)", "name": "$(link.name) of $(chain.name)"},
            "secretVariables": [variable("licence", "licence.key")],
            "variableFiles": ["packer/prod.pkrvars.hcl"],
            "only": ["docker.web"],
        }},
        "verify": [
            {"molecule": {
                "directory": "ansible", "scenario": "image", "environment": {"IMAGE": "$(image.local)"},
                "secretVariables": [variable("TOKEN", "token")],
            }},
            {"pytest": {"directory": "ansible", "secretVariables": [variable("TOKEN", "token")]}},
            {"command": {
                "arguments": ["test", "-n", "$(parent.tag)@$(parent.digest)"], "environment": {"A": "1"},
                "secretVariables": [variable("TOKEN", "token")],
            }},
        ],
    });
    let publish = json!({"image": {
        "repository": "registry.example/team-a/web", "tags": ["1", "latest"], "secretRef": {"name": "publish"},
    }});
    let what = format!("all of a recipe, by the profile {profile}");
    let parent = ArtifactKind::Image;
    Variant { what, profile: profile.to_owned(), is_of_chain: true, spec, publish: Some(publish), parent }
}

/// The same, of a box.
fn full_box_by(profile: &str) -> Variant {
    let key = |key: &str| json!({"name": "vendor", "key": key});
    let spec = json!({
        "from": {"link": "base"},
        "source": {"git": {"url": "https://git.example/shop.git", "secretRef": {"name": "git"}}},
        "build": {"box": {"format": "Vagrant", "provider": "VirtualBox", "size": "8Gi"}},
        "verify": [
            {"pytest": {"directory": "tests"}, "login": {"user": "debian", "secretKeyRef": key("ssh")}},
            {
                "command": {"arguments": ["true"], "secretVariables": [{"name": "TOKEN", "secretKeyRef": key("token")}]},
                "login": {"user": "vagrant"},
            },
        ],
    });
    let publish = json!({"box": {
        "repository": "registry.example/team-a/web", "tags": ["1", "latest"], "secretRef": {"name": "publish"},
    }});
    let what = format!("all of a box, by the profile {profile}");
    let parent = ArtifactKind::Image;
    Variant { what, profile: profile.to_owned(), is_of_chain: true, spec, publish: Some(publish), parent }
}

fn has_hypervisor(profile: &str) -> bool {
    profiles()[profile].get("hypervisor").is_some()
}

/// The least that the link of a box can be, with an RFC 7386 patch.
fn least_box(what: &str, patch: &Value) -> Variant {
    let spec = json!({
        "from": {"link": "base"}, "source": {"git": {"url": "https://git.example/shop.git"}}, "build": {"box": {}},
    });
    let publish = json!({"box": {"repository": "registry.example/team-a/web", "tags": ["1"]}});
    Variant {
        profile: "accelerated".to_owned(),
        spec: merged(spec, patch),
        publish: Some(publish),
        ..least(what, &json!({}))
    }
}

/// The least that a link can be, with an RFC 7386 patch.
fn least(what: &str, patch: &Value) -> Variant {
    let spec = json!({
        "source": {"git": {"url": "https://git.example/shop.git"}},
        "build": {"packer": {"template": "a.json"}},
    });
    let publish = json!({"image": {"repository": "registry.example/team-a/web", "tags": ["1"]}});
    Variant {
        what: what.to_owned(),
        profile: "staged".to_owned(),
        is_of_chain: true,
        spec: merged(spec, patch),
        publish: Some(publish),
        parent: ArtifactKind::Image,
    }
}

/// The profiles of the variants by name, as values of the chart: those of its tests and, besides, one that uses all
/// that a profile can use and one that has but a staging repository; and two with a hypervisor, of which one names KVM.
pub fn profiles() -> Value {
    let more = json!({
        "full": {
            "images": {"builder": "registry.example/builder:1", "engine": "registry.example/engine:1"},
            "executionNamespace": BUILDS,
            "nodeSelector": {"imagechain.dev/pool": "builds"},
            "tolerations": [
                {"key": "imagechain.dev/builds", "operator": "Exists", "effect": "NoSchedule"},
                {"key": "pool", "value": "builds", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "resources": {"cpu": "2500m", "memory": "6Gi", "storage": "20Gi"},
            "maxConcurrentBuilds": 2,
            "registry": {
                "staging": {"repository": "registry.example/staging", "secretRef": {"name": "staging"}},
                "mirrors": [{"registry": "docker.io", "mirror": "mirror.example:5000"}],
                "insecure": ["mirror.example:5000"],
                "certificateAuthority": {"name": "authority"},
            },
            "deadline": "2h",
        },
        "staged": {
            "images": {"builder": "registry.example/builder:1"}, "executionNamespace": BUILDS,
            "registry": {"staging": {"repository": "registry.example/staging"}},
        },
        "emulated": {
            "engine": "None", "hypervisor": "Qemu",
            "images": {"builder": "registry.example/builder:1"}, "executionNamespace": BUILDS,
        },
        "accelerated": {
            "engine": "None", "hypervisor": "Qemu", "kvm": {"resource": KVM},
            "images": {"builder": "registry.example/builder:1"}, "executionNamespace": BUILDS,
            "resources": {"cpu": "2500m", "memory": "6Gi", "storage": "20Gi", "requests": {"cpu": "500m", "memory": "2Gi"}},
            "registry": {
                "staging": {"repository": "registry.example/staging", "secretRef": {"name": "staging"}},
                "certificateAuthority": {"name": "authority"},
            },
        },
    });
    merged(chart::values()["profiles"].clone(), &more)
}

impl Variant {
    /// The build as the operator makes it or, if it is a single one, as a user does.
    pub fn build(&self) -> Value {
        let mut spec = merged(self.spec.clone(), &json!({"profile": self.profile}));
        if self.is_of_chain {
            spec["chainRef"] = json!({"name": CHAIN, "uid": "uid-of-shop", "link": LINK});
            spec["inputs"] = self.inputs(&self.valid_profile());
        }
        object("ImageBuild", BUILD, &spec)
    }

    /// Its pod, of the second attempt.
    pub fn pod(&self) -> Value {
        let profile = self.valid_profile();
        let build = validate::build(&typed::<ImageBuild>(self.build())).expect("a build");
        let inputs = serde_json::from_value(self.inputs(&profile)).expect("inputs");
        let target = Target::of(&profile, self.valid_publish().as_ref()).expect("a repository");
        let pod = render::pod(&Attempt {
            name: BUILD,
            namespace: TENANT,
            uid: "1f0e8a52-7c8b-4d5e-9c1a-000000000001",
            number: 2,
            link: self.is_of_chain.then_some((CHAIN, LINK)),
            build: &build,
            inputs: &inputs,
            profile_name: &self.profile,
            profile: &profile,
            target: &target,
            operator: Operator { image: OPERATOR_IMAGE, file_cache: Some(FILE_CACHE) },
        });
        serde_json::to_value(pod).expect("JSON")
    }

    fn valid_profile(&self) -> ValidProfile {
        let profile = object("BuildProfile", &self.profile, &profiles()[&self.profile]);
        validate::profile(&typed::<BuildProfile>(profile)).expect("a profile")
    }

    fn valid_publish(&self) -> Option<Destination> {
        let publish = self.publish.as_ref()?;
        let link =
            json!({"name": LINK, "build": self.spec["build"], "publish": publish, "from": self.spec.get("from")});
        // Of the link that is its parent only the name counts.
        let below = json!({"name": "base", "build": {"packer": {"template": "a.json"}}});
        let spec = json!({"profiles": [self.profile], "source": self.spec["source"], "links": [below, link]});
        let chain = validate::chain(&typed::<ImageChain>(object("ImageChain", CHAIN, &spec))).expect("a chain");
        chain.links.into_iter().find(|link| link.name == LINK)?.recipe.publish
    }

    /// What all that it names was resolved to.
    fn inputs(&self, profile: &ValidProfile) -> Value {
        let parent = self.spec.get("from").map(|_| format!("registry.example/debian@{}", digest('b')));
        let inputs = json!({
            "key": "a".repeat(64), "parent": parent, "revision": "c".repeat(40), "files": "d".repeat(64),
            "platform": profile.platform, "builder": resolved(&profile.builder), "engine": resolved(&profile.engine_image),
            "containerEngine": profile.engine,
        });
        let of_box = json!({"hypervisor": profile.hypervisor, "parentKind": self.parent});
        if profile.hypervisor.is_some() { merged(inputs, &of_box) } else { inputs }
    }
}

/// As the operator resolves an image: what has no digest got one from its registry.
fn resolved(image: &Reference) -> String {
    let digest = image.digest.as_ref().map_or_else(|| digest('a'), ToString::to_string);
    format!("{}@{digest}", image.repository)
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": TENANT},
        "spec": spec,
    })
}

fn typed<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object")
}

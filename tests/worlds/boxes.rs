//! Chains whose links make images and boxes, each by its profile.

use imagechain::api::{
    boxes::ArtifactKind,
    chain::{ImageChainStatus, LinkState, LinkStatus},
};
use serde_json::{Value, json};

use crate::world::{World, chain, link};

/// A link by the profile with a hypervisor.
fn machine_box(name: &str, parent: &str, build: Value) -> Value {
    json!({
        "name": name, "profile": "boxes", "from": {"link": parent}, "build": build,
        "publish": {"box": {"repository": format!("r.example/shop/{name}"), "tags": ["1"]}},
    })
}

/// A chain that names both profiles.
fn mixed(links: &[Value]) -> Value {
    let mut spec = chain(links);
    spec["profiles"] = json!(["docker", "boxes"]);
    spec["triggers"] = json!({"interval": "5m"});
    spec
}

fn links() -> [Value; 4] {
    [
        link("base", None),
        machine_box("vm", "base", json!({"box": {"size": "8Gi"}})),
        machine_box("virtualbox", "vm", json!({"box": {"provider": "VirtualBox"}})),
        machine_box("disk", "vm", json!({"box": {"format": "Raw"}})),
    ]
}

/// A world with both profiles.
fn world() -> World {
    let mut world = World::new();
    world.put_profile_named("boxes", json!({"engine": "None", "hypervisor": "Qemu"}));
    world.push(&["base", "README"]);
    world
}

/// A world in which an image, the box of it and two other forms of that are published.
fn settled() -> World {
    let mut world = world();
    world.apply("shop", mixed(&links()));
    world.settle();
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));
    world
}

fn state_of<'s>(status: &'s ImageChainStatus, link: &str) -> &'s LinkStatus {
    status.links.iter().find(|each| each.name.0 == link).unwrap()
}

#[test]
fn the_box_of_an_image_and_its_other_forms_are_built_in_order_and_published() {
    let world = settled();
    assert_eq!(
        world.made_since(0),
        ["base: FirstBuild", "vm: FirstBuild", "virtualbox: FirstBuild", "disk: FirstBuild"]
    );
    assert_eq!(world.tags.len(), 4);
    let inputs = |link: &str| {
        let build = world.builds.values().find(|build| build.spec.chain_ref.as_ref().unwrap().link.0 == link).unwrap();
        build.spec.inputs.clone().unwrap()
    };
    for (link, parent) in [("vm", ArtifactKind::Image), ("virtualbox", ArtifactKind::Box), ("disk", ArtifactKind::Box)]
    {
        assert_eq!(inputs(link).parent_kind, parent, "{link}");
        assert!(inputs(link).hypervisor.is_some(), "{link}");
    }
    assert_eq!(inputs("base").hypervisor, None);
}

/// Who reads a status of an image sees nothing of boxes.
#[test]
fn a_status_tells_an_image_by_its_id_and_a_box_by_its_checksum() {
    let world = settled();
    let status = world.status("shop");
    let verified = |link: &str| serde_json::to_value(state_of(&status, link).verified.as_ref().unwrap()).unwrap();
    let (image, made) = (verified("base"), verified("vm"));
    assert!(image["imageId"].as_str().unwrap().starts_with("sha256:"), "{image}");
    assert!(image.get("kind").is_none() && image.get("contentDigest").is_none(), "{image}");
    assert_eq!(made["kind"], "Box");
    assert!(made["contentDigest"].as_str().unwrap().starts_with("sha256:") && made.get("imageId").is_none(), "{made}");
    let ready = |link: &str| {
        let build = world.builds.values().find(|build| build.spec.chain_ref.as_ref().unwrap().link.0 == link).unwrap();
        let conditions = build.status.clone().unwrap().conditions;
        conditions.into_iter().find(|each| each.type_ == "Ready").unwrap().message
    };
    assert_eq!(ready("base"), "the image is built; there are no tests");
    assert_eq!(ready("vm"), "the box is built; there are no tests");
}

#[test]
fn what_stands_on_an_image_is_rebuilt_with_it_and_not_with_other_files() {
    let mut world = settled();
    let moment = world.log.builds.len();
    world.push(&["README"]);
    world.pass(600);
    world.settle();
    assert_eq!(world.made_since(moment), [""; 0], "no file of the source decides a box that is made of its parent");
    world.push(&["base"]);
    world.pass(600);
    world.settle();
    assert_eq!(
        world.made_since(moment),
        ["base: SourceChanged", "vm: ParentChanged", "virtualbox: ParentChanged", "disk: ParentChanged"]
    );
    let moment = world.log.builds.len();
    world.edit("shop", |spec| spec["links"][1]["build"]["box"]["size"] = json!("9Gi"));
    world.settle();
    assert_eq!(world.made_since(moment), ["vm: SpecChanged", "virtualbox: ParentChanged", "disk: ParentChanged"]);
    let moment = world.log.builds.len();
    world.edit("shop", |spec| spec["links"][3]["build"]["box"]["format"] = json!("Qcow2"));
    world.settle();
    assert_eq!(world.made_since(moment), ["disk: SpecChanged"]);
}

/// Boxes that no link has made: one by its checksum, and one whose tag is looked up.
#[test]
fn a_link_stands_on_boxes_of_others() {
    let file = |sha256: &str| json!({"box": {"url": "https://boxes.example/debian.box", "sha256": sha256.repeat(64)}});
    let convert = |name: &str, from: Value| {
        let mut link = machine_box(name, "", json!({"box": {"format": "Raw"}}));
        link["from"] = from;
        link
    };
    let mut world = world();
    world.bases.insert("r.example/boxes/debian:13".to_owned(), 1);
    let registry = convert("registry", json!({"box": {"reference": "r.example/boxes/debian:13"}}));
    world.apply("shop", mixed(&[convert("file", file("0")), registry]));
    world.settle();
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));
    let builds = world.builds.values().map(|build| build.spec.inputs.clone().unwrap());
    let parents: Vec<_> = builds.map(|inputs| (inputs.parent_kind, inputs.parent.is_some())).collect();
    assert_eq!(parents, [(ArtifactKind::Box, false), (ArtifactKind::Box, true)]);

    let moment = world.log.builds.len();
    world.bases.insert("r.example/boxes/debian:13".to_owned(), 2);
    world.pass(600);
    world.settle();
    assert_eq!(world.made_since(moment), ["registry: BaseImageChanged"]);

    let moment = world.log.builds.len();
    world.edit("shop", |spec| spec["links"][0]["from"]["box"]["url"] = json!("https://mirror.example/debian.box"));
    world.settle();
    assert_eq!(world.made_since(moment), [""; 0], "the same file from another place is the same");
    world.edit("shop", |spec| spec["links"][0]["from"] = file("1"));
    world.settle();
    assert_eq!(world.made_since(moment), ["file: SpecChanged"]);

    let moment = world.log.builds.len();
    let iso = json!([{"name": "iso", "url": "https://files.example/a.iso", "sha256": "2".repeat(64)}]);
    world.edit("shop", |spec| spec["links"][1]["files"] = iso);
    world.settle();
    assert_eq!(world.made_since(moment), ["registry: SpecChanged"]);
}

/// The profile makes the same of the same: who adds acceleration need not build anew.
#[test]
fn boxes_are_the_same_with_and_without_kvm() {
    let mut world = settled();
    let moment = world.log.builds.len();
    let kvm = json!({"resource": "devices.kubevirt.io/kvm"});
    world.put_profile_named("boxes", json!({"engine": "None", "hypervisor": "Qemu", "kvm": kvm}));
    world.pass(600);
    world.settle();
    assert_eq!(world.made_since(moment), [""; 0]);
}

/// What a profile cannot make is told of the link, and nothing is built in vain.
#[test]
fn a_link_that_does_not_fit_its_profile_or_its_parent_waits_for_a_correction() {
    let packer = json!({"packer": {"template": "web/a.json"}});
    let by = |mut link: Value, profile: &str| {
        link["profile"] = json!(profile);
        link
    };
    let image_on_box = link("web", Some("vm"));
    let mut to_image = machine_box("web", "base", json!({"box": {}}));
    to_image["publish"] = json!({"image": {"repository": "r.example/shop/web", "tags": ["1"]}});
    for (wrong, sentence) in [
        (
            image_on_box,
            "it stands on a box, and the BuildProfile «docker» makes images: name a profile with a hypervisor",
        ),
        (
            machine_box("web", "base", packer),
            "it stands on an image, and packer starts machines from boxes: make a box of the image by a link with \
             build.box, and stand on that",
        ),
        (to_image, "the BuildProfile «boxes» makes boxes: write publish.box instead of publish.image"),
        (
            by(machine_box("web", "base", json!({"box": {}})), "docker"),
            "the BuildProfile «docker» makes images: write publish.image instead of publish.box",
        ),
        (
            {
                let mut link = by(machine_box("web", "base", json!({"box": {}})), "docker");
                link.as_object_mut().unwrap().remove("publish");
                link
            },
            "build.box makes a box, and the BuildProfile «docker» makes images: name a profile with a hypervisor",
        ),
    ] {
        let mut world = world();
        world.push(&["web"]);
        let [base, vm, ..] = links();
        world.apply("shop", mixed(&[base, vm, wrong]));
        world.settle();
        assert_eq!(world.made_since(0), ["base: FirstBuild", "vm: FirstBuild"], "{sentence}");
        let status = world.status("shop");
        let held = state_of(&status, "web");
        assert_eq!(held.state, LinkState::Stalled, "{sentence}");
        assert_eq!(serde_json::to_value(held).unwrap()["reason"], "SpecInvalid", "{sentence}");
        assert_eq!(held.message.as_deref(), Some(sentence));
    }
}

/// The kind of a parent is that of its product, wherever its link is.
#[test]
fn a_box_stands_on_a_link_of_another_chain() {
    let mut world = settled();
    let from = |link: &str| json!({"chain": {"name": "shop", "link": link}});
    let mut disk = machine_box("other", "-", json!({"box": {"format": "Qcow2"}}));
    disk["from"] = from("vm");
    let mut image = link("image", None);
    image["from"] = from("vm");
    world.apply("disks", mixed(&[disk, image]));
    world.push(&["image"]);
    world.settle();
    let status = world.status("disks");
    assert_eq!(state_of(&status, "other").state, LinkState::Ready);
    assert_eq!(state_of(&status, "image").state, LinkState::Stalled);
}

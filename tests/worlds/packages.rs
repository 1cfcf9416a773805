//! Boxes in a package registry: each version is a file that is never replaced.

use imagechain::api::{
    chain::{LinkState, LinkStatus},
    condition::Reason,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::world::{World, chain, digest};

const ADDRESS: &str = "https://git.example/api/packages/team-a/vagrant/vm";

fn gitea(version: &str, provider: &str) -> Value {
    json!({"gitea": {"url": "https://git.example", "tag": "team-a/vm", "version": version, "provider": provider,
        "secretRef": {"name": "gitea"}}})
}

/// A link by the profile with a hypervisor, of a box by packer.
fn vm(version: &str) -> Value {
    json!({
        "name": "vm", "profile": "boxes", "build": {"packer": {"template": "vm/a.json"}}, "paths": ["vm"],
        "publish": gitea(version, "Libvirt"),
    })
}

/// A world with a chain of one link, which looks every five minutes and puts back what is gone; published.
fn settled(version: &str) -> World {
    let mut world = World::new();
    world.put_profile_named("boxes", json!({"engine": "None", "hypervisor": "Qemu"}));
    world.push(&["vm"]);
    let mut spec = chain(&[vm(version)]);
    spec["profiles"] = json!(["docker", "boxes"]);
    spec["triggers"] = json!({"interval": "5m"});
    world.apply("shop", spec);
    world.settle();
    world
}

fn link(world: &World) -> LinkStatus {
    world.status("shop").links.remove(0)
}

/// The address of the file of a version.
fn file(version: &str) -> String {
    format!("{ADDRESS}/{version}/libvirt.box")
}

/// The version of the last build.
fn version(world: &World) -> String {
    let time = world.builds.values().map(|build| build.creation_timestamp().unwrap().0.as_second()).max().unwrap();
    format!("0.1.{time}")
}

fn content(world: &World) -> String {
    link(world).verified.unwrap().content.digest().to_owned()
}

#[test]
fn each_build_is_a_version_and_those_before_stay() {
    let mut world = settled("0.1.{{timestamp}}");
    let first = (file(&version(&world)), content(&world));
    let published = link(&world).published.unwrap();
    assert_eq!(
        (published.repository.to_string(), published.tags[0].to_string()),
        (ADDRESS.to_owned(), version(&world))
    );
    assert_eq!(json!(published)["provider"], "Libvirt");
    assert_ne!(published.digest.0, first.1, "the digest is that of the staged manifest");
    let last = world.status("shop").last_image.unwrap();
    assert_eq!(last, format!("{}@{}", first.0, published.digest));
    world.pass(60);
    world.push(&["vm"]);
    world.settle();
    let second = (file(&version(&world)), content(&world));
    assert_eq!(world.tags.clone().into_iter().collect::<Vec<_>>(), [first, second]);
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));
}

#[test]
fn a_version_that_is_there_holds_up_the_next_build_until_another_is_written() {
    let mut world = settled("1.0.0");
    let first = content(&world);
    world.push(&["vm"]);
    world.settle();
    assert_eq!((link(&world).state, link(&world).reason), (LinkState::Stalled, Some(Reason::OutputConflict)));
    assert_eq!(link(&world).published.unwrap().tags[0].to_string(), "1.0.0", "it says what is published still");
    assert_eq!(world.tags, [(file("1.0.0"), first.clone())].into());
    let builds = world.log.builds.len();
    world.edit("shop", |spec| spec["links"][0]["publish"] = gitea("1.0.1", "Libvirt"));
    world.settle();
    assert_eq!(link(&world).state, LinkState::Ready);
    assert_eq!(world.tags, [(file("1.0.0"), first), (file("1.0.1"), content(&world))].into());
    assert_eq!(world.log.builds.len(), builds, "what was built is published");
}

#[test]
fn a_file_that_is_gone_is_put_back_and_another_one_is_told() {
    let mut world = settled("1.0.0");
    let (place, ours, builds) = (file("1.0.0"), content(&world), world.log.builds.len());
    let drifted = |world: &World| world.status("shop").conditions.into_iter().find(|each| each.type_ == "Drifted");
    world.move_tag(&place, None);
    world.pass(331);
    world.reconcile_chain(0, "shop", usize::MAX);
    let message = drifted(&world).unwrap().message;
    assert!(message.starts_with(&format!("«vm»: {place} is gone (since ")), "{message}");
    world.settle();
    assert_eq!((world.tags[&place].clone(), drifted(&world)), (ours, None));
    world.move_tag(&place, Some("theirs"));
    world.pass(331);
    world.settle();
    let message = drifted(&world).unwrap().message;
    let theirs = digest(&["theirs"]);
    let told = format!("«vm»: {place} is another file, with the SHA-256 {theirs} (since ");
    assert!(message.starts_with(&told), "{message}");
    assert!(message.ends_with("; it cannot be put back now: it is another file"), "{message}");
    assert_eq!((world.tags[&place].clone(), world.log.builds.len()), (theirs, builds));
    assert_eq!(world.condition("shop", "Ready").0, "True", "what was published is of this generation");
}

/// Of two links for two providers each has its file, and nobody takes it away.
#[test]
fn two_providers_share_a_version() {
    let mut world = settled("1.0.0");
    world.edit("shop", |spec| {
        let links = spec["links"].as_array_mut().unwrap();
        links.push(json!({
            "name": "virtualbox", "profile": "boxes", "from": {"link": "vm"},
            "build": {"box": {"provider": "VirtualBox"}}, "publish": gitea("1.0.0", "VirtualBox"),
        }));
    });
    world.settle();
    assert_eq!(world.condition("shop", "Ready"), ("True".to_owned(), "LinksReady".to_owned()));
    let files: Vec<_> = world.tags.keys().cloned().collect();
    assert_eq!(files, [file("1.0.0"), format!("{ADDRESS}/1.0.0/virtualbox.box")]);
    let mut other = chain(&[vm("1.0.0")]);
    other["profiles"] = json!(["docker", "boxes"]);
    world.apply("other", other);
    world.settle();
    let other = world.status("other").links.remove(0);
    assert_eq!((other.state, other.reason), (LinkState::Stalled, Some(Reason::OutputConflict)));
    let message = other.message.unwrap();
    assert!(message.starts_with(&format!("{} belongs to the ImageChain «shop»", file("1.0.0"))), "{message}");
}

#[test]
fn what_cannot_be_published_there_is_told_before_anything_is_built() {
    for (profile, publish, reason, says) in [
        (
            "docker",
            gitea("1.0.0", "Libvirt"),
            Reason::SpecInvalid,
            "makes images: write publish.image instead of publish.gitea",
        ),
        ("bare", gitea("1.0.0", "Libvirt"), Reason::StagingMissing, "publish.gitea takes what is staged in a registry"),
    ] {
        let mut world = World::new();
        world.put_profile_named("bare", json!({"engine": "None", "hypervisor": "Qemu", "registry": {"staging": null}}));
        world.push(&["vm"]);
        let mut spec = chain(&[vm("1.0.0")]);
        spec["profiles"] = json!(["docker", "bare"]);
        (spec["links"][0]["profile"], spec["links"][0]["publish"]) = (json!(profile), publish);
        world.apply("shop", spec);
        world.settle();
        let link = link(&world);
        assert_eq!((link.state, link.reason), (LinkState::Stalled, Some(reason)), "{link:?}");
        assert!(link.message.as_deref().unwrap().contains(says), "{link:?}");
        assert_eq!((world.log.builds.len(), world.tags.len()), (0, 0));
    }
}

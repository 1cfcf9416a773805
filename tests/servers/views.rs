//! What people and programs see of a chain at different moments of its life: `kubectl get` and `kubectl
//! describe` from a real API server (docs/kubectl.md), and the objects that Argo CD's health checks are tested
//! with (gitops/argocd). The statuses are the core's own, from the small world of tests/worlds/world.

use std::{fmt::Write as _, fs, path::Path};

use imagechain::api::{build::ImageBuild, chain::ImageChain, condition::Reason, crd};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::json;

use crate::support::apiserver::ApiServer;
use crate::world::{NAMESPACE, World, chain, link};

/// A moment in the life of a chain.
struct Story {
    name: &'static str,
    title: &'static str,
    world: World,
}

/// The chain `shop`: a base with systemd, an image with a web server, and its variant for developers.
fn begun() -> World {
    let mut world = World::new();
    world.push(&["systemd", "web", "dev"]);
    let mut spec = chain(&[link("systemd", None), link("web", Some("systemd")), link("dev", Some("web"))]);
    spec["triggers"] = json!({"interval": "5m"});
    world.apply("shop", spec);
    world
}

fn finished() -> World {
    let mut world = begun();
    world.settle();
    world
}

/// The files of a link are pushed, and cannot be built.
fn broken(world: &mut World, link: &str) {
    world.push(&[link]);
    world.broken.insert((link.to_owned(), world.files[link]));
}

fn after(mut world: World, change: impl FnOnce(&mut World)) -> World {
    change(&mut world);
    world
}

fn stories() -> Vec<Story> {
    let story = |name, title, world| Story { name, title, world };
    vec![
        story("new", "Just applied: nobody has looked at it yet", begun()),
        story(
            "running",
            "At work: the first link is ready, the second is being built",
            after(begun(), |world| {
                let is_built = |world: &World| {
                    let links = world.status("shop").links;
                    links.get(1).is_some_and(|link| link.reason == Some(Reason::Building))
                };
                for _ in 0..30 {
                    // The chain sees what the build has come to in the round before.
                    world.round();
                    world.round();
                    if is_built(world) {
                        return;
                    }
                    world.pass(20);
                }
                panic!("the second link is never built");
            }),
        ),
        story("finished", "Finished: all links are built, tested and published", finished()),
        story(
            "failed",
            "Failed: the first build of the second link fails, and what stands on it waits",
            after(begun(), |world| {
                broken(world, "web");
                world.settle();
            }),
        ),
        story(
            "degraded",
            "Degraded: a rebuild after a push has failed, and the earlier images stay published",
            after(finished(), |world| {
                broken(world, "web");
                world.settle();
            }),
        ),
        story(
            "waiting",
            "Waiting: the registry refuses the operator's credential, which may be mended",
            after(begun(), |world| {
                world.outage.push = true;
                while world.status("shop").links.first().is_none_or(|link| link.reason != Some(Reason::PushDenied)) {
                    world.round();
                    world.pass(20);
                }
            }),
        ),
        story(
            "blocked",
            "Blocked: it refuses it for longer than `timeouts.dependency`",
            after(begun(), |world| {
                world.outage.push = true;
                world.settle();
            }),
        ),
        story(
            "drifted",
            "Drifted: somebody has moved a published tag, and `spec.drift` is `Report`",
            after(finished(), |world| {
                world.edit("shop", |spec| spec["drift"] = json!("Report"));
                world.settle();
                world.move_tag("r.example/shop/web:1", Some("somebody's own image"));
                world.settle();
            }),
        ),
        story(
            "suspended",
            "Suspended: a push is seen, and nothing is built until spec.suspend is gone",
            after(finished(), |world| {
                world.push(&["web"]);
                world.edit("shop", |spec| spec["suspend"] = json!(true));
                world.settle();
            }),
        ),
        story(
            "held",
            "Suspended, with a recipe that was changed: no image of it is promised",
            after(finished(), |world| {
                world.edit("shop", |spec| {
                    spec["suspend"] = json!(true);
                    spec["links"][1]["build"]["packer"]["variables"] = json!({"port": "8080"});
                });
                world.settle();
            }),
        ),
    ]
}

/// Compares what is committed with what is made; what is made is left for a look. The answer is what differs.
fn differs(committed: &str, made: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("views").join(committed);
    fs::create_dir_all(path.parent().unwrap()).expect("a folder for what tests make");
    fs::write(&path, made).expect("a file");
    let there = fs::read_to_string(root.join(committed)).unwrap_or_default();
    (there != made).then(|| format!("{committed} is not up to date: compare it with {}", path.display()))
}

#[test]
fn argo_cd_is_tested_with_what_the_operator_writes() {
    let as_yaml = |object: &serde_json::Value| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        serde_saphyr::to_string(&object).unwrap()
    };
    let mut differences = Vec::new();
    for story in stories() {
        let object = serde_json::to_value(&story.world.chains["shop"]).unwrap();
        let text = format!("# {}.\n{}", story.title, as_yaml(&object));
        differences.extend(differs(&format!("gitops/argocd/ImageChain/testdata/{}.yaml", story.name), &text));
    }
    let denied = after(begun(), |world| {
        world.denied = true;
        world.settle();
    });
    for build in denied.builds.values() {
        let text = as_yaml(&serde_json::to_value(build).unwrap());
        differences.extend(differs("gitops/argocd/ImageBuild/testdata/denied.yaml", &text));
    }
    let failed = stories().into_iter().find(|story| story.name == "failed").unwrap().world;
    for build in failed.builds.values() {
        let link = &build.spec.chain_ref.as_ref().unwrap().link;
        let text = as_yaml(&serde_json::to_value(build).unwrap());
        differences.extend(differs(&format!("gitops/argocd/ImageBuild/testdata/{link}.yaml"), &text));
    }
    assert_eq!(differences, Vec::<String>::new());
}

/// An API server with our kinds.
async fn cluster() -> (ApiServer, Client) {
    let server = ApiServer::start().expect("a server");
    let client = server.admin().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in crd::all() {
        let name = definition.name_any();
        let patch = Patch::Apply(&definition);
        definitions.patch(&name, &PatchParams::apply("test"), &patch).await.expect("a definition");
        await_condition(definitions.clone(), &name, conditions::is_crd_established()).await.expect("an answer");
    }
    (server, client)
}

/// Puts the objects of a world into a namespace, with their statuses.
async fn put(client: &Client, namespace: &str, world: &World) {
    let name = json!({"metadata": {"name": namespace}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(name).unwrap()).await.expect("a namespace");
    for object in world.chains.values() {
        let chains: Api<ImageChain> = Api::namespaced(client.clone(), namespace);
        let bare = ImageChain::new(&object.name_any(), object.spec.clone());
        chains.create(&PostParams::default(), &bare).await.expect("a chain");
        let status = Patch::Merge(json!({"status": object.status}));
        chains.patch_status(&object.name_any(), &PatchParams::default(), &status).await.expect("a status");
    }
    for object in world.builds.values() {
        let builds: Api<ImageBuild> = Api::namespaced(client.clone(), namespace);
        let bare = ImageBuild::new(&object.name_any(), object.spec.clone());
        builds.create(&PostParams::default(), &bare).await.expect("a build");
        let status = Patch::Merge(json!({"status": object.status}));
        builds.patch_status(&object.name_any(), &PatchParams::default(), &status).await.expect("a status");
    }
}

/// What changes from run to run is written as it may be; the spec, which a reader knows, is left out.
fn settled(text: &str, namespace: &str) -> String {
    let mut out = String::new();
    let mut in_spec = false;
    for line in text.replace(&format!("Namespace:    {namespace}"), &format!("Namespace:    {NAMESPACE}")).lines() {
        if in_spec && line.starts_with(' ') {
            continue;
        }
        in_spec = line == "Spec:";
        let value = |key: &str| line.trim_start().starts_with(key);
        let indent = &line[..line.len() - line.trim_start().len()];
        let line = match () {
            () if value("Creation Timestamp:") => format!("{indent}Creation Timestamp:  2026-11-21T08:00:00Z"),
            () if value("Resource Version:") => format!("{indent}Resource Version:    1234"),
            () if value("UID:") && indent == "  " => format!("{indent}UID:                 cf3a53e8-…"),
            () if in_spec => "Spec:\n  …".to_owned(),
            () => aged(line.trim_end()),
        };
        out += &line;
        out.push('\n');
    }
    out
}

/// A line of a table, whose last column is the age of an object that was just made.
fn aged(line: &str) -> String {
    match line.rsplit_once(' ') {
        Some((before, age)) if age.strip_suffix('s').is_some_and(|age| age.parse::<u8>().is_ok()) => {
            format!("{before} 2m")
        }
        _ => line.to_owned(),
    }
}

#[tokio::test]
async fn kubectl_shows_what_is_going_on() {
    let (server, client) = cluster().await;
    let started = server.started().expect("a server of ours");
    let kubectl = |arguments: &[&str]| {
        let output = started.kubectl().expect("kubectl").args(arguments).output().expect("an answer");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut page = INTRODUCTION.to_owned();
    for story in stories() {
        put(&client, story.name, &story.world).await;
        write!(page, "\n## {}\n", story.title).unwrap();
        for (shown, arguments) in [
            ("get ic,ib", vec!["get", "imagechains,imagebuilds", "-n", story.name]),
            ("describe ic shop", vec!["describe", "imagechain/shop", "-n", story.name]),
        ] {
            let text = settled(&kubectl(&arguments), story.name);
            write!(page, "\n```\n$ kubectl {shown} -n {NAMESPACE}\n{}\n```\n", text.trim_end()).unwrap();
        }
    }
    assert_eq!(differs("docs/kubectl.md", &page), None);
}

const INTRODUCTION: &str = "# What kubectl shows

The same chain of three links at several moments of its life. This page is made by `tests/servers/views.rs` from the
operator's own statuses and a real API server. What conditions and reasons mean: [conditions.md](conditions.md).
";

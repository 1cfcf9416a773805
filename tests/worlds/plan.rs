//! `imagechain plan` as its users see it: the examples of docs/plan.md are what it prints. After a change of
//! its words, the test leaves the new page and files under target/plan for a look.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use imagechain::{api::REQUESTED_AT, plan::lookup};
use serde_json::{Value, json};

use crate::world::{World, chain, link};

/// One example: what a user wants to know, and the files that tell it.
struct Example {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    documents: Vec<Value>,
}

fn example(name: &'static str, title: &'static str, text: &'static str, documents: Vec<Value>) -> Example {
    Example { name, title, text, documents }
}

/// What `kubectl get imagechains,imagebuilds,buildprofiles --output yaml` prints, as single documents.
fn dump(world: &World) -> Vec<Value> {
    let strip = |mut object: Value| {
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion"));
        object
    };
    let chains = world.chains.values().map(|each| serde_json::to_value(each).unwrap());
    let builds = world.builds.values().map(|each| serde_json::to_value(each).unwrap());
    let profiles = world.profiles.values().map(|each| serde_json::to_value(each).unwrap());
    chains.chain(builds).chain(profiles).map(strip).collect()
}

/// The chain of the examples: a base with systemd, an image with a web server, and its variant for developers.
fn shop() -> Value {
    let mut spec = chain(&[link("systemd", None), link("web", Some("systemd")), link("dev", Some("web"))]);
    spec["source"]["git"]["directory"] = json!("images");
    spec
}

fn object(spec: Value) -> Value {
    named("shop", spec)
}

fn named(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
        "metadata": {"name": name, "namespace": "team-a"}, "spec": spec,
    })
}

/// A world in which the chain is up to date.
fn settled() -> World {
    let mut world = World::new();
    world.push(&["images"]);
    world.apply("shop", shop());
    world.settle();
    assert_eq!(world.condition("shop", "Ready").0, "True");
    world
}

fn after(change: impl FnOnce(&mut World)) -> Vec<Value> {
    let mut world = settled();
    change(&mut world);
    dump(&world)
}

fn examples() -> Vec<Example> {
    let mut examples = good_examples();
    examples.extend(bad_examples());
    examples
}

fn good_examples() -> Vec<Example> {
    let files = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "namespace": "team-a"},
            "data": {"systemd.json": "{}", "web.json": text},
        })
    };
    vec![
        example(
            "first",
            "A chain that is not in the cluster yet",
            "A file before its first `kubectl apply`. Nobody is asked, so what it names is assumed to be there.",
            vec![object(shop())],
        ),
        example("up-to-date", "Nothing to do", "Chain, builds and profile as the cluster has them.", after(|_| {})),
        example(
            "recipe",
            "A changed recipe",
            "In the file, a variable was added to the second link: it is built again, and then what stands on it.",
            after(|world| {
                world.edit("shop", |spec| {
                    spec["links"][1]["build"]["packer"]["variables"] = json!({"port": "8080"});
                });
                same_generation(world);
            }),
        ),
        example(
            "files",
            "Changed files",
            "The source is a `ConfigMap`, one entry of which was changed in the file. Links name what of it decides \
             their result, so one link is built, not both.",
            {
                let mut world = World::new();
                let entries = [("systemd.json".to_owned(), "{}".to_owned()), ("web.json".to_owned(), "{}".to_owned())];
                world.config_maps.insert("files".to_owned(), entries.into());
                let (mut systemd, mut web) = (link("systemd", None), link("web", Some("systemd")));
                for (link, template) in [(&mut systemd, "systemd.json"), (&mut web, "web.json")] {
                    link["build"]["packer"]["template"] = json!(template);
                    link["paths"] = json!([template]);
                }
                let mut spec = chain(&[systemd, web]);
                spec["source"] = json!({"configMap": {"name": "files"}});
                world.apply("shop", spec);
                world.settle();
                let mut documents = dump(&world);
                documents.push(files("{\"builders\": []}"));
                documents
            },
        ),
        example(
            "publish",
            "Another tag",
            "Only where the image is published was changed: nothing is built, the tested image gets the tag.",
            after(|world| {
                world.edit("shop", |spec| spec["links"][1]["publish"]["image"]["tags"] = json!(["1", "latest"]));
                same_generation(world);
            }),
        ),
        example(
            "request",
            "A rebuild on request",
            "Somebody set the annotation `imagechain.dev/requestedAt`.",
            after(|world| world.annotate("shop", REQUESTED_AT, "2026-11-21")),
        ),
        example(
            "several",
            "Several chains at once",
            "The first link of `shop` stands on a link of `os`, and neither is built yet: one plan tells of both.",
            vec![
                object({
                    let mut spec = shop();
                    spec["links"][0]["from"] = json!({"chain": {"name": "os", "link": "base"}});
                    spec
                }),
                named("os", chain(&[link("base", None)])),
            ],
        ),
        example("running", "A build that runs", "The second link is being built; the third waits for it.", {
            let mut world = World::new();
            world.push(&["images"]);
            world.apply("shop", shop());
            while world.builds.len() < 2 {
                world.round();
                world.pass(10);
            }
            world.round();
            dump(&world)
        }),
    ]
}

fn bad_examples() -> Vec<Example> {
    vec![
        example(
            "failed",
            "A link that failed",
            "The rebuild of the second link failed. It is not tried again before something changes, and what stands \
             on it is left as it is; the earlier images stay published.",
            after(|world| {
                world.broken.insert(("web".to_owned(), 0));
                world.edit("shop", |spec| {
                    spec["links"][1]["build"]["packer"]["variables"] = json!({"port": "none"});
                });
                world.settle();
            }),
        ),
        example(
            "dependency",
            "What it stands on is not there",
            "The first link stands on a link of another chain, of which the files know nothing.",
            vec![object({
                let mut spec = shop();
                spec["links"][0]["from"] = json!({"chain": {"name": "os", "link": "base"}});
                spec
            })],
        ),
        example(
            "conflict",
            "A tag of an older chain",
            "Two chains publish the same tag: it belongs to the older one.",
            after(|world| {
                world.pass(60);
                let mut copy = shop();
                copy["links"].as_array_mut().unwrap().truncate(1);
                world.apply("copy", copy);
            }),
        ),
        example(
            "invalid",
            "Objects that are wrong in themselves",
            "The API server refuses most of this too, but tells one problem at a time.",
            vec![object({
                let mut spec = shop();
                spec["links"].as_array_mut().unwrap().swap(0, 1);
                spec["links"][2]["build"]["packer"]["template"] = json!("../dev.json");
                spec["links"][2]["build"]["packer"]["variables"] = json!({"who": "$(whoami)"});
                spec
            })],
        ),
    ]
}

/// A file that was changed is not in the cluster yet: its generation is that of what is.
fn same_generation(world: &mut World) {
    for chain in world.chains.values_mut() {
        let chain = std::sync::Arc::make_mut(chain);
        chain.metadata.generation = chain.status.as_ref().map(|status| status.observed_generation);
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_imagechain")).args(arguments).current_dir(folder).output();
    let output = output.expect("the program");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn page(folder: &Path) -> String {
    let mut page = INTRODUCTION.to_owned();
    for Example { name, title, text, .. } in examples() {
        let (code, printed) = run(folder, &["plan", "-f", &format!("{name}.yaml")]);
        write!(page, "\n## {title}\n\n{text}\n\n```console\n$ imagechain plan -f docs/plan/{name}.yaml\n").unwrap();
        write!(page, "{printed}```\n\nIt ends with {code}.\n").unwrap();
    }
    page
}

const INTRODUCTION: &str = "# What would be built, and why

`imagechain plan` tells what the operator would do with each link of a chain, by the same decisions that the
operator takes. It asks nobody: what the files do not hold is assumed, and the assumptions are listed. Give it
what the cluster knows, and it needs fewer:

```console
$ kubectl get imagechains,imagebuilds,configmaps --namespace team-a --output yaml > cluster.yaml
$ kubectl get buildprofiles --output yaml > profiles.yaml
$ imagechain plan -f cluster.yaml profiles.yaml
```

It ends with 0 where there is nothing to do, with 2 where something would be built or published, and with 1
where something is wrong: a pipeline can tell them apart. `--output json` is for programs.

The files of these examples are in [plan/](plan); `tests/worlds/plan.rs` holds this page to what the program prints.
";

#[test]
fn the_examples_are_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plan");
    fs::create_dir_all(&made).unwrap();
    let mut changed = Vec::new();
    let mut compare = |name: String, text: &str, path: &Path| {
        fs::write(made.join(&name), text).unwrap();
        if fs::read_to_string(path).unwrap_or_default() != text {
            changed.push(name);
        }
    };
    for Example { name, documents, .. } in examples() {
        let texts: Vec<_> = documents.iter().map(|each| serde_saphyr::to_string(each).unwrap()).collect();
        let file = format!("{name}.yaml");
        compare(file.clone(), &texts.join("---\n"), &root.join("docs/plan").join(&file));
    }
    let page = page(&made);
    compare("plan.md".to_owned(), &page, &root.join("docs/plan.md"));
    assert!(changed.is_empty(), "{changed:?} are not what is committed: compare {} with docs/", made.display());
}

#[test]
fn every_example_is_told_in_json_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan");
    let codes: Vec<_> = examples()
        .iter()
        .map(|example| {
            let file = format!("{}.yaml", example.name);
            let (code, printed) = run(&folder, &["plan", "--output", "json", "-f", &file]);
            let plans: Value = serde_json::from_str(&printed).unwrap();
            assert!(plans.as_array().is_some_and(|plans| !plans.is_empty()), "{}", example.name);
            code
        })
        .collect();
    assert_eq!(codes, [2, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1]);
}

#[test]
fn what_is_remembered_is_not_assumed() {
    let plan = settled().plan_chain(0, "shop").unwrap();
    assert_eq!(plan.lookups, Vec::<lookup::Subject>::new());
}

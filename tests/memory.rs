//! What a copy of many finished builds costs: a process of its own, whose memory is printed.

// Tests say what they expect: an answer that is not there ends them.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// A test is user and administrator: it writes as they do.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{fs, process::Command, time::Duration};

use futures::StreamExt;
use imagechain::{
    api::{build::ImageBuild, crd},
    runtime::{
        client,
        gather::prune_build,
        health::{Health, State},
        metrics::Metrics,
        watch::{Change, Options, Source, watch},
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::PostParams,
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use support::apiserver::{ApiServer, launcher};
use tokio::time::timeout;

const BUILDS: usize = 4_000;
/// No proof of anything: what takes longer hangs.
const HANGS: Duration = Duration::from_mins(5);

/// A build as it stands after its end.
fn finished(ordinal: usize) -> Value {
    let time = "2026-11-21T08:00:00Z";
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "Succeeded", "message": "the image is built and its tests passed",
            "lastTransitionTime": time, "observedGeneration": 1})
    };
    let conditions = ["Ready", "Built", "Verified"].map(condition);
    let stages = ["source", "build", "verify", "publish"]
        .map(|name| json!({"name": name, "startedAt": time, "finishedAt": time}));
    let attempt = json!({"number": 1, "pod": format!("shop-web-{ordinal:010}-1"), "podUID": "uid", "startedAt": time,
        "finishedAt": time, "outcome": "Succeeded"});
    json!({
        "apiVersion": "imagechain.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": format!("shop-web-{ordinal:010}"), "labels": {
            "imagechain.dev/chain": "shop", "imagechain.dev/link": "web",
        }},
        "spec": {
            "profile": "docker",
            "source": {"git": {"url": "https://git.example/shop.git", "revision": "main", "directory": "images"}},
            "build": {"packer": {"template": "packer/web.json", "only": ["web"], "variables": {"base": "$(parent.reference)"}}},
        },
        "status": {"observedGeneration": 1, "conditions": conditions, "stages": stages, "attempts": [attempt],
            "finishedAt": time},
    })
}

/// The resident memory of this process, in KiB, of which so much is not of files.
fn resident() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    };
    (field("VmRSS"), field("RssAnon"))
}

/// Our kinds, whose status may be written with the rest: no controller is there to do it.
async fn define(api: Api<CustomResourceDefinition>) {
    for mut definition in crd::all() {
        for version in &mut definition.spec.versions {
            version.subresources = None;
        }
        let name = definition.name_any();
        api.create(&PostParams::default(), &definition).await.expect("a definition");
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        timeout(HANGS, established).await.expect("in time").expect("a watch");
    }
}

async fn fill(api: &Api<ImageBuild>) {
    let made = futures::stream::iter(0..BUILDS).map(|ordinal| async move {
        let build: ImageBuild = serde_json::from_value(finished(ordinal)).expect("a build");
        let parameters = PostParams::default();
        // An established kind is not yet a served one.
        while let Err(error) = api.create(&parameters, &build).await {
            assert!(error.to_string().contains("404"), "{error}");
            tokio::task::yield_now().await;
        }
    });
    made.buffer_unordered(16).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn four_thousand_finished_builds_are_known_and_their_memory_is_printed() {
    let server = ApiServer::own(&mut Command::new(launcher())).expect("a server");
    define(Api::all(server.admin().await)).await;
    fill(&Api::namespaced(server.admin().await, "default")).await;
    let metrics = Metrics::default();
    let client = client::client(server.config().await, 16, &metrics).expect("a client");
    let source = Source { client, metrics, health: Health::default() };
    // As the controller watches them.
    let options = Options::<ImageBuild> { prune: prune_build, ..Options::new("builds") };
    let before = resident();
    let started = tokio::time::Instant::now();
    let (watched, mut changes) = watch(&source, &options, "", Api::all);
    let mut told = 0;
    while told < BUILDS {
        match timeout(HANGS, changes.next()).await.expect("in time").expect("a stream that never ends") {
            Change::Applied(_) => told += 1,
            Change::State(state) => assert_eq!(state, State::Live),
            Change::Deleted(build) => panic!("{} is gone", build.name_any()),
        }
    }
    let after = resident();
    println!("{BUILDS} builds in {:?}; resident: {before:?} KiB before, {after:?} KiB after", started.elapsed());
    assert_eq!(watched.store.state().len(), BUILDS);
}

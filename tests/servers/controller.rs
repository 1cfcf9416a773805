//! The controller as it is shipped: the program, with the chart's rights and gates, on a real API server, with
//! a real registry and git server. Only the kubelet is played.

mod upgrade;
mod versions;

use std::{fs, process::Command};

use imagechain::api::{
    REQUESTED_AT,
    build::{ImageBuild, Stage},
    chain::ImageChain,
    condition::Reason,
    profile::BuildProfile,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    chart::{BUILDS, NAME, SYSTEM},
    cluster::{Cluster, shared},
    kubelet::Script,
    servers::{Servers, Worktree},
    statuses::disrupted,
    tenant::{Tenant, is, message},
};

#[tokio::test]
async fn links_are_built_in_order_and_published_as_they_were_staged() {
    let tenant = Tenant::new(shared(), "three").await;
    let mut chain = tenant.chain(&["one", "two", "three"]);
    chain["metadata"]["name"] = json!("c");
    tenant.make(&chain).await;
    tenant.ready().await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "three: FirstBuild", "two: FirstBuild"]);
    for link in ["one", "two", "three"] {
        let staged = tenant.staged(link).await;
        for tag in ["1", "latest"] {
            assert_eq!(tenant.published(link, tag).await.as_ref(), Some(&staged), "{link}:{tag}");
        }
    }
    let parents: Vec<_> =
        tenant.builds().await.into_iter().map(|build| build.spec.inputs.unwrap().parent.unwrap().0).collect();
    let one = tenant.staged("one").await;
    assert!(parents.iter().any(|parent| parent.ends_with(&one)), "{parents:?}");
    let names: Vec<String> = tenant.builds().await.iter().map(ResourceExt::name_any).collect();
    let counts = tenant.stage.writes("three", &names);
    println!("writes for three links:");
    for (what, count) in &counts {
        println!("  {count:3} {what}");
    }
    assert!(counts.keys().all(|what| !what.ends_with("409")), "{counts:?}");
}

#[tokio::test]
async fn a_chain_at_rest_is_not_written() {
    let tenant = Tenant::new(shared(), "rest").await;
    let chain = tenant.chain(&["one"]);
    tenant.make(&chain).await;
    tenant.ready().await;
    let before = tenant.chain_now().await;
    tenant.edit(chain).await;
    // What follows is looked at after the re-apply, by the same loop.
    let other = tenant.chain(&["other"]);
    let mut other: Value = other;
    other["metadata"]["name"] = json!("later");
    tenant.make(&other).await;
    let done = |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "True", None));
    tenant.wait(tenant.api::<ImageChain>(), "later", "ready", done).await;
    assert_eq!(tenant.chain_now().await.resource_version(), before.resource_version());
}

#[tokio::test]
async fn what_fails_its_tests_is_not_published_and_holds_up_what_stands_on_it() {
    let tenant = Tenant::new(shared(), "fails").await;
    tenant.script("two", Script::Fail(Stage::Verify, Reason::TestsFailed));
    tenant.make(&tenant.chain(&["one", "two", "three"])).await;
    tenant.wait_chain("stalled", |chain| is(chain, "Stalled", "True", Some("TestsFailed"))).await;
    let chain = tenant.chain_now().await;
    assert!(message(&chain, "Ready").contains("kubectl logs"), "{}", message(&chain, "Ready"));
    assert_eq!(tenant.published("one", "1").await, Some(tenant.staged("one").await));
    assert_eq!((tenant.published("two", "1").await, tenant.published("three", "1").await), (None, None));
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "two: FirstBuild"]);
    // Corrected, it goes on by itself.
    tenant.script("two", Script::Succeed);
    tenant.edit(json!({"spec": {"source": {"inline": {"files": {"two/a.json": "{ }"}}}}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_push_rebuilds_what_it_touches_and_what_stands_on_that() {
    let tenant = Tenant::new(shared(), "push").await;
    let url = format!("{}/push.git", tenant.stage.servers.git());
    let work = Worktree::new(&url);
    work.commit(&[("one/a.json", "1"), ("two/a.json", "1"), ("three/a.json", "1")]);
    work.push(&["main"]);
    let mut chain = tenant.chain(&["one", "two", "three"]);
    chain["spec"]["source"] = json!({"git": {"url": url, "revision": "main"}});
    tenant.make(&chain).await;
    tenant.ready().await;
    work.commit(&[("two/a.json", "2")]);
    work.push(&["main"]);
    // Every change of the object has it looked up anew; the interval would do it within 30 s.
    tenant.edit(json!({"spec": {"triggers": {"interval": "1h"}}})).await;
    tenant.ready().await;
    assert_eq!(
        tenant.causes().await,
        ["one: FirstBuild", "three: FirstBuild", "three: ParentChanged", "two: FirstBuild", "two: SourceChanged"]
    );
}

#[tokio::test]
async fn a_request_rebuilds_and_is_answered() {
    let tenant = Tenant::new(shared(), "request").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    tenant.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    tenant
        .wait_chain("answered", |chain| {
            let handled = chain.status.as_ref().and_then(|status| status.last_handled_request.as_deref());
            handled == Some("now") && is(chain, "UpToDate", "True", None)
        })
        .await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: Requested"]);
}

#[tokio::test]
async fn another_tag_needs_no_pod() {
    let tenant = Tenant::new(shared(), "retag").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let mut links = tenant.chain(&["one"])["spec"]["links"].clone();
    links[0]["publish"]["image"]["tags"] = json!(["2"]);
    tenant.edit(json!({"spec": {"links": links}})).await;
    tenant.ready().await;
    assert_eq!(tenant.published("one", "2").await, Some(tenant.staged("one").await));
    assert_eq!(tenant.causes().await, ["one: FirstBuild"]);
}

#[tokio::test]
async fn a_plan_against_the_cluster_says_what_would_happen() {
    let tenant = Tenant::new(shared(), "plan").await;
    let mut written = tenant.chain(&["one", "two"]);
    tenant.make(&written).await;
    tenant.ready().await;
    let admin = &tenant.stage.chart.server.started().expect("our own").ready.kubeconfig;
    let plan = |object: &Value| {
        let file = tenant.stage.kubeconfig.with_file_name("plan.yaml");
        fs::write(&file, object.to_string()).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_imagechain"));
        command.args(["plan", "--cluster", "--kubeconfig"]).arg(admin).arg("-f").arg(file);
        let output = command.output().expect("the program");
        let told = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), told)
    };
    let (code, told) = plan(&written);
    assert!(code == Some(0) && told.starts_with("plan/c: 2 up to date"), "{told}");
    assert!(!told.contains("Assumed"), "{told}");
    written["spec"]["links"][1]["build"]["packer"]["variables"] = json!({"a": "1"});
    let (code, told) = plan(&written);
    assert!(code == Some(2) && told.contains("two   build       its recipe was changed"), "{told}");
    written["spec"]["links"][0]["from"] = json!({"image": format!("{}/none:1", &tenant.stage.registry)});
    let (code, told) = plan(&written);
    assert!(code == Some(1) && told.contains("one   blocked     BaseImageNotFound"), "{told}");
}

#[tokio::test]
async fn a_suspended_chain_begins_nothing() {
    let tenant = Tenant::new(shared(), "suspend").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["suspend"] = json!(true);
    tenant.make(&chain).await;
    tenant.wait_chain("suspended", |chain| is(chain, "UpToDate", "False", Some("Suspended"))).await;
    let conditions = tenant.chain_now().await.status.expect("a status").conditions;
    let kinds: Vec<_> = conditions.iter().map(|each| each.type_.as_str()).collect();
    assert_eq!(kinds, ["UpToDate"], "nothing that would keep anybody waiting who goes by kstatus");
    assert_eq!(tenant.causes().await, [""; 0]);
    tenant.edit(json!({"spec": {"suspend": false}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_cancelled_build_ends_with_its_pod() {
    let tenant = Tenant::new(shared(), "cancel").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await;
    let build = tenant.build_of("one").await.name_any();
    let note = Patch::Merge(json!({"metadata": {"annotations": {"imagechain.dev/cancel": "enough"}}}));
    tenant.api::<ImageBuild>().patch(&build, &PatchParams::default(), &note).await.expect("a note");
    tenant.gone(tenant.pods(), &pod.name_any()).await;
    tenant.wait_chain("cancelled", |chain| is(chain, "Stalled", "True", Some("CancelledByUser"))).await;
}

#[tokio::test]
async fn a_chain_that_is_deleted_takes_pods_and_secrets_along() {
    let tenant = Tenant::new(shared(), "delete").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await.name_any();
    let secrets: Api<Secret> = Api::namespaced(tenant.admin.clone(), BUILDS);
    assert!(secrets.get_opt(&pod).await.expect("an answer").is_some(), "inline files are in a Secret");
    tenant.api::<ImageChain>().delete("c", &DeleteParams::background()).await.expect("a deletion");
    tenant.gone(tenant.pods(), &pod).await;
    tenant.gone(secrets, &pod).await;
}

#[tokio::test]
async fn a_change_of_the_object_ends_the_build_that_runs() {
    let tenant = Tenant::new(shared(), "edit").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let first = tenant.running("one").await.name_any();
    tenant.script("one", Script::Hold);
    tenant.edit(json!({"spec": {"source": {"inline": {"files": {"one/a.json": "{ }"}}}}})).await;
    tenant.gone(tenant.pods(), &first).await;
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    let failures: Vec<_> = tenant.builds().await.into_iter().filter_map(|build| build.status?.failure).collect();
    assert_eq!(failures.iter().map(|failure| failure.reason).collect::<Vec<_>>(), [Reason::Superseded]);
}

#[tokio::test]
async fn a_lost_pod_is_followed_by_another() {
    let tenant = Tenant::new(shared(), "lost").await;
    tenant.script("one", Script::First(disrupted()));
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let build = tenant.build_of("one").await;
    let attempts: Vec<_> =
        build.status.unwrap().attempts.into_iter().map(|attempt| (attempt.number, attempt.reason)).collect();
    assert_eq!(attempts, [(1, Some(Reason::PodDisrupted)), (2, None)]);
}

#[tokio::test]
async fn a_profile_that_appears_is_used() {
    let tenant = Tenant::new(shared(), "late").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["late"]);
    chain["spec"]["links"][0]["timeouts"] = json!({"dependency": "1s"});
    tenant.make(&chain).await;
    tenant.wait_chain("stalled", |chain| is(chain, "Stalled", "True", Some("ProfileNotFound"))).await;
    let profiles: Api<BuildProfile> = Api::all(tenant.admin.clone());
    let docker = profiles.get("docker").await.expect("a profile");
    profiles.create(&PostParams::default(), &BuildProfile::new("late", docker.spec)).await.expect("a profile");
    tenant.ready().await;
    let is_ready = |profile: Option<&BuildProfile>| {
        let status = profile.and_then(|profile| profile.status.as_ref());
        status.is_some_and(|status| status.conditions.iter().any(|each| each.type_ == "Ready" && each.status == "True"))
    };
    tenant.wait(profiles, "late", "ready", is_ready).await;
}

#[tokio::test]
async fn an_authority_that_a_profile_gets_is_used_at_once() {
    let tenant = Tenant::new(shared(), "company").await;
    let servers = Servers::of_tls();
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["company"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{}/base:1", servers.registry())});
    tenant.make(&chain).await;
    tenant.wait_chain("no trust", |chain| is(chain, "Ready", "Unknown", Some("CertificateNotTrusted"))).await;

    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "company", "namespace": BUILDS},
        "data": {"ca.crt": servers.authority()}});
    tenant.make(&map).await;
    let profiles: Api<BuildProfile> = Api::all(tenant.admin.clone());
    let network = json!({"spec": {"network": {"certificateAuthority": {"name": "company"}}}});
    profiles.patch("company", &PatchParams::default(), &Patch::Merge(network)).await.expect("a change");
    // It is reached now, and nobody has pushed there.
    tenant.wait_chain("trust", |chain| is(chain, "Ready", "Unknown", Some("BaseImageNotFound"))).await;
}

#[tokio::test]
async fn a_secret_that_is_granted_and_appears_is_used() {
    let tenant = Tenant::new(shared(), "secret").await;
    let registry = &tenant.stage.registry;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{registry}/base:1"), "secretRef": {"name": "pull"}});
    tenant.make(&chain).await;
    tenant.wait_chain("no access", |chain| is(chain, "Ready", "Unknown", Some("AccessNotGranted"))).await;
    let told = message(&tenant.chain_now().await, "Ready");
    let lines = told.split_once("kubectl ").expect("a command").1.trim_end_matches(['.', ';']);
    for line in lines.split(" && ") {
        let words: Vec<_> = line.trim_start_matches("kubectl ").split_whitespace().collect();
        tenant.stage.chart.kubectl(&words).unwrap_or_else(|error| panic!("{line}: {error}\n{told}"));
    }
    tenant.wait_chain("no Secret", |chain| is(chain, "Ready", "Unknown", Some("SecretNotFound"))).await;
    let config = json!({"auths": {registry: {"username": "u", "password": "p"}}}).to_string();
    tenant
        .make(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "secret"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}}))
        .await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_config_map_that_changes_is_built_anew() {
    let tenant = Tenant::new(shared(), "map").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["source"] = json!({"configMap": {"name": "files"}});
    // Keys of a ConfigMap have no slashes.
    chain["spec"]["links"][0]["build"]["packer"]["template"] = json!("a.json");
    chain["spec"]["links"][0]["paths"] = json!(["a.json"]);
    chain["spec"]["links"][0]["verify"] = json!([]);
    let grant = [
        "create",
        "role",
        "files",
        "-n",
        "map",
        "--verb=get,list,watch",
        "--resource=configmaps",
        "--resource-name=files",
    ];
    tenant.stage.chart.kubectl(&grant).expect("a role");
    let account = format!("--serviceaccount={SYSTEM}:{NAME}");
    tenant
        .stage
        .chart
        .kubectl(&["create", "rolebinding", "files", "-n", "map", "--role=files", &account])
        .expect("a binding");
    tenant.make(&chain).await;
    tenant.wait_chain("no ConfigMap", |chain| is(chain, "Ready", "Unknown", Some("ConfigMapNotFound"))).await;
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "namespace": "map"}, "data": {"a.json": text}});
    tenant.make(&map("{}")).await;
    tenant.ready().await;
    let first = tenant.published("one", "1").await;
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = tenant.api();
    maps.patch("files", &PatchParams::default(), &Patch::Merge(map("{ }"))).await.expect("a change");
    tenant
        .wait_chain("rebuilt", |chain| {
            let published = chain.status.as_ref().and_then(|status| status.links[0].published.as_ref());
            published.map(|published| &published.digest.0) != first.as_ref() && is(chain, "UpToDate", "True", None)
        })
        .await;
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: SourceChanged"]);
}

#[tokio::test]
async fn a_limit_of_a_profile_holds_over_chains() {
    let tenant = Tenant::new(shared(), "narrow").await;
    tenant.script("one", Script::Hold);
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["narrow"]);
    tenant.make(&chain).await;
    tenant.running("one").await;
    let mut other = tenant.chain(&["two"]);
    other["spec"]["profiles"] = json!(["narrow"]);
    other["metadata"]["name"] = json!("d");
    tenant.make(&other).await;
    let waits =
        |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "Unknown", Some("WaitingForSlot")));
    tenant.wait(tenant.api::<ImageChain>(), "d", "it waits", waits).await;
    assert_eq!(tenant.stage.kubelet.pods_of("d-two").len(), 0);
    tenant.script("one", Script::Succeed);
    let done = |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "Ready", "True", None));
    tenant.wait(tenant.api::<ImageChain>(), "d", "its turn", done).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_namespace_that_may_not_use_the_profile_gets_no_pod() {
    let tenant = Tenant::new(shared(), "stranger").await;
    let roles: Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = Api::all(tenant.admin.clone());
    roles.delete("use-stranger", &DeleteParams::default()).await.expect("a deletion");
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["timeouts"] = json!({"dependency": "1s"});
    tenant.make(&chain).await;
    // The patience is that of its build, which counts for itself.
    tenant.wait_chain("not allowed", |chain| is(chain, "Stalled", "True", Some("ProfileNotAllowed"))).await;
    assert!(message(&tenant.chain_now().await, "Ready").contains("--verb=use"));
}

#[tokio::test]
async fn a_killed_controller_goes_on_without_a_second_pod() {
    let stage = Cluster::start().await;
    let tenant = Tenant::new(&stage, "killed").await;
    tenant.script("one", Script::Hold);
    let operator = stage.operator();
    tenant.make(&tenant.chain(&["one", "two"])).await;
    let pod = tenant.running("one").await;
    drop(operator);
    tenant.script("one", Script::Succeed);
    let over = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.clone());
        phase.is_some_and(|phase| phase == "Succeeded")
    };
    tenant.wait(tenant.pods(), &pod.name_any(), "over", over).await;
    let _operator = stage.operator();
    tenant.ready().await;
    assert_eq!((stage.kubelet.pods_of("c-one").len(), stage.kubelet.pods_of("c-two").len()), (1, 1));
}

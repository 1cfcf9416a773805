//! Builds for which no node has room. The scheduler is played as the kubelet is; what it says is the API server's.

use imagechain::api::{
    build::ImageBuild,
    condition::{Class, Reason},
};
use k8s_openapi::{api::core::v1::Node, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{has_ended, reason};
use crate::support::{
    cluster::{NODE, shared},
    kubelet::{NODE_LABEL, Script},
    statuses,
    tenant::{Tenant, attempts},
};

/// How long a pod may be pending, in seconds.
const PENDING: i64 = 10;

/// A build waits for room or for its turn, and says so in these words.
fn waits_saying(build: &ImageBuild, words: &[&str]) -> bool {
    let mut conditions = build.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|each| {
        (each.type_.as_str(), each.status.as_str(), each.reason.as_str()) == ("Ready", "Unknown", "WaitingForSlot")
            && words.iter().all(|word| each.message.contains(word))
    })
}

impl Tenant<'_> {
    /// A node of two processors, on which nothing is but what names it.
    async fn make_node(&self) {
        let nodes: Api<Node> = Api::all(self.admin.clone());
        let taint = json!({"key": NODE, "effect": "NoSchedule"});
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {NODE_LABEL: NODE}},
            "spec": {"taints": [taint]},
            "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}},
        });
        match nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(error) => panic!("{error}"),
        }
        // The API server adds that it is not ready.
        let ready = Patch::Merge(json!({"spec": {"taints": [taint]}}));
        nodes.patch(NODE, &PatchParams::default(), &ready).await.expect("a node that takes pods");
    }

    /// A chain of one link, which has the same name, with a profile.
    async fn make_chain(&self, name: &str, profile: &str, timeouts: &Value) {
        let mut chain = self.chain(&[name]);
        chain["metadata"]["name"] = json!(name);
        chain["spec"]["profiles"] = json!([profile]);
        chain["spec"]["links"][0]["timeouts"] = timeouts.clone();
        self.make(&chain).await;
    }

    /// The build of a link, as soon as it is so.
    async fn build_once(&self, link: &str, what: &str, is_so: impl Fn(&ImageBuild) -> bool) -> ImageBuild {
        let is_of = |build: &ImageBuild| build.spec.chain_ref.as_ref().is_some_and(|chain| chain.link.0 == link);
        let has_build = |chain: Option<&imagechain::api::chain::ImageChain>| {
            let status = chain.and_then(|chain| chain.status.as_ref());
            status.is_some_and(|status| status.links.iter().any(|link| link.build.is_some()))
        };
        self.wait(self.api(), link, "a build", has_build).await;
        let name = self.builds().await.into_iter().find(is_of).expect("a build").name_any();
        let condition = |build: Option<&ImageBuild>| build.is_some_and(&is_so);
        self.wait(self.api::<ImageBuild>(), &name, what, condition).await;
        self.api::<ImageBuild>().get(&name).await.expect("the build")
    }

    fn pods_named(&self, prefix: &str) -> usize {
        self.stage.kubelet.pods_of(prefix).len()
    }
}

#[tokio::test]
async fn a_busy_node_keeps_builds_waiting_in_the_order_of_their_age_and_fails_none() {
    // Times of creation are whole seconds, and of the same second the name decides: so names are in order, too.
    let tenant = Tenant::new(shared(), "queue").await;
    tenant.make_node().await;
    // Longer than the played kubelet takes from a pod's node to its first stage, however busy the machine is.
    let short = json!({"pending": format!("{PENDING}s")});
    tenant.script("queue-1", Script::Hold);
    tenant.make_chain("queue-1", "queued", &short).await;
    tenant
        .build_once("queue-1", "it runs", |build| {
            build.status.as_ref().is_some_and(|status| status.conditions.iter().any(|each| each.reason == "Building"))
        })
        .await;

    tenant.script("queue-2", Script::Unplaced);
    tenant.make_chain("queue-2", "queued", &short).await;
    let words =
        ["cpu is short by 1600m on queue (it asks for 1800m, of 2 at most 200m is left)", "behind 1 build that runs"];
    let two = tenant.build_once("queue-2", "it waits for room", |build| waits_saying(build, &words)).await;
    tenant.make_chain("queue-3", "queued", &short).await;
    let behind = ["«queued»", "behind 1 older build"];
    tenant.build_once("queue-3", "it waits behind", |build| waits_saying(build, &behind)).await;

    // Beyond the time that it may be pending, something makes the operator look at all of them.
    let made = two.status.unwrap().attempts[0].started_at.0;
    while Timestamp::now().duration_since(made).as_secs() < PENDING + 2 {
        tenant.settled().await;
    }
    let nodes: Api<Node> = Api::all(tenant.admin.clone());
    let change = Patch::Merge(json!({"metadata": {"labels": {"seen": "1"}}}));
    nodes.patch(NODE, &PatchParams::default(), &change).await.expect("a change of the node");
    tenant.settled().await;
    let two = tenant.build_once("queue-2", "it waits still", |build| waits_saying(build, &words)).await;
    assert_eq!(attempts(&two), [(1, None)]);
    assert_eq!((tenant.pods_named("queue-2"), tenant.pods_named("queue-3")), (1, 0), "the older one alone has a pod");

    tenant.script("queue-1", Script::Succeed);
    tenant.script("queue-2", Script::Succeed);
    let mut ended = Vec::new();
    for link in ["queue-1", "queue-2", "queue-3"] {
        let build = tenant.build_once(link, "it ends well", |build| has_ended(build) && reason(build).is_none()).await;
        assert_eq!(attempts(&build), [(1, None)], "{link}");
        ended.push(build.status.unwrap());
    }
    let scheduled = |index: usize| ended[index].attempts[0].scheduled_at.clone().expect("a node").0;
    assert!(
        ended[2].attempts[0].started_at.0 >= scheduled(1),
        "the younger one made its pod when the older had a node"
    );
    let waited = scheduled(1).duration_since(ended[1].attempts[0].started_at.0).as_secs();
    assert!(waited >= PENDING + 2, "it waited longer than it may be pending: {waited} s");
}

#[tokio::test]
async fn a_build_that_no_node_can_hold_fails_at_once() {
    let tenant = Tenant::new(shared(), "too-large").await;
    tenant.make_node().await;
    tenant.script("too-large", Script::Unplaced);
    tenant.make_chain("too-large", "huge", &json!({})).await;
    let build = tenant.build_once("too-large", "it fails", has_ended).await;
    let failure = build.status.as_ref().unwrap().failure.clone().unwrap();
    assert_eq!((failure.reason, failure.class), (Reason::Unschedulable, Class::Configuration));
    let words = ["BuildProfile «huge»", "asks for cpu 16, ", "largest node, queue, has cpu 2 in all"];
    assert!(words.iter().all(|word| failure.message.contains(word)), "{}", failure.message);
    assert_eq!(build.status.unwrap().duration.as_deref(), Some("0s"));
}

#[tokio::test]
async fn another_time_to_be_pending_reaches_a_build_that_waits() {
    let tenant = Tenant::new(shared(), "patience").await;
    tenant.script("patience", Script::Always(statuses::unschedulable()));
    tenant.make_chain("patience", "docker", &json!({"pending": "1h"})).await;
    let pending = |build: &ImageBuild| {
        let mut conditions = build.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|each| each.type_ == "Ready" && each.message.contains("0/1 nodes are available"))
    };
    let build = tenant.build_once("patience", "it waits", pending).await;
    let chain = tenant.api::<imagechain::api::chain::ImageChain>();
    let mut links = serde_json::to_value(chain.get("patience").await.expect("the chain").spec.links).expect("JSON");
    links[0]["timeouts"] = json!({"pending": "1s"});
    let edit = Patch::Merge(json!({"spec": {"links": links}}));
    chain.patch("patience", &PatchParams::default(), &edit).await.expect("an edit");
    let failed = |build: Option<&ImageBuild>| build.is_some_and(|build| reason(build) == Some(Reason::Unschedulable));
    tenant.wait(tenant.api::<ImageBuild>(), &build.name_any(), "it waits no longer", failed).await;
}

//! What may not begin, and what does not begin again.

use imagechain::api::{
    CANCEL,
    build::{ImageBuild, Stage},
    condition::Reason,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{has_ended, is_held, reason};
use crate::support::{
    cluster::shared,
    kubelet::Script,
    statuses,
    tenant::{Tenant, attempts, is, message},
};

impl Tenant<'_> {
    fn kubectl(&self, words: &[&str]) {
        self.stage.chart.kubectl(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }

    /// The pods that a link's build has had.
    async fn pods_of_build(&self, link: &str) -> Vec<String> {
        self.stage.kubelet.pods_of(&self.build_of(link).await.name_any())
    }
}

fn waits(build: &ImageBuild, reason: Reason) -> bool {
    let mut conditions = build.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|each| each.type_ == "Ready" && each.status == "Unknown" && each.reason == reason.to_string())
}

#[tokio::test]
async fn a_pod_that_is_lost_while_its_chain_is_suspended_is_followed_by_another_only_afterwards() {
    let tenant = Tenant::new(shared(), "lost-paused").await;
    tenant.script("one", Script::Hold);
    tenant.make(&tenant.chain(&["one"])).await;
    let pod = tenant.running("one").await.name_any();
    tenant.edit(json!({"spec": {"suspend": true}})).await;
    tenant.wait_chain("it is suspended", |chain| is(chain, "Ready", "Unknown", None)).await;
    tenant.script("one", Script::First(statuses::disrupted()));
    tenant
        .wait_build("one", "its next attempt is due", |build| {
            attempts(build).first() == Some(&(1, Some(Reason::PodDisrupted))) && waits(build, Reason::Suspended)
        })
        .await;
    tenant.wait_chain("nothing goes on", |chain| is(chain, "UpToDate", "False", Some("Suspended"))).await;
    tenant.settled().await;
    assert_eq!(tenant.pods_of_build("one").await, [pod]);
    tenant.edit(json!({"spec": {"suspend": false}})).await;
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, Some(Reason::PodDisrupted)), (2, None)]);
    assert_eq!(tenant.pods_of_build("one").await.len(), 2);
}

#[tokio::test]
async fn what_has_failed_or_was_cancelled_is_not_tried_again_by_itself() {
    let tenant = Tenant::new(shared(), "settled").await;
    let mut chain = tenant.chain(&["failed", "cancelled"]);
    chain["spec"]["links"][1]["from"] = chain["spec"]["links"][0]["from"].clone();
    chain["spec"]["onFailure"] = json!("Continue");
    tenant.script("failed", Script::Fail(Stage::Build, Reason::TaskFailed));
    tenant.script("cancelled", Script::Hold);
    tenant.make(&chain).await;
    tenant.running("cancelled").await;
    let cancelled = tenant.build_of("cancelled").await.name_any();
    let note = async |text: Option<&str>| {
        let note = Patch::Merge(json!({"metadata": {"annotations": {CANCEL: text}}}));
        tenant.api::<ImageBuild>().patch(&cancelled, &PatchParams::default(), &note).await.expect("a note");
    };
    note(Some("enough")).await;
    tenant.wait_build("cancelled", "it is cancelled", |build| reason(build) == Some(Reason::CancelledByUser)).await;
    tenant.wait_build("failed", "it fails", has_ended).await;
    tenant.wait_chain("all has ended", |chain| is(chain, "Stalled", "True", Some("TaskFailed"))).await;
    let results = async || -> Vec<_> {
        tenant.builds().await.into_iter().map(|build| (build.name_any(), build.status.unwrap())).collect()
    };
    let before = results().await;
    // Everything would succeed now, and everything is looked at again.
    tenant.script("failed", Script::Succeed);
    tenant.script("cancelled", Script::Succeed);
    note(None).await;
    tenant.look_again("1h").await;
    tenant.wait_chain("it is looked at", |chain| is(chain, "Stalled", "True", Some("TaskFailed"))).await;
    tenant.settled().await;
    assert_eq!(results().await, before);
    for link in ["failed", "cancelled"] {
        assert_eq!(tenant.pods_of_build(link).await.len(), 1, "{link}");
    }
}

#[tokio::test]
async fn a_profile_for_other_namespaces_holds_a_build_until_the_label_is_right() {
    let tenant = Tenant::new(shared(), "wrong-label").await;
    tenant.kubectl(&["label", "namespace", "wrong-label", "team=b"]);
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["profiles"] = json!(["labelled"]);
    tenant.make(&chain).await;
    tenant.wait_build("one", "it is held", |build| is_held(build, Reason::ProfileNotAllowed)).await;
    tenant
        .wait_chain("its chain says so", |chain| message(chain, "Ready").contains("for namespaces with team=a"))
        .await;
    tenant.settled().await;
    assert_eq!(tenant.pods_of_build("one").await, [""; 0]);
    tenant.kubectl(&["label", "--overwrite", "namespace", "wrong-label", "team=a"]);
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, None)]);
}

#[tokio::test]
async fn an_account_that_may_not_use_the_profile_holds_a_build_until_it_may() {
    let tenant = Tenant::new(shared(), "account").await;
    let grant = |account: &str| {
        let (name, subject) = (format!("use-account-{account}"), format!("--serviceaccount=account:{account}"));
        tenant.kubectl(&["create", "clusterrolebinding", &name, "--clusterrole=use-account", &subject]);
    };
    tenant.revoke().await;
    // That another account of the namespace may is not enough.
    grant("default");
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["serviceAccountName"] = json!("deployer");
    tenant.make(&chain).await;
    tenant.wait_build("one", "it is held", |build| is_held(build, Reason::ProfileNotAllowed)).await;
    tenant
        .wait_chain("its chain says so", |chain| {
            message(chain, "Ready").contains("the ServiceAccount deployer of account may not use")
        })
        .await;
    tenant.settled().await;
    assert_eq!(tenant.pods_of_build("one").await, [""; 0]);
    grant("deployer");
    tenant.ready().await;
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, None)]);
}

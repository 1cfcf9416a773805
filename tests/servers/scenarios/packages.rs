//! Boxes that are published in the package registry of Gitea.

use imagechain::api::{
    chain::{ImageChain, LinkState, LinkStatus},
    condition::Reason,
};
use serde_json::{Value, json};

use super::is_done;
use crate::support::{
    chart::{NAME, SYSTEM, eventually},
    cluster::shared,
    gitea::{Gitea, OWNER},
    tenant::{Tenant, is, message},
};

impl Tenant<'_> {
    /// A Secret that the operator may read.
    async fn secret(&self, name: &str, values: &Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace},
            "stringData": values});
        self.make(&secret).await;
        let (of_name, account) = (format!("--resource-name={name}"), format!("--serviceaccount={SYSTEM}:{NAME}"));
        let role =
            ["create", "role", name, "-n", &self.namespace, "--verb=get,list,watch", "--resource=secrets", &of_name];
        self.stage.chart.kubectl(&role).expect("a role");
        let of_role = format!("--role={name}");
        let binding = ["create", "rolebinding", name, "-n", &self.namespace, &of_role, &account];
        self.stage.chart.kubectl(&binding).expect("a binding");
    }
}

/// The link that makes the box.
fn vm(chain: &ImageChain) -> &LinkStatus {
    &chain.status.as_ref().expect("a status").links[1]
}

/// The version that the status tells of.
fn version(chain: &ImageChain) -> String {
    vm(chain).published.as_ref().expect("a publication").tags[0].to_string()
}

#[tokio::test]
async fn a_box_is_published_in_gitea_each_build_under_a_version_of_its_own() {
    let (tenant, gitea) = (Tenant::new(shared(), "gitea").await, Gitea::start().await);
    tenant.secret("gitea", &gitea.writer()).await;
    let mut chain = tenant.chain_to_boxes(&["one"], &[("vm", json!({}))]);
    let publish = |version: &str| {
        json!({"gitea": {"url": format!("http://{}/", gitea.address()), "tag": format!("{OWNER}/vm"), "version": version,
            "provider": "Libvirt", "secretRef": {"name": "gitea"}}})
    };
    chain["spec"]["links"][1]["publish"] = publish("0.1.{{timestamp}}");
    tenant.make(&chain).await;
    tenant.ready().await;
    let file = |version: &str| format!("{version}/libvirt.box");
    let now = tenant.chain_now().await;
    let published = vm(&now).published.clone().expect("a publication");
    assert_eq!(published.repository.0, format!("http://{}/api/packages/{OWNER}/vagrant/vm", gitea.address()));
    assert_eq!((json!(published)["provider"].as_str(), published.tags.len()), (Some("Libvirt"), 1));
    let first = gitea.file("vm", &file(&version(&now))).await.expect("the box");
    assert_eq!(
        imagechain::plan::image::Digest::of(&first).to_string(),
        vm(&now).verified.as_ref().unwrap().content.digest()
    );

    tenant.write("one", "{ }").await;
    tenant.wait_chain("another version", |chain| is_done(chain) && version(chain) != version(&now)).await;
    let second = gitea.file("vm", &file(&version(&tenant.chain_now().await))).await.expect("the box");
    assert_ne!(first, second);
    assert_eq!(gitea.file("vm", &file(&version(&now))).await, Some(first), "the earlier one stays");

    // A fixed version is for one build.
    let mut links = chain["spec"]["links"].clone();
    links[1]["publish"] = publish("1.0.0");
    tenant.edit(json!({"spec": {"links": links}})).await;
    tenant.wait_chain("it is published", |chain| is_done(chain) && version(chain) == "1.0.0").await;
    assert_eq!(gitea.file("vm", &file("1.0.0")).await.as_ref(), Some(&second));
    tenant.write("one", "{  }").await;
    let is_stuck =
        |chain: &ImageChain| (vm(chain).state, vm(chain).reason) == (LinkState::Stalled, Some(Reason::OutputConflict));
    tenant.wait_chain("the next build has no version", |chain| chain.status.is_some() && is_stuck(chain)).await;
    let told = message(&tenant.chain_now().await, "Ready");
    assert!(told.contains("1.0.0/libvirt.box is another file already") && told.contains("{{timestamp}}"), "{told}");
    assert_eq!(gitea.file("vm", &file("1.0.0")).await, Some(second));
    links[1]["publish"] = publish("1.0.1");
    tenant.edit(json!({"spec": {"links": links}})).await;
    tenant.wait_chain("it is published", |chain| is_done(chain) && version(chain) == "1.0.1").await;

    // What somebody deletes is put back, and what somebody replaces is told.
    let ours = gitea.file("vm", &file("1.0.1")).await.expect("the box");
    let builds = tenant.builds().await.len();
    gitea.delete("vm", "1.0.1").await;
    tenant.look_again("1h").await;
    eventually("it is put back", async || match gitea.file("vm", &file("1.0.1")).await {
        Some(found) if found == ours => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    tenant
        .wait_chain("it is written down", |chain| {
            is_done(chain) && vm(chain).published.as_ref().unwrap().drifted.is_empty()
        })
        .await;
    gitea.delete("vm", "1.0.1").await;
    let theirs = crate::support::images::vagrant_box(b"theirs", imagechain::api::boxes::BoxProvider::Libvirt);
    assert_eq!(gitea.upload("vm", &file("1.0.1"), &theirs).await, 201);
    tenant.look_again("2h").await;
    tenant
        .wait_chain("it is told", |chain| {
            is(chain, "Drifted", "True", Some("TagsOverwritten"))
                && message(chain, "Drifted").contains("cannot be put back")
        })
        .await;
    let told = message(&tenant.chain_now().await, "Drifted");
    assert!(told.contains("1.0.1/libvirt.box is another file, with the SHA-256 sha256:"), "{told}");
    assert_eq!((gitea.file("vm", &file("1.0.1")).await, tenant.builds().await.len()), (Some(theirs), builds));
}

#[tokio::test]
async fn a_token_that_may_not_upload_is_told_and_another_one_is_used_at_once() {
    let (tenant, gitea) = (Tenant::new(shared(), "gitea-token").await, Gitea::start().await);
    tenant.secret("gitea", &gitea.reader()).await;
    let mut chain = tenant.chain_to_boxes(&["one"], &[("vm", json!({"provider": "VirtualBox"}))]);
    chain["spec"]["links"][1]["publish"] = json!({"gitea": {"url": format!("http://{}", gitea.address()),
        "tag": format!("{OWNER}/token"), "version": "1.0.0", "provider": "VirtualBox", "secretRef": {"name": "gitea"}}});
    tenant.make(&chain).await;
    tenant.wait_chain("it is refused", |chain| is(chain, "Ready", "Unknown", Some("PushDenied"))).await;
    let told = message(&tenant.chain_now().await, "Ready");
    assert!(told.contains("the server refuses the Secret «gitea»") && told.contains("`write:package`"), "{told}");
    let patch = json!({"stringData": gitea.writer()}).to_string();
    let patch = ["patch", "secret", "gitea", "-n", "gitea-token", "--type=merge", "--patch", &patch];
    tenant.stage.chart.kubectl(&patch).expect("a change");
    tenant.ready().await;
    assert!(gitea.file("token", "1.0.0/virtualbox.box").await.is_some());
}

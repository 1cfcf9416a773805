//! Published tags that somebody else moves or deletes in the registry.

use imagechain::api::{chain::ImageChain, condition::Reason};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;

use super::is_done;
use crate::support::{
    chart::eventually,
    cluster::shared,
    tenant::{Tenant, is, message},
};

impl Tenant<'_> {
    /// Waits for an event, which is told after the status was written.
    async fn told(&self, reason: Reason, what: &str) {
        eventually("it is told", async || {
            let events = self.api::<Event>().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let told: Vec<_> = events.items.into_iter().map(|each| (each.reason, each.note)).collect();
            let is_it = |(of, note): &(Option<String>, Option<String>)| {
                of.as_deref() == Some(reason.to_string().as_str())
                    && note.as_ref().is_some_and(|note| note.contains(what))
            };
            if told.iter().any(is_it) { Ok(()) } else { Err(format!("{reason} with {what} is not in {told:?}")) }
        })
        .await;
    }
}

/// The tags of a link, in the status: those that are known to lead elsewhere.
fn drifted(chain: &ImageChain) -> usize {
    let links = chain.status.iter().flat_map(|status| &status.links);
    links.filter_map(|link| link.published.as_ref()).map(|published| published.drifted.len()).sum()
}

#[tokio::test]
async fn tags_that_somebody_moves_are_put_back_and_nothing_is_built() {
    let tenant = Tenant::new(shared(), "drift").await;
    tenant.make(&tenant.chain(&["one"])).await;
    tenant.ready().await;
    let ours = tenant.published("one", "1").await;
    let theirs = tenant.repository("one").image(b"theirs", "1").await.digest.to_string();
    assert_eq!(tenant.published("one", "1").await.as_ref(), Some(&theirs));
    tenant.look_again("1h").await;
    tenant.told(Reason::TagsOverwritten, &format!("{theirs}, and not to {}", ours.as_ref().unwrap())).await;
    tenant.told(Reason::TagsPutBack, &format!("1 (it led to {theirs})")).await;
    tenant.wait_chain("it is put back", |chain| is_done(chain) && drifted(chain) == 0).await;
    assert_eq!((tenant.published("one", "1").await, tenant.published("one", "latest").await), (ours.clone(), ours));
    assert_eq!(tenant.causes().await, ["one: FirstBuild"]);
}

#[tokio::test]
async fn a_tag_is_only_reported_where_the_chain_says_so() {
    let tenant = Tenant::new(shared(), "drift-report").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["drift"] = json!("Report");
    tenant.make(&chain).await;
    tenant.ready().await;
    let ours = tenant.published("one", "1").await;
    let theirs = tenant.repository("one").image(b"theirs", "1").await.digest.to_string();
    tenant.look_again("1h").await;
    tenant.wait_chain("it is told", |chain| is(chain, "Drifted", "True", Some("TagsOverwritten"))).await;
    tenant.settled().await;
    let chain = tenant.chain_now().await;
    assert!(is_done(&chain) && message(&chain, "Drifted").contains(&theirs), "{chain:?}");
    assert_eq!(tenant.published("one", "1").await.as_ref(), Some(&theirs), "it stays where it is");
    tenant.edit(json!({"spec": {"drift": "Correct"}})).await;
    tenant.wait_chain("it is put back", |chain| is_done(chain) && drifted(chain) == 0).await;
    assert_eq!(tenant.published("one", "1").await, ours);
}

//! What is published stays until something better is verified, whatever fails, whoever is away, and whatever
//! changes meanwhile.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use imagechain::api::{
    BUILD_NAMESPACE_LABEL, LINK_LABEL, REQUESTED_AT,
    build::{ImageBuild, Stage},
    chain::{ImageChain, LinkState, LinkStatus},
    condition::Reason,
    profile::BuildProfile,
};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use super::{has_ended, most_at_once, reason};
use crate::support::{
    cluster::shared,
    faults::{Fault, Faults},
    images::Pusher,
    kubelet::Script,
    tenant::{Tenant, attempts, is, message},
};

/// What is refused: a path and what comes below it, and how.
type Refused = Arc<Mutex<Option<(String, fn() -> Fault)>>>;

/// The registry under another address, where every request is seen, and may be refused.
struct Front {
    faults: Faults,
    refused: Refused,
    registry: String,
}

impl Front {
    /// With a profile of the tenant's name that builds there.
    async fn of(tenant: &Tenant<'_>) -> Self {
        let registry = tenant.stage.registry.clone();
        let refused = Refused::default();
        let now = Arc::clone(&refused);
        let decide = move |path: &str| {
            let refused = now.lock().expect("a lock");
            refused.as_ref().filter(|(prefix, _)| path.starts_with(prefix)).map(|(_, fault)| fault())
        };
        let faults = Faults::before(&registry, move |seen| decide(&seen.path)).await;
        let front = Self { faults, refused, registry };
        let profiles: Api<BuildProfile> = Api::all(tenant.admin.clone());
        let spec = profiles.get("docker").await.expect("a profile").spec;
        let spec = front.moved(&serde_json::to_value(spec).expect("JSON"));
        let profile = BuildProfile::new(&tenant.namespace, serde_json::from_value(spec).expect("a profile"));
        profiles.create(&PostParams::default(), &profile).await.expect("a profile");
        let is_ready = |profile: Option<&BuildProfile>| {
            let status = profile.and_then(|profile| profile.status.as_ref());
            status.is_some_and(|status| {
                status.conditions.iter().any(|each| each.type_ == "Ready" && each.status == "True")
            })
        };
        tenant.wait(profiles, &tenant.namespace, "the profile is known", is_ready).await;
        front
    }

    /// The same with this address.
    fn moved(&self, object: &Value) -> Value {
        let (old, new) = (&self.registry, self.faults.address());
        let text = object.to_string();
        let text = text.replace(&format!("{old}/"), &format!("{new}/"));
        serde_json::from_str(&text.replace(&format!("\"{old}\""), &format!("\"{new}\""))).expect("JSON")
    }

    /// A chain whose images come from here and go here.
    fn chain(&self, tenant: &Tenant<'_>, chain: &Value) -> Value {
        let mut chain = self.moved(chain);
        chain["spec"]["profiles"] = json!([tenant.namespace]);
        chain
    }

    /// From now on, requests below this path fail in this way, and no others.
    fn refuse(&self, path: &str, how: fn() -> Fault) {
        *self.refused.lock().expect("a lock") = Some((path.to_owned(), how));
    }

    fn refuse_nothing(&self) {
        *self.refused.lock().expect("a lock") = None;
    }

    /// Every write of a published tag.
    fn moves_of_tags(&self, tenant: &Tenant<'_>, link: &str) -> Vec<String> {
        let tags = format!("PUT /v2/{}/{link}/manifests/", tenant.namespace);
        let writes = self.faults.writes().into_iter();
        writes.filter_map(|line| line.strip_prefix(&tags).map(ToOwned::to_owned)).collect()
    }
}

impl Tenant<'_> {
    /// Where all tags of some links lead to.
    async fn tags(&self, links: &[&str]) -> Vec<Option<String>> {
        let mut digests = Vec::new();
        for link in links {
            for tag in ["1", "latest"] {
                digests.push(self.published(link, tag).await);
            }
        }
        digests
    }

    /// Waits until nobody knows whether something has changed, and compares what is published of the only link.
    async fn stays_published(&self, reason: &str, before: &[Option<String>]) {
        self.wait_chain("what it is made from cannot be looked up", |chain| {
            is(chain, "Ready", "True", Some("LinksReady")) && is(chain, "UpToDate", "Unknown", Some(reason))
        })
        .await;
        self.settled().await;
        assert_eq!((self.tags(&["one"]).await.as_slice(), self.builds().await.len()), (before, 1));
    }

    /// Waits until the first link, which was never published, waits for the end of a build of earlier inputs.
    async fn waits_for(&self, earlier: &ImageBuild) {
        let waits = |chain: &ImageChain| {
            let link = link_of(chain, 0);
            is(chain, "Ready", "Unknown", Some("Rebuilding"))
                && link.reason == Some(Reason::Rebuilding)
                && link.build.as_ref().map(|name| &name.0) == earlier.metadata.name.as_ref()
        };
        self.wait_chain("it waits for the build of earlier inputs", waits).await;
    }

    /// A build that was verified when others were wanted already was not published; the only other one was.
    async fn only_the_newest_is_published(&self, front: &Front, earlier: &ImageBuild) {
        let earlier = self.api::<ImageBuild>().get(&earlier.name_any()).await.expect("the build");
        let (artifact, failure) = (earlier.status.clone().unwrap().artifact, reason(&earlier));
        let newest = self.staged("one").await;
        assert_eq!(failure, None, "it was let run to its end");
        assert_ne!(artifact.expect("it was verified").digest.0, newest);
        assert_eq!(self.tags(&["one"]).await, [Some(newest.clone()), Some(newest)]);
        assert_eq!(front.moves_of_tags(self, "one"), ["1", "latest"], "each tag was written once");
        assert_eq!(self.builds().await.len(), 2);
    }
}

fn link_of(chain: &ImageChain, index: usize) -> &LinkStatus {
    &chain.status.as_ref().expect("a status").links[index]
}

fn reasons(chain: &ImageChain) -> Vec<Option<Reason>> {
    chain.status.iter().flat_map(|status| &status.links).map(|link| link.reason).collect()
}

fn has(chain: &ImageChain, kind: &str) -> bool {
    chain.status.iter().flat_map(|status| &status.conditions).any(|each| each.type_ == kind)
}

/// The labels of the pods of a link.
fn pods_of(tenant: &Tenant<'_>, link: &str) -> String {
    format!("{BUILD_NAMESPACE_LABEL}={},{LINK_LABEL}={link}", tenant.namespace)
}

// Tests that fail where a tag leads to an earlier image.

#[tokio::test]
async fn a_push_that_fails_its_tests_moves_no_tag_and_rebuilds_nothing_above() {
    let tenant = Tenant::new(shared(), "kept").await;
    let (chain, work) = tenant.on_git(&["one", "two"]);
    work.commit(&[("one/a.json", "1"), ("two/a.json", "1")]);
    work.push(&["main"]);
    tenant.make(&chain).await;
    tenant.ready().await;
    let before = tenant.tags(&["one", "two"]).await;
    tenant.script("one", Script::Fail(Stage::Verify, Reason::TestsFailed));
    work.commit(&[("one/a.json", "2")]);
    work.push(&["main"]);
    tenant.look_again("1h").await;
    tenant.wait_chain("the rebuild fails", |chain| is(chain, "Degraded", "True", Some("TestsFailed"))).await;
    tenant.settled().await;
    let chain = tenant.chain_now().await;
    assert!(is(&chain, "Ready", "True", Some("LinksReady")) && is(&chain, "UpToDate", "False", Some("TestsFailed")));
    assert!(!has(&chain, "Stalled") && !has(&chain, "Reconciling"));
    assert!(message(&chain, "Degraded").contains("what the stage says"), "{}", message(&chain, "Degraded"));
    assert_eq!(reasons(&chain), [Some(Reason::TestsFailed), Some(Reason::ParentFailed)]);
    assert_eq!(tenant.tags(&["one", "two"]).await, before);
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: SourceChanged", "two: FirstBuild"]);
    tenant.script("one", Script::Succeed);
    work.commit(&[("one/a.json", "3")]);
    work.push(&["main"]);
    tenant.look_again("2h").await;
    tenant.ready().await;
    let after = tenant.tags(&["one", "two"]).await;
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    assert_eq!(tenant.builds_of("two").await.len(), 2);
}

#[tokio::test]
async fn a_change_of_the_object_that_fails_its_tests_moves_no_tag_and_rebuilds_nothing_above() {
    let tenant = Tenant::new(shared(), "kept-object").await;
    tenant.make(&tenant.chain(&["one", "two"])).await;
    tenant.ready().await;
    let before = tenant.tags(&["one", "two"]).await;
    tenant.script("one", Script::Fail(Stage::Verify, Reason::TestsFailed));
    tenant.write("one", "{ }").await;
    tenant.wait_chain("it fails", |chain| is(chain, "Stalled", "True", Some("TestsFailed"))).await;
    tenant.settled().await;
    let chain = tenant.chain_now().await;
    assert!(is(&chain, "Ready", "False", Some("TestsFailed")) && is(&chain, "UpToDate", "False", Some("TestsFailed")));
    assert!(!has(&chain, "Degraded") && !has(&chain, "Reconciling"));
    assert_eq!(reasons(&chain), [Some(Reason::TestsFailed), Some(Reason::ParentFailed)]);
    let published = link_of(&chain, 0).published.as_ref().map(|published| published.digest.0.clone());
    assert_eq!(published, before[0], "it says what is published still");
    assert_eq!(tenant.tags(&["one", "two"]).await, before);
    assert_eq!(tenant.causes().await, ["one: FirstBuild", "one: SpecChanged, SourceChanged", "two: FirstBuild"]);
}

// Servers that are away.

#[tokio::test]
async fn a_registry_that_is_away_delays_look_ups_and_promotions_and_changes_nothing() {
    let tenant = Tenant::new(shared(), "away").await;
    let front = Front::of(&tenant).await;
    let base = Pusher::new(tenant.stage.servers.registry(), "away/base", None);
    base.image(b"one", "1").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{}/away/base:1", tenant.stage.registry)});
    tenant.make(&front.chain(&tenant, &chain)).await;
    tenant.ready().await;
    let before = tenant.tags(&["one"]).await;
    base.image(b"two", "1").await;
    front.refuse("/v2/away/base/", || Fault::Cut);
    tenant.look_again("1h").await;
    tenant.stays_published("RegistryUnavailable", &before).await;
    // It is back, but takes no image.
    front.refuse("/v2/away/one/", || Fault::status(503));
    tenant
        .wait_chain("the image cannot be published", |chain| {
            let link = link_of(chain, 0);
            (link.state, link.reason) == (LinkState::Publishing, Some(Reason::RegistryUnavailable))
                && is(chain, "Ready", "True", Some("LinksReady"))
                && is(chain, "UpToDate", "False", Some("Rebuilding"))
        })
        .await;
    assert!(has_ended(&tenant.build_of("one").await), "nothing else is missing");
    tenant.settled().await;
    assert_eq!(tenant.tags(&["one"]).await, before);
    front.refuse_nothing();
    tenant.ready().await;
    let staged = tenant.staged("one").await;
    assert_ne!(Some(&staged), before[0].as_ref());
    assert_eq!(tenant.tags(&["one"]).await, [Some(staged.clone()), Some(staged)]);
    assert_eq!(tenant.causes().await, ["one: BaseImageChanged", "one: FirstBuild"]);
    assert_eq!(attempts(&tenant.build_of("one").await), [(1, None)], "no attempt was spent");
}

#[tokio::test]
async fn a_git_server_that_is_away_is_asked_again_and_what_is_published_stays() {
    let tenant = Tenant::new(shared(), "git-away").await;
    let (mut chain, work) = tenant.on_git(&["one"]);
    work.commit(&[("one/a.json", "1")]);
    work.push(&["main"]);
    let away = Arc::new(AtomicBool::new(true));
    let now = Arc::clone(&away);
    let server = tenant.stage.servers.git().trim_start_matches("http://").to_owned();
    let decide = move |_: &_| now.load(Ordering::SeqCst).then(|| Fault::status(503));
    let front = Faults::before(&server, decide).await;
    chain["spec"]["source"]["git"]["url"] = json!(format!("http://{}/git-away.git", front.address()));
    tenant.make(&chain).await;
    tenant
        .wait_chain("the commit is not known", |chain| is(chain, "Ready", "Unknown", Some("SourceUnavailable")))
        .await;
    tenant.settled().await;
    assert_eq!(tenant.builds().await.len(), 0);
    away.store(false, Ordering::SeqCst);
    tenant.ready().await;
    let before = tenant.tags(&["one"]).await;
    away.store(true, Ordering::SeqCst);
    work.commit(&[("one/a.json", "2")]);
    work.push(&["main"]);
    tenant.look_again("1h").await;
    tenant.stays_published("SourceUnavailable", &before).await;
}

// Changes while a build runs.

#[tokio::test]
async fn a_base_image_that_moves_while_a_build_runs_lets_it_end_and_publishes_only_what_is_newest() {
    let tenant = Tenant::new(shared(), "base-runs").await;
    let front = Front::of(&tenant).await;
    let most = most_at_once(&tenant, &pods_of(&tenant, "one")).await;
    let base = Pusher::new(tenant.stage.servers.registry(), "base-runs/base", None);
    base.image(b"one", "1").await;
    let mut chain = tenant.chain(&["one"]);
    chain["spec"]["links"][0]["from"] = json!({"image": format!("{}/base-runs/base:1", tenant.stage.registry)});
    tenant.script("one", Script::Hold);
    tenant.make(&front.chain(&tenant, &chain)).await;
    let (pod, first) = (tenant.running("one").await, tenant.build_of("one").await);
    let moved = base.image(b"two", "1").await.digest.to_string();
    tenant.look_again("1h").await;
    tenant.waits_for(&first).await;
    assert_eq!(tenant.pods().get(&pod.name_any()).await.expect("the pod").uid(), pod.uid(), "it runs on");
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    tenant.only_the_newest_is_published(&front, &first).await;
    let parent = tenant.build_of("one").await.spec.inputs.unwrap().parent.unwrap().0;
    assert!(parent.ends_with(&moved), "{parent}");
    assert_eq!(tenant.causes().await, ["one: BaseImageChanged", "one: FirstBuild"]);
    assert_eq!(*most.lock().unwrap(), 1, "pods at once");
}

#[tokio::test]
async fn two_pushes_while_a_build_runs_let_it_end_and_publish_only_the_second() {
    let tenant = Tenant::new(shared(), "pushes").await;
    let front = Front::of(&tenant).await;
    let most = most_at_once(&tenant, &pods_of(&tenant, "one")).await;
    let (chain, work) = tenant.on_git(&["one"]);
    work.commit(&[("one/a.json", "0")]);
    work.push(&["main"]);
    tenant.script("one", Script::Hold);
    tenant.make(&front.chain(&tenant, &chain)).await;
    let (pod, first) = (tenant.running("one").await, tenant.build_of("one").await);
    let mut newest = String::new();
    for number in ["1", "2"] {
        newest = work.commit(&[("one/a.json", number)]);
        work.push(&["main"]);
        tenant.look_again(&format!("{number}h")).await;
        tenant
            .wait_chain("the commit was seen", |chain| {
                chain.status.as_ref().expect("a status").lookups.iter().any(|lookup| lookup.found == newest)
            })
            .await;
        tenant.waits_for(&first).await;
    }
    assert_eq!(tenant.pods().get(&pod.name_any()).await.expect("the pod").uid(), pod.uid(), "it runs on");
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    tenant.only_the_newest_is_published(&front, &first).await;
    assert_eq!(tenant.build_of("one").await.spec.inputs.unwrap().revision, newest);
    assert_eq!(*most.lock().unwrap(), 1, "pods at once");
}

#[tokio::test]
async fn no_two_builds_of_a_link_run_at_once_whatever_changes() {
    let tenant = Tenant::new(shared(), "one-at-once").await;
    let most = most_at_once(&tenant, &pods_of(&tenant, "one")).await;
    let (chain, work) = tenant.on_git(&["one"]);
    work.commit(&[("one/a.json", "0")]);
    work.push(&["main"]);
    tenant.script("one", Script::Hold);
    tenant.make(&chain).await;
    tenant.running("one").await;
    let mut links = chain["spec"]["links"].clone();
    links[0]["build"]["packer"]["variables"] = json!({"a": "1"});
    let mut build = tenant.build_of("one").await;
    for change in [json!({"spec": {"links": links}}), json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})] {
        tenant.edit(change).await;
        build = tenant.build_after(&build).await;
        tenant.running("one").await;
    }
    work.commit(&[("one/a.json", "1")]);
    work.push(&["main"]);
    tenant.look_again("1h").await;
    tenant.waits_for(&build).await;
    tenant.script("one", Script::Succeed);
    tenant.ready().await;
    let mut ends: Vec<_> = tenant.builds().await.iter().map(reason).collect();
    ends.sort();
    assert_eq!(ends, [None, None, Some(Reason::Superseded), Some(Reason::Superseded)]);
    assert_eq!(*most.lock().unwrap(), 1, "pods at once");
}

//! Operators of two versions, one after the other, with builds at every stage between them.
//!
//! `IMAGECHAIN_OLD` names the program of the version before, built in a checkout of it, whose charts are then installed
//! with it (docs/development.md says how to run that). Without it the present program is on both sides. The reports of
//! the pods that the version before made are in its words either way.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use imagechain::api::{
    build::{ImageBuild, Stage},
    chain::{ImageChain, LinkState, LinkStatus},
    condition::Reason,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    chart::{NAME, SYSTEM},
    cluster::{Cluster, Operator},
    faults::{Fault, Faults},
    kubelet::{Runner, Script},
    servers::Servers,
    statuses::disrupted,
    tenant::{Tenant, attempts},
};

/// A version of the operator.
struct Version {
    program: PathBuf,
    /// The folder with its charts.
    charts: PathBuf,
    runner: Runner,
    /// Whether it reads where a pod pushes from an annotation. A version that reads it from the job knows no job of
    /// another form, and takes the profile's staging repository instead.
    reads_staging: bool,
}

impl Version {
    fn present() -> Self {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = PathBuf::from(env!("CARGO_BIN_EXE_imagechain"));
        Self { program, charts: checkout.join("charts"), runner: Runner::Present, reads_staging: true }
    }

    fn before() -> Self {
        let Some(program) = env::var_os("IMAGECHAIN_OLD").map(PathBuf::from) else {
            return Self { runner: Runner::Before, ..Self::present() };
        };
        let charts = program.ancestors().map(|folder| folder.join("charts")).find(|charts| charts.is_dir());
        let charts = charts.unwrap_or_else(|| panic!("{}: not in a checkout with charts", program.display()));
        Self { program, charts, runner: Runner::Before, reads_staging: false }
    }

    /// Installs its charts, as an administrator does, and starts it.
    fn start(&self, stage: &Cluster) -> Operator {
        for (release, chart) in [("imagechain-crds", "imagechain-crds"), (NAME, "imagechain")] {
            let chart = self.charts.join(chart);
            stage.chart.helm(&["upgrade", release, chart.to_str().expect("a path"), "--reuse-values"], None);
        }
        stage.kubelet.runner(self.runner);
        stage.operator_of(&self.program)
    }
}

/// Where a link's build is when the operator is replaced.
struct Case {
    link: &'static str,
    /// What its pod does until then, and what then.
    scripts: (Script, Script),
    /// The reason of its build by then.
    reason: Reason,
    /// Its attempts in the end.
    attempts: Vec<(i32, Option<Reason>)>,
}

impl Case {
    fn new(link: &'static str, first: Script, then: Script, reason: Reason) -> Self {
        Self { link, scripts: (first, then), reason, attempts: vec![(1, None)] }
    }

    fn is_good(&self) -> bool {
        self.attempts.last().is_some_and(|(_, reason)| reason.is_none())
    }
}

fn cases() -> Vec<Case> {
    use Script::{Fail, Hold, HoldAt, Pend, Succeed};
    let tests_fail = || Fail(Stage::Verify, Reason::TestsFailed);
    let failed = || vec![(1, Some(Reason::TestsFailed))];
    let refused = Fail(Stage::Build, Reason::AccessDenied);
    let lost = Some(Reason::PodDisrupted);
    vec![
        Case::new("done", Succeed, Succeed, Reason::TestsPassed),
        Case::new("above", Succeed, Succeed, Reason::TestsPassed),
        Case { attempts: failed(), ..Case::new("failed", tests_fail(), tests_fail(), Reason::TestsFailed) },
        Case::new("pending", Pend, Succeed, Reason::PodPending),
        Case::new("source", HoldAt(Stage::Source), Succeed, Reason::FetchingSource),
        Case::new("build", HoldAt(Stage::Build), Succeed, Reason::Building),
        Case::new("verify", HoldAt(Stage::Verify), Succeed, Reason::Verifying),
        Case::new("publish", HoldAt(Stage::Publish), Succeed, Reason::Staging),
        Case::new("unrecorded", Hold, Succeed, Reason::Building),
        Case { attempts: failed(), ..Case::new("unrecorded-failure", Hold, tests_fail(), Reason::Building) },
        Case {
            attempts: vec![(1, lost), (2, lost), (3, None)],
            ..Case::new("backing-off", Hold, Succeed, Reason::BackingOff)
        },
        Case {
            attempts: vec![(1, Some(Reason::AccessDenied)), (2, None)],
            ..Case::new("secret", refused, Succeed, Reason::AccessDenied)
        },
        // Its tags cannot be moved as long as the registry takes nothing.
        Case::new("unpublished", Succeed, Succeed, Reason::TestsPassed),
    ]
}

/// Their pods end while no operator is there.
const UNRECORDED: [&str; 2] = ["unrecorded", "unrecorded-failure"];

/// Of all objects what no operator may change.
#[derive(Debug, PartialEq)]
struct Kept {
    /// By name: UID and specification, the key among it.
    builds: BTreeMap<String, Value>,
    /// The statuses of those that are finished, as the API server gives them.
    finished: BTreeMap<String, String>,
    pods: BTreeMap<String, usize>,
}

/// A chain with a link for each case, and the registry that it is published to.
struct Exercise<'s> {
    tenant: Tenant<'s>,
    registry: &'s Faults,
    refuses: Arc<AtomicBool>,
    cases: Vec<Case>,
}

impl Exercise<'_> {
    async fn make(&self) {
        let tenant = &self.tenant;
        tenant.make(&self.secret("wrong")).await;
        let account = format!("--serviceaccount={SYSTEM}:{NAME}");
        let namespace = format!("--namespace={}", tenant.namespace);
        let verbs = ["--verb=get,list,watch", "--resource=secrets", "--resource-name=pull"];
        let kubectl = |words: &[&str]| tenant.stage.chart.kubectl(words).unwrap_or_else(|error| panic!("{error}"));
        kubectl(&[&["create", "role", "pull", &namespace], &verbs[..]].concat());
        kubectl(&["create", "rolebinding", "pull", &namespace, "--role=pull", &account]);
        for case in &self.cases {
            tenant.script(case.link, case.scripts.0.clone());
        }
        tenant.make(&self.chain()).await;
    }

    fn chain(&self) -> Value {
        let mut names: Vec<&str> = self.cases.iter().map(|case| case.link).collect();
        names.push("child");
        let mut chain = self.tenant.chain(&names);
        chain["spec"]["parallelism"] = json!(64);
        chain["spec"]["onFailure"] = json!("Continue");
        for link in chain["spec"]["links"].as_array_mut().expect("links") {
            let image = json!({"image": format!("{}/base:1", self.tenant.stage.registry)});
            link["from"] = match link["name"].as_str() {
                Some("above") => json!({"link": "done"}),
                // Its build is made by the second operator, on what a pod of the first one makes.
                Some("child") => json!({"link": "build"}),
                Some("secret") => {
                    let mut from = image;
                    from["secretRef"] = json!({"name": "pull"});
                    from
                }
                _ => image,
            };
        }
        chain
    }

    fn secret(&self, password: &str) -> Value {
        let config = json!({"auths": {&self.tenant.stage.registry: {"username": "u", "password": password}}});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": self.tenant.namespace},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}})
    }

    /// Waits until every build is where its case wants it. What waits for a time comes last.
    async fn reached(&self) {
        for case in self.cases.iter().filter(|case| case.link != "backing-off") {
            self.wait_build(case.link, &case.reason.to_string(), |build| is(build, case.reason)).await;
        }
        let tenant = &self.tenant;
        tenant.wait_chain("published", |chain| ["done", "above"].iter().all(|link| is_published(chain, link))).await;
        tenant
            .wait_chain("held back", |chain| {
                let link = link_of(chain, "unpublished");
                link.state == LinkState::Publishing && link.reason == Some(Reason::RegistryUnavailable)
            })
            .await;
        tenant.script("backing-off", Script::Always(disrupted()));
        let lost = Some(Reason::PodDisrupted);
        let waits = vec![(1, lost), (2, lost), (3, None)];
        self.wait_build("backing-off", "two attempts are lost", |build| attempts(build) == waits).await;
    }

    /// What happens while no operator is there.
    async fn between(&self, next: &Version) {
        let tenant = &self.tenant;
        for case in self.cases.iter().filter(|case| UNRECORDED.contains(&case.link)) {
            tenant.script(case.link, case.scripts.1.clone());
            let pod = last_pod(&tenant.build_of(case.link).await);
            tenant.wait(tenant.pods(), &pod, "its pod is over", |pod: Option<&Pod>| pod.is_some_and(is_over)).await;
        }
        for case in &self.cases {
            let build = tenant.build_of(case.link).await;
            assert!(is(&build, case.reason), "{}: {:?}", case.link, build.status);
            let pod = tenant.pods().get_opt(&last_pod(&build)).await.expect("an answer");
            println!(
                "{}: {:20} {:15} pod: {}",
                tenant.namespace,
                case.link,
                case.reason.to_string(),
                phase(pod.as_ref())
            );
        }
        if next.reads_staging {
            // Pods that run push where they were told, whatever the profile says by now.
            let moved = format!("profiles.docker.registry.staging.repository={}/staging/moved", tenant.stage.registry);
            tenant.stage.chart.helm(&["upgrade", NAME, "charts/imagechain", "--reuse-values", "--set", &moved], None);
        }
    }

    /// Everything that was held goes on.
    async fn go_on(&self) {
        self.refuses.store(false, Ordering::SeqCst);
        for case in &self.cases {
            self.tenant.script(case.link, case.scripts.1.clone());
        }
        let secrets: Api<Secret> = self.tenant.api();
        let change = Patch::Merge(self.secret("right"));
        secrets.patch("pull", &PatchParams::default(), &change).await.expect("a change");
    }

    async fn ended(&self) {
        for case in &self.cases {
            self.wait_build(case.link, "it ends", ImageBuild::is_finished).await;
            self.check_build(case).await;
        }
        let good: Vec<&str> = self.cases.iter().filter(|case| case.is_good()).map(|case| case.link).collect();
        let all_of = |chain: &ImageChain| good.iter().chain(&["child"]).all(|link| is_published(chain, link));
        self.tenant.wait_chain("all is published that is good", all_of).await;
        self.tenant.settled().await;
    }

    /// One build for each link, with the attempts that it must have had, one pod for each of them, and each tag moved
    /// once, to what was staged.
    async fn check(&self) {
        let tenant = &self.tenant;
        let builds = tenant.builds().await;
        assert_eq!(builds.len(), self.cases.len() + 1, "{:?}", tenant.causes().await);
        let of_attempts = builds.iter().flat_map(|build| &build.status.as_ref().expect("a status").attempts);
        let mut expected: Vec<(String, usize)> = of_attempts.map(|attempt| (attempt.pod.0.clone(), 1)).collect();
        expected.sort();
        assert_eq!(tenant.stage.pods_made().into_iter().collect::<Vec<_>>(), expected, "one pod for each attempt");
        let mut seen = tenant.stage.kubelet.pods_of("c-");
        seen.sort();
        assert_eq!(seen, expected.into_iter().map(|(pod, _)| pod).collect::<Vec<_>>(), "and each was seen once");
        for case in &self.cases {
            self.check_build(case).await;
        }
        let good = self.cases.iter().filter(|case| case.is_good()).map(|case| case.link);
        let writes = self.registry.writes();
        for (link, tag) in good.chain(["child"]).flat_map(|link| [(link, "1"), (link, "latest")]) {
            assert_eq!(tenant.published(link, tag).await, Some(tenant.staged(link).await), "{link}:{tag}");
            let line = format!("PUT /v2/{}/{link}/manifests/{tag}", tenant.namespace);
            assert_eq!(writes.iter().filter(|write| **write == line).count(), 1, "{line}");
        }
    }

    async fn check_build(&self, case: &Case) {
        let build = self.tenant.build_of(case.link).await;
        let status = build.status.as_ref().expect("a status");
        assert_eq!(attempts(&build), case.attempts, "{}: {:?}", case.link, status.failure);
        assert_eq!(status.artifact.is_some(), case.is_good(), "{}", case.link);
    }

    /// Where the build of a link was staged.
    async fn staged_in(&self, link: &str) -> String {
        let status = self.tenant.build_of(link).await.status.expect("a status");
        status.artifact.expect("an artifact").reference.0
    }

    async fn kept(&self) -> Kept {
        let resource = ApiResource::erase::<ImageBuild>(&());
        let builds: Api<DynamicObject> =
            Api::namespaced_with(self.tenant.admin.clone(), &self.tenant.namespace, &resource);
        let builds = builds.list(&ListParams::default()).await.expect("builds").items;
        let is_finished = |build: &&DynamicObject| build.data["status"]["finishedAt"].is_string();
        let finished = builds.iter().filter(is_finished);
        Kept {
            finished: finished.map(|build| (build.name_any(), build.data["status"].to_string())).collect(),
            builds: builds.iter().map(|build| (build.name_any(), json!([build.uid(), build.data["spec"]]))).collect(),
            pods: self.tenant.stage.pods_made(),
        }
    }

    async fn wait_build(&self, link: &str, what: &str, condition: impl Fn(&ImageBuild) -> bool) {
        let name = self.tenant.build_of(link).await.name_any();
        let wanted = |build: Option<&ImageBuild>| build.is_some_and(&condition);
        self.tenant.wait(self.tenant.api::<ImageBuild>(), &name, &format!("{link}: {what}"), wanted).await;
    }
}

impl Kept {
    /// All of the earlier is there still.
    fn assert_keeps(&self, earlier: &Self) {
        for (name, build) in &earlier.builds {
            assert_eq!(self.builds.get(name), Some(build), "{name}");
        }
        for (name, status) in &earlier.finished {
            assert_eq!(self.finished.get(name), Some(status), "{name}");
        }
    }
}

fn is(build: &ImageBuild, reason: Reason) -> bool {
    let conditions = build.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|each| each.type_ == "Ready" && each.reason == reason.to_string())
}

fn link_of<'c>(chain: &'c ImageChain, name: &str) -> &'c LinkStatus {
    let links = chain.status.iter().flat_map(|status| &status.links);
    links.into_iter().find(|link| link.name.0 == name).expect("a link")
}

fn is_published(chain: &ImageChain, link: &str) -> bool {
    link_of(chain, link).state == LinkState::Ready
}

fn last_pod(build: &ImageBuild) -> String {
    build.status.as_ref().expect("a status").attempts.last().expect("an attempt").pod.0.clone()
}

fn phase(pod: Option<&Pod>) -> String {
    pod.map_or("none".to_owned(), |pod| pod.status.clone().and_then(|status| status.phase).unwrap_or_default())
}

fn is_over(pod: &Pod) -> bool {
    ["Succeeded", "Failed"].contains(&phase(Some(pod)).as_str())
}

/// One version takes over from another, and that one comes back when all has ended.
async fn replaced(name: &str, first: &Version, second: &Version) {
    let (servers, refuses) = (Servers::start(), Arc::new(AtomicBool::new(true)));
    let (path, now) = (format!("/v2/{name}/unpublished/"), Arc::clone(&refuses));
    let registry = Faults::before(servers.registry(), move |seen| {
        (now.load(Ordering::SeqCst) && seen.path.starts_with(&path)).then(|| Fault::status(503))
    })
    .await;
    let stage = Cluster::with(servers, registry.address()).await;
    let tenant = Tenant::new(&stage, name).await;
    let exercise = Exercise { tenant, registry: &registry, refuses, cases: cases() };

    let operator = first.start(&stage);
    exercise.make().await;
    exercise.reached().await;
    operator.end();
    println!("{name}: {} is replaced by {} with these builds:", first.program.display(), second.program.display());
    exercise.between(second).await;
    let before = exercise.kept().await;

    let operator = second.start(&stage);
    exercise.tenant.settled().await;
    exercise.kept().await.assert_keeps(&before);
    exercise.go_on().await;
    exercise.ended().await;
    exercise.check().await;
    let later = if second.reads_staging { "/staging/moved@" } else { "/staging/builds@" };
    for (link, folder) in [("build", "/staging/builds@"), ("backing-off", later), ("child", later)] {
        let staged = exercise.staged_in(link).await;
        assert!(staged.contains(folder), "{link}: {staged}");
    }
    let after = exercise.kept().await;
    after.assert_keeps(&before);
    operator.end();

    let _operator = first.start(&stage);
    exercise.tenant.settled().await;
    assert_eq!(exercise.kept().await, after, "what has ended is as it was");
    exercise.check().await;
}

#[tokio::test]
async fn builds_at_every_stage_survive_an_upgrade() {
    replaced("upgrade", &Version::before(), &Version::present()).await;
}

#[tokio::test]
async fn builds_at_every_stage_survive_a_downgrade() {
    replaced("downgrade", &Version::present(), &Version::before()).await;
}

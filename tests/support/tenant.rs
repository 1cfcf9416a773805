//! A tenant of a cluster, who writes chains and waits for what becomes of them.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use imagechain::api::{build::ImageBuild, chain::ImageChain, condition::Reason};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::{Condition, await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    chart::{BUILDS, create},
    cluster::Cluster,
    images::Pusher,
    kubelet::Script,
};

/// No proof of anything: what takes longer hangs.
pub const HANGS: Duration = Duration::from_mins(4);

/// The tags of all links.
pub const TAGS: [&str; 2] = ["1", "latest"];

/// A tenant with a namespace of their own.
pub struct Tenant<'s> {
    pub stage: &'s Cluster,
    pub admin: Client,
    pub namespace: String,
}

impl<'s> Tenant<'s> {
    pub async fn new(stage: &'s Cluster, namespace: &str) -> Self {
        let group = format!("system:serviceaccounts:{namespace}");
        let admin = stage.chart.server.admin().await;
        let tenant = Self { stage, admin, namespace: namespace.to_owned() };
        for object in [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": format!("use-{namespace}")},
                "rules": [{"apiGroups": ["imagechain.dev"], "resources": ["buildprofiles"], "verbs": ["use"]}]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("use-{namespace}")},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("use-{namespace}")},
                "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}]}),
        ] {
            tenant.make(&object).await;
        }
        tenant
    }

    pub async fn make(&self, object: &Value) {
        create(&self.admin, object, false).await.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    pub fn api<K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// A link with inline files.
    pub fn link(&self, name: &str, parent: Option<&str>) -> Value {
        let registry = &self.stage.registry;
        let from =
            parent.map_or_else(|| json!({"image": format!("{registry}/base:1")}), |parent| json!({"link": parent}));
        json!({
            "name": name, "from": from,
            "build": {"packer": {"template": format!("{name}/a.json")}},
            "verify": [{"command": {"arguments": ["true"], "directory": name}}],
            "publish": {"image": {"repository": format!("{registry}/{}/{name}", self.namespace), "tags": TAGS}},
        })
    }

    /// A chain `c` of links that stand on each other, each with a file of its own.
    pub fn chain(&self, names: &[&str]) -> Value {
        let files: BTreeMap<String, &str> = names.iter().map(|name| (format!("{name}/a.json"), "{}")).collect();
        let links: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut link = self.link(name, index.checked_sub(1).map(|below| names[below]));
                link["paths"] = json!([name]);
                link
            })
            .collect();
        json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
            "metadata": {"name": "c", "namespace": self.namespace},
            "spec": {"profiles": ["docker"], "source": {"inline": {"files": files}}, "links": links},
        })
    }

    /// A chain `c` of images, and of boxes that stand on them, each made by its step `build.box`.
    pub fn chain_to_boxes(&self, images: &[&str], boxes: &[(&str, Value)]) -> Value {
        let names: Vec<&str> = images.iter().copied().chain(boxes.iter().map(|(name, _)| *name)).collect();
        let mut chain = self.chain(&names);
        chain["spec"]["profiles"] = json!(["docker", "machines"]);
        for (index, (_, step)) in boxes.iter().enumerate() {
            let link = &mut chain["spec"]["links"][images.len() + index];
            let tags = link["publish"]["image"].take();
            link["profile"] = json!("machines");
            link["build"] = json!({"box": step});
            link["publish"] = json!({"box": tags});
        }
        chain
    }

    /// Applies an RFC 7386 patch to the chain.
    pub async fn edit(&self, patch: Value) {
        let chains: Api<ImageChain> = self.api();
        chains.patch("c", &PatchParams::default(), &Patch::Merge(patch)).await.expect("an edit");
    }

    /// Waits for a condition of an object; what there is instead is printed.
    pub async fn wait<K>(&self, api: Api<K>, name: &str, what: &str, condition: impl Condition<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + serde::Serialize + 'static,
    {
        let waited = timeout(HANGS, await_condition(api.clone(), name, condition)).await;
        if !matches!(waited, Ok(Ok(_))) {
            let object = serde_json::to_string_pretty(&api.get_opt(name).await.ok()).expect("JSON");
            let builds: Vec<_> =
                self.builds().await.into_iter().map(|build| (build.name_any(), build.status)).collect();
            panic!("{what}: {waited:?}\n{object}\n{builds:#?}\n{}", self.stage.log());
        }
    }

    pub async fn wait_chain(&self, what: &str, condition: impl Fn(&ImageChain) -> bool) {
        self.wait(self.api::<ImageChain>(), "c", what, |chain: Option<&ImageChain>| chain.is_some_and(&condition))
            .await;
    }

    pub async fn ready(&self) {
        self.wait_chain("ready", |chain| is(chain, "Ready", "True", None) && is(chain, "UpToDate", "True", None)).await;
    }

    /// Waits until the controller has looked at all that came before: at a chain that comes later. What it
    /// would do on account of the last change, it has done by then.
    pub async fn settled(&self) {
        let mut chain = self.chain(&["later"]);
        chain["metadata"] = json!({"generateName": "later-", "namespace": self.namespace});
        chain["spec"]["suspend"] = json!(true);
        let chain: ImageChain = serde_json::from_value(chain).expect("a chain");
        let made = self.api::<ImageChain>().create(&PostParams::default(), &chain).await.expect("a chain");
        let held =
            |chain: Option<&ImageChain>| chain.is_some_and(|chain| is(chain, "UpToDate", "False", Some("Suspended")));
        self.wait(self.api::<ImageChain>(), &made.name_any(), "a later chain is held", held).await;
        self.api::<ImageChain>().delete(&made.name_any(), &DeleteParams::default()).await.expect("a deletion");
    }

    pub async fn chain_now(&self) -> ImageChain {
        self.api::<ImageChain>().get("c").await.expect("the chain")
    }

    pub async fn builds(&self) -> Vec<ImageBuild> {
        let mut builds = self.api::<ImageBuild>().list(&ListParams::default()).await.expect("builds").items;
        builds.sort_by_key(ResourceExt::creation_timestamp);
        builds
    }

    /// The builds as `link: cause, cause`.
    pub async fn causes(&self) -> Vec<String> {
        let line = |build: &ImageBuild| {
            let causes: Vec<_> = build.spec.causes.iter().map(|cause| format!("{:?}", cause.kind)).collect();
            format!("{}: {}", build.spec.chain_ref.as_ref().expect("a chain").link, causes.join(", "))
        };
        let mut lines: Vec<_> = self.builds().await.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// How the pods of a link go from now on.
    pub fn script(&self, link: &str, script: Script) {
        self.stage.kubelet.script(&self.namespace, link, script);
    }

    /// The one build of a link, waited for.
    pub async fn build_of(&self, link: &str) -> ImageBuild {
        self.wait_chain("a build", |chain| build_name(chain, link).is_some()).await;
        let name = build_name(&self.chain_now().await, link).expect("a build");
        self.api::<ImageBuild>().get(&name).await.expect("the build")
    }

    /// Waits until the build of a link has a pod that runs; the answer is the pod.
    pub async fn running(&self, link: &str) -> Pod {
        let build = self.build_of(link).await;
        let name = build.name_any();
        let is_running = |build: Option<&ImageBuild>| {
            build.and_then(|build| build.status.as_ref()).is_some_and(|status| {
                status.conditions.iter().any(|each| each.type_ == "Ready" && each.reason == "Building")
            })
        };
        self.wait(self.api::<ImageBuild>(), &name, "a pod that runs", is_running).await;
        let build = self.api::<ImageBuild>().get(&name).await.expect("the build");
        let pod = &build.status.expect("a status").attempts.last().expect("an attempt").pod.0.clone();
        self.pods().get(pod).await.expect("the pod")
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.admin.clone(), BUILDS)
    }

    pub async fn gone<K>(&self, api: Api<K>, name: &str)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + serde::Serialize + 'static,
    {
        self.wait(api, name, "gone", |object: Option<&K>| object.is_none()).await;
    }

    /// Where a link is published.
    pub fn repository(&self, link: &str) -> Pusher {
        Pusher::new(&self.stage.registry, &format!("{}/{link}", self.namespace), None)
    }

    /// The digest that a published tag leads to.
    pub async fn published(&self, link: &str, tag: &str) -> Option<String> {
        self.repository(link).digest(tag).await.map(|digest| digest.to_string())
    }

    /// The digest that the last build of a link has staged.
    pub async fn staged(&self, link: &str) -> String {
        let build = self.build_of(link).await;
        build.status.expect("a status").artifact.expect("an artifact").digest.0
    }
}

pub fn is(chain: &ImageChain, kind: &str, value: &str, reason: Option<&str>) -> bool {
    let Some(status) = &chain.status else { return false };
    status.observed_generation == chain.metadata.generation.expect("a generation")
        && status
            .conditions
            .iter()
            .any(|each| each.type_ == kind && each.status == value && reason.is_none_or(|reason| each.reason == reason))
}

pub fn message(chain: &ImageChain, kind: &str) -> String {
    let status = chain.status.clone().unwrap_or_default();
    status.conditions.into_iter().find(|each| each.type_ == kind).map(|each| each.message).unwrap_or_default()
}

pub fn build_name(chain: &ImageChain, link: &str) -> Option<String> {
    let status = chain.status.as_ref()?;
    status.links.iter().find(|each| each.name.0 == link)?.build.as_ref().map(ToString::to_string)
}

/// The attempts of a build, as numbers with the reasons for which they ended.
pub fn attempts(build: &ImageBuild) -> Vec<(i32, Option<Reason>)> {
    let attempts = build.status.iter().flat_map(|status| &status.attempts);
    attempts.map(|attempt| (attempt.number, attempt.reason)).collect()
}

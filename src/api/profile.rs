//! `BuildProfile`: who may build with which privileges, where. Owned by the platform's administrators.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::{
    api::core::v1::Toleration,
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::{
    ConfigMapSource, Duration, ImageReference, NoProxy, ObjectName, ProxyUrl, RegistryHost, Repository,
    SecretReference, is_default, not_observed,
};

/// Who may build with which privileges, where. To allow a tenant a privileged profile is to give them root
/// on every node that the profile can reach.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "imagechain.dev",
    version = "v1alpha1",
    kind = "BuildProfile",
    status = "BuildProfileStatus",
    derive = "PartialEq",
    shortname = "bp",
    category = "imagechain-all",
    doc = "Who may build with which privileges, where. To allow a tenant a privileged profile is to give them root on every node that the profile can reach.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Isolation", type_ = "string", json_path = ".spec.isolation"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine"),
    printcolumn(name = "Hypervisor", type_ = "string", json_path = ".spec.hypervisor", priority = 1),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.executionNamespace"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63")
        .message("the name becomes the value of a label on pods: 63 characters at most"),
    validation = Rule::new(
        "!has(self.spec.registry) || !has(self.spec.registry.certificateAuthority) || !has(self.spec.network) || \
         !has(self.spec.network.certificateAuthority)"
    )
    .message("leave registry.certificateAuthority out: network.certificateAuthority is for registries, too"),
    validation = Rule::new("has(self.spec.hypervisor) == (self.spec.engine == 'None')")
        .message("a profile builds container images by an engine, or machine boxes by a hypervisor: set engine: None with hypervisor: Qemu, or leave both out"),
    validation = Rule::new("!has(self.spec.kvm) || has(self.spec.hypervisor)")
        .message("kvm goes with hypervisor: Qemu")
)]
pub struct BuildProfileSpec {
    /// What keeps a build from its node.
    #[serde(default)]
    pub isolation: Isolation,
    /// The container engine that runs beside a build.
    #[serde(default)]
    pub engine: Engine,
    /// The hypervisor that builds use. A profile with one builds machine boxes instead of container images, and none of
    /// its containers is privileged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<Hypervisor>,
    /// How machines of a hypervisor are accelerated. Without it they are emulated, which is much slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kvm: Option<Kvm>,
    /// The images that builds run in; pin them by digest in production.
    pub images: Images,
    /// The namespace in which build pods run. It serves one trust domain: nobody but the operator needs
    /// rights there.
    pub execution_namespace: ObjectName,
    /// The namespaces whose chains may use this profile, by their labels. An empty selector means all; the
    /// right to `use` the profile is needed besides.
    #[serde(default)]
    pub allowed_namespaces: LabelSelector,
    /// The platform of the images that are built; of a base image for several, its manifest is taken.
    #[serde(default = "default_platform")]
    #[schemars(length(min = 3, max = 64), regex(pattern = r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$"))]
    pub platform: String,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, NodeLabelValue>,
    /// Taints of nodes that build pods bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// The most that one build may have of each resource.
    #[serde(default)]
    pub resources: Resources,
    /// How many builds may run at once with this profile, over all chains. Default: as many as nodes have room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_builds: Option<i32>,
    /// The registry that builds push to, and how registries are reached.
    #[serde(default)]
    pub registry: Registry,
    /// How builds, and look-ups for them, reach servers. It does not decide what is built: no image is rebuilt for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How long finished pods, with their logs, are kept.
    #[serde(default)]
    pub pod_retention: PodRetention,
    /// How long a pod may live, whatever its stages do: the last resort behind their own timeouts.
    #[serde(default = "default_deadline")]
    pub deadline: Duration,
}

fn default_platform() -> String {
    "linux/amd64".to_owned()
}

/// How long a pod may live if the profile does not say.
#[must_use]
pub fn default_deadline() -> Duration {
    Duration::from("6h")
}

/// What keeps a build from its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Nothing but the container: the engine runs as root of the node, so that containers and systemd can
    /// run inside.
    #[default]
    Privileged,
}

/// The container engine that runs beside a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Engine {
    /// dockerd.
    #[default]
    Docker,
    /// None: the profile has a hypervisor instead.
    None,
}

/// The hypervisor that builds use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Hypervisor {
    /// qemu, as a process of the container.
    Qemu,
}

/// Acceleration by the processor's own virtualization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kvm {
    /// The extended resource of a device plugin that gives a container `/dev/kvm`, for example
    /// `devices.kubevirt.io/kvm`. The containers that boot machines ask for one of it.
    pub resource: ExtendedResource,
}

/// The name of an extended resource: a domain, a slash and a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ExtendedResource(
    #[schemars(
        length(min = 3, max = 253),
        regex(
            pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
        )
    )]
    pub String,
);

/// The images that builds run in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Has packer, ansible, molecule and what else the stages call.
    pub builder: ImageReference,
    /// Has the container engine. Default: the builder image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<ImageReference>,
}

/// The value of a node's label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NodeLabelValue(
    #[schemars(length(max = 63), regex(pattern = r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"))] pub String,
);

/// The most that one build may have of each resource, all of its containers together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.requests) || !has(self.requests.cpu) || quantity(string(self.requests.cpu)).compareTo(quantity(string(self.cpu))) <= 0")
        .message("requests.cpu must not be more than cpu"),
    validation = Rule::new("!has(self.requests) || !has(self.requests.memory) || quantity(string(self.requests.memory)).compareTo(quantity(string(self.memory))) <= 0")
        .message("requests.memory must not be more than memory"),
    validation = Rule::new("!has(self.requests) || !has(self.requests.storage) || quantity(string(self.requests.storage)).compareTo(quantity(string(self.storage))) <= 0")
        .message("requests.storage must not be more than storage")
)]
pub struct Resources {
    /// Processor time, for example `4`, `1.5` or `500m`; 100m at least.
    #[serde(default = "default_cpu")]
    pub cpu: ResourceQuantity,
    /// Memory, for example `8Gi`; 1Gi at least, of which the engine keeps 256Mi for itself.
    #[serde(default = "default_memory")]
    pub memory: ResourceQuantity,
    /// Disk for the source, the engine's images and logs, for example `40Gi`; 1Gi at least.
    #[serde(default = "default_storage")]
    pub storage: ResourceQuantity,
    /// What a node must have free for one build, where that is less than the build may have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Requests,
}

fn default_cpu() -> ResourceQuantity {
    ResourceQuantity("4".to_owned())
}

fn default_memory() -> ResourceQuantity {
    ResourceQuantity("8Gi".to_owned())
}

fn default_storage() -> ResourceQuantity {
    ResourceQuantity("40Gi".to_owned())
}

/// What a node must have free for one build. What is left out is as much as the build may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// Processor time, for example `500m`; 10m at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<ResourceQuantity>,
    /// Memory, for example `2Gi`; 64Mi at least. A build that has more is ended first when its node runs out of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ResourceQuantity>,
    /// Disk, for example `10Gi`; 64Mi at least. A build that has more is evicted first when its node's disk is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<ResourceQuantity>,
}

impl Default for Resources {
    fn default() -> Self {
        let (cpu, memory, storage) = (default_cpu(), default_memory(), default_storage());
        Self { cpu, memory, storage, requests: Requests::default() }
    }
}

/// A quantity as Kubernetes takes it: a whole number, or text with a binary or decimal suffix or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "IntOrString", into = "String")]
pub struct ResourceQuantity(pub String);

/// As it is written. Kubernetes' own type has 32 bits, which bytes of memory do not fit into.
#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Int(i64),
    String(String),
}

impl From<IntOrString> for ResourceQuantity {
    fn from(written: IntOrString) -> Self {
        Self(match written {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text,
        })
    }
}

impl From<ResourceQuantity> for String {
    fn from(quantity: ResourceQuantity) -> Self {
        quantity.0
    }
}

/// By hand, since schemars knows no type that is a number or text: to Kubernetes, that is
/// `x-kubernetes-int-or-string`, beside which it refuses a type.
impl JsonSchema for ResourceQuantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResourceQuantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "minLength": 1,
            "maxLength": 16,
            "pattern": r"^(0\.[0-9]{1,3}|[1-9][0-9]{0,11}(\.[0-9]{1,3})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
        })
    }
}

/// The registry that builds push to, and how registries are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Where builds push what they made, before it is tested. Without it they push to a tag of their own
    /// in the published repository, and so hold a credential that could move published tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging: Option<Staging>,
    /// Registries to ask instead of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["registry".into()]))]
    pub mirrors: Vec<Mirror>,
    /// Registries, as host or host:port, that are reached by plain HTTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub insecure: Vec<RegistryHost>,
    /// A `ConfigMap` of the execution namespace whose key `ca.crt` holds the certificates that registries
    /// alone are trusted by, besides the usual ones. For git, packer and all else: `network`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<ConfigMapSource>,
}

/// How builds, and look-ups for them, reach servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// A `ConfigMap` of the execution namespace whose key `ca.crt` holds the certificates, as PEM, that registries, git
    /// servers and all servers that builds talk to are trusted by, besides the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<ConfigMapSource>,
    /// The proxies on the way. Default: for look-ups those of the operator, for builds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// The proxies on the way to servers. git by ssh knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.http) || has(self.https)").message("set http, https or both"))]
pub struct Proxy {
    /// The URL of the proxy for http, for example `http://proxy.example:3128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<ProxyUrl>,
    /// The URL of the proxy for https; as a rule the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<ProxyUrl>,
    /// What is reached directly: hosts, domains with all that is in them (`.corp.example`), addresses and ranges of
    /// them. `localhost`, `127.0.0.1`, `::1`, `.svc` and `.cluster.local` always are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub no_proxy: Vec<NoProxy>,
}

/// Where builds push what they made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Staging {
    /// The repository. It must be on the same registry as what is published from it.
    pub repository: Repository,
    /// A Secret of the execution namespace with the right to push there, and to nothing that is published, of the types
    /// that `from.secretRef` of a link has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// A registry to ask instead of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The registry that references name, as host or host:port.
    pub registry: RegistryHost,
    /// The one to ask, as host or host:port.
    pub mirror: RegistryHost,
}

/// How long finished pods, with their logs, are kept after their result is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodRetention {
    /// Of builds that were verified.
    pub succeeded: Duration,
    /// Of builds that failed.
    pub failed: Duration,
}

impl Default for PodRetention {
    fn default() -> Self {
        Self { succeeded: Duration::from("10m"), failed: Duration::from("1h") }
    }
}

/// What is known of a profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildProfileStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// `Ready`: the execution namespace, the images and the staging registry are as the profile says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

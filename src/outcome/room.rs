//! Whether a node has room for a pod: now, later, or never. The scheduler says only that it finds none, in words that are
//! made for people; the nodes, and the builds that are on them, tell why.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, PodSpec, ResourceRequirements, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

use super::pod::{is_over, placement};
use crate::{
    api::{BUILD_UID_LABEL, PROFILE_LABEL},
    plan::{
        observed::{Placement, Room},
        quantity::{shown, shown_bytes, thousandths},
    },
};

/// What nodes have, and what pods ask for.
const RESOURCES: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];
/// So much of each, in thousandths.
type Amounts = [u64; RESOURCES.len()];
/// One of each, and no more, is what a pod is.
const ONE_POD: Amounts = [0, 0, 0, 1000];

/// Taints with these domains tell the state of a node, which passes: it is cordoned, not ready, short of memory.
const PASSING: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

/// The nodes of a cluster, and the pods of builds.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Arc<Node>>,
    /// The pods of builds.
    pub builds: Vec<Arc<Pod>>,
}

/// Why the scheduler finds no node for a pod.
#[must_use]
pub fn judge(pod: &Pod, cluster: &Cluster) -> Room {
    let Some(demand) = Demand::of(pod).filter(|_| placement(pod) == Placement::Refused) else { return Room::Unknown };
    let places = demand.places(cluster);
    let large: Vec<_> = places.iter().filter(|place| demand.lacks(place.allocatable).is_empty()).collect();
    match (places.is_empty(), large.is_empty()) {
        (true, _) => Room::Unknown,
        (false, true) => Room::Never(demand.too_large(&places)),
        (false, false) => Room::Short(demand.short(&large)),
    }
}

/// For how many pods like this one there is room beside the builds that have their nodes: at most so many, since other
/// pods are not looked at. `None`: nobody can tell.
#[must_use]
pub fn count(pod: &Pod, cluster: &Cluster) -> Option<usize> {
    let demand = Demand::of(pod)?;
    let places = demand.places(cluster);
    let open = places.iter().filter(|place| place.passing.is_none());
    let rooms = open.map(|place| times(place.left(), demand.amounts)).fold(0, u64::saturating_add);
    (!places.is_empty()).then(|| usize::try_from(rooms).unwrap_or(usize::MAX))
}

/// How often one fits into the other.
fn times(whole: Amounts, part: Amounts) -> u64 {
    whole
        .into_iter()
        .zip(part)
        .map(|(whole, part)| whole.checked_div(part).unwrap_or(u64::MAX))
        .min()
        .unwrap_or_default()
}

/// What a pod asks of its node.
struct Demand<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    amounts: Amounts,
}

/// A node that a pod may be on.
struct Place<'a> {
    name: &'a str,
    allocatable: Amounts,
    /// What builds have of it.
    used: Amounts,
    /// The builds that are on it.
    builds: BTreeSet<&'a str>,
    /// The taint that keeps pods away for a while.
    passing: Option<&'a str>,
}

impl Place<'_> {
    fn left(&self) -> Amounts {
        combined(self.allocatable, self.used, u64::saturating_sub)
    }
}

impl<'a> Demand<'a> {
    /// What a pod asks for; `None` where it asks for more than the operator gave it, and nobody here can weigh that.
    fn of(pod: &'a Pod) -> Option<Self> {
        let spec = pod.spec.as_ref().filter(|spec| spec.affinity.is_none())?;
        Some(Self { pod, spec, amounts: requests(spec) })
    }

    /// The nodes that it may be on, large enough or not.
    fn places<'c>(&self, cluster: &'c Cluster) -> Vec<Place<'c>> {
        cluster.nodes.iter().filter(|node| self.selects(node)).filter_map(|node| place(node, &cluster.builds)).collect()
    }

    fn selects(&self, node: &Node) -> bool {
        let bears = |taint: &&Taint| self.spec.tolerations.iter().flatten().any(|each| tolerates(each, taint));
        let mut selector = self.spec.node_selector.iter().flatten();
        selector.all(|(key, value)| node.labels().get(key) == Some(value))
            && taints(node).filter(|taint| !is_passing(taint)).all(|taint| bears(&taint))
    }

    /// What there is too little of, with how much is asked for and there.
    fn lacks(&self, there: Amounts) -> Vec<(&'static str, u64, u64)> {
        let all = RESOURCES.into_iter().zip(self.amounts).zip(there);
        all.filter(|((_, asked), there)| there < asked).map(|((name, asked), there)| (name, asked, there)).collect()
    }

    /// How near some amounts come to what is asked for, in thousandths.
    fn nearness(&self, there: Amounts) -> u64 {
        times(there.map(|amount| amount.saturating_mul(1000)), self.amounts)
    }

    fn too_large(&self, places: &[Place<'_>]) -> String {
        let profile = self.pod.labels().get(PROFILE_LABEL).map(String::as_str).unwrap_or_default();
        let largest = places.iter().max_by_key(|place| (self.nearness(place.allocatable), Reverse(place.name)));
        let (name, lacks) = largest.map(|place| (place.name, self.lacks(place.allocatable))).unwrap_or_default();
        let asked = listed(&lacks, |(resource, asked, _)| (resource, asked));
        let there = listed(&lacks, |(resource, _, there)| (resource, there));
        format!(
            "no node that the BuildProfile «{profile}» selects is large enough: a build asks for {asked}, and the largest \
             node, {name}, has {there} in all; lower resources.requests of the profile, or add a larger node"
        )
    }

    fn short(&self, large: &[&Place<'_>]) -> String {
        let builds: BTreeSet<_> = large.iter().flat_map(|place| &place.builds).collect();
        let behind = match builds.len() {
            0 => String::new(),
            1 => "; behind 1 build that runs".to_owned(),
            several => format!("; behind {several} builds that run"),
        };
        let best = large
            .iter()
            .max_by_key(|place| (place.passing.is_none(), self.nearness(place.left()), Reverse(place.name)));
        format!("{}{behind}", best.map(|place| self.why_not_now(place)).unwrap_or_default())
    }

    /// What keeps it from the node that comes nearest.
    fn why_not_now(&self, place: &Place<'_>) -> String {
        let name = place.name;
        if let Some(taint) = place.passing {
            return format!("no node takes the pod now: {name} has the taint {taint}");
        }
        let lacks = self.lacks(place.left());
        if lacks.is_empty() {
            let asked: Vec<_> = self.lacks(Amounts::default());
            let asked = listed(&asked, |(resource, asked, _)| (resource, asked));
            return format!(
                "no node has room yet: other pods than builds take what {name} has left, and it asks for {asked}"
            );
        }
        let whole = self.lacks(place.left()).into_iter().map(|(resource, asked, left)| {
            let all = RESOURCES.into_iter().zip(place.allocatable).find(|(name, _)| *name == resource);
            let all = all.map_or_else(String::new, |(name, all)| written(name, all));
            let [short, asked, left] =
                [asked.saturating_sub(left), asked, left].map(|amount| written(resource, amount));
            format!("{resource} is short by {short} on {name} (it asks for {asked}, of {all} at most {left} is left)")
        });
        format!("no node has room yet: {}", whole.collect::<Vec<_>>().join(", "))
    }
}

type Lack = (&'static str, u64, u64);

fn listed(lacks: &[Lack], of: impl Fn(Lack) -> (&'static str, u64)) -> String {
    let each = lacks.iter().map(|lack| of(*lack)).filter(|(name, _)| *name != "pods" || lacks.len() == 1);
    each.map(|(name, amount)| format!("{name} {}", written(name, amount))).collect::<Vec<_>>().join(", ")
}

/// An amount as people write it.
fn written(resource: &str, amount: u64) -> String {
    if matches!(resource, "cpu" | "pods") { shown(amount) } else { shown_bytes(amount / 1000) }
}

/// A node with what it has; `None` as long as it has not said that.
fn place<'a>(node: &'a Node, builds: &'a [Arc<Pod>]) -> Option<Place<'a>> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let on_it = |pod: &&Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name);
    let on_it: Vec<_> = builds.iter().filter(on_it).filter(|pod| !is_over(pod)).collect();
    let used = on_it.iter().filter_map(|pod| Some(requests(pod.spec.as_ref()?)));
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref())?;
    Some(Place {
        name,
        allocatable: amounts(Some(allocatable)),
        used: used.fold(Amounts::default(), |all, each| combined(all, each, u64::saturating_add)),
        builds: on_it.iter().filter_map(|pod| pod.labels().get(BUILD_UID_LABEL)).map(String::as_str).collect(),
        passing: taints(node).find(|taint| is_passing(taint)).map(|taint| taint.key.as_str()),
    })
}

/// The taints that keep pods away.
fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    let all = node.spec.iter().flat_map(|spec| &spec.taints).flatten();
    all.filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
}

fn is_passing(taint: &Taint) -> bool {
    PASSING.iter().any(|domain| taint.key.starts_with(domain))
}

/// As Kubernetes matches them (`ToleratesTaint`).
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || key.is_empty() && exists)
        && (exists || text(&toleration.value) == text(&taint.value))
}

/// What a pod asks for, as Kubernetes sums it up: what runs at once, or what the greediest of the containers before needs
/// beside the sidecars that have begun; what is written for the pod as a whole counts instead.
fn requests(spec: &PodSpec) -> Amounts {
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let with = combined(sidecars, asked(container), u64::saturating_add);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = with;
        }
        peak = combined(peak, with, u64::max);
    }
    let all = spec.containers.iter().map(asked);
    let all = all.fold(sidecars, |all, each| combined(all, each, u64::saturating_add));
    let containers = combined(all, peak, u64::max);
    let of_pod = requested(spec.resources.as_ref());
    let whole = combined(containers, amounts(of_pod), |each, whole| if whole > 0 { whole } else { each });
    let whole = combined(whole, amounts(spec.overhead.as_ref()), u64::saturating_add);
    combined(whole, ONE_POD, u64::saturating_add)
}

fn asked(container: &Container) -> Amounts {
    amounts(requested(container.resources.as_ref()))
}

fn requested(resources: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Quantity>> {
    resources?.requests.as_ref()
}

fn amounts(all: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    RESOURCES.map(|name| all.and_then(|all| thousandths(&all.get(name)?.0)).unwrap_or_default())
}

fn combined(one: Amounts, other: Amounts, by: impl Fn(u64, u64) -> u64) -> Amounts {
    let mut pairs = one.into_iter().zip(other);
    RESOURCES.map(|_| pairs.next().map_or(0, |(one, other)| by(one, other)))
}

#[cfg(test)]
mod tests;

//! How a chain stands at the end, in words that are the same in every run that ends the same way.

use std::collections::{BTreeMap, BTreeSet};

use imagechain::{
    api::{
        BUILD_NAMESPACE_LABEL, LINK_LABEL,
        boxes::ArtifactKind,
        build::{ImageBuild, Outcome},
        chain::ImageChain,
    },
    plan::image::Digest,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt, api::ListParams};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{
    chart::BUILDS,
    cluster::STAGING,
    images::Pusher,
    oracle::content_of,
    tenant::{TAGS, Tenant},
};

/// What is another in every run and says nothing of how it ended: identities, versions and times. All that is
/// left of the objects is compared.
const OWN: [&str; 15] = [
    "uid",
    "podUid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "lastTransitionTime",
    "startedAt",
    "scheduledAt",
    "finishedAt",
    "at",
    "created",
    "duration",
    // Which of several images was published last: a delay of one changes that.
    "lastImage",
    // A hash over versions of objects.
    "dependencies",
    // How long a test took, by whole seconds, is the kubelet's word.
    "seconds",
];

/// All objects of a tenant's chain and what its tags lead to.
pub async fn end_of(tenant: &Tenant<'_>, links: &[&str]) -> Value {
    let chain: ImageChain = tenant.chain_now().await;
    let builds: Vec<ImageBuild> = tenant.builds().await;
    let selector = ListParams::default().labels(&format!("{BUILD_NAMESPACE_LABEL}={}", tenant.namespace));
    let pods = tenant.pods().list(&selector).await.expect("pods").items;
    let secrets: Api<Secret> = Api::namespaced(tenant.admin.clone(), BUILDS);
    let secrets = secrets.list(&ListParams::default()).await.expect("Secrets").items;
    let secrets: Vec<String> = secrets.iter().map(ResourceExt::name_any).collect();
    let mut tags = BTreeMap::new();
    for link in links {
        for tag in TAGS {
            tags.insert(format!("{link}:{tag}"), tenant.published(link, tag).await);
        }
    }
    let mut builds: Vec<Value> =
        builds.iter().map(|build| json!({"spec": build.spec, "status": build.status})).collect();
    builds.sort_by_key(|build| build["spec"]["chainRef"]["link"].to_string());
    let end = json!({
        "chain": chain.status, "builds": builds, "tags": tags,
        "pods": pods_of(&pods, &secrets),
    });
    normal(&end, &names(&tenant.namespace))
}

/// What is wrong at the end of a chain whose links, each of that kind, were built once, by the registry and the kubelet:
/// the tags of a link lead to what was tested, each attempt had one pod, and what the attempts staged, and nothing else of
/// theirs, is in the staging repository.
pub async fn wrong(tenant: &Tenant<'_>, links: &[(&str, ArtifactKind)]) -> Vec<String> {
    let staged = Pusher::new(&tenant.stage.registry, STAGING, None).tags().await;
    let builds = tenant.builds().await;
    let mut found = Vec::new();
    for (link, kind) in links {
        let own = builds.iter().filter(|build| build.spec.chain_ref.as_ref().is_some_and(|of| of.link.0 == *link));
        let [build] = own.collect::<Vec<_>>()[..] else {
            found.push(format!("{link}: not one build"));
            continue;
        };
        found.extend(wrong_tags(tenant, link, (*kind, build)).await);
        found.extend(wrong_attempts(tenant, build, &staged));
    }
    found
}

/// The published tags of a link that lead to something else than what its build has tested.
async fn wrong_tags(tenant: &Tenant<'_>, link: &str, (kind, build): (ArtifactKind, &ImageBuild)) -> Vec<String> {
    let Some(tested) = build.status.as_ref().and_then(|status| status.artifact.as_ref()) else {
        return vec![format!("{link}: nothing was built")];
    };
    let mut found = Vec::new();
    for tag in TAGS {
        let body = tenant.repository(link).read(tag).await.unwrap_or_default();
        let content = content_of(&serde_json::from_slice(&body).unwrap_or_default());
        let digest = Digest::of(&body).to_string();
        if (content.kind, &digest, &content) != (kind, &tested.digest.0, &tested.content) {
            found.push(format!("{link}:{tag} is {digest}, {content:?}; tested was {tested:?}"));
        }
    }
    found
}

/// The attempts of a build that had other than one pod, or that staged other than one product, under the name of the pod.
fn wrong_attempts(tenant: &Tenant<'_>, build: &ImageBuild, staged: &BTreeSet<String>) -> Option<String> {
    let (name, attempts) = (build.name_any(), build.status.iter().flat_map(|status| &status.attempts));
    let pods: BTreeSet<&String> = attempts.clone().map(|attempt| &attempt.pod.0).collect();
    let ended_well = attempts.filter(|attempt| attempt.outcome == Some(Outcome::Succeeded));
    let products: BTreeSet<&String> = ended_well.map(|attempt| &attempt.pod.0).collect();
    let prefix = format!("{name}-");
    let found: BTreeSet<&String> = staged.iter().filter(|tag| tag.starts_with(&prefix)).collect();
    let mut played = tenant.stage.kubelet.pods_of(&prefix);
    played.sort();
    let is_right = played.iter().eq(pods) && products == found && !products.is_empty();
    let told = build.status.as_ref().map(|status| &status.attempts);
    (!is_right).then(|| format!("{name}: the pods are {played:?}, staged is {found:?}, and told is {told:?}"))
}

/// Each link's pods, with their phase and whether they have a Secret.
fn pods_of(pods: &[Pod], secrets: &[String]) -> Vec<String> {
    let line = |pod: &Pod| {
        let link = pod.labels().get(LINK_LABEL).cloned().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        format!("{link}: {phase}, Secret: {}", secrets.contains(&pod.name_any()))
    };
    let mut lines: Vec<String> = pods.iter().map(line).collect();
    lines.sort();
    lines
}

/// The namespace, the hashes that end the names of builds and pods (the chain's UID is in them), and spans of
/// time in messages.
fn names(namespace: &str) -> Vec<(Regex, &'static str)> {
    let pattern = |text: &str| Regex::new(text).expect("a pattern");
    vec![
        (pattern(&format!(r"\b{namespace}\b")), "NAMESPACE"),
        (pattern(r"\b(c-\w+)-[0-9a-f]{10}(-[0-9a-f]{6}-(\d+))?\b"), "$1-HASH$3"),
        (pattern(r"\b(\d+h)?(\d+m)?\d+s\b"), "SPAN"),
    ]
}

fn normal(value: &Value, names: &[(Regex, &'static str)]) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), normal(value, names))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| normal(item, names)).collect()),
        Value::String(text) => {
            let replaced =
                names.iter().fold(text.clone(), |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned());
            Value::String(replaced)
        }
        other => other.clone(),
    }
}

/// The lines in which two ends differ.
pub fn difference(expected: &Value, found: &Value) -> String {
    let lines = |value: &Value| -> Vec<String> {
        serde_json::to_string_pretty(value).expect("JSON").lines().map(ToOwned::to_owned).collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let missing = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}"));
    let added = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(added).collect::<Vec<_>>().join("\n")
}

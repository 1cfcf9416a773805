//! How a chain stands at the end, in words that are the same in every run that ends the same way.

use std::collections::BTreeMap;

use imagechain::api::{BUILD_NAMESPACE_LABEL, LINK_LABEL, build::ImageBuild, chain::ImageChain};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt, api::ListParams};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{chart::BUILDS, tenant::Tenant};

/// What is another in every run and says nothing of how it ended: identities, versions and times. All that is
/// left of the objects is compared.
const OWN: [&str; 14] = [
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
        for tag in ["1", "latest"] {
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

//! The charts: what helm makes of them, and what becomes of that on a real API server.

use std::{fs, path::Path};

use k8s_openapi::api::{core::v1::Namespace, rbac::v1::ClusterRole};
use kube::{
    Api,
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};

use crate::support::chart::{BUILDS, Chart, NAME, SYSTEM, eventually, helm, output, values};

/// Where helm keeps what it keeps.
fn home() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("imagechain-helm-{}", std::process::id()))
}

fn template(values: &Value) -> Result<String, String> {
    let json: Vec<String> = values
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(name, value)| ["--set-json".to_owned(), format!("{name}={value}")])
        .collect();
    output(helm(&home()).args(["template", NAME, "charts/imagechain", "--namespace", SYSTEM]).args(json))
}

/// All that can be switched on.
fn everything() -> Value {
    let mut all = values();
    all["image"] = json!({
        "repository": "registry.example/imagechain", "digest": crate::support::chart::digest('c'), "pullSecrets": [{"name": "pull"}],
    });
    all["executionNamespaces"] = json!([
        {"name": BUILDS, "labels": {"team": "a"}, "logReaders": [
            {"kind": "Group", "name": "team-a", "apiGroup": "rbac.authorization.k8s.io"},
        ]},
        {"name": "made-by-hand", "create": false},
    ]);
    all["gates"] = json!({"profiles": ["made-otherwise", "docker"]});
    all["rbac"] = json!({"readTenantSecrets": true});
    all["network"] = json!({"certificateAuthority": "company", "proxy": {
        "http": "http://proxy.example:3128", "https": "http://proxy.example:3128", "noProxy": [".example", "10.0.0.0/8"],
    }});
    all["serviceMonitor"] = json!({"enabled": true, "labels": {"release": "prometheus"}});
    all["dashboard"] = json!({"enabled": true});
    all["boxes"] = json!({
        "enabled": true, "repositories": ["registry.example:5000/team-a", "registry.example:5000/team-b/box"],
        "url": "https://boxes.example", "registryConfig": "pull-boxes", "insecureRegistries": ["registry.example:5000"],
        "downloads": 4, "replicas": 2, "service": {"type": "NodePort", "port": 8080, "annotations": {"note": "n"}},
    });
    all["fileCache"] = json!({
        "enabled": true, "size": "40Gi", "nodeSelector": {"imagechain.dev/builds": "true"},
        "tolerations": [{"key": "imagechain.dev/builds", "operator": "Exists"}],
    });
    all["networkPolicy"] = json!({"egress": [{"ports": [{"port": 443}]}]});
    all["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
    all["tolerations"] = json!([{"key": "system", "operator": "Exists"}]);
    all["affinity"] = json!({"nodeAffinity": {}});
    all["priorityClassName"] = json!("system-cluster-critical");
    all["serviceAccount"] = json!({"name": "operator", "annotations": {"note": "n"}});
    all
}

#[test]
fn helm_finds_nothing_to_say() {
    let linted = output(helm(&home()).args(["lint", "--strict", "charts/imagechain-crds", "charts/imagechain"]));
    linted.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_the_default_values_make() {
    insta::assert_snapshot!("default_values", template(&json!({})).expect("templates"));
}

#[test]
fn what_everything_switched_on_makes() {
    insta::assert_snapshot!("everything_switched_on", template(&everything()).expect("templates"));
}

#[test]
fn what_is_switched_off_is_not_there() {
    let off = json!({
        "gates": {"enabled": false}, "podDisruptionBudget": {"enabled": false}, "networkPolicy": {"enabled": false},
        "rbac": {"aggregate": false},
    });
    let text = template(&off).expect("templates");
    for part in ["ValidatingAdmissionPolicy", "PodDisruptionBudget", "NetworkPolicy", "aggregate-to", "ServiceMonitor"]
    {
        assert!(!text.contains(part), "{part}");
    }
    let one = template(&json!({"replicas": 1})).expect("templates");
    assert!(!one.contains("PodDisruptionBudget"), "with one replica it would only block the node's drain");
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    for (values, place) in [
        (json!({"replica": 3}), "replica"),
        (json!({"replicas": 0}), "/replicas"),
        (json!({"image": {"digest": "sha256:1"}}), "/image/digest"),
        (json!({"image": {"repository": "a@sha256:1"}}), "/image/repository"),
        (json!({"executionNamespaces": []}), "/executionNamespaces"),
        (json!({"executionNamespaces": [{"name": "Builds"}]}), "/executionNamespaces/0/name"),
        (json!({"executionNamespaces": [{"name": "b", "logReaders": [{"kind": "Robot", "name": "r"}]}]}), "/kind"),
        (json!({"profiles": {"docker": {"executionNamespace": "b"}}}), "/profiles/docker"),
        (json!({"gates": {"profiles": ["a'b"]}}), "/gates/profiles/0"),
        (json!({"gates": {"enable": false}}), "/gates"),
        (json!({"terminationGracePeriodSeconds": 5}), "/terminationGracePeriodSeconds"),
        (json!({"boxes": {"enabled": true}}), "/boxes/repositories"),
        (json!({"boxes": {"enabled": true, "repositories": ["registry.example"]}}), "/boxes/repositories/0"),
        (json!({"boxes": {"url": "boxes.example"}}), "/boxes/url"),
        (json!({"fileCache": {"size": "1.5Gi"}}), "/fileCache/size"),
        (json!({"fileCache": {"size": "20G"}}), "/fileCache/size"),
    ] {
        let message = template(&values).expect_err("they are wrong");
        assert!(message.contains(place), "{values}: no «{place}» in {message}");
    }
}

/// `make charts` writes them, with what helm would take for its own escaped; helm must not change them.
#[test]
fn the_chart_of_the_definitions_holds_those_of_the_types() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rendered = output(helm(&home()).args(["template", "imagechain-crds", "charts/imagechain-crds"]));
    let rendered = rendered.expect("templates");
    let mut kinds = 0;
    for entry in fs::read_dir(root.join("crds")).expect("the definitions") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name");
        let kept = "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n";
        let expected = fs::read_to_string(&path).expect("text").replacen("\nmetadata:\n", kept, 1);
        let committed = root.join("charts/imagechain-crds/templates").join(name);
        let committed = fs::read_to_string(committed).unwrap_or_default();
        let (name, escaped) = (name.display(), expected.replace("{{", r#"{{"{{"}}"#));
        assert!(
            committed == format!("# Made by make charts.\n{escaped}"),
            "{name} is not up to date: run `make charts`"
        );
        assert!(rendered.contains(&expected), "helm changes {name}");
        kinds += 1;
    }
    let templates = fs::read_dir(root.join("charts/imagechain-crds/templates")).expect("the templates").count();
    assert_eq!((kinds, templates), (3, 3));
}

const CHAIN: &str = r#"{
    "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "shop", "namespace": "default"},
    "spec": {
        "profiles": ["docker"], "source": {"configMap": {"name": "files"}},
        "links": [{"name": "base", "build": {"packer": {"template": "base.json"}}}]
    }
}"#;

/// What the release made and is still there, over all kinds that a chart makes.
fn left(chart: &Chart) -> Vec<String> {
    let kinds = "deployments,daemonsets,services,serviceaccounts,configmaps,secrets,roles,rolebindings,clusterroles,clusterrolebindings,\
        networkpolicies,poddisruptionbudgets,namespaces,buildprofiles,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let selector = format!("app.kubernetes.io/instance={NAME}");
    let listed = chart.kubectl(&["get", kinds, "--all-namespaces", "--selector", &selector, "--output", "name"]);
    listed.expect("a list").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_release_is_installed_upgraded_and_leaves_only_what_users_made() {
    let chart = Chart::installed(&values()).await;
    let notes = chart.helm(&["get", "notes", NAME], None);
    for part in ["2 replica(s)", "docker, pinned", "--clusterrole=imagechain-use-docker"] {
        assert!(notes.contains(part), "no «{part}» in {notes}");
    }
    assert!(!notes.contains("GATES ARE OFF"), "{notes}");
    chart.make(&[serde_json::from_str(CHAIN).expect("a chain")]).await;

    let mut more = values();
    more["replicas"] = json!(3);
    more["profiles"]["third"] = json!({"images": {"builder": "b:1"}, "executionNamespace": BUILDS});
    chart.helm(&["upgrade", "imagechain-crds", "charts/imagechain-crds"], None);
    chart.helm(&["upgrade", NAME, "charts/imagechain"], Some(&more));
    let replicas = ["get", "deployment", NAME, "--namespace", SYSTEM, "--output", "jsonpath={.spec.replicas}"];
    assert_eq!(chart.kubectl(&replicas).expect("a Deployment"), "3");
    chart.kubectl(&["get", "buildprofile", "third"]).expect("the profile of the upgrade");
    chart.helm(&["upgrade", NAME, "charts/imagechain"], Some(&values()));
    chart.kubectl(&["get", "buildprofile", "third"]).expect_err("the values no longer have it");

    assert!(!left(&chart).is_empty());
    let namespaces: Api<Namespace> = Api::all(chart.admin.clone());
    let builds = namespaces.get(BUILDS).await.expect("the execution namespace");
    let uid = builds.metadata.uid.expect("a UID");
    chart.helm(&["uninstall", NAME], None);
    let gone = await_condition(namespaces, BUILDS, conditions::is_deleted(&uid));
    gone.await.expect("the end of the namespace and of all that ran in it");
    assert_eq!(left(&chart), Vec::<String>::new());
    chart.helm(&["uninstall", "imagechain-crds"], None);
    let found = chart.kubectl(&["get", "imagechains", "--all-namespaces", "--output", "name"]);
    assert_eq!(found.expect("the kind is still known").trim(), "imagechain.imagechain.dev/shop");

    // And back again, on what was left: helm takes its own definitions over.
    chart.helm(&["install", "imagechain-crds", "charts/imagechain-crds", "--take-ownership"], None);
    chart.helm(&["install", NAME, "charts/imagechain"], Some(&values()));
}

/// Both kinds of templates are objects that an API server takes, whose kinds it knows.
#[tokio::test]
async fn what_can_be_switched_on_is_accepted() {
    let chart = Chart::server().await;
    let mut all = everything();
    all["serviceMonitor"]["enabled"] = json!(false); // Its kind is the Prometheus operator's.
    chart.kubectl(&["create", "namespace", "made-by-hand"]).expect("a namespace");
    chart.helm(&["install", "imagechain-crds", "charts/imagechain-crds", "--create-namespace"], None);
    chart.helm(&["install", NAME, "charts/imagechain"], Some(&all));
    let may = |what: &str, namespace: &str| {
        let user = format!("--as=system:serviceaccount:{SYSTEM}:operator");
        chart.kubectl(&["auth", "can-i", "get", what, "--namespace", namespace, &user]).is_ok()
    };
    assert!(may("secrets", "default"), "rbac.readTenantSecrets");
    assert!(may("pods", "made-by-hand"));
    chart
        .kubectl(&[
            "auth",
            "can-i",
            "get",
            "pods",
            "--subresource=log",
            "--namespace",
            BUILDS,
            "--as=somebody",
            "--as-group=team-a",
        ])
        .expect("logReaders");
}

/// What the API server says that the operator may do there, without what everybody may.
fn rights(chart: &Chart, namespace: &str) -> String {
    let user = format!("--as=system:serviceaccount:{SYSTEM}:{NAME}");
    let listed = |user: &str| {
        let text = chart.kubectl(&["auth", "can-i", "--list", "--namespace", namespace, user]).expect("a list");
        // The columns are as wide as their widest cell.
        let line =
            |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>()
    };
    let everybody = listed("--as=system:serviceaccount:default:nobody");
    let mut own: Vec<_> = listed(&user).into_iter().filter(|line| !everybody.contains(line)).collect();
    own.sort();
    own.join("\n")
}

/// SEC7.
#[tokio::test]
async fn the_operators_rights_are_these_and_no_others() {
    let chart = Chart::installed(&values()).await;
    eventually("the roles are known", async || match rights(&chart, BUILDS) {
        rights if rights.contains("pods") && rights.contains("imagechains") => Ok(()),
        rights => Err(rights),
    })
    .await;
    for (what, namespace) in [("own", SYSTEM), ("execution", BUILDS), ("tenant", "default")] {
        insta::assert_snapshot!(format!("rights_in_{what}_namespace"), rights(&chart, namespace));
    }
}

#[tokio::test]
async fn tenants_get_chains_with_the_clusters_own_roles_and_no_status() {
    let chart = Chart::installed(&values()).await;
    let roles: Api<ClusterRole> = Api::all(chart.admin.clone());
    for role in ["view", "edit", "admin"] {
        let ours = |role: Option<&ClusterRole>| {
            let granted = role.and_then(|role| role.rules.as_ref()).into_iter().flatten();
            granted.flat_map(|rule| rule.api_groups.iter().flatten()).any(|group| group == "imagechain.dev")
        };
        await_condition(roles.clone(), role, ours).await.expect("a watch");
    }
    for role in ["view", "edit"] {
        let binding = format!("--clusterrole={role}");
        let user = format!("--user={role}or");
        chart.kubectl(&["create", "rolebinding", role, &binding, &user, "--namespace", "default"]).expect("a binding");
    }
    let may = |user: &str, verb: &str, what: &str| {
        // kubectl takes `a/b` for the object b of kind a.
        let (what, subresource) = what.split_once(':').unwrap_or((what, ""));
        let (user, subresource) = (format!("--as={user}"), format!("--subresource={subresource}"));
        chart.kubectl(&["auth", "can-i", verb, what, "--namespace", "default", &user, &subresource]).is_ok()
    };
    eventually("the bindings are known", async || {
        if may("viewor", "get", "imagechains") && may("editor", "create", "imagechains") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
    for (user, verb, what, expected) in [
        ("viewor", "watch", "imagebuilds", true),
        ("viewor", "create", "imagechains", false),
        ("editor", "patch", "imagebuilds", true),
        ("editor", "delete", "imagechains", true),
        ("editor", "patch", "imagebuilds:status", false),
        ("editor", "patch", "imagechains:status", false),
        ("editor", "use", "buildprofiles/docker", false),
        ("editor", "get", "buildprofiles", false),
    ] {
        assert_eq!(may(user, verb, what), expected, "{user} {verb} {what}");
    }
}

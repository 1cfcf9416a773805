//! The admission policies of the chart, on a real API server, as the users whom they hold back.

use imagechain::api::{JOB_ANNOTATION, PROFILE_LABEL};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    attempts::{self, KVM, TENANT, profiles},
    chart::{BUILDS, Chart, OPERATOR_IMAGE, answer, api, assert_refused, create, digest, eventually, merged},
};

const ALICE: &str = "alice";
const NO_USE: &str = "may not use the BuildProfile «";

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
}

fn robot() -> Value {
    json!({"kind": "ServiceAccount", "name": "robot", "namespace": TENANT})
}

fn alice() -> Value {
    json!({"kind": "User", "name": ALICE, "apiGroup": "rbac.authorization.k8s.io"})
}

fn cluster_binding(name: &str, role: &str, subjects: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    })
}

fn binding(namespace: &str, role: &str, subjects: &[Value]) -> Value {
    let mut object = cluster_binding(role, role, subjects);
    object["kind"] = json!("RoleBinding");
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn chain(name: &str, profiles: &[&str]) -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain",
        "metadata": {"name": name, "namespace": TENANT},
        "spec": {
            "profiles": profiles,
            "source": {"configMap": {"name": "files"}},
            "links": [{"name": "base", "build": {"packer": {"template": "base.json"}}}],
        },
    })
}

fn build(name: &str, profile: &str) -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageBuild",
        "metadata": {"name": name, "namespace": TENANT},
        "spec": {
            "profile": profile,
            "source": {"configMap": {"name": "files"}},
            "build": {"packer": {"template": "base.json"}},
        },
    })
}

/// A build as only the operator may make it.
fn chain_build(name: &str) -> Value {
    let inputs = json!({"key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "r.example/b:1", "engine": "r.example/b:1"});
    let owner = json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "name": "shop", "uid": "u"});
    merged(
        build(name, "docker"),
        &json!({
            "metadata": {"labels": {"imagechain.dev/chain": "shop"}, "ownerReferences": [owner]},
            "spec": {"chainRef": {"name": "shop", "uid": "u", "link": "base"}, "inputs": inputs},
        }),
    )
}

/// The pod of an attempt that uses all of a recipe, as the operator renders it: one that is admitted
/// ([`every_pod_that_is_rendered_is_admitted`]).
fn pod() -> Value {
    attempts::full_by("docker").pod()
}

/// A container of a pod, the main one among them.
fn container<'p>(pod: &'p mut Value, name: &str) -> &'p mut Value {
    let spec = pod["spec"].as_object_mut().expect("a spec");
    let lists = spec.iter_mut().filter(|(list, _)| ["initContainers", "containers"].contains(&list.as_str()));
    let mut containers = lists.flat_map(|(_, list)| list.as_array_mut().expect("containers"));
    containers.find(|container| container["name"] == name).expect("a container")
}

/// The pod with a change of one of its containers.
fn with(mut pod: Value, name: &str, change: &Value) -> Value {
    let container = container(&mut pod, name);
    *container = merged(container.take(), change);
    pod
}

/// The pod without one of its init containers.
fn without(mut pod: Value, name: &str) -> Value {
    let containers = pod["spec"]["initContainers"].as_array_mut().expect("containers");
    let before = containers.len();
    containers.retain(|container| container["name"] != name);
    assert_eq!(containers.len(), before - 1, "{name}");
    pod
}

/// The pod with one more container.
fn with_extra(mut pod: Value, list: &str, name: &str) -> Value {
    let extra = json!({"name": name, "image": OPERATOR_IMAGE});
    pod["spec"][list].as_array_mut().expect("containers").push(extra);
    pod
}

/// The pod with another source of one of its volumes.
fn with_volume(mut pod: Value, name: &str, source: Value) -> Value {
    let mut volumes = pod["spec"]["volumes"].as_array_mut().expect("volumes").iter_mut();
    let volume = volumes.find(|volume| volume["name"] == name).expect("a volume");
    *volume = merged(source, &json!({"name": name}));
    pod
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

/// The chart with the profiles of all variants.
fn values() -> Value {
    json!({"profiles": profiles()})
}

/// A cluster with a tenant: a person and a `ServiceAccount` who may do all that tenants may, and use nothing.
async fn tenants_cluster() -> Chart {
    let chart = Chart::installed(&values()).await;
    chart
        .make(&[
            namespace(TENANT),
            account(TENANT, "robot"),
            binding(TENANT, "imagechain-edit", &[alice(), robot()]),
            binding(TENANT, "imagechain-view", &[alice(), robot()]),
        ])
        .await;
    chart.service_account(BUILDS, "default").await;
    chart
}

/// Waits until a policy holds: the first answer that has its sentence.
async fn in_force(client: &Client, object: &Value, sentence: &str) {
    eventually("the policy", async || match create(client, object, true).await {
        Err(message) if message.contains(sentence) => Ok(()),
        other => Err(format!("no «{sentence}» yet: {:?}", other.err())),
    })
    .await;
}

async fn patch(client: &Client, object: &Value, patch: &Value) -> Result<(), String> {
    let patched = api(client, object).patch(name_of(object), &PatchParams::default(), &Patch::Merge(patch)).await;
    answer(patched).map(drop)
}

async fn apply(client: &Client, object: &Value) -> Result<(), String> {
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("kubectl") };
    answer(api(client, object).patch(name_of(object), &parameters, &Patch::Apply(object)).await).map(drop)
}

async fn delete(client: &Client, object: &Value) -> Result<(), String> {
    answer(api(client, object).delete(name_of(object), &DeleteParams::default()).await).map(drop)
}

/// G1; SEC1, SEC14.
#[tokio::test]
async fn who_names_a_profile_must_be_allowed_to_use_it() {
    let chart = tenants_cluster().await;
    let (person, robot_client) = (chart.person(ALICE).await, chart.account(TENANT, "robot").await);
    in_force(&person, &chain("shop", &["docker"]), NO_USE).await;
    in_force(&robot_client, &chain("shop", &["docker"]), NO_USE).await;

    let eight = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "docker"];
    let refused = [
        ("a chain", chain("shop", &["docker"]), "docker"),
        ("a build", build("single", "docker"), "docker"),
        ("a profile that is not there", chain("shop", &["missing"]), "missing"),
    ];
    for (who, client) in [("a person", &person), ("a ServiceAccount", &robot_client)] {
        for (what, object, profile) in &refused {
            let sentence = format!("{NO_USE}{profile}»");
            assert_refused(&format!("{who}, {what}"), create(client, object, true).await, &sentence);
            assert_refused(&format!("{who} applies {what}"), apply(client, object).await, &sentence);
        }
    }

    chart.make(&[cluster_binding("team-a-docker", "imagechain-use-docker", &[alice(), robot()])]).await;
    for client in [&person, &robot_client] {
        eventually("use is granted", async || create(client, &chain("shop", &["docker"]), true).await).await;
        create(client, &build("single", "docker"), true).await.expect("a build");
        for named in [["docker", "pinned"], ["pinned", "docker"]] {
            let answer = create(client, &chain("shop", &named), true).await;
            assert_refused("one of two", answer, &format!("{NO_USE}pinned»"));
        }
        assert_refused("eight", create(client, &chain("shop", &eight), true).await, &format!("{NO_USE}p1»"));
    }
    let only_last = cluster_binding("seven", "imagechain-use-seven", &[alice()]);
    let seven = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "imagechain-use-seven"},
        "rules": [{"apiGroups": ["imagechain.dev"], "resources": ["buildprofiles"], "verbs": ["use"], "resourceNames": &eight[..7]}],
    });
    chart.make(&[seven, only_last]).await;
    eventually("eight allowed ones", async || create(&person, &chain("shop", &eight), true).await).await;
    let mut last_is_not = eight;
    last_is_not[7] = "pinned";
    let answer = create(&person, &chain("shop", &last_is_not), true).await;
    assert_refused("the eighth", answer, &format!("{NO_USE}pinned»"));

    // A change to another profile is as good as a new object.
    create(&person, &chain("shop", &["docker"]), false).await.expect("a chain");
    let shop = chain("shop", &["docker"]);
    let to_pinned = json!({"spec": {"profiles": ["docker", "pinned"]}});
    assert_refused("a patch", patch(&person, &shop, &to_pinned).await, &format!("{NO_USE}pinned»"));
    let through_link = json!({"spec": {"profiles": ["pinned"], "links": [{
        "name": "base", "profile": "pinned", "build": {"packer": {"template": "base.json"}},
    }]}});
    assert_refused("through a link", patch(&person, &shop, &through_link).await, &format!("{NO_USE}pinned»"));
    patch(&person, &shop, &json!({"spec": {"suspend": true}})).await.expect("an allowed change");
}

/// G1 again; SEC2: a right that is taken away stops changes, and strands nothing.
#[tokio::test]
async fn who_may_no_longer_use_a_profile_can_still_delete() {
    let chart = tenants_cluster().await;
    let person = chart.person(ALICE).await;
    in_force(&person, &chain("shop", &["docker"]), NO_USE).await;
    let grant = cluster_binding("team-a-docker", "imagechain-use-docker", &[alice()]);
    chart.make(std::slice::from_ref(&grant)).await;
    let shop = merged(chain("shop", &["docker"]), &json!({"metadata": {"finalizers": ["example.dev/hold"]}}));
    eventually("use is granted", async || create(&person, &shop, false).await).await;
    let single = build("single", "docker");
    create(&person, &single, false).await.expect("a build");

    delete(&chart.admin, &grant).await.expect("a deletion");
    // Every attempt is a change: what a policy has not yet refused is there already.
    let mut suspend = false;
    eventually("use is revoked", async || {
        suspend = !suspend;
        match patch(&person, &shop, &json!({"spec": {"suspend": suspend}})).await {
            Err(message) if message.contains(NO_USE) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let request = json!({"metadata": {"annotations": {"imagechain.dev/requestedAt": "1"}}});
    patch(&person, &shop, &request).await.expect("what is not the spec may change");
    let cancel = json!({"metadata": {"annotations": {"imagechain.dev/cancel": "enough"}}});
    patch(&person, &single, &cancel).await.expect("a build may be ended");
    delete(&person, &single).await.expect("a deletion");
    delete(&person, &shop).await.expect("a deletion");
    patch(&person, &shop, &json!({"metadata": {"finalizers": null}})).await.expect("the end of a finalizer");
    eventually("it is gone", async || match api(&person, &shop).get_opt("shop").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// What of a pod is changed, and the sentence that refuses it.
fn mutated_pods() -> Vec<(&'static str, Value, &'static str)> {
    let builder = "must run the builder image of the BuildProfile «docker»";
    let at = |name: &str, change: &Value| with(pod(), name, change);
    let spec = |change: Value| merged(pod(), &json!({"spec": change}));
    let volume = |source: Value| with_volume(pod(), "workspace", source);
    let profile = |name: Value| merged(pod(), &json!({"metadata": {"labels": {PROFILE_LABEL: name}}}));
    // The API server's own rules come first: what is privileged may not be kept from more rights.
    let privileged = json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}});
    let volumes = "emptyDir, secret, configMap and downwardAPI";
    let defaults = "only the container engine may add capabilities";
    let disguised = with(without(pod(), "engine"), "publish", &json!({"name": "engine"}));
    vec![
        ("hostPID", spec(json!({"hostPID": true})), "must not share the PID"),
        ("hostIPC", spec(json!({"hostIPC": true})), "must not share the PID"),
        ("hostNetwork", spec(json!({"hostNetwork": true})), "must not share the PID"),
        ("processes of each other", spec(json!({"shareProcessNamespace": true})), "each other's processes"),
        ("a node", spec(json!({"nodeName": "control-plane"})), "placed by the scheduler"),
        ("a token", spec(json!({"automountServiceAccountToken": true})), "must not have a token"),
        ("a token by default", spec(json!({"automountServiceAccountToken": null})), "must not have a token"),
        ("a folder of the node", volume(json!({"hostPath": {"path": "/"}})), volumes),
        (
            "a token in a volume",
            volume(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})),
            volumes,
        ),
        ("a claim", volume(json!({"persistentVolumeClaim": {"claimName": "c"}})), volumes),
        ("a privileged build", at("build", &privileged), "only the container engine may be privileged"),
        ("a privileged verify", at("verify", &privileged), "only the container engine may be privileged"),
        ("a privileged source", at("source", &privileged), "only the container engine may be privileged"),
        ("a privileged publish", at("publish", &privileged), "only the container engine may be privileged"),
        ("capabilities", at("build", &json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})), defaults),
        ("no seccomp", at("build", &json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})), defaults),
        (
            "another SELinux type",
            at("build", &json!({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}})),
            defaults,
        ),
        (
            "another SELinux type in all of the pod",
            spec(json!({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}})),
            defaults,
        ),
        (
            "a device",
            spec(json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]})),
            "must not claim devices",
        ),
        (
            "no seccomp in all of the pod",
            spec(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}})),
            defaults,
        ),
        ("a port of the node", at("publish", &json!({"ports": [{"containerPort": 1, "hostPort": 1}]})), "open a port"),
        ("another container", with_extra(pod(), "initContainers", "extra"), "the containers of a build pod are"),
        ("another main container", with_extra(pod(), "containers", "second"), "the containers of a build pod are"),
        ("the main container called engine", disguised, "the containers of a build pod are"),
        ("another source", at("source", &json!({"image": "evil.example/imagechain:0.1.0"})), "the operator's image"),
        (
            "the builder as source",
            at("source", &json!({"image": "registry.example:5000/builder:1"})),
            "the operator's image",
        ),
        ("another builder", at("build", &json!({"image": "evil.example/builder:1"})), builder),
        ("another tag", at("build", &json!({"image": "registry.example:5000/builder:2"})), builder),
        (
            "a longer name",
            at("verify", &json!({"image": format!("registry.example:5000/builder/x@{}", digest('a'))})),
            builder,
        ),
        (
            "a name that only looks alike",
            at("verify", &json!({"image": format!("registryxexample:5000/builder@{}", digest('a'))})),
            builder,
        ),
        ("half a digest", at("publish", &json!({"image": "registry.example:5000/builder@sha256:aa"})), builder),
        ("another engine", at("engine", &json!({"image": "evil.example/engine"})), "must run the engine image"),
        ("no profile", profile(Value::Null), "there is no BuildProfile «»"),
        ("a profile that is not there", profile(json!("missing")), "there is no BuildProfile «missing»"),
        ("a toleration", spec(json!({"tolerations": [{"operator": "Exists"}]})), "tolerations must be among"),
        ("images of another profile", profile(json!("pinned")), "of the BuildProfile «pinned»"),
    ]
}

/// What of the pod of a box is changed, and the sentence that refuses it. Its profile names KVM or does not.
fn mutated_pods_of_boxes(profile: &str) -> Vec<(String, Value, String)> {
    let pod = || attempts::full_by(profile).pod();
    let engine = container(&mut attempts::full_by("staged").pod(), "engine").clone();
    let with_engine = |engine: Value| {
        let mut pod = pod();
        let image = container(&mut pod, "build")["image"].clone();
        let engine = merged(engine, &json!({"image": image, "volumeMounts": null, "resources": null}));
        pod["spec"]["initContainers"].as_array_mut().expect("containers").insert(1, engine);
        pod
    };
    let unprivileged = json!({"name": "engine"});
    let privileged = json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}});
    let device = |name: &str, device: &str| with(pod(), name, &json!({"resources": {"limits": {device: "1"}}}));
    let no_engine = format!(
        "the BuildProfile «{profile}» has a hypervisor and no container engine: the containers of its pods are source, \
         build, verify and, as the main one, publish"
    );
    let no_device = "containers may have cpu, memory and ephemeral-storage, and build and verify what kvm.resource of \
                     the BuildProfile «"
        .to_owned();
    let no_privilege = "only the container engine may be privileged".to_owned();
    let mut mutated = vec![
        ("an engine".to_owned(), with_engine(engine), no_engine.clone()),
        ("an engine without rights".to_owned(), with_engine(unprivileged), no_engine),
    ];
    for name in ["source", "build", "verify", "publish"] {
        mutated.push((format!("a privileged {name}"), with(pod(), name, &privileged), no_privilege.clone()));
        mutated.push((format!("a GPU of {name}"), device(name, "vendor.example/gpu"), no_device.clone()));
    }
    let pages = json!({"resources": {"limits": {"hugepages-2Mi": "2Mi"}, "requests": {"hugepages-2Mi": "2Mi"}}});
    mutated.push(("huge pages".to_owned(), with(pod(), "build", &pages), no_device.clone()));
    for name in ["source", "publish"] {
        mutated.push((format!("KVM of {name}"), device(name, KVM), no_device.clone()));
    }
    mutated
}

/// G3, for profiles with a hypervisor: nothing in their pods is privileged, and the one device is the profile's.
#[tokio::test]
async fn pods_of_a_hypervisor_have_no_engine_and_no_other_device() {
    let chart = tenants_cluster().await;
    let operator = chart.operator().await;
    for profile in ["emulated", "accelerated"] {
        let other = with(attempts::full_by(profile).pod(), "build", &json!({"image": "evil.example/builder"}));
        in_force(&operator, &other, &format!("must run the builder image of the BuildProfile «{profile}»")).await;
        create(&operator, &attempts::full_by(profile).pod(), true).await.expect("a pod as it should be");
        for (what, mutated, sentence) in &mutated_pods_of_boxes(profile) {
            assert_refused(&format!("{profile}: {what}"), create(&operator, mutated, true).await, sentence);
        }
    }
    let nothing = "kvm.resource of the BuildProfile «emulated» names: nothing";
    let asking =
        |profile: &str| with(attempts::full_by(profile).pod(), "build", &json!({"resources": {"limits": {KVM: "1"}}}));
    assert_refused("KVM without kvm", create(&operator, &asking("emulated"), true).await, nothing);
    in_force(&chart.admin, &pod(), "only the operator makes pods").await;
    let answer = create(&operator, &asking("docker"), true).await;
    assert_refused("KVM beside an engine", answer, "kvm.resource of the BuildProfile «docker» names: nothing");
}

/// A pod of the pinned profile, with the images given, which also says more of its node than the profile does.
fn pinned_pod(builder: &str, engine: &str) -> Value {
    let of_builder = ["build", "verify", "publish"].map(|name| (name, builder));
    let images = of_builder.into_iter().chain([("engine", engine)]);
    let pod =
        images.fold(attempts::full_by("pinned").pod(), |pod, (name, image)| with(pod, name, &json!({"image": image})));
    merged(pod, &json!({"spec": {"nodeSelector": {"kubernetes.io/arch": "amd64"}}}))
}

/// G3: what the gates ask for is what the operator makes.
#[tokio::test]
async fn every_pod_that_is_rendered_is_admitted() {
    let chart = tenants_cluster().await;
    let operator = chart.operator().await;
    // Otherwise all would be admitted.
    in_force(&chart.admin, &pod(), "only the operator makes pods").await;
    for profile in profiles().as_object().expect("profiles").keys() {
        let other = with(attempts::full_by(profile).pod(), "build", &json!({"image": "evil.example/builder"}));
        in_force(&operator, &other, &format!("must run the builder image of the BuildProfile «{profile}»")).await;
    }
    let all = attempts::all();
    for variant in &all {
        let what = &variant.what;
        let maker = if variant.is_of_chain { &operator } else { &chart.admin };
        let build = create(maker, &variant.build(), true).await;
        build.unwrap_or_else(|error| panic!("{what}: a build that cannot be: {error}"));
        let pod = variant.pod();
        assert_eq!(pod["metadata"]["namespace"], BUILDS, "{what}");
        let made = create(&operator, &pod, true).await;
        made.unwrap_or_else(|error| panic!("{what}: the operator's pod is refused: {error}"));
    }
    println!("{} rendered pods admitted", all.len());
}

/// G3; SEC5.
#[tokio::test]
async fn pods_have_the_shape_of_their_profile_even_with_the_operators_token() {
    let chart = tenants_cluster().await;
    let operator = chart.operator().await;
    in_force(&chart.admin, &pod(), "only the operator makes pods").await;
    let of_profile = pinned_pod("registry.example/other", "debian:13");
    in_force(&operator, &of_profile, "must run the builder image of the BuildProfile «pinned»").await;
    let of_profile = merged(of_profile, &json!({"metadata": {"labels": {PROFILE_LABEL: "docker"}}}));
    in_force(&operator, &of_profile, "must run the builder image of the BuildProfile «docker»").await;
    for (what, mutated, sentence) in &mutated_pods() {
        assert_refused(what, create(&operator, mutated, true).await, sentence);
    }
    println!("{} mutated pods refused", mutated_pods().len());

    create(&operator, &pod(), true).await.expect("a pod as it should be");
    let written = json!({"image": "registry.example:5000/builder:1"});
    let tagged = with(with(pod(), "build", &written), "verify", &written);
    create(&operator, &tagged, true).await.expect("the image as the profile names it");
    create(&operator, &without(pod(), "verify"), true).await.expect("a pod without tests");

    // A profile with a digest stands for that digest, and Docker's short names for what they mean.
    let (pinned, debian) = (format!("registry.example/builder@{}", digest('a')), format!("debian@{}", digest('b')));
    let full = format!("docker.io/library/{debian}");
    for engine in ["debian:13", &full] {
        create(&operator, &pinned_pod(&pinned, engine), true).await.expect(engine);
    }
    let other = format!("registry.example/builder@{}", digest('b'));
    let answer = create(&operator, &pinned_pod(&other, "debian:13"), true).await;
    assert_refused("another digest", answer, "must run the builder image of the BuildProfile «pinned»");
    for engine in ["debian", "debian:14", &debian, "docker.io/library/debian:13", &format!("docker.io/{debian}")] {
        let answer = create(&operator, &pinned_pod(&pinned, engine), true).await;
        assert_refused(engine, answer, "must run the engine image of the BuildProfile «pinned»");
    }
    let elsewhere = merged(pinned_pod(&pinned, "debian:13"), &json!({"spec": {"nodeSelector": {"builds": null}}}));
    assert_refused("other nodes", create(&operator, &elsewhere, true).await, "the nodeSelector must hold");

    let profile =
        json!({"apiVersion": "imagechain.dev/v1alpha1", "kind": "BuildProfile", "metadata": {"name": "pinned"}});
    // Docker Hub has several names, and its images short ones in each.
    for (written, repository) in [
        ("docker.io/alpine:3", "docker.io/library/alpine"),
        ("index.docker.io/library/ubuntu:24", "docker.io/library/ubuntu"),
        ("registry-1.docker.io/busybox", "docker.io/library/busybox"),
    ] {
        let named = json!({"spec": {"images": {"engine": written}}});
        patch(&chart.admin, &profile, &named).await.expect("another engine image");
        let pod = pinned_pod(&pinned, &format!("{repository}@{}", digest('c')));
        eventually(written, async || create(&operator, &pod, true).await).await;
    }

    // SEC14: the profile is gone, though the chart's values name it.
    delete(&chart.admin, &profile).await.expect("a deletion");
    in_force(&operator, &pinned_pod(&pinned, "debian:13"), "no params found").await;
}

/// A wrong name of a field in a rule would refuse everything, or nothing: the API server looks for them.
#[tokio::test]
async fn the_api_server_finds_no_mistake_in_the_rules() {
    let chart = Chart::installed(&values()).await;
    for policy in ["profiles", "builds", "pods", "pods-of-profile", "entry"] {
        let name = format!("imagechain-{policy}");
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        });
        let status = eventually("a look at the rules", async || {
            let policy = answer(api(&chart.admin, &object).get(&name).await)?;
            let looked_at = policy.data["status"]["typeChecking"].is_object();
            if looked_at { Ok(policy.data["status"].clone()) } else { Err(policy.data["status"].to_string()) }
        })
        .await;
        assert_eq!(status["typeChecking"]["expressionWarnings"], Value::Null, "{name}");
    }
}

/// G3 where a profile's namespace is another one.
#[tokio::test]
async fn pods_run_where_their_profile_says_and_never_change() {
    let mut two = values();
    two["executionNamespaces"] = json!([{"name": BUILDS}, {"name": "other-builds"}]);
    let chart = Chart::installed(&two).await;
    chart.service_account(BUILDS, "default").await;
    chart.service_account("other-builds", "default").await;
    let operator = chart.operator().await;
    let elsewhere = merged(pod(), &json!({"metadata": {"namespace": "other-builds"}}));
    in_force(&operator, &elsewhere, "pods of the BuildProfile «docker» run in namespace imagechain-builds").await;

    let running = pod();
    create(&operator, &running, false).await.expect("a pod");
    let never = "what a build pod runs never changes";
    let mut image = running["spec"]["containers"].clone();
    image[0]["image"] = json!("registry.example:5000/builder:1");
    let annotation = json!({"metadata": {"annotations": {JOB_ANNOTATION: "{\"evil\": true}"}}});
    let label = json!({"metadata": {"labels": {PROFILE_LABEL: "pinned"}}});
    for (what, change, sentence) in [
        ("another image", json!({"spec": {"containers": image}}), never),
        ("another deadline", json!({"spec": {"activeDeadlineSeconds": 1}}), never),
        ("another job for the runner", annotation, "labels and annotations of a build pod never change"),
        ("another profile", label, "labels and annotations of a build pod never change"),
    ] {
        assert_refused(what, patch(&chart.admin, &running, &change).await, sentence);
    }
    let resize = json!({"spec": {"containers": [{"name": "publish", "resources": {"requests": {"cpu": "500m"}}}]}});
    let resized = api(&chart.admin, &running)
        .patch_subresource("resize", name_of(&running), &PatchParams::default(), &Patch::Strategic(&resize))
        .await;
    assert_refused("a resize", answer(resized), never);
    // What Kubernetes does to delete and to collect garbage still works.
    patch(&chart.admin, &running, &json!({"metadata": {"finalizers": ["example.dev/hold"]}}))
        .await
        .expect("a finalizer");
    patch(&chart.admin, &running, &json!({"metadata": {"finalizers": null}})).await.expect("no finalizer");
    delete(&operator, &running).await.expect("a deletion");
}

/// Someone with all rights on pods of the execution namespace, but no `breakglass`.
fn all_of_pods() -> Value {
    let subresources = ["exec", "attach", "portforward", "proxy", "ephemeralcontainers", "resize"];
    let pods: Vec<_> = subresources.iter().map(|name| format!("pods/{name}")).chain(["pods".to_owned()]).collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all-of-pods"},
        "rules": [{"apiGroups": [""], "resources": pods, "verbs": ["create", "get", "list", "update", "patch", "delete"]}],
    })
}

/// Asks to be connected with something of a pod.
async fn connect(client: &Client, verb: &str, path: &str) -> Result<String, String> {
    let uri = format!("/api/v1/namespaces/{path}");
    let request = http::Request::builder().method(verb).uri(uri).body(Vec::new()).expect("a request");
    answer(client.request_text(request).await)
}

/// G4; SEC4.
#[tokio::test]
async fn nobody_enters_a_build_pod_without_breakglass() {
    let chart = tenants_cluster().await;
    let elsewhere = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ordinary", "namespace": TENANT},
        "spec": {"containers": [{"name": "publish", "image": "a"}]},
    });
    chart.service_account(TENANT, "default").await;
    let subjects = [robot(), json!({"kind": "ServiceAccount", "name": "rescuer", "namespace": TENANT})];
    chart
        .make(&[
            elsewhere.clone(),
            account(TENANT, "rescuer"),
            all_of_pods(),
            binding(BUILDS, "all-of-pods", &subjects),
            binding(TENANT, "all-of-pods", &subjects),
        ])
        .await;
    let operator = chart.operator().await;
    let running = pod();
    create(&operator, &running, false).await.expect("a pod");
    let intruder = chart.account(TENANT, "robot").await;
    let paths = [
        ("POST", "exec?command=id&container=publish&stdout=true"),
        ("GET", "exec?command=id&container=publish&stdout=true"),
        ("POST", "attach?container=publish&stdout=true"),
        ("POST", "portforward"),
        ("GET", "proxy/"),
    ];
    let there = format!("{BUILDS}/pods/{}", name_of(&running));
    let into = |pod: &str, path: &str| format!("{pod}/{path}");
    let sentence = "nobody enters a build pod";
    eventually("the policy", async || match connect(&intruder, "POST", &into(&there, paths[0].1)).await {
        Err(message) if message.contains(sentence) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let debugger = |privileged: bool| {
        json!({"spec": {"ephemeralContainers": [{
            "name": "debugger", "image": "debian", "targetContainerName": "publish",
            "securityContext": {"privileged": privileged},
        }]}})
    };
    let debug = async |client: &Client, of: &Value, privileged: bool| {
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        let change = Patch::Strategic(debugger(privileged));
        answer(api(client, of).patch_subresource("ephemeralcontainers", name_of(of), &parameters, &change).await)
            .map(drop)
    };
    for (verb, path) in paths {
        let answer = connect(&intruder, verb, &into(&there, path)).await;
        assert_refused(path, answer, sentence);
        // It is the namespace that protects: elsewhere the same rights reach the pod, which has no node yet.
        let answer = connect(&intruder, verb, &into(&format!("{TENANT}/pods/ordinary"), path)).await;
        let message = answer.expect_err("there is no kubelet");
        assert!(!message.contains(sentence) && !message.contains("forbidden"), "{path}: {message}");
    }
    assert_refused("debug", debug(&intruder, &running, false).await, sentence);
    debug(&intruder, &elsewhere, true).await.expect("an ordinary pod may be debugged");

    let rescuer = chart.account(TENANT, "rescuer").await;
    chart.make(&[binding(BUILDS, "imagechain-breakglass", &subjects[1..])]).await;
    eventually("breakglass is granted", async || debug(&rescuer, &running, false).await).await;
    assert_refused("a privileged one", debug(&rescuer, &running, true).await, "must be neither privileged");
    for (verb, path) in paths {
        let message = connect(&rescuer, verb, &into(&there, path)).await;
        let message = message.expect_err("there is no kubelet");
        assert!(!message.contains(sentence) && !message.contains("forbidden"), "{path}: {message}");
    }
}

/// G5; SEC19.
#[tokio::test]
async fn a_chains_builds_and_all_results_are_the_operators_word() {
    let chart = tenants_cluster().await;
    let everything = cluster_binding("team-a", "imagechain-use-docker", &[alice()]);
    let status = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "all-of-ours"},
        "rules": [{"apiGroups": ["imagechain.dev"], "resources": ["*"], "verbs": ["*"]}],
    });
    chart.make(&[everything, status, binding(TENANT, "all-of-ours", &[alice()])]).await;
    let (person, operator) = (chart.person(ALICE).await, chart.operator().await);
    let only = "only the operator makes the builds of a chain";
    in_force(&person, &chain_build("shop-base-1"), only).await;
    assert_refused("the admin", create(&chart.admin, &chain_build("shop-base-1"), true).await, only);
    assert_refused("by apply", apply(&person, &chain_build("shop-base-1")).await, only);

    let made = chain_build("shop-base-1");
    // The owner is not there: the collector would take the build away at once.
    let kept = merged(made.clone(), &json!({"metadata": {"ownerReferences": null}}));
    create(&operator, &kept, false).await.expect("a build of the operator");
    let single = build("single", "docker");
    create(&person, &single, false).await.expect("a build of a user");

    let annotation = |name: &str| json!({"metadata": {"annotations": {name: "1"}}});
    let changes = "only the annotation imagechain.dev/cancel may be changed";
    let superseded = "only the operator sets the annotation imagechain.dev/superseded";
    let owner = made["metadata"]["ownerReferences"].clone();
    for (what, object, change, sentence) in [
        ("superseded", &kept, annotation("imagechain.dev/superseded"), superseded),
        ("superseded, on a user's own", &single, annotation("imagechain.dev/superseded"), superseded),
        ("another annotation", &kept, annotation("example.dev/note"), changes),
        ("another label", &kept, json!({"metadata": {"labels": {"imagechain.dev/chain": "x"}}}), changes),
        ("no label", &kept, json!({"metadata": {"labels": null}}), changes),
        ("another owner", &kept, json!({"metadata": {"ownerReferences": owner}}), changes),
    ] {
        assert_refused(what, patch(&person, object, &change).await, sentence);
    }
    let cancel = annotation("imagechain.dev/cancel");
    patch(&person, &kept, &cancel).await.expect("anybody may end a build");
    patch(&person, &kept, &json!({"metadata": {"annotations": {"imagechain.dev/cancel": null}}}))
        .await
        .expect("or not");
    patch(&person, &single, &annotation("example.dev/note")).await.expect("a user's own is theirs");
    patch(&operator, &kept, &annotation("imagechain.dev/superseded")).await.expect("the operator ends its own");
    assert_refused(
        "to take superseded away",
        patch(&person, &kept, &json!({"metadata": {"annotations": {"imagechain.dev/superseded": null}}})).await,
        superseded,
    );

    create(&person, &chain("shop", &["docker"]), false).await.expect("a chain");
    let forged = json!({"status": {"observedGeneration": 1}});
    for (object, name) in [(&kept, "shop-base-1"), (&single, "single"), (&chain("shop", &["docker"]), "shop")] {
        let written = api(&person, object).patch_status(name, &PatchParams::default(), &Patch::Merge(&forged)).await;
        assert_refused(name, answer(written), "only the operator writes a status");
        let written = api(&operator, object).patch_status(name, &PatchParams::default(), &Patch::Merge(&forged)).await;
        answer(written).expect("a status of the operator");
    }
    delete(&person, &kept).await.expect("who may delete builds may delete these");
}

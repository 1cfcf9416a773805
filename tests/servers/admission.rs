//! What a real API server makes of good and bad objects: every rule of the schemas, accepted and refused.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use imagechain::{
    api::{
        common::{ABSOLUTE_PATH, BOX_TAG, BOX_VERSION, CHARACTER_OF_PATH, ESCAPING_PATH, PACKAGES_URL},
        crd,
    },
    plan::validate::{
        self,
        problem::{Problem, Problems},
        schema,
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    runtime::wait::{await_condition, conditions},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::apiserver::ApiServer;

/// A cluster that knows our kinds.
struct Cluster {
    server: ApiServer,
    client: Client,
}

impl Cluster {
    async fn start() -> Self {
        let server =
            ApiServer::own(&mut std::process::Command::new(crate::support::apiserver::launcher())).expect("a server");
        let client = server.admin().await;
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in crd::all() {
            let name = definition.name_any();
            definitions.create(&PostParams::default(), &definition).await.expect("the API server takes the definition");
            let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
            timeout(Duration::from_mins(1), established).await.expect("in time").expect("a watch");
        }
        let cluster = Self { server, client };
        cluster.published().await;
        cluster
    }

    /// Waits until clients can discover our kinds and read their schemas: the API server publishes both some
    /// time after it says that the definitions are established, and nothing that can be watched tells.
    async fn published(&self) {
        const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let everything = async {
            while !self.names_all("/apis", DISCOVERY, |names| &names.plural).await
                || !self
                    .names_all("/openapi/v3/apis/imagechain.dev/v1alpha1", "application/json", |names| &names.kind)
                    .await
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_mins(1), everything).await.expect("the kinds are published");
    }

    /// Whether a page of the API server has a name of each of our kinds.
    async fn names_all(&self, path: &str, accept: &str, name: fn(&CustomResourceDefinitionNames) -> &String) -> bool {
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).expect("a request");
        let page = self.client.request_text(request).await.unwrap_or_default();
        crd::all().iter().all(|definition| page.contains(&format!("\"{}\"", name(&definition.spec.names))))
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("imagechain.dev", "v1alpha1", kind));
        match kind {
            "BuildProfile" => Api::all_with(self.client.clone(), &resource),
            _ => Api::default_namespaced_with(self.client.clone(), &resource),
        }
    }

    /// What the API server says of an object that is not kept.
    async fn check(&self, object: &Value) -> Result<(), String> {
        let kind = object["kind"].as_str().expect("a kind");
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        match self.api(kind).create(&parameters, &object).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) => Err(status.message),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    async fn accepts(&self, what: &str, object: &Value) {
        if let Err(message) = self.check(object).await {
            panic!("{what}: refused: {message}");
        }
    }

    async fn refuses(&self, what: &str, object: &Value, sentence: &str) {
        match self.check(object).await {
            Ok(()) => panic!("{what}: accepted"),
            Err(message) => assert!(message.contains(sentence), "{what}: no «{sentence}» in: {message}"),
        }
    }
}

/// A chain of one link, in the words of its users.
fn chain() -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1",
        "kind": "ImageChain",
        "metadata": {"name": "shop"},
        "spec": {
            "profiles": ["docker"],
            "source": {"git": {"url": "https://git.example/shop.git", "revision": "main"}},
            "links": [link("base")],
        },
    })
}

fn link(name: &str) -> Value {
    json!({"name": name, "build": {"packer": {"template": "packer/base.pkr.hcl"}}})
}

fn build() -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "single"},
        "spec": {
            "profile": "docker",
            "source": {"configMap": {"name": "files"}},
            "build": {"packer": {"template": "base.json"}},
        },
    })
}

fn profile() -> Value {
    json!({
        "apiVersion": "imagechain.dev/v1alpha1",
        "kind": "BuildProfile",
        "metadata": {"name": "docker"},
        "spec": {"images": {"builder": "registry.example/builder:1"}, "executionNamespace": "builds"},
    })
}

/// The object with a value put at a JSON pointer, whose last part may be new.
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    match object.pointer_mut(parent).expect("a parent") {
        Value::Array(items) => items[last.parse::<usize>().expect("an index")] = value,
        parent => parent[last] = value,
    }
    object
}

/// The object without what a JSON pointer leads to.
fn without(mut object: Value, pointer: &str) -> Value {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent").remove(last);
    object
}

fn links(links: &[Value]) -> Value {
    with(chain(), "/spec/links", json!(links))
}

fn child(name: &str, parent: &str) -> Value {
    with(link(name), "/from", json!({"link": parent}))
}

/// A chain of an image and a box of it, which is made so.
fn chain_of_box(made: &Value) -> Value {
    let link = json!({
        "name": "vm", "from": {"link": "base"}, "build": {"box": made},
        "verify": [
            {"pytest": {}, "login": {"user": "debian", "secretKeyRef": {"name": "ssh", "key": "id"}}},
            {"command": {"arguments": ["true"]}, "login": {"user": "_a.b-c"}},
        ],
        "publish": {"box": {"repository": "registry.example/team-a/vm", "tags": ["1"], "secretRef": {"name": "push"}}},
    });
    links(&[self::link("base"), link])
}

/// A profile with other fields, too.
fn profile_with(more: &Value) -> Value {
    let mut object = profile();
    object["spec"].as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
    object
}

/// A chain whose box is published in Gitea, with a field that is another one.
fn in_gitea(field: &str, value: Value) -> Value {
    let mut gitea = json!({"url": "https://git.example", "tag": "team-a/vm", "version": "0.1.{{timestamp}}",
        "provider": "Libvirt", "secretRef": {"name": "gitea"}});
    gitea[field] = value;
    with(chain_of_box(&json!({})), "/spec/links/1/publish", json!({"gitea": gitea}))
}

/// Good profiles, chains and builds of boxes.
fn accepted_boxes() -> Vec<(&'static str, Value)> {
    let hypervisor = json!({"engine": "None", "hypervisor": "Qemu"});
    let accelerated = json!({"engine": "None", "hypervisor": "Qemu", "kvm": {"resource": "devices.kubevirt.io/kvm"}});
    let inputs = json!({
        "key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "r.example/b:1",
        "engine": "r.example/b:1", "containerEngine": "None", "hypervisor": "Qemu", "parentKind": "Box",
    });
    let of_chain = json!({"name": "shop", "uid": "u", "link": "vm"});
    let single = with(with(build(), "/spec/build", json!({"box": {}})), "/spec/from", json!({"image": "debian:13"}));
    vec![
        ("a profile with a hypervisor", profile_with(&hypervisor)),
        ("a profile with a hypervisor and KVM", profile_with(&accelerated)),
        ("a profile that names its engine", profile_with(&json!({"engine": "Docker"}))),
        ("the smallest box", chain_of_box(&json!({}))),
        ("a box for VirtualBox", chain_of_box(&json!({"format": "Vagrant", "provider": "VirtualBox", "size": "8Gi"}))),
        ("a disk", chain_of_box(&json!({"format": "Qcow2", "size": "64Mi"}))),
        ("a box in Gitea", in_gitea("url", json!("https://git.example:8443/forge/"))),
        ("a version that marks what is not released", in_gitea("version", json!("1.2.0-rc.1"))),
        ("a version of one number", in_gitea("version", json!("{{timestamp}}"))),
        ("a single build of a box", single.clone()),
        ("a build of a box for a chain", with(with(single, "/spec/chainRef", of_chain), "/spec/inputs", inputs)),
    ]
}

/// Bad profiles, chains and builds of boxes, and a part of the sentence that says what to do.
fn refused_boxes() -> Vec<(&'static str, Value, &'static str)> {
    const PAIR: &str = "a profile builds container images by an engine, or machine boxes by a hypervisor: set engine: None with hypervisor: Qemu, or leave both out";
    let kvm = json!({"resource": "devices.kubevirt.io/kvm"});
    let of_box =
        |pointer: &str, value: Value| with(chain_of_box(&json!({})), &format!("/spec/links/1/{pointer}"), value);
    let tags = json!({"repository": "r.example/a", "tags": ["1"]});
    let mut cases = vec![
        ("a hypervisor beside the engine that is the default", profile_with(&json!({"hypervisor": "Qemu"})), PAIR),
        ("a hypervisor beside an engine", profile_with(&json!({"engine": "Docker", "hypervisor": "Qemu"})), PAIR),
        ("neither engine nor hypervisor", profile_with(&json!({"engine": "None"})), PAIR),
        ("an unknown hypervisor", profile_with(&json!({"engine": "None", "hypervisor": "Xen"})), "spec.hypervisor"),
        ("KVM beside an engine", profile_with(&json!({"kvm": kvm})), "kvm goes with hypervisor: Qemu"),
        (
            "KVM of nothing",
            profile_with(&json!({"engine": "None", "hypervisor": "Qemu", "kvm": {}})),
            "spec.kvm.resource",
        ),
        (
            "packer and a box",
            of_box("build", json!({"box": {}, "packer": {"template": "a.json"}})),
            "set exactly one of packer, box",
        ),
        (
            "an image and a box",
            of_box("publish", json!({"box": tags, "image": tags})),
            "set exactly one of image, box, gitea",
        ),
        ("no tag of a box", of_box("publish/box/tags", json!([])), "should have at least 1 items"),
        ("an unknown format", chain_of_box(&json!({"format": "Vhd"})), "spec.links[1].build.box.format"),
        ("an unknown provider", chain_of_box(&json!({"provider": "Xen"})), "spec.links[1].build.box.provider"),
        (
            "a provider of a disk",
            chain_of_box(&json!({"format": "Raw", "provider": "Libvirt"})),
            "provider goes with format: Vagrant",
        ),
        ("a login without a user", of_box("verify/0/login", json!({})), "spec.links[1].verify[0].login.user"),
        (
            "a login with half a Secret",
            of_box("verify/0/login", json!({"user": "a", "secretKeyRef": {"name": "ssh"}})),
            "spec.links[1].verify[0].login.secretKeyRef.key",
        ),
    ];
    for resource in ["kvm", "/kvm", "a.example/", "a.example/b/c", "A.example/kvm", "a.example/-kvm", "local/kvm"] {
        let spec = json!({"engine": "None", "hypervisor": "Qemu", "kvm": {"resource": resource}});
        cases.push(("a resource of KVM", profile_with(&spec), "spec.kvm.resource"));
    }
    for size in ["", "0", "8GB", "8.5555Gi", "-8Gi", "8 Gi", "08Gi", "9999999999999Ti"] {
        cases.push(("the size of a disk", chain_of_box(&json!({"size": size})), "spec.links[1].build.box.size"));
    }
    for (field, values, says) in [
        (
            "url",
            &[
                "git.example",
                "ftp://git.example",
                "https://bob:word@git.example",
                "https://git.example?a=b",
                "https://git.example/../a",
            ] as &[_],
            PACKAGES_URL,
        ),
        ("tag", &["web", "Team/web", "team/a/b", "team/.web"], BOX_TAG),
        (
            "version",
            &[
                "latest",
                "v1.0",
                "1.0-RC1",
                "1..2",
                "1.{{timestamp}}.{{timestamp}}",
                "1.{{isotime}}",
                "1.0+7",
                "1.9999999999999999999",
            ],
            BOX_VERSION,
        ),
        ("provider", &["Xen"], "spec.links[1].publish.gitea.provider"),
        ("secretRef", &["gitea"], "spec.links[1].publish.gitea.secretRef"),
    ] {
        cases.extend(values.iter().map(|value| ("what is no place in Gitea", in_gitea(field, json!(value)), says)));
    }
    for user in ["", "Debian", "1a", "-a", "a b", "a/b", "a@b", "a;id", "a\nb", "\u{e4}", &"a".repeat(33)] {
        let login = json!({"user": user});
        cases.push(("a user", of_box("verify/0/login", login), "spec.links[1].verify[0].login.user"));
    }
    cases
}

const GIT: &str = "/spec/source/git";
const LINK: &str = "/spec/links/0";

/// Good objects, and what each shows.
fn accepted() -> Vec<(&'static str, Value)> {
    let full_link = json!({
        "name": "web",
        "profile": "docker",
        "from": {"image": "registry.example/debian:13", "as": "team/base:local", "secretRef": {"name": "pull"}},
        "paths": ["packer/web.json", ".hidden/..file", "ansible"],
        "build": {"packer": {
            "template": "packer/web.json", "variables": {"base": "$(parent.reference)"}, "variableFiles": ["prod.json"],
            "only": ["docker.web"], "except": ["*.box"], "directory": ".",
            "secretVariables": [{"name": "token", "secretKeyRef": {"name": "s", "key": "token"}}],
        }},
        "verify": [
            {"molecule": {"directory": "ansible", "scenario": "image", "environment": {"IMAGE": "$(image.local)"}}},
            {"pytest": {"directory": "tests"}},
            {"command": {"arguments": ["goss", "validate"]}},
        ],
        "publish": {"image": {"repository": "registry.example:5000/team-a/web", "tags": ["1.4.2", "0.1.{{timestamp}}", "latest"], "secretRef": {"name": "push"}}},
        "timeouts": {"pending": "10m", "build": "1h30m", "verify": "90s"},
        "retry": {"infrastructure": 3, "build": 1},
    });
    vec![
        ("the smallest chain", chain()),
        ("every field of a link", links(&[full_link])),
        ("a template that is the root", with(chain(), "/spec/links/0/build/packer/template", json!("."))),
        ("a template as programs take it", with(chain(), "/spec/links/0/build/packer/template", json!("./packer/.x/"))),
        ("a parent before its child", links(&[link("base"), child("web", "base")])),
        ("a diamond", links(&[link("a"), child("b", "a"), child("c", "a"), child("d", "b")])),
        (
            "a parent in another chain",
            with(chain(), &format!("{LINK}/from"), json!({"chain": {"name": "os", "link": "base"}})),
        ),
        (
            "no common source, but one in each link",
            without(
                with(chain(), &format!("{LINK}/source"), json!({"inline": {"files": {"base.json": "{}"}}})),
                "/spec/source",
            ),
        ),
        (
            "amounts as numbers and fractions",
            with(
                profile(),
                "/spec/resources",
                json!({"cpu": 2, "memory": 8_u64 << 30, "storage": "40.5Gi", "requests": {"cpu": "0.5", "memory": 1 << 30}}),
            ),
        ),
        ("an interval of 30s", with(chain(), "/spec/triggers", json!({"interval": "30s"}))),
        ("names of 50 characters", with(links(&[link(&"l".repeat(25))]), "/metadata/name", json!("c".repeat(25)))),
        ("git over ssh", with(chain(), &format!("{GIT}/url"), json!("ssh://git@git.example:2222/team/shop.git"))),
        ("a commit", with(chain(), &format!("{GIT}/revision"), json!("0123456789abcdef0123456789abcdef01234567"))),
        (
            "revisions, images and names at the edge of what is refused",
            with(
                with(
                    with(
                        with(chain(), &format!("{GIT}/revision"), json!("refs/heads/a.b/c.locks")),
                        &format!("{LINK}/from"),
                        json!({"image": "R-1.example:65535/a__b--c.d/e:T_1", "as": "a.b"}),
                    ),
                    "/spec/links/0/build/packer/variables",
                    json!({"_": "", "a".repeat(128): ""}),
                ),
                "/spec/links/0/source",
                json!({"inline": {"files": {"..a/.b/...": "", "ü b": "", "ü".repeat(512): ""}}}),
            ),
        ),
        (
            "names of branches that git allows",
            links(
                &["fix@login", "feature/#42", "größe", "a+b", "x=y", "(draft)", "50%", "@x", &"ü".repeat(255)]
                    .iter()
                    .enumerate()
                    .map(|(n, revision)| {
                        let git =
                            json!({"git": {"url": "https://git.example:8443/~team/box.git", "revision": revision}});
                        with(link(&format!("l{n}")), "/source", git)
                    })
                    .collect::<Vec<_>>(),
            ),
        ),
        ("the longest time span", with(chain(), "/spec/links/0/timeouts", json!({"build": "168h", "verify": "0h1s"}))),
        ("a single build", build()),
        (
            "a build of a chain",
            with(
                with(build(), "/spec/chainRef", json!({"name": "shop", "uid": "u", "link": "base"})),
                "/spec/inputs",
                json!({"key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "r.example/b:1", "engine": "r.example/b:1"}),
            ),
        ),
        ("the smallest profile", profile()),
        (
            "a profile with staging",
            with(
                profile(),
                "/spec/registry",
                json!({
            "staging": {"repository": "registry.example/staging", "secretRef": {"name": "push"}},
            "insecure": ["registry.example:5000"], "mirrors": [{"registry": "docker.io", "mirror": "mirror.example"}]}),
            ),
        ),
    ]
}

/// Bad objects, and a part of the sentence that says what to do.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let exactly_one_source = "set exactly one of git, configMap, inline";
    let template = "/spec/links/0/build/packer/template";
    let mut cases = vec![
        (
            "a parent that comes later",
            links(&[child("web", "base"), link("base")]),
            "move the parent before its children",
        ),
        ("a link that is its own parent", links(&[child("web", "web")]), "move the parent before its children"),
        ("a cycle", links(&[child("a", "b"), child("b", "a")]), "move the parent before its children"),
        ("an unknown parent", links(&[link("base"), child("web", "bse")]), "move the parent before its children"),
        ("two links of one name", links(&[link("base"), link("base")]), "Duplicate value"),
        ("no link", links(&[]), "should have at least 1 items"),
        (
            "257 links",
            links(&(0..257).map(|n| link(&format!("l{n}"))).collect::<Vec<_>>()),
            "must have at most 256 items",
        ),
        (
            "names of 51 characters",
            with(links(&[link(&"l".repeat(26))]), "/metadata/name", json!("c".repeat(25))),
            "50 characters together",
        ),
        (
            "a profile that is not listed",
            with(chain(), "/spec/links/0/profile", json!("vm")),
            "must be one of spec.profiles",
        ),
        ("no profile", with(chain(), "/spec/profiles", json!([])), "should have at least 1 items"),
        ("the same profile twice", with(chain(), "/spec/profiles", json!(["a", "a"])), "Duplicate value"),
        ("no source at all", without(chain(), "/spec/source"), "set spec.source, or a source in every link"),
        ("two sources", with(chain(), "/spec/source/configMap", json!({"name": "x"})), exactly_one_source),
        ("an empty source", with(chain(), "/spec/source", json!({})), exactly_one_source),
        (
            "two parents",
            with(chain(), "/spec/links/0/from", json!({"image": "a", "chain": {"name": "c", "link": "l"}})),
            "set exactly one of image, link, chain",
        ),
        (
            "a parent of nothing",
            with(chain(), "/spec/links/0/from", json!({"as": "x"})),
            "set exactly one of image, link, chain",
        ),
        (
            "a pull secret for a link",
            links(&[link("base"), with(child("web", "base"), "/from/secretRef", json!({"name": "s"}))]),
            "secretRef belongs to image or chain",
        ),
        ("no way to build", with(chain(), "/spec/links/0/build", json!({})), "set exactly one of packer, box"),
        (
            "two tests in one step",
            with(chain(), "/spec/links/0/verify", json!([{"pytest": {}, "molecule": {}}])),
            "set exactly one of molecule, pytest, command",
        ),
        (
            "an empty test",
            with(chain(), "/spec/links/0/verify", json!([{}])),
            "set exactly one of molecule, pytest, command",
        ),
        (
            "a command of nothing",
            with(chain(), "/spec/links/0/verify", json!([{"command": {"arguments": []}}])),
            "should have at least 1 items",
        ),
        (
            "no way to publish",
            with(chain(), "/spec/links/0/publish", json!({})),
            "set exactly one of image, box, gitea",
        ),
        (
            "no tag",
            with(chain(), "/spec/links/0/publish", json!({"image": {"repository": "r.example/a", "tags": []}})),
            "should have at least 1 items",
        ),
        (
            "one tag twice",
            with(chain(), "/spec/links/0/publish", json!({"image": {"repository": "r.example/a", "tags": ["1", "1"]}})),
            "Duplicate value",
        ),
        ("an interval of 29s", with(chain(), "/spec/triggers", json!({"interval": "29s"})), "30s or longer"),
        (
            "a negative number of retries",
            with(chain(), "/spec/links/0/retry", json!({"build": -1})),
            "should be greater than or equal to 0",
        ),
        ("an unknown value", with(chain(), "/spec/onFailure", json!("Panic")), "supported values"),
        (
            "a source that is null",
            with(chain(), "/spec/source", Value::Null),
            "set spec.source, or a source in every link",
        ),
        (
            "inputs in a build of a user",
            with(
                build(),
                "/spec/inputs",
                json!({"key": "k", "revision": "r", "files": "f", "platform": "linux/amd64", "builder": "r.example/b:1", "engine": "r.example/b:1"}),
            ),
            "leave them out",
        ),
        (
            "a single build on a link",
            with(build(), "/spec/from", json!({"link": "base"})),
            "a single build has no earlier links",
        ),
        (
            "an isolation that is not there yet",
            with(profile(), "/spec/isolation", json!("MicroVM")),
            "supported values",
        ),
        ("a profile without images", without(profile(), "/spec/images"), "Required value"),
        ("a long name of a build", with(build(), "/metadata/name", json!("b".repeat(64))), "63 characters at most"),
        ("a long name of a profile", with(profile(), "/metadata/name", json!("p".repeat(64))), "63 characters at most"),
        ("a platform of one word", with(profile(), "/spec/platform", json!("amd64")), "should match"),
        ("a memory of nothing", with(profile(), "/spec/resources", json!({"memory": "0"})), "should match"),
        (
            "more asked for than allowed",
            with(profile(), "/spec/resources", json!({"cpu": "1500m", "requests": {"cpu": "2"}})),
            "requests.cpu must not be more than cpu",
        ),
        (
            "more asked for than allowed, as a number",
            with(profile(), "/spec/resources", json!({"cpu": "1500m", "requests": {"cpu": 2}})),
            "requests.cpu must not be more than cpu",
        ),
        ("a processor of truth", with(profile(), "/spec/resources", json!({"cpu": true})), "must be of type"),
        (
            "more asked for than the default",
            with(profile(), "/spec/resources", json!({"requests": {"memory": "9Gi"}})),
            "requests.memory must not be more than memory",
        ),
    ];
    let publish = |field: &str, value: Value| {
        let image = with(json!({"repository": "r.example/a", "tags": ["1"]}), &format!("/{field}"), value);
        with(chain(), "/spec/links/0/publish", json!({"image": image}))
    };
    cases.extend([
        (
            "a short form of ssh",
            with(chain(), &format!("{GIT}/url"), json!("git@host:team/box.git")),
            "write git@host:team/box.git as ssh://git@host/team/box.git",
        ),
        (
            "a password in a URL",
            with(chain(), &format!("{GIT}/url"), json!("https://u:p@host/a")),
            "must not hold a password",
        ),
        (
            "a query in a URL",
            with(chain(), &format!("{GIT}/url"), json!("https://host/a?b")),
            "neither query nor fragment",
        ),
        ("a range", with(chain(), &format!("{GIT}/revision"), json!("a..b")), "as git allows them"),
        ("a reflog", with(chain(), &format!("{GIT}/revision"), json!("main@{1}")), "as git allows them"),
        (
            "a pattern",
            with(chain(), "/spec/links/0/paths", json!(["ansible/**"])),
            "not patterns: of ansible/** name the folder",
        ),
        ("an absolute template", with(chain(), template, json!("/abs")), "leave the / in front out"),
        ("a template outside", with(chain(), template, json!("../a")), "none of its parts may be empty, . or .."),
        ("a template with a backslash", with(chain(), template, json!("a\\b")), "must not hold a backslash"),
        ("a time twice", publish("tags", json!(["{{timestamp}}.{{timestamp}}"])), "{{timestamp}} once at most"),
        ("another of packer's words", publish("tags", json!(["1.{{isotime}}"])), "tags hold no other placeholders"),
        (
            "a time that makes it too long",
            publish("tags", json!([format!("{}{{{{timestamp}}}}", "a".repeat(119))])),
            "131",
        ),
        ("129 letters", publish("tags", json!(["a".repeat(129)])), "up to 128 letters"),
        ("a tag with a placeholder", publish("tags", json!(["$(source.revision)"])), "tags hold no other placeholders"),
        (
            "a repository with a tag",
            publish("repository", json!("r.example/a:1")),
            "must be a repository as registry.example/team/web",
        ),
        (
            "an image in upper case",
            with(chain(), "/spec/links/0/from", json!({"image": "Debian"})),
            "must be the name of an image, in lower case",
        ),
    ]);
    for path in ["../etc", "a/../../b", "/abs", "a\\b", "a//b", "a/", "", ".", "..", "./a", "a/./b", "a\u{0}b", "a\nb"]
    {
        cases.push((
            "a directory out of the source",
            with(chain(), &format!("{GIT}/directory"), json!(path)),
            "spec.source.git.directory",
        ));
    }
    for (sentence, paths) in [
        (ABSOLUTE_PATH, ["/abs", "/"].as_slice()),
        (ESCAPING_PATH, &["../etc", "a/../../b", "a//b", "./.", "..", "./..", "a/./b"]),
        (CHARACTER_OF_PATH, &["a\\b", "a\nb", "a\u{85}"]),
    ] {
        for (path, field) in paths.iter().flat_map(|path| ["template", "directory"].map(|field| (path, field))) {
            cases.push((
                "a location out of the source",
                with(chain(), &format!("/spec/links/0/build/packer/{field}"), json!(path)),
                sentence,
            ));
        }
    }
    for path in ["", "a\u{0}b"] {
        cases.push((
            "a location that is none",
            with(chain(), template, json!(path)),
            "spec.links[0].build.packer.template",
        ));
    }
    for name in ["Web", "web_", "-web", "web-", "we b", "we\u{0}b", "..", "a/b", "wéb", "w\u{202e}eb", ""] {
        cases.push(("a name of a link", with(chain(), "/spec/links/0/name", json!(name)), "spec.links[0].name"));
    }
    cases.push((
        "a long name of a link",
        with(chain(), "/spec/links/0/name", json!("l".repeat(64))),
        "spec.links[0].name",
    ));
    for url in [
        "file:///etc",
        "ext::sh -c id",
        "-oProxyCommand=id",
        "git.example/shop",
        "https://user:secret@git.example/shop",
        "https://-x/",
        "https:// git",
        "HTTPS://git.example",
    ] {
        cases.push(("a git URL", with(chain(), &format!("{GIT}/url"), json!(url)), "spec.source.git.url"));
    }
    for revision in [
        "--upload-pack=id",
        "-c",
        "a b",
        "a\u{0}",
        "a\u{7f}",
        "a\u{85}",
        "",
        "@",
        "/a",
        "a^",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a@{1}",
        ".a",
        "a~1",
        "a:b",
        "a..b",
        "a/",
        "a.",
        "a//b",
        "a/.b",
        "a.lock",
        "a.lock/b",
    ] {
        cases.push((
            "a git revision",
            with(chain(), &format!("{GIT}/revision"), json!(revision)),
            "spec.source.git.revision",
        ));
    }
    cases.push((
        "a git revision of 4 kB",
        with(chain(), &format!("{GIT}/revision"), json!("a".repeat(4096))),
        "spec.source.git.revision",
    ));
    for duration in ["", "10", "m", "-5m", "1.5h", "1d", "10 m", "999999h", "1h1h1h1h", "0s", "0h0m", "00s", "168h1s"] {
        cases.push((
            "a duration",
            with(chain(), "/spec/links/0/timeouts", json!({"build": duration})),
            "spec.links[0].timeouts.build",
        ));
    }
    for image in [
        "",
        "a b",
        "-a",
        "a\u{0}b",
        "a$(id)",
        "a`id`",
        "a;b",
        "a//b",
        "a/",
        "a:",
        "a@",
        "A",
        "a..b",
        "a___b",
        "a-",
        "a:b:c",
        "a:-1",
        "a@sha256:0",
        "r..example/a",
        "r.example/A",
        "r.example:99999/a",
        "a_b.c/d",
        "https://r.example/a",
    ] {
        cases.push((
            "an image",
            with(chain(), "/spec/links/0/from", json!({"image": image})),
            "spec.links[0].from.image",
        ));
    }
    for repository in [
        "web",
        "registry.example",
        "registry.example/Web",
        "registry.example/a:tag",
        "registry.example/a@sha256:0",
        "registry.example//a",
        "r.example:port/a",
        "r.example:65536/a",
        "r..example/a",
        "r-/a",
        "r.example/a..b",
        "r.example/a-",
    ] {
        let publish = json!({"image": {"repository": repository, "tags": ["1"]}});
        cases.push((
            "a repository",
            with(chain(), "/spec/links/0/publish", publish),
            "spec.links[0].publish.image.repository",
        ));
    }
    for path in ["", "/abs", "../a", "a/..", "a//b", "a/", ".", "a\\b", "a\u{0}b", "a\u{85}b", &"a".repeat(513)] {
        cases.push((
            "the path of an inline file",
            with(chain(), "/spec/links/0/source", json!({"inline": {"files": {path: ""}}})),
            "a path must stay inside the source",
        ));
    }
    for name in ["", "a-b", "1a", "a b", "a.b", "wé", "a\n", "a=b", &"a".repeat(129)] {
        let sentence = "the name of a variable must be letters, digits and _";
        let value = json!({name: "1"});
        let variables = with(chain(), "/spec/links/0/build/packer/variables", value.clone());
        cases.push(("a variable of packer", variables, sentence));
        for step in [
            json!({"molecule": {"environment": value}}),
            json!({"pytest": {"environment": value}}),
            json!({"command": {"arguments": ["a"], "environment": value}}),
        ] {
            cases.push(("a variable of a test", with(chain(), "/spec/links/0/verify", json!([step])), sentence));
        }
    }
    cases
}

/// What `imagechain validate` says of an object.
fn offline(object: &Value) -> Vec<Problem> {
    let kind = object["kind"].as_str().expect("a kind");
    let definition = crd::all().into_iter().find(|each| each.spec.names.kind == kind).expect("one of our kinds");
    let mut problems = Problems::default();
    schema::check_object(&definition, object, &mut problems);
    let mut problems = problems.into_vec();
    let meaning = match kind {
        "ImageChain" => serde_json::from_value(object.clone()).map(|chain| validate::chain(&chain).err()),
        "ImageBuild" => serde_json::from_value(object.clone()).map(|build| validate::build(&build).err()),
        _ => serde_json::from_value(object.clone()).map(|profile| validate::profile(&profile).err()),
    };
    problems.extend(meaning.ok().flatten().unwrap_or_default());
    problems
}

/// Whoever checks files without a cluster must not be surprised by it.
#[test]
fn validate_says_of_these_objects_what_the_api_server_says() {
    for (what, object) in accepted().into_iter().chain(accepted_boxes()) {
        assert_eq!(offline(&object), [], "{what}");
    }
    for (what, object, _) in refused().into_iter().chain(refused_boxes()) {
        assert!(!offline(&object).is_empty(), "{what} is valid without a cluster: {object}");
    }
}

#[tokio::test]
async fn good_objects_are_accepted_and_bad_ones_refused_with_a_sentence() {
    let cluster = Cluster::start().await;
    for (what, object) in accepted() {
        cluster.accepts(what, &object).await;
    }
    let cases = refused();
    for (what, object, sentence) in &cases {
        cluster.refuses(what, object, sentence).await;
    }
    println!("{} objects accepted, {} refused", accepted().len(), cases.len());
}

#[tokio::test]
async fn boxes_are_accepted_and_what_no_box_can_be_is_refused_with_a_sentence() {
    let cluster = Cluster::start().await;
    for (what, object) in accepted_boxes() {
        cluster.accepts(what, &object).await;
    }
    let cases = refused_boxes();
    for (what, object, sentence) in &cases {
        cluster.refuses(what, object, sentence).await;
    }
    println!("{} boxes accepted, {} refused", accepted_boxes().len(), cases.len());
}

/// Puts a status into a build, as the operator does, and tells what the API server says.
async fn write_status(builds: &Api<DynamicObject>, status: Value) -> Result<DynamicObject, String> {
    let patch = json!({"status": status});
    match builds.patch_status("single", &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(written) => Ok(written),
        Err(Error::Api(status)) => Err(status.message),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn a_build_never_changes_and_its_result_is_written_once() {
    let cluster = Cluster::start().await;
    let builds = cluster.api("ImageBuild");
    let object: DynamicObject = serde_json::from_value(build()).expect("an object");
    let created = builds.create(&PostParams::default(), &object).await.expect("a build");
    assert_eq!(created.data["status"]["observedGeneration"], -1, "nobody has looked at it yet");

    let other = json!({"spec": {"build": {"packer": {"template": "other.json"}}}});
    let changed = builds.patch("single", &PatchParams::default(), &Patch::Merge(other)).await;
    assert!(changed.expect_err("it is immutable").to_string().contains("a build never changes"));

    let attempt = |number: u8| json!({"number": number, "pod": "p", "startedAt": "2026-01-01T00:00:00Z"});
    write_status(&builds, json!({"attempts": [attempt(1), attempt(2)]})).await.expect("two attempts");
    for fewer in [json!([attempt(1)]), Value::Null] {
        let refusal = write_status(&builds, json!({"attempts": fewer})).await.expect_err("one attempt less");
        assert!(refusal.contains("attempts are never taken back"), "{refusal}");
    }

    // As many and as long as they may be: the rules that compare them must not cost too much.
    let lacked = json!({"of": format!("git/{}", "a".repeat(1290)), "version": "v".repeat(256)});
    let full = |number: u8| {
        let mut attempt = attempt(number);
        attempt["message"] = json!("m".repeat(256));
        attempt["lacked"] = lacked.clone();
        attempt
    };
    let many = |count: u8| (1..=count).map(full).collect::<Vec<_>>();
    write_status(&builds, json!({"attempts": many(40)})).await.expect("forty attempts");
    write_status(&builds, json!({"attempts": many(41)})).await.expect_err("one too many");

    let failure = json!({"reason": "TaskFailed", "class": "Build", "message": "m", "stage": "build"});
    let finished = json!({"finishedAt": "2026-01-01T01:00:00Z", "failure": failure});
    write_status(&builds, finished.clone()).await.expect("a result");
    write_status(&builds, json!({"duration": "1h"})).await.expect("what is not the result may follow");
    let mut later = finished;
    later["finishedAt"] = json!("2026-01-01T02:00:00Z");
    let digest = format!("sha256:{}", "0".repeat(64));
    let artifact =
        json!({"reference": "r.example/a", "digest": digest, "shortDigest": "0", "imageId": digest, "size": 1});
    for change in [
        later,
        json!({"finishedAt": null}),
        json!({"failure": null}),
        json!({"failure": {"message": "n"}}),
        json!({"attempts": [attempt(1), attempt(3)]}),
        json!({"artifact": artifact}),
    ] {
        let refusal = write_status(&builds, change.clone()).await.expect_err("the result stands");
        assert!(refusal.contains("the result of a finished build never changes"), "{change}: {refusal}");
    }
    // The whole status at once, which a rule on one of its fields would not see.
    let wiped = builds
        .patch_status(
            "single",
            &PatchParams::default(),
            &Patch::Json::<()>(serde_json::from_value(json!([{"op": "remove", "path": "/status"}])).expect("a patch")),
        )
        .await;
    assert!(wiped.expect_err("the result stands").to_string().contains("never"));
}

/// The names of the objects and lists of objects below a schema, as `kubectl explain` takes them.
fn explainable(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
    let items = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items.as_ref()),
        _ => None,
    };
    let properties = [Some(schema), items].into_iter().flatten().filter_map(|each| each.properties.as_ref());
    for (name, property) in properties.flatten() {
        let below = format!("{path}.{name}");
        explainable(&below, property, found);
        if name != "metadata" {
            found.push(below);
        }
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let cluster = Cluster::start().await;
    let started = cluster.server.started().expect("a server of ours");
    let mut explained = 0;
    for definition in crd::all() {
        let root = definition.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let mut paths = vec![definition.spec.names.kind.to_lowercase()];
        explainable(&paths[0].clone(), root.expect("a schema"), &mut paths);
        // A parent's page has the text of all its fields: leaves need no page of their own.
        let parents: BTreeSet<&str> =
            paths.iter().filter_map(|path| path.rsplit_once('.')).map(|(parent, _)| parent).collect();
        for path in parents {
            let output = started.kubectl().expect("kubectl").args(["explain", path]).output().expect("an answer");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(!text.contains("<no description>"), "{path} has a field without text:\n{text}");
            explained += 1;
        }
    }
    println!("{explained} pages of kubectl explain have text for each of their fields");
}

/// The most that the rules may cost: each link's parent is looked for among all earlier ones, and the keys of
/// all maps are names.
#[tokio::test]
async fn a_chain_of_256_links_is_accepted() {
    let cluster = Cluster::start().await;
    // As many names as an object may hold: it is stored as a whole, in 1.5 MiB at most.
    let names = |prefix: &str| -> Value { (0..16).map(|n| (format!("{prefix}_{n:0>60}"), json!("v"))).collect() };
    let full = |name: &str| {
        let verify =
            json!([{"molecule": {"environment": names("MOLECULE")}}, {"pytest": {"environment": names("PYTEST")}}]);
        let link = with(with(link(name), "/verify", verify), "/timeouts", json!({"build": "2h", "verify": "1h"}));
        with(with(link, "/build/packer/variables", names("packer")), "/profile", json!("docker"))
    };
    let long: Vec<Value> = (0..256)
        .map(|n| match n {
            0 => full("l0"),
            _ => with(full(&format!("l{n}")), "/from", json!({"link": format!("l{}", n - 1)})),
        })
        .collect();
    let chain = links(&long);
    // The first request waits until the API server has compiled the rules of the kind.
    cluster.accepts("one link", &self::chain()).await;
    let started = Instant::now();
    cluster.accepts("256 links", &chain).await;
    println!(
        "256 links with 12288 names, {} KiB, were accepted after {} ms",
        chain.to_string().len() >> 10,
        started.elapsed().as_millis()
    );
}

//! What is read of the cluster, what of it a pod gets, and who sees it.

use serde_json::json;

use super::*;
use crate::{api::condition::Reason, plan::job::Files};

/// The objects that an attempt reads, as `side kind name: keys`.
fn read(fixture: &Fixture) -> Vec<String> {
    let keys = |keys: Keys<'_>| match keys {
        Keys::All => "*".to_owned(),
        Keys::These(keys) => keys.into_iter().collect::<Vec<_>>().join(" "),
    };
    let objects = fixture.attempt().needs().objects();
    objects.into_iter().map(|(o, k)| format!("{:?} {} {}: {}", o.namespace, o.kind, o.name, keys(k))).collect()
}

/// What a container sees below its folder of secrets.
fn seen(pod: &Pod, name: &str) -> Vec<String> {
    let mounts = container(pod, name).volume_mounts.iter().flatten();
    let mounted: BTreeSet<_> = mounts.map(|mount| mount.name.as_str()).collect();
    let volumes = spec(pod).volumes.iter().flatten().filter(|volume| mounted.contains(volume.name.as_str()));
    let secrets = volumes.filter_map(|volume| volume.secret.as_ref());
    secrets.flat_map(|secret| secret.items.iter().flatten()).map(|item| item.path.clone()).collect()
}

#[test]
fn what_a_build_names_is_read_and_nothing_else() {
    assert_eq!(
        read(&full()),
        [
            "Tenant Secret git: *",
            "Tenant Secret other: token",
            "Tenant Secret pull: *",
            "Tenant Secret vendor: licence.key token",
            "Execution Secret staging: *",
            "Execution ConfigMap authority: ca.crt",
        ]
    );
    assert_eq!(read(&least()), [""; 0]);
}

#[test]
fn every_source_needs_its_own() {
    for (source, expected) in [
        (json!({"git": {"url": "ssh://git@git.example/a", "secretRef": {"name": "s"}}}), vec!["Tenant Secret s: *"]),
        (json!({"configMap": {"name": "files"}}), vec!["Tenant ConfigMap files: *"]),
        (json!({"inline": {"files": {"a.json": "{}"}}}), vec![]),
    ] {
        let mut build = full_build();
        build["source"] = source;
        let all = read(&Fixture::new(&build, &full_profile()));
        let of_source: Vec<_> = all.into_iter().filter(|each| !read(&full()).contains(each)).collect();
        assert_eq!(of_source, expected);
    }
}

#[test]
fn what_others_have_staged_is_pulled_with_the_credential_of_staging() {
    for from in [json!({"link": "base"}), json!({"chain": {"name": "os", "link": "base"}})] {
        let mut build = full_build();
        build["from"] = from;
        build["verify"] = json!([]);
        let fixture = Fixture::new(&build, &full_profile());
        let pod = pod(&fixture.attempt());
        assert!(seen(&pod, "build").contains(&"pull/config.json".to_owned()));
        assert!(!read(&fixture).iter().any(|each| each.contains("Secret pull")));
        assert!(job_of(&pod).parent.unwrap().credentials.is_some());
    }
}

#[test]
fn each_container_sees_what_it_needs() {
    let fixture = full();
    let pod = pod(&fixture.attempt());
    for (name, expected) in [
        ("source", vec!["git/username", "git/password", "git/ca.crt", "git/tls.crt", "git/tls.key"]),
        ("engine", vec!["pull.crt", "push.crt", "ca.crt"]),
        ("build", vec!["pull/config.json", "variables.json"]),
        ("verify", vec!["verify/1/TOKEN", "verify/2/TOKEN"]),
        ("publish", vec!["push/config.json", "push.crt", "ca.crt"]),
    ] {
        assert_eq!(seen(&pod, name), expected, "{name}");
    }
}

#[test]
fn the_secret_goes_with_the_pod() {
    let fixture = full();
    let attempt = fixture.attempt();
    let made = secret(&attempt, "pod-uid", &found(&attempt.needs())).unwrap();
    let owner = &made.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), &owner.name, owner.uid.as_str()), ("Pod", &attempt.pod_name(), "pod-uid"));
    assert_eq!(made.metadata.name, Some(attempt.pod_name()));
    assert_eq!(made.metadata.namespace.as_deref(), Some("builds"));
    assert_eq!(made.immutable, Some(true));
    assert_eq!(made.metadata.labels, pod(&attempt).metadata.labels);
}

#[test]
fn the_secret_holds_values_as_they_were_read() {
    let fixture = full();
    let needs = fixture.attempt().needs();
    let data = secret(&fixture.attempt(), "pod-uid", &found(&needs)).unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "ca.crt",
            "git.ca.crt",
            "git.password",
            "git.tls.crt",
            "git.tls.key",
            "git.username",
            "pull.config.json",
            "pull.crt",
            "push.config.json",
            "push.crt",
            "variables.json",
            "verify.1.TOKEN",
            "verify.2.TOKEN"
        ]
    );
    assert_eq!(text("git.password"), format!("{CANARY}-git-password"));
    assert_eq!(text("variables.json"), json!({"licence": format!("{CANARY}-vendor-licence.key")}).to_string());
    assert_eq!(text("verify.2.TOKEN"), format!("{CANARY}-other-token"));
}

#[test]
fn an_authority_for_all_servers_is_for_all_containers() {
    let mut profile = full_profile();
    profile["registry"]["certificateAuthority"] = json!(null);
    profile["network"] = json!({
        "certificateAuthority": {"name": "authority"},
        "proxy": {"https": "http://proxy.example:3128", "noProxy": [".corp.example"]},
    });
    let fixture = Fixture::new(&full_build(), &profile);
    let pod = pod(&fixture.attempt());
    for name in ["source", "engine", "build", "verify", "publish"] {
        assert!(seen(&pod, name).contains(&"ca.crt".to_owned()), "{name}");
    }
    let job = job_of(&pod);
    assert_eq!(job.network.certificate_authority.as_deref(), Some("/imagechain/secrets/ca.crt"));
    assert_eq!(job.network.proxy.https.as_deref(), Some("http://proxy.example:3128"));
    assert_eq!(job.registry.certificate_authority, None);
    // Docker's command line takes the proxies of containers from the file that has the credentials.
    let data = secret(&fixture.attempt(), "pod-uid", &found(&fixture.attempt().needs())).unwrap().data.unwrap();
    let config: Value = serde_json::from_slice(&data["pull.config.json"].0).unwrap();
    assert_eq!(config["proxies"]["default"]["httpsProxy"], "http://proxy.example:3128");
    assert!(config["auths"]["registry.example"]["auth"].is_string());
}

#[test]
fn kubernetes_own_secrets_become_the_files_of_a_pod() {
    let fixture = full();
    let mut found = found(&fixture.attempt().needs());
    let mut put = |name: &str, keys: &[(&str, &str)]| {
        let values = keys.iter().map(|(key, value)| ((*key).to_owned(), ByteString((*value).into()))).collect();
        let (_, there) = found.0.iter_mut().find(|(object, _)| object.name == name).unwrap();
        *there = values;
    };
    put("git", &[("password", "token\n"), ("ca.crt", "PEM\n")]);
    put("pull", &[(".dockercfg", r#"{"registry.example": {"auth": "Ym9iOng="}, "other.example": {"auth": "!"}}"#)]);
    put("staging", &[("username", "bob\n"), ("password", "x\n"), ("ca.crt", "OWN")]);
    let needs = fixture.attempt().needs();
    assert_eq!(needs.lacks(&found), BTreeSet::new());
    let data = secret(&fixture.attempt(), "pod-uid", &found).unwrap().data.unwrap();
    let bob = json!({"auths": {"registry.example": {"auth": "Ym9iOng="}}}).to_string();
    for (key, expected) in [
        ("git.username", "x-access-token"),
        ("git.password", "token"),
        ("git.ca.crt", "PEM"),
        ("git.tls.key", ""),
        ("pull.config.json", &bob),
        ("pull.crt", ""),
        ("push.config.json", &bob),
        ("push.crt", "OWN"),
    ] {
        assert_eq!(String::from_utf8_lossy(&data[key].0), expected, "{key}");
    }
}

#[test]
fn what_is_wrong_with_credentials_is_told_before_there_is_a_pod() {
    let fixture = full();
    let needs = fixture.attempt().needs();
    let complete = found(&needs);
    for (name, key, value, sentence, reason) in [
        (
            "git",
            "username",
            "bob",
            "the Secret «git» in the namespace team-a has no key «password»: add it",
            Reason::KeyNotFound,
        ),
        (
            "pull",
            ".dockerconfigjson",
            r#"{"auths": {"registry.example": {"auth": "canary"}}}"#,
            "the Secret «pull» in the namespace team-a cannot be used: `auth` of «registry.example» is not base64 of user \
             name, colon and password",
            Reason::AccessDenied,
        ),
    ] {
        let mut found = complete.clone();
        found.0.insert(ObjectRef::secret(name), BTreeMap::from([(key.to_owned(), ByteString(value.into()))]));
        let lacks: Vec<_> = needs.lacks(&found).into_iter().map(|lack| (lack.to_string(), lack.reason())).collect();
        assert_eq!(lacks, [(sentence.to_owned(), reason)]);
    }
}

#[test]
fn files_arrive_as_they_are() {
    let binary = ByteString(vec![0, 255, 10]);
    let mut build = full_build();
    build["source"] = json!({"configMap": {"name": "files"}});
    let fixture = Fixture::new(&build, &full_profile());
    let mut found = found(&fixture.attempt().needs());
    let map = ObjectRef::config_map("files");
    found.0.insert(map, BTreeMap::from([("a.bin".to_owned(), binary.clone())]));
    let data = secret(&fixture.attempt(), "pod-uid", &found).unwrap().data.unwrap();
    let files: Files = serde_json::from_slice(&data["files.json"].0).unwrap();
    assert_eq!(files, BTreeMap::from([("a.bin".to_owned(), binary)]));

    build["source"] = json!({"inline": {"files": {"packer/web.pkr.hcl": "ü\n"}}});
    let fixture = Fixture::new(&build, &full_profile());
    let data = secret(&fixture.attempt(), "pod-uid", &found).unwrap().data.unwrap();
    let files: Files = serde_json::from_slice(&data["files.json"].0).unwrap();
    assert_eq!(files, BTreeMap::from([("packer/web.pkr.hcl".to_owned(), ByteString("ü\n".into()))]));
}

#[test]
fn a_pod_that_needs_no_secret_has_none() {
    let fixture = least();
    assert_eq!(secret(&fixture.attempt(), "pod-uid", &Found::default()), None);
    assert!(spec(&pod(&fixture.attempt())).volumes.iter().flatten().all(|volume| volume.secret.is_none()));
}

#[test]
fn what_is_missing_is_named() {
    let fixture = full();
    let needs = fixture.attempt().needs();
    let complete = found(&needs);
    let reasons = |found: &Found| needs.lacks(found).iter().map(Lack::reason).collect::<BTreeSet<_>>();
    let sentences = |found: &Found| needs.lacks(found).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(sentences(&complete), [""; 0]);
    assert_eq!(sentences(&Found::default()).len(), 6);
    assert_eq!(reasons(&Found::default()), BTreeSet::from([Reason::SecretNotFound, Reason::ConfigMapNotFound]));

    let secret = ObjectRef::secret;
    let mut without_object = complete.clone();
    without_object.0.remove(&secret("git"));
    assert_eq!(sentences(&without_object), ["there is no Secret «git» in the namespace team-a: make it"]);

    let mut without_key = complete.clone();
    without_key.0.get_mut(&secret("vendor")).unwrap().remove("token");
    assert_eq!(sentences(&without_key), ["the Secret «vendor» in the namespace team-a has no key «token»: add it"]);

    assert_eq!(reasons(&without_key), BTreeSet::from([Reason::KeyNotFound]));

    let mut binary = complete.clone();
    binary.0.get_mut(&secret("vendor")).unwrap().insert("licence.key".to_owned(), ByteString(vec![0xff]));
    binary.0.get_mut(&secret("vendor")).unwrap().insert("token".to_owned(), ByteString(vec![0xff]));
    let [only] = sentences(&binary).try_into().unwrap();
    assert!(only.starts_with("the value of «licence.key» in the Secret «vendor»"), "{only}");

    let mut large = complete;
    large.0.get_mut(&secret("vendor")).unwrap().insert("token".to_owned(), ByteString(vec![b' '; LARGEST_SECRET]));
    let [only] = sentences(&large).try_into().unwrap();
    assert!(only.contains("use a git source"), "{only}");
    assert_eq!(reasons(&large), BTreeSet::from([Reason::SourceRejected]));
}

#[test]
fn inline_files_always_leave_room_for_credentials() {
    // The most that validation lets through, of the bytes that need the most room elsewhere.
    let files: BTreeMap<_, _> = (0..8).map(|n| (format!("{n}.json"), "\u{1}".repeat(64 << 10))).collect();
    let mut build = full_build();
    build["source"] = json!({"inline": {"files": files}});
    let fixture = Fixture::new(&build, &full_profile());
    let made = secret(&fixture.attempt(), "pod-uid", &found(&fixture.attempt().needs())).unwrap();
    assert!(size(&made) < LARGEST_SECRET * 3 / 4, "{}", size(&made));
}

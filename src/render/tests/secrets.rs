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
            "Tenant Secret git: password username",
            "Tenant Secret other: token",
            "Tenant Secret pull: .dockerconfigjson",
            "Tenant Secret vendor: licence.key token",
            "Execution Secret staging: .dockerconfigjson",
            "Execution ConfigMap authority: ca.crt",
        ]
    );
    assert_eq!(read(&least()), [""; 0]);
}

#[test]
fn every_source_needs_its_own() {
    for (source, expected) in [
        (
            json!({"git": {"url": "ssh://git@git.example/a", "secretRef": {"name": "s"}}}),
            vec!["Tenant Secret s: identity known_hosts"],
        ),
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
        ("source", vec!["git/username", "git/password"]),
        ("engine", vec!["ca.crt"]),
        ("build", vec!["pull/config.json", "variables.json"]),
        ("verify", vec!["verify/1/TOKEN", "verify/2/TOKEN"]),
        ("publish", vec!["push/config.json", "ca.crt"]),
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
            "git.password",
            "git.username",
            "pull.config.json",
            "push.config.json",
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
    large
        .0
        .get_mut(&secret("pull"))
        .unwrap()
        .insert(".dockerconfigjson".to_owned(), ByteString(vec![b' '; LARGEST_SECRET]));
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

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn node(name: &str, cpu: &str, memory: &str, more: &Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"pool": "builds"}},
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "ephemeral-storage": "100Gi", "pods": "110"}},
    });
    for (field, value) in more.as_object().unwrap() {
        node[field].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

fn tainted(name: &str, key: &str, effect: &str) -> Arc<Node> {
    node(name, "8", "32Gi", &json!({"spec": {"taints": [{"key": key, "effect": effect}]}}))
}

/// A pod that asks for a processor and 2Gi in its engine, and a quarter of that in each stage.
fn pod(name: &str, more: &Value) -> Pod {
    let asks =
        |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"}});
    let mut pod = json!({
        "metadata": {"name": name, "labels": {"imagechain.dev/profile": "docker", "imagechain.dev/buildUid": name}},
        "spec": {
            "nodeSelector": {"pool": "builds"},
            "initContainers": [
                {"name": "source", "resources": asks("250m", "512Mi")},
                {"name": "engine", "restartPolicy": "Always", "resources": asks("1", "2Gi")},
                {"name": "build", "resources": asks("250m", "512Mi")},
            ],
            "containers": [{"name": "publish", "resources": asks("250m", "512Mi")}],
        },
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
    });
    for (field, value) in more.as_object().unwrap() {
        pod[field].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    serde_json::from_value(pod).unwrap()
}

fn waiting() -> Pod {
    pod("own", &json!({}))
}

fn running(name: &str, on: &str) -> Arc<Pod> {
    Arc::new(pod(name, &json!({"spec": {"nodeName": on}, "status": {"phase": "Running", "conditions": []}})))
}

fn judged(pod: &Pod, nodes: &[Arc<Node>], builds: &[Arc<Pod>]) -> Room {
    judge(pod, &Cluster { nodes: nodes.to_vec(), builds: builds.to_vec() })
}

fn short(room: Room) -> String {
    match room {
        Room::Short(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_larger_than_every_node_never_fits() {
    let small = [node("n1", "1", "64Gi", &json!({})), node("n2", "500m", "64Gi", &json!({}))];
    let expected = "no node that the BuildProfile «docker» selects is large enough: a build asks for cpu 1250m, and the \
                    largest node, n1, has cpu 1 in all; lower resources.requests of the profile, or add a larger node";
    assert_eq!(judged(&waiting(), &small, &[]), Room::Never(expected.to_owned()));
    let both = [node("n1", "1", "64Gi", &json!({})), node("n2", "8", "1Gi", &json!({}))];
    let Room::Never(message) = judged(&waiting(), &both, &[]) else { panic!("no single node has both") };
    assert!(message.contains("asks for cpu 1250m, and the largest node, n1, has cpu 1 in all"), "{message}");
    // A node that is not meant for it does not help; what is there for the moment alone does not matter.
    let foreign = node("n3", "8", "32Gi", &json!({"metadata": {"labels": {"pool": "others"}}}));
    let reserved = tainted("n4", "team", "NoSchedule");
    let nodes = [small[0].clone(), foreign, reserved];
    assert!(matches!(judged(&waiting(), &nodes, &[running("x", "n1")]), Room::Never(_)));
}

#[test]
fn what_others_have_is_waited_for_and_told() {
    let nodes = [node("n1", "2", "8Gi", &json!({}))];
    let behind_one = "no node has room yet: cpu is short by 500m on n1 (it asks for 1250m, of 2 at most 750m is left); \
                      behind 1 build that runs";
    assert_eq!(judged(&waiting(), &nodes, &[running("x", "n1")]), Room::Short(behind_one.to_owned()));
    let two = [node("n1", "2", "4Gi", &json!({})), node("n2", "2", "4Gi", &json!({}))];
    let told = short(judged(&waiting(), &two, &[running("x", "n1"), running("y", "n2")]));
    let memory = "memory is short by 1Gi on n1 (it asks for 2560Mi, of 4Gi at most 1536Mi is left)";
    assert!(told.contains(memory) && told.ends_with("behind 2 builds that run"), "{told}");
    let foreign = "no node has room yet: other pods than builds take what n1 has left, and it asks for cpu 1250m, memory \
                   2560Mi, ephemeral-storage 2Gi";
    assert_eq!(judged(&waiting(), &nodes, &[]), Room::Short(foreign.to_owned()));
    // A build that has ended has given back what it had.
    let ended = pod("x", &json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Failed"}}));
    assert_eq!(judged(&waiting(), &nodes, &[Arc::new(ended)]), Room::Short(foreign.to_owned()));
}

#[test]
fn a_node_that_takes_no_pods_for_a_while_is_waited_for() {
    for key in ["node.kubernetes.io/unschedulable", "node.cloudprovider.kubernetes.io/uninitialized"] {
        let told = short(judged(&waiting(), &[tainted("n1", key, "NoSchedule")], &[]));
        assert_eq!(told, format!("no node takes the pod now: n1 has the taint {key}"));
    }
}

#[test]
fn what_is_no_matter_of_room_is_left_to_its_timeout() {
    let large = || node("n1", "8", "32Gi", &json!({}));
    let affinity = json!({"spec": {"affinity": {"podAffinity": {}}}});
    for (what, pod, nodes) in [
        ("no node is there", waiting(), vec![]),
        (
            "the node has not said what it has",
            waiting(),
            vec![node("n1", "8", "32Gi", &json!({"status": {"allocatable": null}}))],
        ),
        ("no node has the label", pod("own", &json!({"spec": {"nodeSelector": {"pool": "x"}}})), vec![large()]),
        ("all are kept for others", waiting(), vec![tainted("n1", "team", "NoExecute")]),
        ("somebody gave it an affinity", pod("own", &affinity), vec![large()]),
        ("the scheduler has not spoken", pod("own", &json!({"status": {"conditions": []}})), vec![large()]),
        ("it has its node", running("own", "n1").as_ref().clone(), vec![large()]),
    ] {
        assert_eq!(judged(&pod, &nodes, &[]), Room::Unknown, "{what}");
    }
}

#[test]
fn taints_are_borne_as_kubernetes_says() {
    let nodes = [tainted("n1", "team", "NoSchedule")];
    let bears = |toleration: Value| {
        let pod = pod("own", &json!({"spec": {"tolerations": [toleration]}}));
        judged(&pod, &nodes, &[]) != Room::Unknown
    };
    for (toleration, expected) in [
        (json!({"operator": "Exists"}), true),
        (json!({"key": "team", "operator": "Exists"}), true),
        (json!({"key": "team"}), true),
        (json!({"key": "team", "operator": "Equal", "value": ""}), true),
        (json!({"key": "team", "operator": "Exists", "effect": "NoSchedule"}), true),
        (json!({"key": "team", "operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"key": "team", "value": "a"}), false),
        (json!({"key": "other", "operator": "Exists"}), false),
    ] {
        assert_eq!(bears(toleration.clone()), expected, "{toleration}");
    }
    assert!(matches!(judged(&waiting(), &[tainted("n1", "team", "PreferNoSchedule")], &[]), Room::Short(_)));
}

#[test]
fn a_pod_asks_for_what_runs_at_once_or_for_what_is_written_for_the_whole() {
    let spec = |more: &Value| pod("own", &json!({"spec": more})).spec.unwrap();
    let gi = |gi: u64| gi * 1000 * (1 << 30);
    assert_eq!(requests(&spec(&json!({}))), [1250, gi(5) / 2, gi(2), 1000]);
    let whole = json!({"resources": {"requests": {"cpu": "3", "memory": "4Gi"}}, "overhead": {"cpu": "100m"}});
    assert_eq!(requests(&spec(&whole)), [3100, gi(4), gi(2), 1000]);
    let greedy = json!({"name": "greedy", "resources": {"requests": {"cpu": "5"}}});
    assert_eq!(requests(&spec(&json!({"initContainers": [greedy]})))[0], 5000);
}

#[test]
fn there_is_room_for_as_many_as_fit_beside_those_that_run() {
    let two = [node("n1", "4", "32Gi", &json!({})), tainted("n2", "node.kubernetes.io/unschedulable", "NoSchedule")];
    let room = |nodes: &[Arc<Node>], builds: &[Arc<Pod>]| {
        count(&waiting(), &Cluster { nodes: nodes.to_vec(), builds: builds.to_vec() })
    };
    assert_eq!(room(&two, &[]), Some(3));
    assert_eq!(room(&two, &[running("x", "n1"), running("y", "n2")]), Some(2));
    assert_eq!(room(&two[1..], &[]), Some(0));
    assert_eq!(room(&[], &[]), None, "nobody can tell");
}

proptest! {
    /// Where there is room by what is known, nothing is said to be too large; and nobody is told of a room that is none.
    #[test]
    fn room_and_its_lack_agree(cpu in 0_u64..6000, memory in 0_u64..8, builds in 0_usize..4) {
        let nodes = [node("n1", &format!("{cpu}m"), &format!("{memory}Gi"), &json!({}))];
        let builds: Vec<_> = (0..builds).map(|index| running(&format!("b{index}"), "n1")).collect();
        let cluster = Cluster { nodes: nodes.to_vec(), builds: builds.clone() };
        let fits_alone = cpu >= 1250 && memory >= 3;
        match judge(&waiting(), &cluster) {
            Room::Never(_) => prop_assert!(!fits_alone),
            Room::Short(message) => {
                prop_assert!(fits_alone);
                prop_assert_eq!(message.contains("is short by"), count(&waiting(), &cluster) == Some(0), "{}", message);
            }
            Room::Unknown => prop_assert!(false, "the node is there"),
        }
    }
}

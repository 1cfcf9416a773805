//! An operator that is replaced by the next one.

use std::time::Duration;

use imagechain::api::build::ImageBuild;
use kube::{ResourceExt, api::DeleteParams};
use tokio::time::timeout;

use crate::support::{
    chart::NAME,
    cluster::Cluster,
    kubelet::Script,
    tenant::{Tenant, attempts},
};

/// Less than the time until an operator sweeps for the first time because of the time.
const BEFORE_THE_SWEEP: Duration = Duration::from_mins(2);

#[tokio::test]
async fn an_upgrade_disturbs_no_build_and_sweeps_what_was_left_meanwhile() {
    let stage = Cluster::start().await;
    let tenant = Tenant::new(&stage, "upgraded").await;
    let mut chain = tenant.chain(&["one", "two"]);
    chain["spec"]["links"][1]["from"] = chain["spec"]["links"][0]["from"].clone();
    tenant.script("one", Script::Hold);
    tenant.script("two", Script::Hold);
    let operator = stage.operator();
    tenant.make(&chain).await;
    let (pod, left) = (tenant.running("one").await, tenant.running("two").await);
    let (build, deleted) = (tenant.build_of("one").await, tenant.build_of("two").await);
    operator.end();
    let builds = tenant.api::<ImageBuild>();
    builds.delete(&deleted.name_any(), &DeleteParams::default()).await.expect("a deletion");
    tenant.gone(builds, &deleted.name_any()).await;
    stage.chart.helm(&["upgrade", "imagechain-crds", "charts/imagechain-crds"], None);
    stage.chart.helm(&["upgrade", NAME, "charts/imagechain", "--reuse-values", "--set", "log=debug"], None);
    let _operator = stage.operator();
    let swept = timeout(BEFORE_THE_SWEEP, tenant.gone(tenant.pods(), &left.name_any())).await;
    assert!(swept.is_ok(), "the pod of the deleted build is there still\n{}", stage.log());
    tenant.script("one", Script::Succeed);
    tenant.script("two", Script::Succeed);
    tenant.ready().await;
    let ended = tenant.build_of("one").await;
    assert_eq!((ended.uid(), attempts(&ended)), (build.uid(), vec![(1, None)]));
    assert_eq!(stage.kubelet.pods_of(&build.name_any()), [pod.name_any()]);
    assert_eq!(tenant.pods().get(&pod.name_any()).await.expect("the pod").uid(), pod.uid());
    let again = tenant.build_of("two").await;
    assert_ne!(again.uid(), deleted.uid());
    assert_eq!((tenant.builds().await.len(), attempts(&again)), (2, vec![(1, None)]));
}

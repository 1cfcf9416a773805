//! The line of the builds with a profile: who has a pod, and who waits for one. It is read from the copies of builds,
//! pods and nodes, so it is the same after a restart.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::ResourceExt;

use super::{context::Context, store::Key, stores::Stores};
use crate::{
    api::{BUILD_LABEL, BUILD_NAMESPACE_LABEL, PROFILE_LABEL, build::ImageBuild},
    outcome::{
        pod::{is_over, placement},
        room::{self, Cluster},
    },
    plan::slots::{Contender, Seen, Standing, Wait, standing},
};

/// Whether it is the turn of a build, which would make this pod; if so, its place is taken.
///
/// # Errors
/// It is not.
pub fn admit(context: &Context, build: &ImageBuild, limit: Option<u32>, pod: impl FnOnce() -> Pod) -> Result<(), Wait> {
    let cluster = context.stores.cluster();
    let (profile, key) = (&build.spec.profile.0, Key::of(build));
    let line = line(&context.stores, profile, &cluster);
    let own = contender(build, &key, Standing::Wants);
    context.places.admit(profile, (key, own), line, (limit, || room::count(&pod(), &cluster)))
}

/// The builds with a profile that have a pod or want one.
fn line(stores: &Stores, profile: &str, cluster: &Cluster) -> Vec<(Key, Contender)> {
    let is_of_profile = |pod: &&Arc<Pod>| label(pod, PROFILE_LABEL) == profile && !is_over(pod);
    let of_profile = cluster.builds.iter().filter(is_of_profile);
    let mut pods: HashMap<Key, &Arc<Pod>> = of_profile.map(|pod| (build_of(pod), pod)).collect();
    let mut line = Vec::new();
    for build in stores.unfinished(profile) {
        let key = Key::of(build.as_ref());
        let pod = pods.remove(&key).map(|pod| (pod, room::judge(pod, cluster)));
        let seen = pod.as_ref().map(|(pod, room)| {
            let deleting = pod.metadata.deletion_timestamp.is_some();
            Seen { placement: placement(pod), room, deleting }
        });
        if let Some(standing) = standing(&build, seen) {
            line.push((key.clone(), contender(&build, &key, standing)));
        }
    }
    // The pods of builds that have ended, or are gone, run to their end.
    let left_over = pods.into_keys().map(|key| {
        let own = Contender { created: Timestamp::MIN, name: title(&key), standing: Standing::Runs };
        (key, own)
    });
    line.extend(left_over);
    line
}

fn contender(build: &ImageBuild, key: &Key, standing: Standing) -> Contender {
    let created = build.creation_timestamp().map_or(Timestamp::MAX, |time| time.0);
    Contender { created, name: title(key), standing }
}

fn title(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

/// The build of a pod, by what the pod says.
#[must_use]
pub fn build_of(pod: &Pod) -> Key {
    Key::new(label(pod, BUILD_NAMESPACE_LABEL), label(pod, BUILD_LABEL))
}

/// The value of a label of a pod, or nothing.
#[must_use]
pub fn label<'p>(pod: &'p Pod, name: &str) -> &'p str {
    pod.labels().get(name).map(String::as_str).unwrap_or_default()
}

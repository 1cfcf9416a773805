//! The facts about a build.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Node, Pod, Secret},
    jiff::Timestamp,
};
use kube::{Api, ResourceExt, core::PartialObjectMeta};

use super::pods::Seen;
use crate::{
    api::{
        BUILD_UID_LABEL, CANCEL, SUPERSEDED,
        build::{ImageBuild, ImageBuildStatus, Inputs},
        chain::Link,
        common,
        condition::Reason,
        profile::{PodRetention, default_deadline},
    },
    outcome::{self, node},
    plan::{
        access,
        build::Scene,
        dependency::{Dependency, Versions},
        duration,
        failure::Gate,
        image::Repository,
        lookup::Known,
        observed::Placement,
        product,
        recipe::Destination,
        resolve::ProfileFact,
        valid::{ValidBuild, ValidProfile},
    },
    render::{Attempt, Operator, Target},
    runtime::{clock, context::Context, execute::Error, references::watched, store::Key},
};

/// How long the pods of a build may live, and how long they are kept after a good and after a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    deadline: Duration,
    retention: (Duration, Duration),
}

impl Times {
    fn of(profile: &ValidProfile) -> Self {
        Self { deadline: profile.deadline, retention: (profile.keep_succeeded, profile.keep_failed) }
    }

    /// Those of a profile that says nothing; for a build whose profile is gone.
    fn of_schema() -> Self {
        let retention = PodRetention::default();
        // What the schema gives is valid: a test looks at it.
        let time = |text: &common::Duration| duration::parse(&text.0).unwrap_or_default();
        Self { deadline: time(&default_deadline()), retention: (time(&retention.succeeded), time(&retention.failed)) }
    }
}

/// What is known of a build, and owned: a scene borrows it.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its object.
    pub object: &'a ImageBuild,
    name: String,
    uid: String,
    /// What it asks for.
    pub valid: &'a ValidBuild,
    /// What everything that it names was resolved to.
    pub inputs: &'a Inputs,
    /// The profile.
    pub profile: ProfileFact,
    /// Where it pushes.
    pub target: Option<Target>,
    /// Its pods.
    pub pods: Vec<Seen>,
    /// The namespace in which its pods are made.
    pub execution_namespace: String,
    previous: ImageBuildStatus,
    staging: Option<Repository>,
    pending: Option<Duration>,
    versions: Versions,
    now: Timestamp,
}

impl Facts<'_> {
    /// The scene, with this permission.
    #[must_use]
    pub fn scene<'s>(
        &'s self,
        pods: &'s [crate::plan::build::OwnPod<'s>],
        permission: Gate<()>,
        taken: bool,
    ) -> Scene<'s> {
        let times = access::usable(&self.profile).map_or_else(Times::of_schema, Times::of);
        let note = |key: &str, reason| self.object.annotations().get(key).map(|why| (reason, why.as_str()));
        Scene {
            name: &self.name,
            uid: &self.uid,
            generation: self.object.metadata.generation.unwrap_or_default(),
            build: self.valid,
            kind: product::kind(self.inputs.hypervisor),
            previous: &self.previous,
            permission,
            execution_namespace: &self.execution_namespace,
            staging: self.staging.as_ref(),
            deadline: times.deadline,
            pending: self.pending,
            retention: times.retention,
            pods,
            name_taken: taken,
            dependencies: &self.versions,
            cancelled: note(CANCEL, Reason::CancelledByUser).or_else(|| note(SUPERSEDED, Reason::Superseded)),
            now: self.now,
        }
    }

    /// The profile and where it lets the build push, if both are there.
    #[must_use]
    pub fn place(&self) -> Option<(&ValidProfile, &Target)> {
        Some((access::usable(&self.profile)?, self.target.as_ref()?))
    }

    /// An attempt of it, with this profile and at this target; which one, from 1.
    #[must_use]
    pub fn attempt<'s>(
        &'s self,
        profile: &'s ValidProfile,
        target: &'s Target,
        number: u32,
        operator: Operator<'s>,
    ) -> Attempt<'s> {
        let link = self.object.spec.chain_ref.as_ref();
        Attempt {
            name: &self.name,
            namespace: self.object.metadata.namespace.as_deref().unwrap_or_default(),
            uid: &self.uid,
            number,
            link: link.map(|chain| (chain.name.0.as_str(), chain.link.0.as_str())),
            build: self.valid,
            inputs: self.inputs,
            profile_name: &self.valid.profile,
            profile,
            target,
            operator,
        }
    }

    /// Whether a pod is one of the build.
    #[must_use]
    pub fn is_of(&self, pod: &Pod) -> bool {
        pod.labels().get(BUILD_UID_LABEL) == Some(&self.uid)
    }

    /// The version of a pod, as it is known.
    #[must_use]
    pub fn version_of(&self, pod: &str) -> Option<&str> {
        self.pods.iter().find(|each| each.name == pod)?.version.as_deref()
    }
}

/// What is known of a build with these pods; `None` as long as something is not known yet that will be soon. What the
/// build names must be watched already.
///
/// # Errors
/// The API server does not answer.
pub async fn build<'a>(
    context: &Context,
    (object, valid, inputs): (&'a ImageBuild, &'a ValidBuild, &'a Inputs),
    pods: Vec<Seen>,
) -> Result<Option<Facts<'a>>, Error> {
    let profile = context.stores.profile(&valid.profile);
    let usable = access::usable(&profile);
    let target = usable.and_then(|profile| target(context, object, profile));
    let execution_namespace = usable.map(|profile| profile.execution_namespace.clone());
    let execution_namespace = execution_namespace.or_else(|| Some(pods.first()?.namespace.clone()));
    let told = pods.iter().max_by_key(|pod| pod.attempt()).and_then(|pod| pod.staging().cloned());
    let staging = told.or_else(|| Some(target.as_ref()?.repository.clone()));
    let Some(versions) = versions(context, object, valid, inputs, usable).await? else { return Ok(None) };
    Ok(Some(Facts {
        object,
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        valid,
        inputs,
        target,
        pods,
        execution_namespace: execution_namespace.unwrap_or_default(),
        previous: object.status.clone().unwrap_or_default(),
        staging,
        pending: link_of(context, object).and_then(|link| duration::parse(&link.timeouts.pending.0).ok()),
        versions,
        now: clock::now(),
        profile,
    }))
}

/// The pods of a build, whether their nodes answer, and why they have none.
///
/// # Errors
/// The API server does not answer.
pub async fn pods(context: &Context, uid: &str) -> Result<Vec<Seen>, Error> {
    let mut pods = Vec::new();
    for pod in context.stores.pods.members(uid) {
        let seen = Seen::of(&pod);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|_| seen.runs());
        let down = match node {
            Some(node) => down_since(context, node).await?,
            None => None,
        };
        let is_refused = outcome::pod::placement(&pod) == Placement::Refused;
        let room = is_refused.then(|| outcome::room::judge(&pod, &context.stores.cluster()));
        pods.push(seen.on_node_down(down).in_room(room.unwrap_or_default()));
    }
    Ok(pods)
}

/// Since when a node does not answer. One that the watch has not shown is asked for: it may be new.
async fn down_since(context: &Context, name: &str) -> Result<Option<Timestamp>, Error> {
    if let Some(node) = context.stores.nodes.get(&Key::new("", name)) {
        return Ok(node::down_since(Some(&node)));
    }
    let live = Api::<Node>::all(context.client.clone()).get_opt(name).await?;
    Ok(node::down_since(live.as_ref()))
}

/// Where a build pushes. Where its profile has no staging repository, that is where its link is published.
fn target(context: &Context, build: &ImageBuild, profile: &ValidProfile) -> Option<Target> {
    Target::of(profile, publish_of(context, build).as_ref())
}

fn publish_of(context: &Context, build: &ImageBuild) -> Option<Destination> {
    Destination::of(link_of(context, build)?.publish.as_ref()?)
}

/// The link that a build was made for, as it is written now.
fn link_of(context: &Context, build: &ImageBuild) -> Option<Link> {
    let (chain, reference) = (context.stores.chain_of(build)?, build.spec.chain_ref.as_ref()?);
    chain.spec.links.iter().find(|link| link.name == reference.link).cloned()
}

/// The versions of all that a build names; `None` as long as one is not known. Of a build that has ended none is
/// needed.
async fn versions(
    context: &Context,
    object: &ImageBuild,
    valid: &ValidBuild,
    inputs: &Inputs,
    profile: Option<&ValidProfile>,
) -> Result<Option<Versions>, Error> {
    let mut versions = Versions::new();
    if object.is_finished() {
        return Ok(Some(versions));
    }
    let staging = profile.and_then(|profile| profile.staging.as_ref()?.secret.as_deref());
    let namespace = object.namespace().unwrap_or_default();
    for dependency in valid.recipe.dependencies(staging) {
        let version = match (watched(&dependency, &namespace), &dependency, profile) {
            (Some(object), ..) => {
                let Known::Value(version) = context.stores.named.version(&object) else { return Ok(None) };
                version
            }
            (None, Dependency::Object(secret), Some(profile)) => {
                staging_version(context, profile, &secret.name).await?
            }
            _ => Some(fixed(&dependency, inputs)),
        };
        versions.insert(dependency, version);
    }
    Ok(Some(versions))
}

/// The version of a Secret of an execution namespace, which the operator may get but not watch.
async fn staging_version(context: &Context, profile: &ValidProfile, secret: &str) -> Result<Option<String>, Error> {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.client.clone(), &profile.execution_namespace);
    match secrets.get_opt(secret).await {
        Ok(found) => Ok(found.and_then(|found| found.resource_version())),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a build was made from does not change: where another is wanted, another build is made.
fn fixed(dependency: &Dependency, inputs: &Inputs) -> String {
    match dependency {
        Dependency::Git { .. } => inputs.revision.clone(),
        _ => inputs.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_whose_profile_is_gone_has_the_times_of_the_schema() {
        let expected =
            Times { deadline: Duration::from_hours(6), retention: (Duration::from_mins(10), Duration::from_hours(1)) };
        assert_eq!(Times::of_schema(), expected);
    }
}

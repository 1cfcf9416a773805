//! The facts about a build.

use std::{collections::BTreeSet, time::Duration};

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
        condition::Reason,
    },
    outcome::node,
    plan::{
        build::Scene,
        dependency::{self, Dependency, Versions},
        failure::Gate,
        image::Repository,
        lookup::Known,
        object::{NamespaceRole, ObjectRef},
        resolve::ProfileFact,
        valid::{ValidBuild, ValidProfile, ValidPublish},
    },
    render::{Attempt, Target},
    runtime::{
        cache::Key,
        clock,
        execute::Error,
        named::{Object, User},
        world::World,
    },
};

/// What the schema gives a profile that says nothing; for a build whose profile is gone.
const DEADLINE: Duration = Duration::from_hours(6);
const RETENTION: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(1));

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
    versions: Versions,
    now: Timestamp,
}

impl<'a> Facts<'a> {
    /// What is known of a build; `None` as long as something is not known yet that will be soon.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn of(
        world: &World,
        object: &'a ImageBuild,
        valid: &'a ValidBuild,
        inputs: &'a Inputs,
    ) -> Result<Option<Self>, Error> {
        let (uid, profile) = (object.uid().unwrap_or_default(), world.profile(&valid.profile));
        let usable = usable(&profile);
        let target = usable.and_then(|profile| Target::of(profile, world.publish_of(object).as_ref()));
        let pods = world.pods_of(&uid).await?;
        let execution_namespace = usable.map(|profile| profile.execution_namespace.clone());
        let execution_namespace = execution_namespace.or_else(|| Some(pods.first()?.namespace.clone()));
        let told = pods.iter().max_by_key(|pod| pod.attempt()).and_then(|pod| pod.staging().cloned());
        let staging = told.or_else(|| Some(target.as_ref()?.repository.clone()));
        let Some(versions) = world.versions(object, valid, inputs, usable).await? else { return Ok(None) };
        Ok(Some(Self {
            object,
            name: object.name_any(),
            uid,
            valid,
            inputs,
            target,
            pods,
            execution_namespace: execution_namespace.unwrap_or_default(),
            previous: object.status.clone().unwrap_or_default(),
            staging,
            versions,
            now: clock::now(),
            profile,
        }))
    }

    /// The scene, with this permission.
    #[must_use]
    pub fn scene<'s>(
        &'s self,
        pods: &'s [crate::plan::build::OwnPod<'s>],
        permission: Gate<()>,
        taken: bool,
    ) -> Scene<'s> {
        let profile = usable(&self.profile);
        let note = |key: &str, reason| self.object.annotations().get(key).map(|why| (reason, why.as_str()));
        Scene {
            name: &self.name,
            uid: &self.uid,
            generation: self.object.metadata.generation.unwrap_or_default(),
            build: self.valid,
            previous: &self.previous,
            permission,
            execution_namespace: &self.execution_namespace,
            staging: self.staging.as_ref(),
            deadline: profile.map_or(DEADLINE, |profile| profile.deadline),
            retention: profile.map_or(RETENTION, |profile| (profile.keep_succeeded, profile.keep_failed)),
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
        Some((usable(&self.profile)?, self.target.as_ref()?))
    }

    /// An attempt of it, with this profile and at this target; which one, from 1.
    #[must_use]
    pub fn attempt<'s>(
        &'s self,
        profile: &'s ValidProfile,
        target: &'s Target,
        number: u32,
        operator_image: &'s str,
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
            operator_image,
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

/// The profile, if it can be used.
#[must_use]
pub fn usable(fact: &ProfileFact) -> Option<&ValidProfile> {
    match fact {
        ProfileFact::Usable(profile) => Some(profile),
        ProfileFact::Missing | ProfileFact::Invalid(_) => None,
    }
}

impl World {
    /// The pods of a build, and whether their nodes answer.
    async fn pods_of(&self, uid: &str) -> Result<Vec<Seen>, Error> {
        let mut pods = Vec::new();
        for pod in self.pods.members(uid) {
            let seen = Seen::of(&pod);
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|_| seen.runs());
            let down = match node {
                Some(node) => self.down_since(node).await?,
                None => None,
            };
            pods.push(seen.on_node_down(down));
        }
        Ok(pods)
    }

    /// Since when a node does not answer. One that the watch has not shown is asked for: it may be new.
    async fn down_since(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        if let Some(node) = self.nodes.get(&Key::new("", name)) {
            return Ok(node::down_since(Some(&node)));
        }
        let live = Api::<Node>::all(self.client.clone()).get_opt(name).await?;
        Ok(node::down_since(live.as_ref()))
    }

    /// Where the link of a build is published: that decides where it pushes if its profile has no staging.
    fn publish_of(&self, build: &ImageBuild) -> Option<ValidPublish> {
        let (chain, reference) = (self.chain_of(build)?, build.spec.chain_ref.as_ref()?);
        let link = chain.spec.links.iter().find(|link| link.name == reference.link)?;
        let image = link.publish.as_ref()?.image.as_ref()?;
        Some(ValidPublish {
            repository: image.repository.0.parse().ok()?,
            tags: image.tags.iter().filter_map(|tag| tag.0.parse().ok()).collect(),
            secret: image.secret_ref.as_ref().map(|secret| secret.name.to_string()),
        })
    }

    /// The versions of all that a build names; `None` as long as one is not known. Of a build that has ended
    /// none is needed.
    async fn versions(
        &self,
        object: &ImageBuild,
        valid: &ValidBuild,
        inputs: &Inputs,
        profile: Option<&ValidProfile>,
    ) -> Result<Option<Versions>, Error> {
        let user = User::Build(Key::of(object));
        if object.is_finished() {
            self.named.need(user, BTreeSet::new());
            return Ok(Some(Versions::new()));
        }
        let staging = profile.and_then(|profile| profile.staging.as_ref()?.secret.as_deref());
        let all = dependency::of_build(valid, staging);
        let namespace = object.namespace().unwrap_or_default();
        self.named.need(user, all.iter().filter_map(|each| watched(each, &namespace)).collect());
        let mut versions = Versions::new();
        for dependency in all {
            let version = match (watched(&dependency, &namespace), &dependency, profile) {
                (Some(object), ..) => {
                    let Known::Value(version) = self.named.version(&object) else { return Ok(None) };
                    version
                }
                (None, Dependency::Object(secret), Some(profile)) => {
                    self.staging_version(profile, &secret.name).await?
                }
                _ => Some(fixed(&dependency, inputs)),
            };
            versions.insert(dependency, version);
        }
        Ok(Some(versions))
    }

    /// The version of a Secret of an execution namespace, which the operator may get but not watch.
    async fn staging_version(&self, profile: &ValidProfile, secret: &str) -> Result<Option<String>, Error> {
        let secrets: Api<PartialObjectMeta<Secret>> =
            Api::namespaced(self.client.clone(), &profile.execution_namespace);
        match secrets.get_opt(secret).await {
            Ok(found) => Ok(found.and_then(|found| found.resource_version())),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The object that a dependency is, if the operator may watch it.
fn watched(dependency: &Dependency, namespace: &str) -> Option<Object> {
    match dependency {
        Dependency::Object(ObjectRef { namespace: NamespaceRole::Tenant, kind, name }) => {
            Some(Object { kind: *kind, key: Key::new(namespace, name) })
        }
        _ => None,
    }
}

/// What a build was made from does not change: where another is wanted, another build is made.
fn fixed(dependency: &Dependency, inputs: &Inputs) -> String {
    match dependency {
        Dependency::Git { .. } => inputs.revision.clone(),
        _ => inputs.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

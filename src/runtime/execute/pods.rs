//! Pods and their Secrets.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, ResourceExt, api::PostParams};

use super::{error::Error, executor::Executor};
use crate::{
    api::{BUILD_UID_LABEL, build::ImageBuild},
    outcome::pod::observe,
    plan::build::Intent,
    render::{self, Attempt, Found},
};

/// What became of a pod that was to be made.
#[derive(Debug)]
pub enum Made {
    /// It is there, and it is ours.
    Ours(Box<Pod>),
    /// A stranger's object has its name.
    Taken,
    /// The API server does not take it: a policy, a quota, a missing right.
    Refused(String),
    /// It is no longer wanted.
    Unwanted,
}

impl Executor {
    /// Makes the pod of an attempt, if what the API server says at this moment wants it still. One that is
    /// there already, and ours, is taken over. `live` is the build as the API server has just told it; without
    /// it, it is read.
    ///
    /// # Errors
    /// It was not made, or nobody knows.
    #[expect(clippy::disallowed_methods, reason = "the only writer")]
    pub async fn create_pod(
        &self,
        attempt: &Attempt<'_>,
        only_if: &Intent,
        live: Option<&ImageBuild>,
    ) -> Result<Made, Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &attempt.profile.execution_namespace);
        let live = match live {
            Some(build) => Some(build.clone()),
            None => self.read_build(attempt).await?,
        };
        if !stands(live.as_ref(), only_if, attempt.uid, &pods).await? {
            return Ok(Made::Unwanted);
        }
        let pod = render::pod(attempt);
        match self.write("create", "pods", pods.create(&PostParams::default(), &pod)).await {
            Ok(pod) => Ok(Made::Ours(Box::new(pod))),
            Err(Error::Api(kube::Error::Api(status))) if status.is_already_exists() => self.adopt(attempt, &pods).await,
            Err(Error::Api(kube::Error::Api(status))) if status.is_forbidden() || status.is_invalid() => {
                Ok(Made::Refused(status.message))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_build(&self, attempt: &Attempt<'_>) -> Result<Option<ImageBuild>, Error> {
        let builds: Api<ImageBuild> = Api::namespaced(self.client.clone(), attempt.namespace);
        Ok(builds.get_opt(attempt.name).await?)
    }

    /// The pod that has the name already.
    async fn adopt(&self, attempt: &Attempt<'_>, pods: &Api<Pod>) -> Result<Made, Error> {
        match pods.get_opt(&attempt.pod_name()).await? {
            Some(pod) if is_of(&pod, attempt.uid) => Ok(Made::Ours(Box::new(pod))),
            Some(_) => Ok(Made::Taken),
            None => Err(Error::Conflict),
        }
    }

    /// Makes the Secret of a pod, if it needs one that is not there.
    ///
    /// # Errors
    /// It was not made, or nobody knows; or that of an earlier pod of the name was in the way, and is deleted.
    #[expect(clippy::disallowed_methods, reason = "the only writer")]
    pub async fn ensure_secret(&self, attempt: &Attempt<'_>, pod: &Pod, found: &Found) -> Result<(), Error> {
        let pod_uid = pod.uid().unwrap_or_default();
        let Some(secret) = render::secret(attempt, &pod_uid, found) else { return Ok(()) };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &attempt.profile.execution_namespace);
        match self.write("create", "secrets", secrets.create(&PostParams::default(), &secret)).await {
            Err(Error::Api(kube::Error::Api(status))) if status.is_already_exists() => {}
            answer => return answer.map(drop),
        }
        let name = attempt.pod_name();
        let Some(there) = secrets.get_opt(&name).await? else { return Err(Error::Conflict) };
        if there.owner_references().iter().any(|owner| owner.uid == pod_uid) {
            return Ok(());
        }
        if there.labels().get(BUILD_UID_LABEL).is_some_and(|uid| uid == attempt.uid) {
            self.delete(&secrets, &name, &there.uid().unwrap_or_default(), false).await?;
        }
        Err(Error::Conflict)
    }
}

/// Whether a pod is still wanted, as far as its build and the pod of the attempt before tell.
async fn stands(live: Option<&ImageBuild>, only_if: &Intent, build_uid: &str, pods: &Api<Pod>) -> Result<bool, Error> {
    let Some(live) = live else { return Ok(false) };
    let before = match &only_if.after {
        Some(name) => pods.get_opt(name).await?.filter(|pod| is_of(pod, build_uid)),
        None => None,
    };
    Ok(only_if.stands_in(live, before.as_ref().map(observe).as_ref()))
}

/// Whether a pod is that of a build.
fn is_of(pod: &Pod, build_uid: &str) -> bool {
    pod.labels().get(BUILD_UID_LABEL).is_some_and(|uid| uid == build_uid)
}

//! Builds: made for chains, told that they are superfluous.

use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{error::Error, executor::Executor};
use crate::api::{
    CHAIN_LABEL, LINK_LABEL, MANAGED_BY, MANAGED_BY_LABEL, SUPERSEDED,
    build::{ImageBuild, ImageBuildSpec},
    chain::ImageChain,
};

impl Executor {
    /// Makes a build of a chain. The answer is the build of that name, whoever made it: names are functions of
    /// what a build is made from.
    ///
    /// # Errors
    /// It was not made, or nobody knows.
    #[expect(clippy::disallowed_methods, reason = "the only writer")]
    pub async fn create_build(
        &self,
        chain: &ImageChain,
        name: &str,
        spec: ImageBuildSpec,
    ) -> Result<ImageBuild, Error> {
        let builds: Api<ImageBuild> = Api::namespaced(self.client.clone(), &chain.namespace().unwrap_or_default());
        let build = build(chain, name, spec);
        match self.write("create", "imagebuilds", builds.create(&PostParams::default(), &build)).await {
            Err(Error::Api(kube::Error::Api(status))) if status.is_already_exists() => Ok(builds.get(name).await?),
            answer => answer,
        }
    }

    /// Tells a build that a newer change made it superfluous, if it is still this one.
    ///
    /// # Errors
    /// It was not told, or nobody knows.
    #[expect(clippy::disallowed_methods, reason = "the only writer, and the build is the controller's own")]
    pub async fn supersede(&self, namespace: &str, name: &str, uid: &str, message: &str) -> Result<(), Error> {
        let builds: Api<ImageBuild> = Api::namespaced(self.client.clone(), namespace);
        let body = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": {SUPERSEDED: message}}}));
        let parameters = PatchParams::default();
        match self.write("patch", "imagebuilds", builds.patch(name, &parameters, &body)).await {
            Err(Error::Api(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// A build as it is made: it goes with its chain.
fn build(chain: &ImageChain, name: &str, spec: ImageBuildSpec) -> ImageBuild {
    let link = spec.chain_ref.as_ref().map(|chain| chain.link.to_string()).unwrap_or_default();
    let labels = [(MANAGED_BY_LABEL, MANAGED_BY.to_owned()), (CHAIN_LABEL, chain.name_any()), (LINK_LABEL, link)];
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: chain.namespace(),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
        owner_references: chain.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    ImageBuild { metadata, spec, status: None }
}

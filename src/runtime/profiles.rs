//! Reconciles profiles: whether each is valid, and its execution namespace is there.

use std::sync::Arc;

use kube::Api;

use super::{
    clock,
    context::Context,
    execute::Error,
    store::Key,
    worker::{Reconcile, Requeue},
};
use crate::{api::profile::BuildProfile, plan::access};

/// The reconciler of profiles.
#[derive(Debug)]
pub struct Profiles(pub Arc<Context>);

impl Reconcile for Profiles {
    const KIND: &'static str = "BuildProfile";

    async fn reconcile(&self, key: &Key) -> Result<Requeue, Error> {
        let context = &self.0;
        let Some(profile) = context.stores.profiles.get(key) else { return Ok(Requeue::Idle) };
        let fact = context.stores.profile(&key.name);
        let namespace = access::usable(&fact).map(|valid| valid.execution_namespace.clone()).unwrap_or_default();
        let checked = access::check_profile(Some(&fact), &key.name)
            .and_then(|_| access::check_execution(&namespace, context.stores.labels(&namespace).as_ref()));
        let (previous, generation) = (profile.status.clone().unwrap_or_default(), profile.metadata.generation);
        let status = access::of_profile(&previous, generation.unwrap_or_default(), clock::now(), &checked);
        let profiles: Api<BuildProfile> = Api::all(context.client.clone());
        let written = context.writer.write_status(&profiles, &profile, profile.status.as_ref(), &status).await?;
        if let Some(written) = written {
            context.stores.profiles.wrote(profile.metadata.resource_version.as_deref(), written);
        }
        Ok(Requeue::Idle)
    }
}

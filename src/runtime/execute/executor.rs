//! What writes: with a current claim, within its time, and counted.

use std::{fmt, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::events::{Event as Published, EventType, Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::Error;
use crate::{
    plan::{
        event::{Event, Kind},
        patch,
    },
    runtime::{
        lease::Claim,
        metrics::{Metrics, Outcome},
    },
};

/// The longest that a write may take.
const WRITE: Duration = Duration::from_secs(30);

/// What writes.
#[derive(Clone)]
pub struct Executor {
    pub(super) client: Client,
    claim: Claim,
    metrics: Metrics,
    events: Recorder,
}

impl fmt::Debug for Executor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Executor").finish_non_exhaustive()
    }
}

impl Executor {
    /// A writer with that right to write; `identity` is told with events.
    #[must_use]
    pub fn new(client: Client, claim: Claim, metrics: Metrics, identity: String) -> Self {
        let reporter = Reporter { controller: "imagechain.dev/controller".to_owned(), instance: Some(identity) };
        let events = Recorder::new(client.clone(), reporter);
        Self { client, claim, metrics, events }
    }

    /// The right to write.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// One write, within its time.
    pub(super) async fn write<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let result = match self.claim.remaining().map(|remaining| remaining.min(WRITE)) {
            None => Err(Error::NotLeader),
            Some(limit) => match timeout(limit, request).await {
                Ok(answer) => answer.map_err(Error::from),
                Err(_) => Err(Error::Late(limit)),
            },
        };
        self.metrics.wrote(verb, resource, result.as_ref().map_or_else(Error::outcome, |_| Outcome::Done));
        result
    }

    /// Writes a status in the place of that of the object, if this is still the one that was decided on. The
    /// answer is the object after that; `None` if the status stands so already.
    ///
    /// # Errors
    /// It was not written, or nobody knows.
    #[expect(clippy::disallowed_methods, reason = "the only writer")]
    pub async fn write_status<K, S>(
        &self,
        api: &Api<K>,
        object: &K,
        before: Option<&S>,
        status: &S,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
        S: Serialize,
    {
        let Some(body) = status_patch(object.meta().resource_version.as_deref(), before, status) else {
            return Ok(None);
        };
        let (name, parameters) = (object.name_any(), PatchParams::default());
        let body = Patch::Merge(body);
        let written = api.patch_status(&name, &parameters, &body);
        self.write("patch_status", resource_name::<K>(), written).await.map(Some)
    }

    /// Deletes an object, if it is still this one. That it is gone already, or another, is as good.
    ///
    /// # Errors
    /// It was not deleted, or nobody knows.
    #[expect(clippy::disallowed_methods, reason = "the only writer")]
    pub async fn delete<K>(&self, api: &Api<K>, name: &str, uid: &str, force: bool) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
    {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            grace_period_seconds: force.then_some(0),
            ..DeleteParams::background()
        };
        match self.write("delete", resource_name::<K>(), api.delete(name, &parameters)).await {
            Ok(_) | Err(Error::Conflict) => Ok(()),
            Err(Error::Api(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Tells events of an object. That fails for itself alone.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, events: &[Event]) {
        let reference = object.object_ref(&());
        for event in events.iter().filter(|_| self.claim.is_current()) {
            let type_ = match event.kind {
                Kind::Normal => EventType::Normal,
                Kind::Warning => EventType::Warning,
            };
            let published = Published {
                type_,
                reason: event.reason.to_string(),
                note: Some(event.message.clone()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            if let Err(error) = self.events.publish(&published, &reference).await {
                tracing::debug!(%error, "an event is not told");
            }
        }
    }
}

/// The resource of a kind, for metrics.
fn resource_name<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::plural(&()).as_ref() {
        "imagechains" => "imagechains",
        "imagebuilds" => "imagebuilds",
        "buildprofiles" => "buildprofiles",
        "pods" => "pods",
        "secrets" => "secrets",
        _ => "other",
    }
}

/// The merge patch that makes one status of another, bound to a version.
fn status_patch<S: Serialize>(version: Option<&str>, before: Option<&S>, status: &S) -> Option<Value> {
    // Structures of strings and numbers: there is nothing in them that JSON could not write.
    let value = |status: &S| serde_json::to_value(status).unwrap_or_default();
    let change = patch::merge(&before.map_or(Value::Null, value), &value(status))?;
    Some(json!({"metadata": {"resourceVersion": version}, "status": change}))
}

//! The gates before an attempt, in the order in which people want to hear of them. They are asked live, right before
//! each attempt: what is refused closes the gate, and what goes wrong with asking is an error.

use std::collections::BTreeMap;

use futures::future::try_join;
use k8s_openapi::{
    ByteString,
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        core::v1::{ConfigMap, Namespace, Secret},
    },
};
use kube::{Api, Client, ResourceExt, api::PostParams, core::PartialObjectMeta};

use super::{context::Context, execute::Error, gather::BuildFacts, health::State, line, store::Key};
use crate::{
    api::{GROUP, build::ImageBuild, condition::Reason},
    plan::{
        access,
        failure::{Failure, Gate},
        object::{NamespaceRole, ObjectKind, ObjectRef},
        valid::ValidProfile,
    },
    render::{Attempt, Found, Target, pod},
};

/// All that the pod of an attempt is made of beside the build itself.
pub struct Ready {
    /// The profile.
    pub profile: Box<ValidProfile>,
    /// Where it pushes.
    pub target: Target,
    /// What was read for it.
    pub found: Found,
}

/// Why a gate is not passed.
enum Stop {
    /// It is closed.
    Closed(Failure),
    /// It could not be asked.
    Error(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Closed(failure)
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        Self::Error(error.into())
    }
}

fn gate<T>(passed: Result<T, Stop>) -> Result<Gate<T>, Error> {
    match passed {
        Ok(value) => Ok(Gate::Open(value)),
        Err(Stop::Closed(failure)) => Ok(Gate::Closed(failure)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// All gates before an attempt.
///
/// # Errors
/// The API server does not answer.
pub async fn pass(context: &Context, facts: &BuildFacts<'_>, number: u32) -> Result<Gate<Ready>, Error> {
    gate(all(context, facts, number).await)
}

/// What an attempt needs of Secrets and `ConfigMap`s, with the gates that are on reading it.
///
/// # Errors
/// The API server does not answer.
pub async fn read(context: &Context, attempt: &Attempt<'_>) -> Result<Gate<Found>, Error> {
    gate(required(&context.client, context.user(), attempt).await)
}

/// The turn among the builds of the profile comes last: a build that waits for something else keeps nobody waiting.
async fn all(context: &Context, facts: &BuildFacts<'_>, number: u32) -> Result<Ready, Stop> {
    let build = facts.object;
    access::check_suspend(context.stores.chain_of(build).is_some_and(|chain| chain.spec.suspend))?;
    let profile = access::check_profile(Some(&facts.profile), &facts.valid.profile)?;
    check_namespaces(context, build, &profile).await?;
    let no_target = || {
        let message = "the build has no place to push to: let its profile name a staging repository";
        Failure::new(Reason::StagingMissing, message)
    };
    let target = facts.target.clone().ok_or_else(no_target)?;
    let attempt = facts.attempt(&profile, &target, number, context.operator());
    let found = required(&context.client, context.user(), &attempt).await?;
    let turn = line::admit(context, build, profile.max_concurrent, || pod(&attempt));
    access::check_turn(&build.spec.profile.0, turn)?;
    Ok(Ready { profile, target, found })
}

/// The namespaces: that of the pods, and gate G2 on that of the build.
async fn check_namespaces(context: &Context, build: &ImageBuild, profile: &ValidProfile) -> Result<(), Stop> {
    let (execution, namespace) = (&profile.execution_namespace, build.namespace().unwrap_or_default());
    let (name, account) = (&build.spec.profile.0, &build.spec.service_account_name.0);
    access::check_execution(execution, context.stores.labels(execution).as_ref())?;
    if context.stores.pods_in(execution).0 == State::Forbidden {
        let message =
            format!("the operator may not watch pods in {execution}: add it to executionNamespaces of the chart");
        return Err(Failure::new(Reason::ExecutionNamespaceNotReady, message).into());
    }
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
    // Side by side: the next link of a chain waits for both.
    let may_use = may_use(&context.client, &namespace, account, name);
    let (live, may_use) = try_join(namespaces.get(&namespace), may_use).await?;
    let allowed =
        context.stores.profiles.get(&Key::new("", name)).map(|profile| profile.spec.allowed_namespaces.clone());
    access::check_namespace(name, &allowed.unwrap_or_default(), &namespace, live.labels())?;
    Ok(access::check_use(name, &namespace, account, may_use)?)
}

/// Whether a `ServiceAccount` has the verb `use` on a profile.
#[expect(clippy::disallowed_methods, reason = "a question: nothing is stored")]
async fn may_use(client: &Client, namespace: &str, account: &str, profile: &str) -> kube::Result<bool> {
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user),
            groups: Some(groups.map(ToOwned::to_owned).into()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("use".to_owned()),
                group: Some(GROUP.to_owned()),
                resource: Some("buildprofiles".to_owned()),
                name: Some(profile.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Reads what an attempt needs, and says what of it is missing.
async fn required(client: &Client, user: &str, attempt: &Attempt<'_>) -> Result<Found, Stop> {
    let (needs, mut found) = (attempt.needs(), Found::default());
    for object in needs.objects().into_keys() {
        let namespace = needs.namespace(object.namespace);
        match entries(client, namespace, &object).await {
            Ok(Some(entries)) => drop(found.0.insert(object, entries)),
            Ok(None) => {}
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                return Err(forbidden(user, namespace, &object).into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    match needs.lacks(&found).first() {
        Some(lack) => Err(Failure::new(lack.reason(), lack.to_string()).into()),
        None => Ok(found),
    }
}

async fn entries(
    client: &Client,
    namespace: &str,
    object: &ObjectRef,
) -> kube::Result<Option<BTreeMap<String, ByteString>>> {
    match object.kind {
        ObjectKind::Secret => {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            Ok(secrets.get_opt(&object.name).await?.map(|secret| secret.data.unwrap_or_default()))
        }
        ObjectKind::ConfigMap => {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            Ok(maps.get_opt(&object.name).await?.map(|map| {
                let text = map.data.unwrap_or_default().into_iter();
                let text = text.map(|(key, value)| (key, ByteString(value.into_bytes())));
                text.chain(map.binary_data.unwrap_or_default()).collect()
            }))
        }
    }
}

fn forbidden(user: &str, namespace: &str, object: &ObjectRef) -> Failure {
    match object.namespace {
        NamespaceRole::Tenant => access::forbidden(user, namespace, object.kind, &object.name),
        NamespaceRole::Execution => {
            let message = format!(
                "the operator may not read {} of {namespace}: add it to executionNamespaces of the chart",
                object.kind.resource()
            );
            Failure::new(Reason::ExecutionNamespaceNotReady, message)
        }
    }
}

//! The gates and limits that stand before every attempt, one function for each, and what a profile's status
//! says of them. Facts come in, a reason to wait comes out.

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::LabelSelector, jiff::Timestamp};
use kube::core::{Selector, SelectorExt};

use super::{
    failure::Failure,
    lookup::Known,
    object::ObjectKind,
    resolve::ProfileFact,
    status::{Conditions, Truth},
    text::{LONGEST_MESSAGE, truncate_middle},
    valid::ValidProfile,
    validate,
};
use crate::api::{
    EXECUTION_LABEL,
    build::ImageBuildStatus,
    condition::{ConditionType, Reason},
    profile::{BuildProfile, BuildProfileStatus},
};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Nothing begins for a chain that is suspended.
///
/// # Errors
/// It is.
pub fn check_suspend(suspended: bool) -> Result<(), Failure> {
    if suspended { Err(Failure::new(Reason::Suspended, "spec.suspend of the chain is true")) } else { Ok(()) }
}

/// What is known of a profile; `None` is one that is not there.
#[must_use]
pub fn profile_fact(object: Option<&BuildProfile>) -> ProfileFact {
    match object.map(validate::profile) {
        None => ProfileFact::Missing,
        Some(Ok(valid)) => ProfileFact::Usable(Box::new(valid)),
        Some(Err(problems)) => {
            let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
            ProfileFact::Invalid(all.join("; "))
        }
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

/// The profile is there and can be used.
///
/// # Errors
/// It is not.
pub fn check_profile(fact: Option<&ProfileFact>, name: &str) -> Result<Box<ValidProfile>, Failure> {
    match ProfileFact::known(fact, name) {
        Known::Value(profile) => Ok(Box::new(profile.clone())),
        Known::Failed(failure) => Err(failure),
        Known::Pending => Err(Failure::new(Reason::LookingUp, format!("the BuildProfile «{name}» is being read"))),
    }
}

/// The namespace of the pods is there and labelled: its gates are on the label. `labels` is `None` where there
/// is no such namespace.
///
/// # Errors
/// It is not.
pub fn check_execution(namespace: &str, labels: Option<&Labels>) -> Result<(), Failure> {
    let what_to_do = match labels.map(|labels| labels.get(EXECUTION_LABEL).map(String::as_str)) {
        Some(Some("true")) => return Ok(()),
        Some(_) => format!("kubectl label namespace {namespace} {EXECUTION_LABEL}=true"),
        None => "add it to executionNamespaces of the chart".to_owned(),
    };
    let state = if labels.is_some() { "is not labelled" } else { "does not exist" };
    let message = format!("the execution namespace {namespace} {state}: {what_to_do}");
    Err(Failure::new(Reason::ExecutionNamespaceNotReady, message))
}

/// The first half of gate G2: the profile lets the namespace in.
///
/// # Errors
/// It does not.
pub fn check_namespace(
    profile: &str,
    allowed: &LabelSelector,
    namespace: &str,
    labels: &Labels,
) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(Reason::ProfileNotAllowed, why));
    match Selector::try_from(allowed.clone()) {
        Ok(selector) if selector.matches(labels) => Ok(()),
        Ok(selector) => refused(format!(
            "the BuildProfile «{profile}» is for namespaces with {selector}, and {namespace} is none: ask a platform administrator"
        )),
        Err(error) => refused(format!("allowedNamespaces of the BuildProfile «{profile}» cannot be read: {error}")),
    }
}

/// The second half of gate G2: the build identity has the verb `use`.
///
/// # Errors
/// It has not.
pub fn check_use(profile: &str, namespace: &str, account: &str, may: bool) -> Result<(), Failure> {
    if may {
        return Ok(());
    }
    let message = format!(
        "the ServiceAccount {account} of {namespace} may not use the BuildProfile «{profile}»: a platform administrator \
         allows it with kubectl create clusterrole use-{profile} --verb=use --resource=buildprofiles.imagechain.dev \
         --resource-name={profile}, and a clusterrolebinding of it to --serviceaccount={namespace}:{account}"
    );
    Err(Failure::new(Reason::ProfileNotAllowed, message))
}

/// A place among those that the profile lets run at once.
///
/// # Errors
/// There is none.
pub fn check_slot(profile: &str, limit: Option<u32>, admitted: bool) -> Result<(), Failure> {
    match limit {
        Some(limit) if !admitted => {
            let message = format!("{limit} builds of the BuildProfile «{profile}» run already");
            Err(Failure::new(Reason::WaitingForSlot, message))
        }
        _ => Ok(()),
    }
}

/// What to type so that the operator, by its user name, may read one object of a tenant.
#[must_use]
pub fn grant(user: &str, namespace: &str, kind: ObjectKind, name: &str) -> String {
    let resource = kind.resource();
    let role = format!("imagechain-{}-{name}", resource.trim_end_matches('s'));
    let subject = match user.strip_prefix("system:serviceaccount:") {
        Some(account) => format!("--serviceaccount={account}"),
        None => format!("--user={user}"),
    };
    format!(
        "kubectl create role {role} -n {namespace} --verb=get,list,watch --resource={resource} --resource-name={name} && \
         kubectl create rolebinding {role} -n {namespace} --role={role} {subject}"
    )
}

/// What keeps the operator from reading an object of a tenant, and the lines that change it.
#[must_use]
pub fn forbidden(user: &str, namespace: &str, kind: ObjectKind, name: &str) -> Failure {
    let (resource, lines) = (kind.resource(), grant(user, namespace, kind, name));
    let message = format!("the operator may not read {resource}/{name} of {namespace}: {lines}");
    Failure::new(Reason::AccessNotGranted, message)
}

/// The status of a build that does not begin, whoever looks at it: it is wrong in itself.
#[must_use]
pub fn refused(previous: &ImageBuildStatus, generation: i64, now: Timestamp, held: &Failure) -> ImageBuildStatus {
    let message = truncate_middle(&held.message, LONGEST_MESSAGE);
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    conditions.set(ConditionType::Built, Truth::Unknown, held.reason, &message);
    conditions.set(ConditionType::Verified, Truth::Unknown, held.reason, &message);
    conditions.ready(held.reason, &message);
    let conditions = conditions.finish();
    ImageBuildStatus { observed_generation: generation, conditions, lacking_since: None, ..previous.clone() }
}

/// The status of a profile.
#[must_use]
pub fn of_profile(
    previous: &BuildProfileStatus,
    generation: i64,
    now: Timestamp,
    checked: &Result<(), Failure>,
) -> BuildProfileStatus {
    let mut conditions = Conditions::new(&previous.conditions, generation, now);
    match checked {
        Ok(()) => conditions.ready(Reason::ProfileValid, "the profile is valid and its execution namespace is there"),
        Err(failure) => conditions.ready(failure.reason, &truncate_middle(&failure.message, LONGEST_MESSAGE)),
    }
    BuildProfileStatus { observed_generation: generation, conditions: conditions.finish() }
}

#[cfg(test)]
mod tests;

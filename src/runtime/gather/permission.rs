//! Whether an attempt may begin, looked at right before each: the gates are asked live.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join;
use k8s_openapi::{
    ByteString,
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
        core::v1::{ConfigMap, Namespace, Secret},
    },
    jiff::Timestamp,
};
use kube::{Api, ResourceExt, api::PostParams, core::PartialObjectMeta};

use super::build::Facts;
use crate::{
    api::{BUILD_LABEL, BUILD_NAMESPACE_LABEL, GROUP, PROFILE_LABEL, build::ImageBuild, condition::Reason},
    plan::{
        access,
        failure::Failure,
        object::{NamespaceRole, ObjectKind, ObjectRef},
        valid::ValidProfile,
    },
    render::{Attempt, Found, Target},
    runtime::{cache::Key, execute::Error, health::State, world::World},
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

impl World {
    /// Looks at everything that stands before an attempt, in the order in which people would want to hear of
    /// it. The place among those that run at once comes last: who waits for something else takes none.
    ///
    /// # Errors
    /// The API server does not answer. What is refused is in the answer.
    pub async fn check(
        &self,
        build: &ImageBuild,
        facts: &Facts<'_>,
        number: u32,
    ) -> Result<Result<Ready, Failure>, Error> {
        let early = access::check_suspend(self.chain_of(build).is_some_and(|chain| chain.spec.suspend))
            .and_then(|()| access::check_profile(Some(&facts.profile), &facts.valid.profile));
        let profile = match early {
            Ok(profile) => profile,
            Err(held) => return Ok(Err(held)),
        };
        if let Err(held) = self.check_places(build, &profile).await? {
            return Ok(Err(held));
        }
        let Some(target) = facts.target.clone() else {
            let message = "the build has no place to push to: let its profile name a staging repository";
            return Ok(Err(Failure::new(Reason::StagingMissing, message)));
        };
        let found = match self.read(build, facts, &profile, &target, number).await? {
            Ok(found) => found,
            Err(held) => return Ok(Err(held)),
        };
        Ok(self.check_slot(build, &profile).map(|()| Ready { profile, target, found }))
    }

    /// The namespaces: that of the pods, and gate G2 on that of the build.
    async fn check_places(&self, build: &ImageBuild, profile: &ValidProfile) -> Result<Result<(), Failure>, Error> {
        let (execution, namespace) = (&profile.execution_namespace, build.namespace().unwrap_or_default());
        let (name, account) = (&build.spec.profile.0, &build.spec.service_account_name.0);
        if let Err(held) = access::check_execution(execution, self.labels(execution).as_ref()) {
            return Ok(Err(held));
        }
        if self.pods_in(execution).0 == State::Forbidden {
            let message =
                format!("the operator may not watch pods in {execution}: add it to executionNamespaces of the chart");
            return Ok(Err(Failure::new(Reason::ExecutionNamespaceNotReady, message)));
        }
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        // Side by side: the next link of a chain waits for both.
        let (live, may_use) = try_join(namespaces.get(&namespace), self.may_use(&namespace, account, name)).await?;
        let allowed = self.profiles.get(&Key::new("", name)).map(|profile| profile.spec.allowed_namespaces.clone());
        let checked = access::check_namespace(name, &allowed.unwrap_or_default(), &namespace, live.labels());
        if checked.is_err() {
            return Ok(checked);
        }
        Ok(access::check_use(name, &namespace, account, may_use))
    }

    /// Whether a `ServiceAccount` has the verb `use` on a profile.
    #[expect(clippy::disallowed_methods, reason = "a question: nothing is stored")]
    async fn may_use(&self, namespace: &str, account: &str, profile: &str) -> kube::Result<bool> {
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
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Reads what the pod needs, and says what of it is missing.
    async fn read(
        &self,
        build: &ImageBuild,
        facts: &Facts<'_>,
        profile: &ValidProfile,
        target: &Target,
        number: u32,
    ) -> Result<Result<Found, Failure>, Error> {
        let (name, namespace) = (build.name_any(), build.namespace().unwrap_or_default());
        let uid = build.uid().unwrap_or_default();
        let attempt = Names { name: &name, namespace: &namespace, uid: &uid, number };
        self.read_needs(&attempt.with(build, facts, profile, target, &self.operator_image)).await
    }

    /// Reads what an attempt needs, and says what of it is missing.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn read_needs(&self, attempt: &Attempt<'_>) -> Result<Result<Found, Failure>, Error> {
        let (needs, mut found) = (attempt.needs(), Found::default());
        for object in needs.objects().into_keys() {
            let namespace = needs.namespace(object.namespace);
            match self.entries(namespace, &object).await {
                Ok(Some(entries)) => drop(found.0.insert(object, entries)),
                Ok(None) => {}
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    return Ok(Err(self.forbidden(namespace, &object)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let lacks = needs.lacks(&found);
        Ok(match lacks.first() {
            Some(lack) => Err(Failure::new(lack.reason(), lack.to_string())),
            None => Ok(found),
        })
    }

    async fn entries(&self, namespace: &str, object: &ObjectRef) -> kube::Result<Option<BTreeMap<String, ByteString>>> {
        match object.kind {
            ObjectKind::Secret => {
                let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                Ok(secrets.get_opt(&object.name).await?.map(|secret| secret.data.unwrap_or_default()))
            }
            ObjectKind::ConfigMap => {
                let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                Ok(maps.get_opt(&object.name).await?.map(|map| {
                    let text = map.data.unwrap_or_default().into_iter();
                    let text = text.map(|(key, value)| (key, ByteString(value.into_bytes())));
                    text.chain(map.binary_data.unwrap_or_default()).collect()
                }))
            }
        }
    }

    fn forbidden(&self, namespace: &str, object: &ObjectRef) -> Failure {
        match object.namespace {
            NamespaceRole::Tenant => {
                access::forbidden(self.lookups.reader.user(), namespace, object.kind, &object.name)
            }
            NamespaceRole::Execution => {
                let message = format!(
                    "the operator may not read {} of {namespace}: add it to executionNamespaces of the chart",
                    object.kind.resource()
                );
                Failure::new(Reason::ExecutionNamespaceNotReady, message)
            }
        }
    }

    fn check_slot(&self, build: &ImageBuild, profile: &ValidProfile) -> Result<(), Failure> {
        let name = &build.spec.profile.0;
        let Some(limit) = profile.max_concurrent else { return Ok(()) };
        let created = build.creation_timestamp().map_or(Timestamp::MAX, |time| time.0);
        let admitted = self.places.admit(name, limit, (&Key::of(build), created), &self.running(name));
        access::check_slot(name, Some(limit), admitted)
    }

    /// The builds with a profile whose pods run.
    fn running(&self, profile: &str) -> BTreeSet<Key> {
        let pods = self.pods.all();
        let of_profile = pods.iter().filter(|pod| pod.labels().get(PROFILE_LABEL).is_some_and(|name| name == profile));
        let live = of_profile.filter(|pod| super::pods::Seen::of(pod).runs());
        live.filter_map(|pod| Some(Key::new(pod.labels().get(BUILD_NAMESPACE_LABEL)?, pod.labels().get(BUILD_LABEL)?)))
            .collect()
    }
}

/// What an attempt is called by.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The name of the build.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Which attempt, from 1.
    pub number: u32,
}

impl<'a> Names<'a> {
    /// The attempt.
    #[must_use]
    pub fn with(
        self,
        build: &'a ImageBuild,
        facts: &'a Facts<'_>,
        profile: &'a ValidProfile,
        target: &'a Target,
        operator_image: &'a str,
    ) -> Attempt<'a> {
        let link = build.spec.chain_ref.as_ref().map(|chain| (chain.name.0.as_str(), chain.link.0.as_str()));
        Attempt {
            name: self.name,
            namespace: self.namespace,
            uid: self.uid,
            number: self.number,
            link,
            build: facts.valid,
            inputs: facts.inputs,
            profile_name: &facts.valid.profile,
            profile,
            target,
            operator_image,
        }
    }
}

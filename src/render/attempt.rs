//! An attempt of a build, and where it pushes.

use crate::{
    api::build::Inputs,
    plan::{
        image::Repository,
        name,
        object::ObjectRef,
        recipe::Destination,
        valid::{ValidBuild, ValidProfile},
    },
};

/// An attempt of a build: all that its pod is made of.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The name of the build.
    pub name: &'a str,
    /// The namespace of the build.
    pub namespace: &'a str,
    /// The UID of the build.
    pub uid: &'a str,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// The names of chain and link; `None` for a single build.
    pub link: Option<(&'a str, &'a str)>,
    /// What the build asks for.
    pub build: &'a ValidBuild,
    /// What everything that it names was resolved to.
    pub inputs: &'a Inputs,
    /// The name of the profile.
    pub profile_name: &'a str,
    /// The profile.
    pub profile: &'a ValidProfile,
    /// Where it pushes.
    pub target: &'a Target,
    /// What the operator brings.
    pub operator: Operator<'a>,
}

/// What the operator brings to each attempt. No key has it: it does not decide what is built.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// Its own image, which fetches the source and brings the program.
    pub image: &'a str,
    /// The URL of the cache of files on each node; `None` where there is none.
    pub file_cache: Option<&'a str>,
}

/// Where attempts push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The repository.
    pub repository: Repository,
    /// The Secret with the right to push, of type `kubernetes.io/dockerconfigjson`.
    pub secret: Option<ObjectRef>,
}

impl Target {
    /// The profile's staging repository, or else the one that the link is published to; `None` where there
    /// is neither, such as of a link that is published elsewhere than in a registry.
    #[must_use]
    pub fn of(profile: &ValidProfile, publish: Option<&Destination>) -> Option<Self> {
        let staged = profile.staging.as_ref().map(|staging| Self {
            repository: staging.repository.clone(),
            secret: staging.secret.as_deref().map(ObjectRef::secret).map(ObjectRef::of_execution),
        });
        let published = |publish: &Destination| {
            let secret = publish.secret().map(ObjectRef::secret);
            Some(Self { repository: publish.repository()?.clone(), secret })
        };
        staged.or_else(|| publish.and_then(published))
    }
}

impl<'a> Attempt<'a> {
    /// The name of the pod and of its Secret, and the tag that it pushes to: no other attempt of any build
    /// has the same.
    #[must_use]
    pub fn pod_name(&self) -> String {
        name::pod(self.name, self.uid, self.number)
    }

    /// The folder of the image's local name: that of the link.
    pub(super) fn local_folder(&self) -> &'a str {
        self.link.map_or("build", |(_, link)| link)
    }
}

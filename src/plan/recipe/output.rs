//! What one link at most may publish.

use std::fmt;

use super::{package::BoxPackage, tag::TagTemplate};
use crate::{
    api::{boxes::BoxProvider, chain::Published, recipe as api},
    plan::{
        gitea::BoxAddress,
        image::{Reference, Repository},
    },
};

/// Something that one link at most may publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputKey {
    /// A tag of a repository, as it is written: one with a time in it is one and the same for all builds.
    Tag(Repository, TagTemplate),
    /// The file of a version of a box, likewise: other links may have those of the same version for other providers.
    Package(BoxAddress, TagTemplate, BoxProvider),
}

impl OutputKey {
    /// All that is claimed by what is written. What is no valid name is no claim.
    #[must_use]
    pub fn written(publish: &api::Publish) -> Vec<Self> {
        // Of one tag, nobody else may be the owner, whether it is one of images or of boxes.
        let tags = publish.image.iter().chain(&publish.machine_box).flat_map(tags);
        let packages = publish.gitea.iter().filter_map(BoxPackage::of).map(|package| Self::of_package(&package));
        tags.chain(packages).collect()
    }

    /// All that may be written where this was published.
    #[must_use]
    pub fn held(published: &Published) -> Vec<Self> {
        let created = published.created.as_ref().map(|created| created.0);
        let names = published.tags.iter().flat_map(|tag| TagTemplate::of(&tag.0, created));
        let place = &published.repository.0;
        match published.provider {
            None => {
                let Ok(place) = place.parse::<Repository>() else { return Vec::new() };
                names.map(|tag| Self::Tag(place.clone(), tag)).collect()
            }
            Some(provider) => {
                let Ok(place) = place.parse::<BoxAddress>() else { return Vec::new() };
                names.map(|version| Self::Package(place.clone(), version, provider)).collect()
            }
        }
    }

    pub(super) fn of_package(package: &BoxPackage) -> Self {
        Self::Package(package.address.clone(), package.version.clone(), package.provider)
    }

    /// The tag or version as it is written.
    #[must_use]
    pub const fn name(&self) -> &TagTemplate {
        match self {
            Self::Tag(_, name) | Self::Package(_, name, _) => name,
        }
    }

    /// Whether it is what is built on, where that is written as this.
    #[must_use]
    pub fn is_base(&self, base: &Reference) -> bool {
        match self {
            Self::Tag(repository, tag) => {
                base.digest.is_none() && base.repository == *repository && base.manifest() == tag.to_string()
            }
            Self::Package(..) => false,
        }
    }
}

fn tags(written: &api::PublishTags) -> impl Iterator<Item = OutputKey> {
    let repository = written.repository.0.parse::<Repository>().ok();
    written.tags.iter().filter_map(move |tag| Some(OutputKey::Tag(repository.clone()?, tag.0.parse().ok()?)))
}

impl fmt::Display for OutputKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(repository, tag) => write!(formatter, "{repository}:{tag}"),
            Self::Package(address, version, provider) => formatter.write_str(&address.file(version, *provider)),
        }
    }
}

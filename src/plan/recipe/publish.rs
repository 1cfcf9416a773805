//! Where what was tested is published.

use std::{collections::BTreeSet, fmt};

use super::fields::Fields;
use crate::{
    api::recipe as api,
    plan::{
        image::{Repository, Tag},
        validate::problem::Problems,
    },
};

/// Where a product is published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Tags of a repository.
    Tags(ImageTags),
}

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageTags {
    /// The repository.
    pub repository: Repository,
    /// The tags: at least one.
    pub tags: BTreeSet<Tag>,
    /// The Secret with the right to push.
    pub secret: Option<String>,
}

/// Something that one link at most may publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputKey {
    /// A tag of a repository.
    Tag(Repository, Tag),
}

impl fmt::Display for OutputKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(repository, tag) => write!(formatter, "{repository}:{tag}"),
        }
    }
}

impl Destination {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(written: &api::Publish, mut fields: Fields<'_>) -> Option<Self> {
        let Some(image) = &written.image else {
            fields.add("set image: it is the one way to publish so far");
            return None;
        };
        ImageTags::validate(image, fields.below("image")).map(Self::Tags)
    }

    /// What is written, if it is valid.
    #[must_use]
    pub fn of(written: &api::Publish) -> Option<Self> {
        let mut problems = Problems::default();
        let valid = Self::validate(written, Fields::new(String::new(), &BTreeSet::new(), &mut problems));
        valid.filter(|_| problems.is_empty())
    }

    /// The Secret with the right to publish there.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Tags(tags) => tags.secret.as_deref(),
        }
    }

    /// What is published, each by itself, in the order of the tags.
    #[must_use]
    pub fn outputs(&self) -> Vec<OutputKey> {
        match self {
            Self::Tags(ImageTags { repository, tags, .. }) => {
                tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.clone())).collect()
            }
        }
    }
}

impl ImageTags {
    fn validate(written: &api::PublishImage, mut fields: Fields<'_>) -> Option<Self> {
        let repository = fields.take("repository", Repository::written(&written.repository.0));
        if written.tags.is_empty() {
            fields.below("tags").add("must hold at least one tag");
        }
        let mut tags = BTreeSet::new();
        for (index, tag) in written.tags.iter().enumerate() {
            tags.extend(fields.parse::<Tag>(&format!("tags[{index}]"), &tag.0));
        }
        let secret = written.secret_ref.as_ref().map(|secret| secret.name.to_string());
        Some(Self { repository: repository?, tags, secret })
    }
}

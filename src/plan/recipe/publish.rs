//! Where what was tested is published.

use std::{collections::BTreeSet, fmt};

use super::fields::Fields;
use crate::{
    api::{boxes::ArtifactKind, recipe as api},
    plan::{
        image::{Repository, Tag},
        validate::problem::Problems,
    },
};

/// Where a product is published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Tags of a repository.
    Tags(RegistryTags),
}

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryTags {
    /// The kind of what they lead to.
    pub kind: ArtifactKind,
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
        let tags = match (&written.image, &written.machine_box) {
            (Some(image), None) => RegistryTags::validate(ArtifactKind::Image, image, fields.below("image")),
            (None, Some(machine_box)) => RegistryTags::validate(ArtifactKind::Box, machine_box, fields.below("box")),
            _ => {
                fields.add("set exactly one of image, box");
                None
            }
        };
        tags.map(Self::Tags)
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
            Self::Tags(RegistryTags { repository, tags, .. }) => {
                tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.clone())).collect()
            }
        }
    }
}

impl RegistryTags {
    fn validate(kind: ArtifactKind, written: &api::PublishTags, mut fields: Fields<'_>) -> Option<Self> {
        let repository = fields.take("repository", Repository::written(&written.repository.0));
        if written.tags.is_empty() {
            fields.below("tags").add("must hold at least one tag");
        }
        let mut tags = BTreeSet::new();
        for (index, tag) in written.tags.iter().enumerate() {
            tags.extend(fields.parse::<Tag>(&format!("tags[{index}]"), &tag.0));
        }
        let secret = written.secret_ref.as_ref().map(|secret| secret.name.to_string());
        Some(Self { kind, repository: repository?, tags, secret })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(written: &Value) -> Option<Destination> {
        Destination::of(&serde_json::from_value(written.clone()).unwrap())
    }

    #[test]
    fn images_and_boxes_go_to_tags_alike() {
        let tags = json!({"repository": "r.example/a", "tags": ["1", "2"], "secretRef": {"name": "push"}});
        for (field, kind) in [("image", ArtifactKind::Image), ("box", ArtifactKind::Box)] {
            let found = of(&json!({field: tags})).unwrap();
            let Destination::Tags(RegistryTags { kind: found_kind, .. }) = &found;
            assert_eq!(*found_kind, kind);
            assert_eq!(found.secret(), Some("push"));
            // Of one tag, nobody else may be the owner: not even who publishes something of another kind.
            let outputs: Vec<_> = found.outputs().iter().map(ToString::to_string).collect();
            assert_eq!(outputs, ["r.example/a:1", "r.example/a:2"]);
        }
    }

    #[test]
    fn something_goes_to_one_place() {
        let tags = json!({"repository": "r.example/a", "tags": ["1"]});
        for written in [json!({}), json!({"image": tags, "box": tags})] {
            assert_eq!(of(&written), None, "{written}");
        }
        assert_eq!(of(&json!({"box": {"repository": "r.example/a", "tags": []}})), None);
    }
}

//! Where what was tested is published.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::jiff::Timestamp;

use super::{fields::Fields, tag::TagTemplate};
use crate::{
    api::{boxes::ArtifactKind, recipe as api},
    plan::{
        image::{Repository, Tag},
        validate::problem::Problems,
    },
};

/// Where a product is published: as it is written, or, with `T` = [`Tag`], for one build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination<T = TagTemplate> {
    /// Tags of a repository.
    Tags(RegistryTags<T>),
}

/// Tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryTags<T = TagTemplate> {
    /// The kind of what they lead to.
    pub kind: ArtifactKind,
    /// The repository.
    pub repository: Repository,
    /// The tags: at least one.
    pub tags: BTreeSet<T>,
    /// The Secret with the right to push.
    pub secret: Option<String>,
}

/// Something that one link at most may publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputKey {
    /// A tag of a repository, as it is written: one with a time in it is one and the same for all builds.
    Tag(Repository, TagTemplate),
}

impl fmt::Display for OutputKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(repository, tag) => write!(formatter, "{repository}:{tag}"),
        }
    }
}

impl<T> Destination<T> {
    /// The Secret with the right to publish there.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Tags(tags) => tags.secret.as_deref(),
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

    /// The same for a build that was made then; `None` where a tag holds a time that nobody knows.
    #[must_use]
    pub fn filled(&self, created: Option<Timestamp>) -> Option<Destination<Tag>> {
        let Self::Tags(RegistryTags { kind, repository, tags, secret }) = self;
        let (kind, repository, secret) = (*kind, repository.clone(), secret.clone());
        let tags = tags.iter().map(|tag| tag.filled(created)).collect::<Option<_>>()?;
        Some(Destination::Tags(RegistryTags { kind, repository, tags, secret }))
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
            tags.extend(fields.parse::<TagTemplate>(&format!("tags[{index}]"), &tag.0));
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
    fn each_build_has_a_place_of_its_own_where_a_tag_holds_its_time() {
        let of = |tags: &[&str]| of(&json!({"box": {"repository": "r.example/a", "tags": tags}})).unwrap();
        let (plain, timed) = (of(&["latest"]), of(&["0.1.{{timestamp}}", "latest"]));
        let outputs: Vec<_> = timed.outputs().iter().map(ToString::to_string).collect();
        assert_eq!(
            outputs,
            ["r.example/a:0.1.{{timestamp}}", "r.example/a:latest"],
            "whoever builds, it is claimed once"
        );
        let tags = |filled: Option<Destination<Tag>>| -> Option<Vec<String>> {
            let Destination::Tags(RegistryTags { tags, .. }) = filled?;
            Some(tags.iter().map(ToString::to_string).collect())
        };
        let at = Timestamp::from_second(1_795_862_400).ok();
        assert_eq!(tags(timed.filled(at)).unwrap(), ["0.1.1795862400", "latest"]);
        assert_eq!((tags(timed.filled(None)), tags(plain.filled(None)).unwrap()), (None, vec!["latest".to_owned()]));
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

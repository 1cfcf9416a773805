//! Where what was tested is published.
//!
//! What is asked about a destination is answered here, or by the type that it holds: another kind of destination is a
//! variant more of [`Destination`] and of [`OutputKey`], a subject to look for, and a way to get there.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::jiff::Timestamp;

use super::{fields::Fields, output::OutputKey, package::BoxPackage, steps::Build, tag::TagTemplate};
use crate::{
    api::{
        boxes::{ArtifactKind, BoxProvider},
        chain::Published,
        recipe as api,
    },
    plan::{
        image::{Repository, Tag},
        placeholder::Template,
        validate::problem::Problems,
    },
};

/// Where a product is published: as it is written, or, with `T` = [`Tag`], for one build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination<T = TagTemplate> {
    /// Tags of a repository.
    Tags(RegistryTags<T>),
    /// A version of a box in the package registry of Gitea or Forgejo.
    Package(BoxPackage<T>),
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

impl<T> Destination<T> {
    /// The kind of what is published there.
    #[must_use]
    pub const fn kind(&self) -> ArtifactKind {
        match self {
            Self::Tags(tags) => tags.kind,
            Self::Package(_) => ArtifactKind::Box,
        }
    }

    /// Its field of `publish`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Tags(tags) => tags.kind.noun(),
            Self::Package(_) => "gitea",
        }
    }

    /// The field below that with the names that are claimed.
    #[must_use]
    pub const fn field_of_names(&self) -> &'static str {
        match self {
            Self::Tags(_) => "tags",
            Self::Package(_) => "version",
        }
    }

    /// The Secret with the right to publish there.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Tags(tags) => tags.secret.as_deref(),
            Self::Package(package) => Some(&package.secret),
        }
    }

    /// The repository of a registry that it is: builds may push there where their profile has no staging repository,
    /// and what is staged on another registry cannot be published there. `None` of a place that images and boxes are
    /// copied to.
    #[must_use]
    pub const fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Tags(tags) => Some(&tags.repository),
            Self::Package(_) => None,
        }
    }

    /// Where it is, as a status holds it.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tags(tags) => tags.repository.to_string(),
            Self::Package(package) => package.address.to_string(),
        }
    }

    /// The provider that a status holds beside the address: it tells the files of one version apart.
    #[must_use]
    pub const fn provider(&self) -> Option<BoxProvider> {
        match self {
            Self::Tags(_) => None,
            Self::Package(package) => Some(package.provider),
        }
    }

    /// Whether a publication is at its address, under whatever name.
    #[must_use]
    pub fn is_at(&self, published: &Published) -> bool {
        published.repository.0 == self.address() && published.provider == self.provider()
    }

    /// By which digest a look at it tells what is published: of tags that of the manifest, of a package that of the
    /// file.
    #[must_use]
    pub fn shown<'d>(&self, digest: &'d str, content: Option<&'d str>) -> Option<&'d str> {
        match self {
            Self::Tags(_) => Some(digest),
            Self::Package(_) => content,
        }
    }
}

impl Destination {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(written: &api::Publish, mut fields: Fields<'_>) -> Option<Self> {
        match (&written.image, &written.machine_box, &written.gitea) {
            (Some(image), None, None) => {
                RegistryTags::validate(ArtifactKind::Image, image, fields.below("image")).map(Self::Tags)
            }
            (None, Some(machine_box), None) => {
                RegistryTags::validate(ArtifactKind::Box, machine_box, fields.below("box")).map(Self::Tags)
            }
            (None, None, Some(gitea)) => BoxPackage::validate(gitea, fields.below("gitea")).map(Self::Package),
            _ => {
                fields.add("set exactly one of image, box, gitea");
                None
            }
        }
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
        match self {
            Self::Tags(tags) => tags.filled(created).map(Destination::Tags),
            Self::Package(package) => package.filled(created).map(Destination::Package),
        }
    }

    /// What is wrong with it for a build whose product is known by what is written; `None` where only the product
    /// tells.
    #[must_use]
    pub fn misfit(&self, build: &Build<Template>) -> Option<String> {
        match self {
            Self::Tags(_) => None,
            Self::Package(package) => package.misfit(build),
        }
    }

    /// What is published, each by itself, in the order of the tags.
    #[must_use]
    pub fn outputs(&self) -> Vec<OutputKey> {
        match self {
            Self::Tags(RegistryTags { repository, tags, .. }) => {
                tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.clone())).collect()
            }
            Self::Package(package) => vec![OutputKey::of_package(package)],
        }
    }
}

impl Destination<Tag> {
    /// The tags or the version, as a status holds them.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Self::Tags(tags) => tags.tags.iter().map(ToString::to_string).collect(),
            Self::Package(package) => BTreeSet::from([package.version.to_string()]),
        }
    }

    /// Whether a publication is there, and nowhere else.
    #[must_use]
    pub fn is_of(&self, published: &Published) -> bool {
        let names: BTreeSet<String> = published.tags.iter().map(ToString::to_string).collect();
        self.is_at(published) && names == self.names()
    }
}

/// With all its tags.
impl<T: fmt::Display> fmt::Display for Destination<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags(RegistryTags { repository, tags, .. }) => {
                let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
                write!(formatter, "{repository}:{}", tags.join(", "))
            }
            Self::Package(package) => write!(formatter, "{package}"),
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

    fn filled(&self, created: Option<Timestamp>) -> Option<RegistryTags<Tag>> {
        let Self { kind, repository, tags, secret } = self;
        let tags = tags.iter().map(|tag| tag.filled(created)).collect::<Option<_>>()?;
        Some(RegistryTags { kind: *kind, repository: repository.clone(), tags, secret: secret.clone() })
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
            assert_eq!((found.kind(), found.field(), found.secret()), (kind, field, Some("push")));
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
        let tags =
            |filled: Option<Destination<Tag>>| -> Option<Vec<String>> { Some(filled?.names().into_iter().collect()) };
        let at = Timestamp::from_second(1_795_862_400).ok();
        assert_eq!(tags(timed.filled(at)).unwrap(), ["0.1.1795862400", "latest"]);
        assert_eq!((tags(timed.filled(None)), tags(plain.filled(None)).unwrap()), (None, vec!["latest".to_owned()]));
    }

    #[test]
    fn something_goes_to_one_place() {
        let tags = json!({"repository": "r.example/a", "tags": ["1"]});
        for written in [json!({}), json!({"image": tags, "box": tags}), json!({"box": tags, "gitea": gitea("1.0.0")})] {
            assert_eq!(of(&written), None, "{written}");
        }
        assert_eq!(of(&json!({"box": {"repository": "r.example/a", "tags": []}})), None);
    }

    fn gitea(version: &str) -> Value {
        json!({"url": "https://git.example", "tag": "team-a/web", "version": version, "provider": "Libvirt",
            "secretRef": {"name": "gitea"}})
    }

    #[test]
    fn a_box_goes_to_a_file_of_a_version_which_its_status_tells_again() {
        let written = of(&json!({"gitea": gitea("0.1.{{timestamp}}")})).unwrap();
        let address = "https://git.example/api/packages/team-a/vagrant/web";
        assert_eq!((written.kind(), written.field(), written.secret()), (ArtifactKind::Box, "gitea", Some("gitea")));
        assert_eq!((written.address().as_str(), written.repository()), (address, None));
        let filled = written.filled(Timestamp::from_second(1_795_862_400).ok()).unwrap();
        assert_eq!(filled.to_string(), format!("{address}/0.1.1795862400/libvirt.box"));
        let published = |changes: Value| -> Published {
            let mut status = json!({"repository": address, "tags": ["0.1.1795862400"], "provider": "Libvirt", "digest": "d",
                "recipe": "r", "build": "b", "created": "2026-11-28T10:40:00Z"});
            status.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            serde_json::from_value(status).unwrap()
        };
        let own = published(json!({}));
        assert!(filled.is_of(&own) && OutputKey::held(&own).contains(&written.outputs()[0]));
        assert_eq!(own.place("0.1.1795862400"), filled.to_string());
        for changes in [
            json!({"provider": "VirtualBox"}),
            json!({"provider": null}),
            json!({"tags": ["0.1.1"]}),
            json!({"repository": "https://git.example/api/packages/team-b/vagrant/web"}),
        ] {
            let other = published(changes);
            assert!(!filled.is_of(&other) && !OutputKey::held(&other).contains(&written.outputs()[0]), "{other:?}");
        }
        let other = of(&json!({"gitea": {"provider": "VirtualBox", "url": "https://git.example", "tag": "team-a/web",
            "version": "0.1.{{timestamp}}", "secretRef": {"name": "gitea"}}}));
        assert_ne!(other.unwrap().outputs(), written.outputs(), "links for two providers share a version");
    }
}

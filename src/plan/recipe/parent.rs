//! What is built on what.

use std::collections::{BTreeMap, BTreeSet};

use super::{fields::Fields, file::RemoteFile};
use crate::{
    api::{
        build::CauseKind,
        recipe::{self as api, Layers},
    },
    plan::{
        dependency::Dependency,
        image::{Reference, Tag},
        placeholder::Placeholder,
    },
};

/// What a link is built on, and the name under which the engine finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Where it comes from.
    pub origin: Origin,
    /// The name under which the build's engine finds it.
    pub local_name: String,
    /// The Secret for the pull.
    pub secret: Option<String>,
    /// What the product has in common with it.
    pub layers: Layers,
}

/// Where a parent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An image of a registry.
    Image(Reference),
    /// A box of a registry.
    Box(Reference),
    /// The file of a box, of another server.
    File(RemoteFile),
    /// An earlier link of the same chain, by its index.
    Link(usize),
    /// Of a build: a link of the chain that it was made for. What it was is in the build's inputs.
    Sibling(String),
    /// A link of another chain of the same namespace.
    Chain {
        /// The chain's name.
        chain: String,
        /// The link's name.
        link: String,
    },
}

/// Where a recipe stands.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// In a link of that name, after the links of those names and indices.
    Link(&'a str, &'a BTreeMap<&'a str, usize>),
    /// In a build that was made for a link of that name.
    Build(&'a str),
    /// In a single build of a user.
    Alone,
}

impl Parent {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(from: &api::Parent, place: Place<'_>, mut fields: Fields<'_>) -> Option<Self> {
        let origin = Origin::validate(from, place, &mut fields)?;
        if let Some(why) = from.secret_ref.as_ref().and_then(|_| without_secret(&origin, from)) {
            fields.below("secretRef").add(format_args!("leave it out: {why}"));
        }
        let name = match place {
            Place::Link(link, _) | Place::Build(link) => link,
            Place::Alone => "build",
        };
        let local_name =
            from.local_name.as_ref().map_or_else(|| format!("imagechain.local/{name}:parent"), ToString::to_string);
        fields.parse::<Reference>("as", &local_name)?;
        let secret = from.secret_ref.as_ref().map(|secret| secret.name.to_string());
        Some(Self { origin, local_name, secret, layers: from.layers })
    }

    /// Whether another link has staged it: without a Secret of its own it is pulled with the credentials that its child
    /// is staged with.
    #[must_use]
    pub const fn is_staged(&self) -> bool {
        matches!(self.origin, Origin::Link(_) | Origin::Sibling(_) | Origin::Chain { .. })
    }

    /// Its placeholders and their values, once it is known as repository@digest; but for those of its files.
    #[must_use]
    pub fn values(&self, reference: &str) -> Vec<(Placeholder, String)> {
        let (repository, digest) = reference.split_once('@').unwrap_or((reference, ""));
        let mut values = vec![
            (Placeholder::ParentReference, reference.to_owned()),
            (Placeholder::ParentRepository, repository.to_owned()),
            (Placeholder::ParentDigest, digest.to_owned()),
            (Placeholder::ParentLocal, self.local_name.clone()),
        ];
        values.extend(self.origin.tag().map(|tag| (Placeholder::ParentTag, tag.to_string())));
        values
    }
}

/// Why a parent has no use for a Secret; `None` where it has.
fn without_secret(origin: &Origin, from: &api::Parent) -> Option<&'static str> {
    match origin {
        Origin::File(_) => Some("box.url is fetched without credentials"),
        _ if from.link.is_some() => Some("what another link has staged is pulled with the profile's credential"),
        _ => None,
    }
}

impl Origin {
    fn validate(from: &api::Parent, place: Place<'_>, fields: &mut Fields<'_>) -> Option<Self> {
        match (&from.image, &from.link, &from.chain, &from.machine_box) {
            (Some(image), None, None, None) => fields.parse("image", &image.0).map(Self::Image),
            (None, Some(link), None, None) => Self::of_link(&link.0, place, fields.below("link")),
            (None, None, Some(other), None) => {
                Some(Self::Chain { chain: other.name.to_string(), link: other.link.to_string() })
            }
            (None, None, None, Some(machine_box)) => Self::of_box(machine_box, fields.below("box")),
            _ => {
                fields.add("set exactly one of image, link, chain, box");
                None
            }
        }
    }

    fn of_box(written: &api::ParentBox, mut fields: Fields<'_>) -> Option<Self> {
        match (&written.url, &written.sha256, &written.reference) {
            (Some(url), Some(sha256), None) => RemoteFile::validate(url, sha256, &mut fields).map(Self::File),
            (None, None, Some(reference)) => fields.parse("reference", &reference.0).map(Self::Box),
            _ => {
                fields.add("set url and sha256, or reference");
                None
            }
        }
    }

    fn of_link(name: &str, place: Place<'_>, mut field: Fields<'_>) -> Option<Self> {
        match place {
            Place::Build(_) => return Some(Self::Sibling(name.to_owned())),
            Place::Alone => field.add("a single build has no earlier links: use from.chain or from.image"),
            Place::Link(own, earlier) => match earlier.get(name) {
                Some(index) => return Some(Self::Link(*index)),
                None if name == own => field.add("a link cannot stand on itself"),
                None => {
                    field.add(format_args!("there is no earlier link «{name}»: move the parent before its children"));
                }
            },
        }
        None
    }

    /// The index of the earlier link of the same chain, if it is one.
    #[must_use]
    pub const fn in_chain(&self) -> Option<usize> {
        match self {
            Self::Link(index) => Some(*index),
            Self::Image(_) | Self::Box(_) | Self::File(_) | Self::Sibling(_) | Self::Chain { .. } => None,
        }
    }

    /// The image or box of a registry, if it is one.
    #[must_use]
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Image(reference) | Self::Box(reference) => Some(reference),
            Self::File(_) | Self::Link(_) | Self::Sibling(_) | Self::Chain { .. } => None,
        }
    }

    /// The file of another server, if it is one.
    #[must_use]
    pub const fn file(&self) -> Option<&RemoteFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Image(_) | Self::Box(_) | Self::Link(_) | Self::Sibling(_) | Self::Chain { .. } => None,
        }
    }

    /// The tag, where one is written.
    #[must_use]
    pub const fn tag(&self) -> Option<&Tag> {
        match self.reference() {
            Some(reference) => reference.tag.as_ref(),
            None => None,
        }
    }

    /// What it leads to outside the chain.
    #[must_use]
    pub fn dependency(&self) -> Option<Dependency> {
        match self {
            Self::Image(reference) | Self::Box(reference) => Some(Dependency::Image(reference.clone())),
            Self::Chain { chain, link } => Some(Dependency::Link { chain: chain.clone(), link: link.clone() }),
            Self::File(_) | Self::Link(_) | Self::Sibling(_) => None,
        }
    }

    /// Why a link is built again whose parent is another one now.
    #[must_use]
    pub const fn cause_kind(&self) -> CauseKind {
        match self {
            Self::Image(_) | Self::Box(_) => CauseKind::BaseImageChanged,
            Self::File(_) | Self::Link(_) | Self::Sibling(_) | Self::Chain { .. } => CauseKind::ParentChanged,
        }
    }
}

/// The placeholders that have a value outside tests: those of the parent only where there is one, and its
/// tag only where it is written; those of chain and link not in a single build. With a parent that is wrong
/// (the inner `None`), all count as having one.
#[must_use]
pub fn placeholders(parent: Option<Option<&Parent>>, place: Place<'_>) -> BTreeSet<Placeholder> {
    use Placeholder::{
        BuildName, ChainName, LinkName, ParentBox, ParentChecksum, ParentDigest, ParentDisk, ParentLocal,
        ParentReference, ParentRepository, ParentTag, SourcePath, SourceRevision,
    };
    let mut found = BTreeSet::from([BuildName, SourceRevision, SourcePath]);
    if !matches!(place, Place::Alone) {
        found.extend([LinkName, ChainName]);
    }
    let Some(parent) = parent else { return found };
    // Whether it is a box is only known when it is looked up.
    found.extend([ParentBox, ParentDisk, ParentChecksum]);
    let origin = parent.map(|parent| &parent.origin);
    if origin.is_none_or(|origin| origin.file().is_none()) {
        found.extend([ParentReference, ParentRepository, ParentDigest, ParentLocal]);
    }
    if origin.is_none_or(|origin| origin.tag().is_some()) {
        found.insert(ParentTag);
    }
    found
}

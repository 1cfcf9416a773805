//! What is built on what.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Fields;
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
        if from.secret_ref.is_some() && from.link.is_some() {
            fields
                .below("secretRef")
                .add("leave it out: what another link has staged is pulled with the profile's credential");
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
        self.origin.image().is_none()
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

impl Origin {
    fn validate(from: &api::Parent, place: Place<'_>, fields: &mut Fields<'_>) -> Option<Self> {
        match (&from.image, &from.link, &from.chain) {
            (Some(image), None, None) => fields.parse("image", &image.0).map(Self::Image),
            (None, Some(link), None) => Self::of_link(&link.0, place, fields.below("link")),
            (None, None, Some(other)) => {
                Some(Self::Chain { chain: other.name.to_string(), link: other.link.to_string() })
            }
            _ => {
                fields.add("set exactly one of image, link, chain");
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
            Self::Image(_) | Self::Sibling(_) | Self::Chain { .. } => None,
        }
    }

    /// The image of a registry, if it is one.
    #[must_use]
    pub const fn image(&self) -> Option<&Reference> {
        match self {
            Self::Image(reference) => Some(reference),
            Self::Link(_) | Self::Sibling(_) | Self::Chain { .. } => None,
        }
    }

    /// The tag, where one is written.
    #[must_use]
    pub const fn tag(&self) -> Option<&Tag> {
        match self.image() {
            Some(image) => image.tag.as_ref(),
            None => None,
        }
    }

    /// What it leads to outside the chain.
    #[must_use]
    pub fn dependency(&self) -> Option<Dependency> {
        match self {
            Self::Image(reference) => Some(Dependency::Image(reference.clone())),
            Self::Chain { chain, link } => Some(Dependency::Link { chain: chain.clone(), link: link.clone() }),
            Self::Link(_) | Self::Sibling(_) => None,
        }
    }

    /// Why a link is built again whose parent is another one now.
    #[must_use]
    pub const fn cause_kind(&self) -> CauseKind {
        match self {
            Self::Image(_) => CauseKind::BaseImageChanged,
            Self::Link(_) | Self::Sibling(_) | Self::Chain { .. } => CauseKind::ParentChanged,
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
    let tag = match parent {
        None => return found,
        Some(Some(parent)) => parent.origin.tag().is_some(),
        Some(None) => true,
    };
    found.extend([ParentReference, ParentRepository, ParentDigest, ParentLocal]);
    // Whether it is a box is only known when it is looked up.
    found.extend([ParentBox, ParentDisk, ParentChecksum]);
    found.extend(tag.then_some(ParentTag));
    found
}

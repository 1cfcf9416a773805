//! Who owns a published tag, where several chains name it: the one that has published it, else the older one;
//! so that none can take it away.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{chain::ImageChain, common},
    plan::{
        image::{Repository, Tag},
        recipe::OutputKey,
    },
};

/// A chain's claim on the tags that it publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// When the chain was made.
    pub created: Timestamp,
    /// Its UID.
    pub uid: String,
    /// The tags that it wants to publish.
    pub tags: BTreeSet<OutputKey>,
    /// Those of them that it has published.
    pub held: BTreeSet<OutputKey>,
}

impl Claim {
    /// What a chain claims; what is no name of a tag is no claim.
    #[must_use]
    pub fn of(chain: &ImageChain) -> Self {
        let images = chain.spec.links.iter().filter_map(|link| link.publish.as_ref()?.image.as_ref());
        let tags: BTreeSet<_> = images.flat_map(|image| names(&image.repository.0, &image.tags)).collect();
        let links = chain.status.iter().flat_map(|status| &status.links);
        let published = links.filter_map(|link| link.published.as_ref());
        let held: BTreeSet<_> = published.flat_map(|each| names(&each.repository.0, &each.tags)).collect();
        Self {
            created: chain.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            uid: chain.uid().unwrap_or_default(),
            held: held.intersection(&tags).cloned().collect(),
            tags,
        }
    }

    /// Whether it comes before another, where a tag is concerned that both want.
    fn precedes(&self, other: &Self, output: &OutputKey) -> bool {
        let rank = |claim: &Self| (!claim.held.contains(output), claim.created, claim.uid.clone());
        rank(self) < rank(other)
    }
}

fn names<'t>(repository: &str, tags: &'t [common::Tag]) -> impl Iterator<Item = OutputKey> + use<'t> {
    let repository = repository.parse::<Repository>().ok();
    tags.iter().filter_map(move |tag| Some(OutputKey::Tag(repository.clone()?, tag.0.parse::<Tag>().ok()?)))
}

/// The tags of a claim that belong to other chains, of any namespace.
#[must_use]
pub fn taken<'c>(own: &Claim, others: impl IntoIterator<Item = &'c Claim>) -> BTreeSet<OutputKey> {
    let others = others.into_iter().filter(|other| other.uid != own.uid);
    let common = others.flat_map(|other| other.tags.intersection(&own.tags).map(move |tag| (other, tag)));
    common.filter(|(other, tag)| other.precedes(own, tag)).map(|(_, tag)| tag.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(created: i64, uid: &str, tags: &[&str]) -> Claim {
        let repository: Repository = "r.example/web".parse().unwrap();
        let tags = tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.parse().unwrap())).collect();
        Claim { created: Timestamp::from_second(created).unwrap(), uid: uid.to_owned(), tags, held: BTreeSet::new() }
    }

    #[test]
    fn who_has_published_a_tag_keeps_it() {
        let (old, mut new) = (claim(1, "a", &["latest"]), claim(2, "b", &["latest"]));
        new.held.clone_from(&new.tags);
        assert_eq!((taken(&new, [&old]).len(), taken(&old, [&new]).len()), (0, 1), "the younger one was first");
        let mut both = old.clone();
        both.held.clone_from(&both.tags);
        assert_eq!((taken(&new, [&both]).len(), taken(&both, [&new]).len()), (1, 0), "of two that did: the older one");
    }

    #[test]
    fn the_older_chain_owns_a_tag() {
        let (old, new) = (claim(1, "z", &["1", "latest"]), claim(2, "a", &["2", "latest"]));
        let names = |found: BTreeSet<OutputKey>| -> Vec<String> {
            found.into_iter().map(|OutputKey::Tag(_, tag)| tag.to_string()).collect()
        };
        assert_eq!(names(taken(&new, [&old, &new])), ["latest"]);
        assert_eq!(names(taken(&old, [&old, &new])), [""; 0]);
        let twin = claim(1, "a", &["latest"]);
        assert_eq!(names(taken(&old, [&twin])), ["latest"], "of the same second: by UID");
        assert_eq!(names(taken(&twin, [&old])), [""; 0]);
    }
}

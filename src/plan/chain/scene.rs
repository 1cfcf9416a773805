//! All that is known of a chain when it is decided on: what its object says, and facts that were gathered.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    facts::{BuildFacts, OtherChain, request},
    outputs::Owner,
};
use crate::{
    api::{
        boxes::ArtifactKind,
        chain::{ImageChain, ImageChainSpec, ImageChainStatus},
    },
    plan::{
        image::Tag,
        lookup::{Answer, Subject},
        recipe::{Destination, OutputKey},
        resolve::{ConfigMapFact, ProfileFact},
        valid::ValidChain,
    },
};

/// Everything known about a chain at one moment.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Whether somebody has asked for its end.
    pub deleting: bool,
    /// What it asks for.
    pub chain: &'a ValidChain,
    /// The same as it is written: builds take parts of it over.
    pub written: &'a ImageChainSpec,
    /// The status as it stands in the API server.
    pub previous: &'a ImageChainStatus,
    /// The request of its annotations ([`super::request`]).
    pub request: Option<&'a str>,
    /// Its builds by name.
    pub builds: &'a BTreeMap<String, BuildFacts>,
    /// The profiles that it names.
    pub profiles: &'a BTreeMap<String, ProfileFact>,
    /// The `ConfigMap`s that are its sources.
    pub config_maps: &'a BTreeMap<String, ConfigMapFact>,
    /// All chains of the namespace, this one too.
    pub chains: &'a BTreeMap<String, OtherChain>,
    /// What was looked up for this generation and this request. An answer that names a Secret must be
    /// forgotten when that changes.
    pub answers: &'a BTreeMap<Subject, Answer>,
    /// What became of promotions: whether their image was there, or why not. A success lives for one pass, in
    /// which the status is written that says so: the same promotion may be wanted again after another, and
    /// must be made then. Failures live until their Secret changes, and misses as long as the process.
    pub promotions: &'a BTreeMap<Promotion, Answer>,
    /// The names of builds that are somebody else's: their creation was refused.
    pub strangers: &'a BTreeSet<String>,
    /// What other chains own of what this one would publish, and which ones.
    pub taken: &'a BTreeMap<OutputKey, Owner>,
    /// Since when this operator looks at chains: what others have found counts as found then.
    pub since: Timestamp,
    /// The present.
    pub now: Timestamp,
}

/// What is gathered for a chain, and owned. The controller, `imagechain plan` and the tests' operator each fill this one
/// structure; [`Scene`] borrows it, and says what each fact means.
#[derive(Clone, Debug)]
pub struct Facts {
    /// See [`Scene::generation`].
    pub generation: i64,
    /// See [`Scene::previous`].
    pub previous: ImageChainStatus,
    /// See [`Scene::builds`].
    pub builds: BTreeMap<String, BuildFacts>,
    /// See [`Scene::profiles`].
    pub profiles: BTreeMap<String, ProfileFact>,
    /// See [`Scene::config_maps`].
    pub config_maps: BTreeMap<String, ConfigMapFact>,
    /// See [`Scene::chains`]; may be empty where no link stands on another chain.
    pub chains: BTreeMap<String, OtherChain>,
    /// See [`Scene::answers`].
    pub answers: BTreeMap<Subject, Answer>,
    /// See [`Scene::promotions`].
    pub promotions: BTreeMap<Promotion, Answer>,
    /// See [`Scene::strangers`].
    pub strangers: BTreeSet<String>,
    /// See [`Scene::taken`].
    pub taken: BTreeMap<OutputKey, Owner>,
    /// See [`Scene::since`].
    pub since: Timestamp,
    /// See [`Scene::now`].
    pub now: Timestamp,
}

impl Facts {
    /// All that is known of a chain; `valid` is what its object asks for.
    #[must_use]
    pub fn scene<'a>(&'a self, chain: &'a ImageChain, valid: &'a ValidChain) -> Scene<'a> {
        Scene {
            uid: chain.metadata.uid.as_deref().unwrap_or_default(),
            generation: self.generation,
            deleting: chain.metadata.deletion_timestamp.is_some(),
            chain: valid,
            written: &chain.spec,
            previous: &self.previous,
            request: request(chain.annotations()),
            builds: &self.builds,
            profiles: &self.profiles,
            config_maps: &self.config_maps,
            chains: &self.chains,
            answers: &self.answers,
            promotions: &self.promotions,
            strangers: &self.strangers,
            taken: &self.taken,
            since: self.since,
            now: self.now,
        }
    }
}

/// A verified product and where it is to be published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promotion {
    /// The link.
    pub link: String,
    /// Its profile, whose settings say how the registry is reached.
    pub profile: String,
    /// Where the image is staged, as repository@digest.
    pub staged: String,
    /// Its kind.
    pub kind: ArtifactKind,
    /// The digest of the content that was verified: it must be that of what is staged ([`Product::content`]).
    ///
    /// [`Product::content`]: crate::plan::product::Product::content
    pub content: String,
    /// Where it is to be published.
    pub destination: Destination<Tag>,
}

/// Tags that are to be put back, and on what that rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// What was published, and where.
    pub promotion: Promotion,
    /// The verified builds of the link that were known when it was decided on.
    pub(super) known: BTreeSet<String>,
}

impl Correction {
    /// Whether the builds of the chain, as a live read shows them at this moment, have nothing that was not known: where
    /// one has, its image may be what the tags lead to, moved by an operator that had no time to write it down.
    #[must_use]
    pub fn stands_in(&self, live: &[BuildFacts]) -> bool {
        verified_of(live.iter(), &self.promotion.link).is_subset(&self.known)
    }
}

/// The builds of a link that are verified, by name.
pub(super) fn verified_of<'b>(builds: impl Iterator<Item = &'b BuildFacts>, link: &str) -> BTreeSet<String> {
    builds.filter(|build| build.is_of(link) && build.verified_at().is_some()).map(|build| build.name.clone()).collect()
}

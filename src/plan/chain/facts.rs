//! What a chain needs to know of its builds and of other chains: small enough to be kept for thousands.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        FLUX_REQUESTED_AT, REQUESTED_AT, SUPERSEDED,
        build::{ImageBuild, ImageBuildSpec, ImageBuildStatus, Inputs},
        chain::{ImageChain, ImageChainSpec, Link, LinkState, LinkStatus},
        common::{ObjectName, RelativePath, Source},
        condition::{ConditionType, Reason},
        recipe::{BuildStep, InputFile, Parent, Retry, Timeouts, VerifyStep},
    },
    plan::{
        build::POD_PENDING,
        key::fingerprint,
        name,
        product::{ParentProduct, Product},
        resolve,
        text::{LONGEST_REQUEST, truncate_end},
        validate,
    },
};

/// A build of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The link that it is for.
    pub link: String,
    /// When it was made.
    pub created: Timestamp,
    /// The hash of what was written in the chain when it was made, for this link alone.
    pub written: String,
    /// What everything it names was resolved to.
    pub inputs: Inputs,
    /// How far it is.
    pub state: BuildState,
    /// Whether it was told that a newer change made it superfluous.
    pub superseded: bool,
    /// Whether its inputs are what its name and key say. One that is not so was not made by us.
    pub genuine: bool,
}

/// How far a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// It has not ended.
    Open {
        /// What it is at, or waits for.
        reason: Reason,
        /// The same in a sentence.
        message: String,
        /// Whether nothing goes on until somebody acts.
        stalled: bool,
    },
    /// Its image passed all tests.
    Verified {
        /// What came out.
        product: Product,
        /// When it ended.
        at: Timestamp,
    },
    /// It failed, or was cancelled.
    Failed {
        /// What went wrong.
        reason: Reason,
        /// The same in a sentence, with what to do.
        message: String,
        /// When it ended.
        at: Timestamp,
    },
}

/// The last of some builds: the one that a status named, else the newest. Which of two of the same second is the newer
/// one, their times do not tell.
pub(super) fn last<'b>(
    builds: impl Iterator<Item = &'b BuildFacts> + Clone,
    named: Option<&ObjectName>,
) -> Option<&'b BuildFacts> {
    let is_named = |build: &&BuildFacts| named.is_some_and(|name| name.0 == build.name);
    builds.clone().find(is_named).or_else(|| builds.max_by_key(|build| (build.created, &build.name)))
}

impl BuildFacts {
    /// The facts of a build that was made for a chain; none for one that a user made.
    #[must_use]
    pub fn of(build: &ImageBuild) -> Option<Self> {
        let (chain, inputs) = (build.spec.chain_ref.as_ref()?, build.spec.inputs.as_ref()?);
        let created = build.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
        Some(Self {
            name: build.name_any(),
            uid: build.uid().unwrap_or_default(),
            link: chain.link.to_string(),
            created,
            written: written_for_build(&build.spec),
            inputs: inputs.clone(),
            state: state(build.status.as_ref()),
            superseded: build.annotations().contains_key(SUPERSEDED),
            genuine: is_genuine(build, inputs),
        })
    }

    /// Whether it was made by us, for a link.
    #[must_use]
    pub fn is_of(&self, link: &str) -> bool {
        self.genuine && self.link == link
    }

    /// Whether it has ended.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        !matches!(self.state, BuildState::Open { .. })
    }

    /// When its image was verified, if it is.
    #[must_use]
    pub const fn verified_at(&self) -> Option<Timestamp> {
        match self.state {
            BuildState::Verified { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether it waits for the image that it stands on, which is not where it is said to be.
    #[must_use]
    pub const fn lacks_its_parent(&self) -> bool {
        self.waits() && matches!(self.state, BuildState::Open { reason: Reason::BaseImageNotFound, .. })
    }

    /// Whether it takes a place among those that run: one that waits takes none.
    #[must_use]
    pub const fn takes_a_slot(&self) -> bool {
        !self.is_finished() && !self.waits()
    }

    /// Whether it waits for what is missing, or for somebody.
    const fn waits(&self) -> bool {
        match self.state {
            BuildState::Open { reason, stalled, .. } => stalled || reason.is_lack(),
            _ => false,
        }
    }
}

/// Whether name, key and inputs of a build agree.
fn is_genuine(build: &ImageBuild, inputs: &Inputs) -> bool {
    let (Some(chain), Ok(valid)) = (&build.spec.chain_ref, validate::build(build)) else { return false };
    let key = resolve::key(&valid.recipe, inputs);
    key.as_str() == inputs.key && build.name_any() == name::build(&chain.name.0, &chain.uid, &chain.link.0, &key)
}

fn state(status: Option<&ImageBuildStatus>) -> BuildState {
    let Some(status) = status else { return pending() };
    let ready = status.conditions.iter().find(|each| each.type_ == ConditionType::Ready.to_string());
    match (&status.finished_at, &status.artifact, &status.failure) {
        (Some(at), Some(artifact), None) => BuildState::Verified { product: Product::of(artifact), at: at.0 },
        (Some(at), _, Some(failure)) => {
            BuildState::Failed { reason: failure.reason, message: failure.message.clone(), at: at.0 }
        }
        (Some(at), None, None) => {
            let message = "the build ended without a result".to_owned();
            BuildState::Failed { reason: Reason::BuildFailed, message, at: at.0 }
        }
        (None, ..) => ready.map_or_else(pending, open),
    }
}

fn pending() -> BuildState {
    BuildState::Open { reason: Reason::PodPending, message: POD_PENDING.to_owned(), stalled: false }
}

fn open(ready: &Condition) -> BuildState {
    let reason = Reason::ALL.iter().find(|reason| reason.to_string() == ready.reason);
    BuildState::Open {
        reason: reason.copied().unwrap_or(Reason::Building),
        message: ready.message.clone(),
        stalled: ready.status == "False",
    }
}

/// What is written in an object for a link.
struct Written<'a> {
    profile: &'a str,
    from: Option<&'a Parent>,
    /// The hash of its source.
    source: &'a str,
    paths: &'a [RelativePath],
    files: &'a [InputFile],
    build: &'a BuildStep,
    verify: &'a [VerifyStep],
    /// What decides whether it succeeds, but not its result.
    terms: (&'a ObjectName, &'a Timeouts, Retry),
}

impl Written<'_> {
    /// The hash of what can change the result.
    fn recipe(&self) -> String {
        let mut parts = vec![
            self.profile.to_owned(),
            json(&self.from),
            self.source.to_owned(),
            json(&self.paths),
            json(&self.build),
            json(&self.verify),
        ];
        // Without files, the hash is the one that stands in statuses since before there were any.
        parts.extend((!self.files.is_empty()).then(|| json(&self.files)));
        fingerprint(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The hash of all of it.
    fn all(&self) -> String {
        fingerprint(&[&self.recipe(), &json(&self.terms)])
    }
}

/// Structures of strings and numbers: there is nothing in them that JSON could not write.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The hash of a source as it is written. It may be long, and many links share one.
#[must_use]
pub fn source_hash(source: Option<&Source>) -> String {
    fingerprint(&[&json(&source)])
}

fn written_for_build(spec: &ImageBuildSpec) -> String {
    let ImageBuildSpec {
        profile,
        from,
        source,
        paths,
        files,
        build,
        verify,
        service_account_name,
        timeouts,
        retry,
        ..
    } = spec;
    let (source, terms) = (&source_hash(Some(source)), (service_account_name, timeouts, *retry));
    Written { profile: &profile.0, from: from.as_ref(), source, paths, files, build, verify, terms }.all()
}

/// The hashes of what is written for a link alone: of all of it, equal to [`BuildFacts::written`] of its
/// builds; and of what can change its result. `common` is the hash of the chain's own source.
#[must_use]
pub fn written(spec: &ImageChainSpec, link: &Link, profile: &str, common: &str) -> (String, String) {
    let own = link.source.as_ref().map(|source| source_hash(Some(source)));
    let Link { from, paths, files, build, verify, timeouts, retry, .. } = link;
    let terms = (&spec.service_account_name, timeouts, *retry);
    let source = own.as_deref().unwrap_or(common);
    let written = Written { profile, from: from.as_ref(), source, paths, files, build, verify, terms };
    (written.all(), written.recipe())
}

/// The request of an object's annotations, if there is one: ours, or that of `flux reconcile`.
#[must_use]
pub fn request(annotations: &BTreeMap<String, String>) -> Option<&str> {
    let asked = [REQUESTED_AT, FLUX_REQUESTED_AT].into_iter().filter_map(|key| annotations.get(key));
    let token = asked.map(String::as_str).find(|token| !token.is_empty())?;
    Some(truncate_end(token, LONGEST_REQUEST))
}

/// The names of the `ConfigMap`s that are sources of a chain.
#[must_use]
pub fn config_map_sources(spec: &ImageChainSpec) -> BTreeSet<String> {
    let all = spec.links.iter().filter_map(|link| link.source.as_ref()).chain(&spec.source);
    all.filter_map(|source: &Source| source.config_map.as_ref()).map(|map| map.name.to_string()).collect()
}

/// Whether nothing of a chain is under way or to be begun, as its status tells it.
#[must_use]
pub fn is_at_rest(chain: &ImageChain) -> bool {
    let Some(status) = &chain.status else { return false };
    let is_told = Some(status.observed_generation) == chain.metadata.generation;
    let asked = request(chain.annotations());
    let is_handled = asked.is_none_or(|request| status.last_handled_request.as_deref() == Some(request));
    let goes_on = |link: &LinkStatus| {
        matches!(link.state, LinkState::Pending | LinkState::Queued | LinkState::Building | LinkState::Publishing)
    };
    is_told && is_handled && !status.links.iter().any(goes_on)
}

/// Another chain of the same namespace, as far as links of this one may stand on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherChain {
    /// Its links by name.
    pub links: BTreeMap<String, OtherLink>,
}

/// A link of another chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherLink {
    /// Its last verified product.
    pub verified: Option<ParentProduct>,
    /// The chain and link that it stands on.
    pub stands_on: Option<(String, String)>,
}

impl OtherChain {
    /// What is known of a chain, however wrong it may be.
    #[must_use]
    pub fn of(chain: &ImageChain) -> Self {
        let verified = |name: &str| {
            let links = chain.status.iter().flat_map(|status| &status.links);
            links.into_iter().find(|link| link.name.0 == name)?.verified.as_ref().map(ParentProduct::of)
        };
        let parent = |link: &Link| {
            let from = link.from.as_ref()?;
            let other = from.chain.as_ref().map(|other| (other.name.to_string(), other.link.to_string()));
            other.or_else(|| Some((chain.name_any(), from.link.as_ref()?.to_string())))
        };
        let facts = |link: &Link| OtherLink { verified: verified(&link.name.0), stands_on: parent(link) };
        let links = chain.spec.links.iter().map(|link| (link.name.to_string(), facts(link))).collect();
        Self { links }
    }
}

/// The circle of links over chains that a link is in, if it is: from itself to itself, as `chain/link`.
/// `chains` holds all chains of the namespace, this one too.
#[must_use]
pub fn circle(own: (&str, &str), chains: &BTreeMap<String, OtherChain>) -> Option<Vec<String>> {
    let mut path = vec![format!("{}/{}", own.0, own.1)];
    let mut place = own;
    loop {
        let (chain, link) = chains.get(place.0)?.links.get(place.1)?.stands_on.as_ref()?;
        place = (chain, link);
        let title = format!("{chain}/{link}");
        // A circle that this link only leads to is told to its members.
        let known = path.contains(&title);
        path.push(title);
        if known {
            return (place == own).then_some(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chain(generation: i64, request: Option<&str>, status: &Value) -> ImageChain {
        let annotations = request.map(|request| json!({"imagechain.dev/requestedAt": request}));
        serde_json::from_value(json!({
            "metadata": {"name": "c", "generation": generation, "annotations": annotations},
            "spec": {"profiles": ["p"], "links": []},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_chain_is_at_rest_when_its_status_tells_all_that_was_asked_for() {
        let status = |states: &[&str]| {
            let links = states.iter().map(|state| json!({"name": "l", "state": state}));
            json!({"observedGeneration": 2, "lastHandledRequest": "r", "links": links.collect::<Vec<_>>()})
        };
        let done = status(&["Ready", "Failed", "Blocked", "Stalled"]);
        let cases = [
            ("all is done", chain(2, None, &done), true),
            ("a request that was handled", chain(2, Some("r"), &done), true),
            ("another one", chain(2, Some("s"), &done), false),
            ("a change", chain(3, None, &done), false),
            ("a new chain", chain(1, None, &Value::Null), false),
            ("nothing is known of a source", chain(2, None, &status(&["Pending"])), false),
            ("one waits for a place", chain(2, None, &status(&["Ready", "Queued"])), false),
            ("one is built", chain(2, None, &status(&["Ready", "Building"])), false),
            ("one is published", chain(2, None, &status(&["Publishing"])), false),
        ];
        for (what, chain, expected) in cases {
            assert_eq!(is_at_rest(&chain), expected, "{what}");
        }
    }
}

//! Who owns a published tag, where several chains name it: the one that has published it, else the older one;
//! so that none can take it away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{api::chain::ImageChain, plan::recipe::OutputKey};

/// A chain's claim on the tags that it publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The namespace of the chain.
    pub namespace: String,
    /// Its name.
    pub name: String,
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
        let publish = chain.spec.links.iter().filter_map(|link| link.publish.as_ref());
        let tags: BTreeSet<_> = publish.flat_map(OutputKey::written).collect();
        let links = chain.status.iter().flat_map(|status| &status.links);
        let published = links.filter_map(|link| link.published.as_ref());
        let held: BTreeSet<_> = published.flat_map(OutputKey::held).collect();
        Self {
            namespace: chain.namespace().unwrap_or_default(),
            name: chain.name_any(),
            created: chain.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            uid: chain.uid().unwrap_or_default(),
            held: held.intersection(&tags).cloned().collect(),
            tags,
        }
    }

    /// Its place among those that want a tag: the first owns it.
    fn rank(&self, output: &OutputKey) -> impl Ord + use<> {
        (!self.held.contains(output), self.created, self.uid.clone())
    }
}

/// Who owns a tag that a chain would publish, as far as that chain may know: of another namespace no name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its namespace, if that is another one.
    namespace: Option<String>,
    /// Its name, if it is of the same namespace.
    name: Option<String>,
    /// Whether it has published the tag; else it is the older chain.
    holds: bool,
}

impl Owner {
    fn of(claim: &Claim, own: &Claim, output: &OutputKey) -> Self {
        let is_near = claim.namespace == own.namespace;
        Self {
            namespace: (!is_near).then(|| claim.namespace.clone()),
            name: is_near.then(|| claim.name.clone()),
            holds: claim.held.contains(output),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.namespace) {
            (Some(name), _) => write!(formatter, "the ImageChain «{name}»")?,
            (None, Some(namespace)) => write!(formatter, "an ImageChain of the namespace «{namespace}»")?,
            (None, None) => write!(formatter, "another ImageChain")?,
        }
        formatter.write_str(if self.holds { ", which has published it" } else { ", which is older" })
    }
}

/// The tags of a claim that belong to other chains, of any namespace, and to which.
#[must_use]
pub fn taken<'c>(own: &Claim, others: impl IntoIterator<Item = &'c Claim>) -> BTreeMap<OutputKey, Owner> {
    let others: Vec<_> = others.into_iter().filter(|other| other.uid != own.uid).collect();
    let owner = |tag: &OutputKey| {
        let wanting = others.iter().filter(|other| other.tags.contains(tag));
        let first = wanting.min_by_key(|other| other.rank(tag)).filter(|other| other.rank(tag) < own.rank(tag))?;
        Some((tag.clone(), Owner::of(first, own, tag)))
    };
    own.tags.iter().filter_map(owner).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::image::Repository;

    fn claim(created: i64, uid: &str, tags: &[&str]) -> Claim {
        let repository: Repository = "r.example/web".parse().unwrap();
        let tags = tags.iter().map(|tag| OutputKey::Tag(repository.clone(), tag.parse().unwrap())).collect();
        Claim {
            namespace: "team-a".to_owned(),
            name: format!("chain-{uid}"),
            created: Timestamp::from_second(created).unwrap(),
            uid: uid.to_owned(),
            tags,
            held: BTreeSet::new(),
        }
    }

    #[test]
    fn the_owner_is_named_as_far_as_one_may_know() {
        let own = claim(3, "c", &["latest"]);
        let (old, mut held) = (claim(1, "a", &["latest"]), claim(2, "b", &["latest"]));
        let told = |others: &[&Claim]| taken(&own, others.iter().copied()).into_values().next().unwrap().to_string();
        assert_eq!(told(&[&old]), "the ImageChain «chain-a», which is older");
        held.held.clone_from(&held.tags);
        assert_eq!(told(&[&old, &held]), "the ImageChain «chain-b», which has published it", "not who only wants it");
        held.namespace = "team-b".to_owned();
        assert_eq!(told(&[&held, &old]), "an ImageChain of the namespace «team-b», which has published it");
    }

    #[test]
    fn tags_of_boxes_and_those_with_a_time_are_claimed_and_held() {
        let tags = json!({"repository": "r.example/vm", "tags": ["0.1.{{timestamp}}", "latest"]});
        let link = |publish: Value| json!({"name": "vm", "build": {"packer": {"template": "t"}}, "publish": publish});
        let chain = |publish: Value, created: &str, published: &[&str]| -> ImageChain {
            let published = json!({"repository": "r.example/vm", "tags": published, "digest": "d", "recipe": "r",
                "build": "vm-1", "created": created});
            serde_json::from_value(json!({
                "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "shop"},
                "spec": {"profiles": ["p"], "links": [link(publish)]},
                "status": {"links": [{"name": "vm", "state": "Ready", "published": published}]},
            }))
            .unwrap()
        };
        let held = |publish: Value, published: &[&str]| -> Vec<String> {
            let claim = Claim::of(&chain(publish, "2026-11-28T12:00:00Z", published));
            assert_eq!(claim.tags.len(), 2);
            claim.held.iter().map(ToString::to_string).collect()
        };
        let both = ["r.example/vm:0.1.{{timestamp}}", "r.example/vm:latest"];
        for kind in ["image", "box"] {
            assert_eq!(held(json!({kind: tags}), &["0.1.1795867200", "latest"]), both, "{kind}");
            assert_eq!(held(json!({kind: tags}), &["0.1.1", "latest"]), ["r.example/vm:latest"], "of another build");
        }
    }

    #[test]
    fn files_of_versions_are_claimed_and_held_each_for_its_provider() {
        let publish = |provider: &str| {
            json!({"gitea": {"url": "https://git.example", "tag": "team-a/vm", "version": "0.1.{{timestamp}}",
                "provider": provider, "secretRef": {"name": "gitea"}}})
        };
        let link = |name: &str, provider: &str| json!({"name": name, "build": {"packer": {"template": "t"}}, "publish": publish(provider)});
        let published = json!({"repository": "https://git.example/api/packages/team-a/vagrant/vm",
            "tags": ["0.1.1795867200"], "provider": "Libvirt", "digest": "d", "recipe": "r", "build": "vm-1",
            "created": "2026-11-28T12:00:00Z"});
        let chain: ImageChain = serde_json::from_value(json!({
            "apiVersion": "imagechain.dev/v1alpha1", "kind": "ImageChain", "metadata": {"name": "shop"},
            "spec": {"profiles": ["p"], "links": [link("vm", "Libvirt"), link("vb", "VirtualBox")]},
            "status": {"links": [{"name": "vm", "state": "Ready", "published": published}]},
        }))
        .unwrap();
        let claim = Claim::of(&chain);
        let names =
            |outputs: &BTreeSet<OutputKey>| -> Vec<String> { outputs.iter().map(ToString::to_string).collect() };
        let file = |provider: &str| {
            format!("https://git.example/api/packages/team-a/vagrant/vm/0.1.{{{{timestamp}}}}/{provider}.box")
        };
        assert_eq!(names(&claim.tags), [file("libvirt"), file("virtualbox")]);
        assert_eq!(names(&claim.held), [file("libvirt")]);
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
        let names = |found: BTreeMap<OutputKey, Owner>| -> Vec<String> {
            found.into_keys().map(|output| output.name().to_string()).collect()
        };
        assert_eq!(names(taken(&new, [&old, &new])), ["latest"]);
        assert_eq!(names(taken(&old, [&old, &new])), [""; 0]);
        let twin = claim(1, "a", &["latest"]);
        assert_eq!(names(taken(&old, [&twin])), ["latest"], "of the same second: by UID");
        assert_eq!(names(taken(&twin, [&old])), [""; 0]);
    }
}

//! The metadata of a box, as `vagrant box add` reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{address::file_path, version::Version};
use crate::{
    api::boxes::{BoxConfig, BoxFormat, BoxProvider},
    plan::image::{Digest, Repository, Tag},
};

/// The architecture that is meant where nobody names one.
const USUAL: &str = "amd64";

/// A box under one of its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// What it is.
    pub config: BoxConfig,
    /// The digest of its file.
    pub file: Digest,
}

/// What Vagrant is told of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    name: String,
    /// The newest is the first.
    versions: Vec<Release>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Release {
    version: String,
    providers: Vec<Provider>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Provider {
    name: &'static str,
    url: String,
    checksum_type: &'static str,
    checksum: String,
    architecture: String,
    default_architecture: bool,
}

/// The metadata of a repository, whose files are below that URL. What is no Vagrant box, and tags that are no versions,
/// are left out. A tag may end with what its box is for, as in `1.0.0-libvirt` and `1.0.0-libvirt-amd64`: all those of a
/// version are together.
#[must_use]
pub fn metadata(repository: &Repository, url: &str, boxes: &[Tagged]) -> Metadata {
    let mut versions: BTreeMap<Version, BTreeMap<Kind<'_>, &Tagged>> = BTreeMap::new();
    let mut boxes: Vec<&Tagged> = boxes.iter().collect();
    // Of two tags for the same, the one that says more is the last.
    boxes.sort_by_key(|each| (each.tag.to_string().len(), &each.tag));
    for (version, kind, tagged) in boxes.into_iter().filter_map(understood) {
        versions.entry(version).or_default().insert(kind, tagged);
    }
    let release = |(version, boxes): (&Version, &BTreeMap<Kind<'_>, &Tagged>)| Release {
        version: version.text().to_owned(),
        providers: providers(boxes, |file| format!("{url}{}", file_path(repository, file))),
    };
    Metadata { name: repository.path.clone(), versions: versions.iter().rev().map(release).collect() }
}

/// The tags that may be versions, so many at most: the newest ones.
#[must_use]
pub fn newest(tags: impl IntoIterator<Item = Tag>, most: usize) -> Vec<Tag> {
    let read = |tag: Tag| Some((tag.to_string().parse::<Version>().ok()?, tag));
    let mut versions: Vec<(Version, Tag)> = tags.into_iter().filter_map(read).collect();
    versions.sort_by(|(one, _), (other, _)| other.cmp(one));
    versions.into_iter().take(most).map(|(_, tag)| tag).collect()
}

/// For what a box is: its provider and its architecture.
type Kind<'b> = (&'static str, &'b str);

fn understood(tagged: &Tagged) -> Option<(Version, Kind<'_>, &Tagged)> {
    let BoxConfig { format: BoxFormat::Vagrant, provider: Some(provider), architecture, .. } = &tagged.config else {
        return None;
    };
    let (tag, provider) = (tagged.tag.to_string(), provider.name());
    let ending = [format!("-{provider}-{architecture}"), format!("-{provider}")];
    let text = ending.iter().find_map(|ending| tag.strip_suffix(ending)).unwrap_or(&tag);
    // A tag that names another provider or architecture than its box has: nobody can tell what is meant.
    let is_name = |word: &str| BoxProvider::ALL.iter().any(|provider| provider.name() == word);
    if text.split('-').any(is_name) {
        return None;
    }
    Some((text.parse().ok()?, (provider, architecture), tagged))
}

/// Vagrant before 2.4 knows no architectures and takes the last of a provider: that is the usual one.
fn providers(boxes: &BTreeMap<Kind<'_>, &Tagged>, url: impl Fn(&Digest) -> String) -> Vec<Provider> {
    let is_usual = |(provider, architecture): Kind<'_>| {
        let mut same = boxes.keys().filter(|(name, _)| *name == provider).map(|(_, architecture)| *architecture);
        let first = same.clone().next();
        let usual = if same.any(|each| each == USUAL) { Some(USUAL) } else { first };
        usual == Some(architecture)
    };
    let mut all: Vec<Provider> =
        boxes.iter().map(|(kind, tagged)| provider(*kind, is_usual(*kind), tagged, &url)).collect();
    all.sort_by_key(|each| (each.name, each.default_architecture));
    all
}

fn provider(
    (name, architecture): Kind<'_>,
    default_architecture: bool,
    tagged: &Tagged,
    url: impl Fn(&Digest) -> String,
) -> Provider {
    let digest = tagged.file.to_string();
    let checksum = digest.split_once(':').map_or(digest.as_str(), |(_, digits)| digits).to_owned();
    let (architecture, url) = (architecture.to_owned(), url(&tagged.file));
    Provider { name, url, checksum_type: "sha256", checksum, architecture, default_architecture }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tagged(tag: &str, provider: Option<BoxProvider>, architecture: &str) -> Tagged {
        let format = if provider.is_some() { BoxFormat::Vagrant } else { BoxFormat::Qcow2 };
        let config = BoxConfig { format, provider, architecture: architecture.to_owned(), virtual_size: 1 };
        Tagged { tag: tag.parse().unwrap(), config, file: Digest::of(tag.as_bytes()) }
    }

    fn libvirt(tag: &str) -> Tagged {
        tagged(tag, Some(BoxProvider::Libvirt), "amd64")
    }

    fn of(boxes: &[Tagged]) -> Value {
        let repository = "registry.example:5000/team-a/box".parse().unwrap();
        serde_json::to_value(metadata(&repository, "https://boxes.example", boxes)).unwrap()
    }

    /// The versions, each with its providers, architectures and tags.
    fn told(boxes: &[Tagged]) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let tag = |checksum: &str| {
            let of = |each: &&Tagged| each.file.to_string() == format!("sha256:{checksum}");
            boxes.iter().find(of).unwrap().tag.to_string()
        };
        let of = of(boxes);
        let one = |provider: &Value| {
            let usual = if provider["default_architecture"] == json!(true) { "!" } else { "" };
            let (name, architecture) = (text(&provider["name"]), text(&provider["architecture"]));
            format!("{name}/{architecture}{usual}={}", tag(provider["checksum"].as_str().unwrap()))
        };
        let all = of["versions"].as_array().unwrap().iter().map(|each| {
            let providers: Vec<_> = each["providers"].as_array().unwrap().iter().map(one).collect();
            format!("{}: {}", text(&each["version"]), providers.join(" "))
        });
        all.collect()
    }

    #[test]
    fn a_box_is_told_as_vagrant_reads_it() {
        let file = Digest::of(b"1.0.0");
        let checksum = file.to_string().replace("sha256:", "");
        let expected = json!({"name": "team-a/box", "versions": [{"version": "1.0.0", "providers": [{
            "name": "libvirt", "checksum_type": "sha256", "checksum": checksum,
            "url": format!("https://boxes.example/registry.example:5000/team-a/box/blobs/sha256-{checksum}.box"),
            "architecture": "amd64", "default_architecture": true,
        }]}]});
        assert_eq!(of(&[libvirt("1.0.0")]), expected);
        assert_eq!(of(&[]), json!({"name": "team-a/box", "versions": []}));
    }

    #[test]
    fn the_newest_version_is_the_first_and_what_is_none_is_left_out() {
        let disk = tagged("2.0.0", None, "amd64");
        let boxes = ["1.9.0", "latest", "0.1.1795862400", "1.10.0", "1.10.0-rc1", "v3"].map(libvirt);
        let versions: Vec<_> = told(&[&boxes[..], &[disk]].concat());
        let versions: Vec<_> = versions.iter().map(|each| each.split(':').next().unwrap()).collect();
        assert_eq!(versions, ["1.10.0", "1.10.0-rc1", "1.9.0", "0.1.1795862400"]);
    }

    #[test]
    fn what_is_for_several_providers_and_architectures_is_one_version() {
        let (virtualbox, arm) = (Some(BoxProvider::VirtualBox), "arm64");
        let boxes = [
            libvirt("1.0.0-libvirt"),
            tagged("1.0.0-libvirt-arm64", Some(BoxProvider::Libvirt), arm),
            tagged("1.0.0-virtualbox", virtualbox, "amd64"),
            tagged("0.9.0-rc1-virtualbox-arm64", virtualbox, arm),
        ];
        let expected = [
            "1.0.0: libvirt/arm64=1.0.0-libvirt-arm64 libvirt/amd64!=1.0.0-libvirt virtualbox/amd64!=1.0.0-virtualbox",
            "0.9.0-rc1: virtualbox/arm64!=0.9.0-rc1-virtualbox-arm64",
        ];
        assert_eq!(told(&boxes), expected);
    }

    #[test]
    fn a_tag_that_contradicts_its_box_is_left_out_and_the_one_that_says_more_wins() {
        assert_eq!(told(&["1.0.0-virtualbox", "1.0.0-libvirt-arm64"].map(libvirt)), [""; 0]);
        let same = ["1.0.0-libvirt", "1.0.0", "1.0.0-libvirt-amd64"].map(libvirt);
        assert_eq!(told(&same), ["1.0.0: libvirt/amd64!=1.0.0-libvirt-amd64"]);
    }

    #[test]
    fn the_newest_tags_are_looked_at_where_there_are_too_many() {
        let tags = ["1.0.0-libvirt", "latest", "0.9", "1.0.1", "sha256-a"].map(|tag| tag.parse().unwrap());
        let newest: Vec<_> = newest(tags, 2).iter().map(ToString::to_string).collect();
        assert_eq!(newest, ["1.0.1", "1.0.0-libvirt"]);
    }
}

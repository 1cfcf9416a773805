//! Which folder stands for the source of which link.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::PathBuf,
    str::FromStr,
};

use k8s_openapi::api::core::v1::ConfigMap;

use super::folder::Folder;
use crate::{
    api::chain::ImageChain,
    plan::{
        checkout::{Checkout, Field, Findings, check},
        recipe::{Recipe, Source},
        tree::{Entry, Tree},
        valid::ValidChain,
    },
};

/// A folder of the flag `--source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The link whose repository it is; none: that of all others.
    link: Option<String>,
    folder: PathBuf,
}

impl FromStr for Given {
    type Err = String;

    /// `LINK=FOLDER`, or a folder. One with such a beginning is written `./a=b`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_link = |name: &str| {
            let is_word = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
            !name.is_empty() && name.bytes().all(is_word)
        };
        let (link, folder) = match text.split_once('=').filter(|(name, _)| is_link(name)) {
            Some((name, folder)) => (Some(name.to_owned()), folder),
            None => (None, text),
        };
        if folder.is_empty() { Err("names no folder".to_owned()) } else { Ok(Self { link, folder: folder.into() }) }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = self.link.as_ref().map(|link| format!("{link}=")).unwrap_or_default();
        write!(formatter, "{link}{}", self.folder.display())
    }
}

/// The folders, as they were read.
#[derive(Default)]
pub(super) struct Sources {
    common: Option<Folder>,
    by_link: BTreeMap<String, Folder>,
}

impl Sources {
    /// Reads the folders.
    pub(super) fn read(given: &[Given]) -> io::Result<Self> {
        let mut sources = Self::default();
        for each in given {
            let folder = Folder::read(&each.folder)?;
            let before = match &each.link {
                Some(link) => sources.by_link.insert(link.clone(), folder),
                None => sources.common.replace(folder),
            };
            if before.is_some() {
                return Err(io::Error::other(format!("--source {each}: a folder is given already")));
            }
        }
        Ok(sources)
    }

    /// Whether all is said that must be: each folder is one repository's, and each link is one of these chains.
    pub(super) fn check(&self, chains: &[&ValidChain]) -> io::Result<()> {
        let links = || chains.iter().flat_map(|chain| &chain.links);
        if let Some(stranger) = self.by_link.keys().find(|name| links().all(|link| link.name != **name)) {
            return Err(io::Error::other(format!("--source {stranger}=…: there is no such link")));
        }
        let is_common = |chain: &&ValidChain, url: &str| self.own(chain, url).is_none();
        let all = chains.iter().flat_map(|chain| {
            chain.links.iter().filter_map(|link| url(&link.recipe)).filter(|url| is_common(chain, url))
        });
        let urls: BTreeSet<&str> = all.collect();
        if self.common.is_some() && urls.len() > 1 {
            let urls: Vec<&str> = urls.into_iter().collect();
            let message = "say whose folder it is, as in --source LINK=FOLDER: the links have several repositories";
            return Err(io::Error::other(format!("{message}, {}", urls.join(", "))));
        }
        Ok(())
    }

    /// The folder that is given for a link of a chain with that repository.
    fn own(&self, chain: &ValidChain, repository: &str) -> Option<&Folder> {
        let mut links = chain.links.iter().filter(|link| url(&link.recipe) == Some(repository));
        links.find_map(|link| self.by_link.get(&link.name))
    }

    /// Looks at what the links of a chain name.
    pub(super) fn look(&self, written: &ImageChain, chain: &ValidChain, maps: &[&ConfigMap]) -> Findings {
        let mut findings = Findings::default();
        for (index, (link, valid)) in written.spec.links.iter().zip(&chain.links).enumerate() {
            let recipe = format!("spec.links[{index}]");
            let own = format!("{recipe}.source");
            let source = if link.source.is_some() { own.as_str() } else { "spec.source" };
            let field = Field { recipe: &recipe, source };
            match &valid.recipe.source {
                Source::Git { url, .. } => {
                    let own = self.by_link.get(&valid.name).or_else(|| self.own(chain, url));
                    if let Some(folder) = own.or(self.common.as_ref()) {
                        let text = |path: &str| folder.text(path);
                        let files = Checkout { tree: &folder.tree, text: &text };
                        check(&valid.recipe, &field, &files, &mut findings);
                    }
                }
                Source::Inline(files) => {
                    let files = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
                    check_entries(&valid.recipe, &field, &files, &mut findings);
                }
                Source::ConfigMap(name) => {
                    let is_it = |map: &&&ConfigMap| {
                        map.metadata.name.as_ref() == Some(name) && map.metadata.namespace == written.metadata.namespace
                    };
                    if let Some(map) = maps.iter().find(is_it) {
                        check_entries(&valid.recipe, &field, &entries(map), &mut findings);
                    }
                }
            }
        }
        findings
    }
}

/// The repository of a recipe.
fn url(recipe: &Recipe) -> Option<&str> {
    match &recipe.source {
        Source::Git { url, .. } => Some(url),
        Source::ConfigMap(_) | Source::Inline(_) => None,
    }
}

fn entries(map: &ConfigMap) -> BTreeMap<&str, &str> {
    let texts = map.data.iter().flatten().map(|(key, text)| (key.as_str(), text.as_str()));
    texts.chain(map.binary_data.iter().flatten().map(|(key, _)| (key.as_str(), ""))).collect()
}

fn check_entries(recipe: &Recipe, field: &Field<'_>, files: &BTreeMap<&str, &str>, findings: &mut Findings) {
    let tree = Tree::new(files.keys().map(|path| ((*path).to_owned(), Entry::File)));
    let text = |path: &str| files.get(path).map(|text| (*text).to_owned());
    check(recipe, field, &Checkout { tree: &tree, text: &text }, findings);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_a_links() {
        for (text, link, folder) in [
            ("shop", None, "shop"),
            ("web=../shop", Some("web"), "../shop"),
            ("./a=b", None, "./a=b"),
            ("A=b", None, "A=b"),
            ("web=a=b", Some("web"), "a=b"),
        ] {
            let given = Given { link: link.map(str::to_owned), folder: folder.into() };
            assert_eq!(text.parse(), Ok(given), "{text}");
        }
        assert!("".parse::<Given>().is_err() && "web=".parse::<Given>().is_err());
    }
}

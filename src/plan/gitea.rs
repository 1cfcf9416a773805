//! Addresses in the package registry of Gitea and Forgejo, as far as it has Vagrant boxes (Gitea's
//! `routers/api/packages/api.go` and `routers/api/v1/api.go`).

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{image::Tag, vagrant::BoxTag};
use crate::api::{boxes::BoxProvider, common::PACKAGES_URL};

/// The longest address of a server, in characters.
const LONGEST_URL: usize = 200;
/// Between the address of a server and the owner of a package.
const PACKAGES: &str = "/api/packages/";

/// What is wrong with an address, as the end of a sentence about its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is no address of a server.
    #[error("{PACKAGES_URL}")]
    Url,
    /// It is too long.
    #[error("must not be longer than {LONGEST_URL} characters")]
    TooLong,
    /// It is no address of a box.
    #[error("must be the address of a box in the package registry of Gitea")]
    NoBox,
}

/// The address of a server, in one form of several that mean the same: the host in lower case, without the port that
/// its scheme stands for, and without `/` at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.chars().count() > LONGEST_URL {
            return Err(AddressError::TooLong);
        }
        let known = [("https://", ":443"), ("http://", ":80")];
        let of_scheme = known.into_iter().find_map(|(scheme, port)| Some((scheme, port, text.strip_prefix(scheme)?)));
        let (scheme, port, rest) = of_scheme.ok_or(AddressError::Url)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        if !is_host(host) || !path.is_none_or(|path| path.split('/').all(is_part)) {
            return Err(AddressError::Url);
        }
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(port).unwrap_or(&host);
        Ok(Self(path.map_or_else(|| format!("{scheme}{host}"), |path| format!("{scheme}{host}/{path}"))))
    }
}

fn is_host(text: &str) -> bool {
    let is_word = |letter: u8| letter.is_ascii_alphanumeric();
    text.bytes().next().is_some_and(|first| is_word(first) || first == b'[')
        && text.bytes().all(|letter| is_word(letter) || b".:[]-".contains(&letter))
}

/// A part of a path, none of which leads upwards.
fn is_part(text: &str) -> bool {
    let is_word = |letter: u8| letter.is_ascii_alphanumeric() || b"_~-".contains(&letter);
    text.bytes().next().is_some_and(is_word) && text.bytes().all(|letter| is_word(letter) || letter == b'.')
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The address of a box. As a text it is the one that `vagrant box add` takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxAddress {
    /// The server.
    pub server: ServerUrl,
    /// The owner and the name of the package.
    pub tag: BoxTag,
}

impl BoxAddress {
    /// The address of the file of a version for a provider: it is uploaded there, and downloaded from there. `version`
    /// is one, or what is written for it.
    #[must_use]
    pub fn file(&self, version: impl fmt::Display, provider: BoxProvider) -> String {
        format!("{self}/{version}/{}", provider.file())
    }

    /// The address that lists the files of a version, with their checksums.
    #[must_use]
    pub fn files(&self, version: &Tag) -> String {
        let Self { server, tag: BoxTag { owner, name } } = self;
        format!("{server}/api/v1/packages/{owner}/vagrant/{name}/{version}/files")
    }
}

impl fmt::Display for BoxAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, tag: BoxTag { owner, name } } = self;
        write!(formatter, "{server}{PACKAGES}{owner}/vagrant/{name}")
    }
}

impl FromStr for BoxAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (server, rest) = text.rsplit_once(PACKAGES).ok_or(AddressError::NoBox)?;
        let (owner, name) = rest.split_once("/vagrant/").ok_or(AddressError::NoBox)?;
        let tag = format!("{owner}/{name}").parse().map_err(|_| AddressError::NoBox)?;
        Ok(Self { server: server.parse()?, tag })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(url: &str) -> BoxAddress {
        BoxAddress { server: url.parse().unwrap(), tag: "team-a/web".parse().unwrap() }
    }

    #[test]
    fn a_server_has_one_address() {
        for (text, expected) in [
            ("https://git.example", "https://git.example"),
            ("https://Git.Example:443/", "https://git.example"),
            ("http://git.example:80", "http://git.example"),
            ("http://git.example:443", "http://git.example:443"),
            ("https://git.example:8443/Forge/", "https://git.example:8443/Forge"),
            ("https://[::1]:3000", "https://[::1]:3000"),
        ] {
            assert_eq!(text.parse::<ServerUrl>().map(|url| url.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_more_than_an_address_is_refused() {
        for text in [
            "git.example",
            "ftp://git.example",
            "HTTPS://git.example",
            "https://",
            "https:///a",
            "https://bob:word@git.example",
            "https://bob@git.example",
            "https://git.example?a=b",
            "https://git.example/a?b",
            "https://git.example/#a",
            "https://git.example//a",
            "https://git.example/../a",
            "https://git.example/a//",
            "https://git.example/%2e",
            "https://git example",
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(AddressError::Url), "{text}");
        }
        assert_eq!(format!("https://{}", "a".repeat(193)).parse::<ServerUrl>(), Err(AddressError::TooLong));
    }

    #[test]
    fn the_addresses_are_those_of_gitea() {
        let (root, below) = (address("https://git.example"), address("https://git.example/forge"));
        let version = "0.1.7".parse().unwrap();
        assert_eq!(root.to_string(), "https://git.example/api/packages/team-a/vagrant/web");
        assert_eq!(
            below.file(&version, BoxProvider::VirtualBox),
            "https://git.example/forge/api/packages/team-a/vagrant/web/0.1.7/virtualbox.box"
        );
        assert_eq!(below.files(&version), "https://git.example/forge/api/v1/packages/team-a/vagrant/web/0.1.7/files");
    }

    #[test]
    fn an_address_is_read_again() {
        for url in ["https://git.example", "http://127.0.0.1:3000/forge", "https://git.example/api/packages/a"] {
            let address = address(url);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for text in [
            "registry.example/team-a/web",
            "https://git.example/api/packages/team-a/web",
            "https://git.example/api/packages/team-a/vagrant/",
            "https://git.example/api/packages/team-a/vagrant/web/0.1.7",
        ] {
            assert_eq!(text.parse::<BoxAddress>(), Err(AddressError::NoBox), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (text.parse::<ServerUrl>(), format!("https://{text}").parse::<ServerUrl>(), text.parse::<BoxAddress>());
        }
    }
}

//! Files of other servers: fetched by the pod, and known by their SHA-256.

use std::{collections::BTreeSet, fmt, str::FromStr};

use thiserror::Error;

use super::fields::Fields;
use crate::{
    api::recipe as api,
    plan::name::{LABEL, is_label},
};

/// The longest URL, in characters.
const LONGEST_URL: usize = 1024;
/// How many digits a SHA-256 has.
const DIGITS: usize = 64;

/// A file of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where it is.
    pub url: FileUrl,
    /// What it is.
    pub sha256: Sha256,
}

/// A file of another server, by the name that placeholders have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The name.
    pub name: String,
    /// The file.
    pub file: RemoteFile,
}

/// The URL of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUrl(String);

/// The SHA-256 of a file, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sha256(String);

/// What is wrong with the URL or the checksum of a file, as the end of a sentence about its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// The URL has another scheme, or none.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// It names a user.
    #[error("must not hold a user or a password: files are fetched without credentials")]
    User,
    /// It is malformed otherwise.
    #[error("must be a host and a path, without fragment; other characters than those of URLs are written as %20")]
    Address,
    /// It is too long.
    #[error("must not be longer than {LONGEST_URL} characters")]
    TooLong,
    /// The checksum is none.
    #[error("must be the {DIGITS} digits of a SHA-256 in lower case, as sha256sum prints them")]
    Sha256,
}

impl FromStr for FileUrl {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        if text.chars().count() > LONGEST_URL {
            return Err(FileError::TooLong);
        }
        let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let (host, path) = rest.ok_or(FileError::Scheme)?.split_once('/').ok_or(FileError::Address)?;
        if host.contains('@') {
            return Err(FileError::User);
        }
        let is_of =
            |text: &str, others: &[u8]| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte));
        let good = host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            && is_of(host, b".:[]-")
            && is_of(path, b"._~!$&'()*+,;=:@%/?-");
        if good { Ok(Self(text.to_owned())) } else { Err(FileError::Address) }
    }
}

impl FromStr for Sha256 {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let good = text.len() == DIGITS && text.bytes().all(is_digit);
        if good { Ok(Self(text.to_owned())) } else { Err(FileError::Sha256) }
    }
}

impl Sha256 {
    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl RemoteFile {
    /// Validates what is written in the fields `url` and `sha256`.
    pub(super) fn validate(url: &api::FileUrl, sha256: &api::Sha256, fields: &mut Fields<'_>) -> Option<Self> {
        let (url, sha256) = (fields.parse("url", &url.0), fields.parse("sha256", &sha256.0));
        Some(Self { url: url?, sha256: sha256? })
    }
}

impl InputFile {
    /// Validates what is written in the field `files`. `None` where something is wrong that leaves no valid form.
    pub(super) fn validate(written: &[api::InputFile], fields: &mut Fields<'_>) -> Option<Vec<Self>> {
        let (mut names, mut valid) = (BTreeSet::new(), Vec::new());
        for (index, api::InputFile { name, url, sha256 }) in written.iter().enumerate() {
            let mut field = fields.below(&format!("files[{index}]"));
            let name = name.to_string();
            if !is_label(&name) {
                field.below("name").add(LABEL);
            }
            if !names.insert(name.clone()) {
                field.below("name").add(format_args!("«{name}» is the name of an earlier file"));
            }
            let file = RemoteFile::validate(url, sha256, &mut field);
            valid.push(file.map(|file| Self { name, file }));
        }
        valid.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::validate::problem::Problems;

    fn validated(written: &Value) -> (Option<Vec<InputFile>>, Vec<String>) {
        let (none, mut problems) = (BTreeSet::new(), Problems::default());
        let written: Vec<api::InputFile> = serde_json::from_value(written.clone()).unwrap();
        let valid = InputFile::validate(&written, &mut Fields::new("link".to_owned(), &none, &mut problems));
        (valid, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn files_have_names_urls_and_checksums() {
        let sha256 = "0123456789abcdef".repeat(4);
        let url = "https://[::1]:8443/iso/debian%2013.iso?from=a&b=$1";
        let (valid, problems) = validated(&json!([{"name": "iso", "url": url, "sha256": sha256}]));
        assert_eq!(problems, [""; 0]);
        let file = RemoteFile { url: url.parse().unwrap(), sha256: sha256.parse().unwrap() };
        assert_eq!(valid, Some(vec![InputFile { name: "iso".to_owned(), file }]));
    }

    #[test]
    fn everything_wrong_is_told() {
        let good = "0".repeat(64);
        let file = |name: &str, url: &str, sha256: &str| json!({"name": name, "url": url, "sha256": sha256});
        let (valid, problems) = validated(&json!([
            file("a", "ftp://files.example/a", "0"),
            file("a", "https://user:word@files.example/a", &good.to_uppercase()),
            file("-b", "https://files.example", &"A".repeat(64)),
            file("c", "https://files.example/a b", &good),
            file("d", "https://files.example/a#b", &good),
            file("e", &format!("https://files.example/{}", "x".repeat(1024)), &good),
        ]));
        assert_eq!(valid, None);
        let sha256 = "must be the 64 digits of a SHA-256 in lower case, as sha256sum prints them";
        let address =
            "must be a host and a path, without fragment; other characters than those of URLs are written as %20";
        let expected = [
            "link.files[0].url: must begin with https:// or http://".to_owned(),
            format!("link.files[0].sha256: {sha256}"),
            "link.files[1].name: «a» is the name of an earlier file".to_owned(),
            "link.files[1].url: must not hold a user or a password: files are fetched without credentials".to_owned(),
            "link.files[2].name: must be up to 40 lower case letters, digits and -, with no - at its ends".to_owned(),
            format!("link.files[2].url: {address}"),
            format!("link.files[2].sha256: {sha256}"),
            format!("link.files[3].url: {address}"),
            format!("link.files[4].url: {address}"),
            "link.files[5].url: must not be longer than 1024 characters".to_owned(),
        ];
        assert_eq!(problems, expected);
    }
}

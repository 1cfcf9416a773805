//! The credentials of a Secret of type `kubernetes.io/dockerconfigjson`.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{api::condition::Reason, plan::image::Repository, remote::secret::SecretName};

/// Docker writes padding, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What docker.io is called in these files: the address of its former protocol, and that of its present one.
const DOCKER_IO: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Credentials by registry, or by a part of one.
#[derive(Clone, Default)]
pub struct Credentials {
    entries: Vec<Entry>,
    secret: SecretName,
}

#[derive(Clone)]
struct Entry {
    registry: String,
    /// The folder of the registry that it is for; empty: all of it.
    folder: String,
    login: Login,
}

/// A user name and a password or token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Why a Secret holds no credentials. It never holds a value of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// It is not JSON.
    #[error(".dockerconfigjson is not JSON: line {0}, column {1}")]
    Syntax(usize, usize),
    /// It has another form.
    #[error(".dockerconfigjson must be an object with `auths`, an object with an object for each registry")]
    Form,
    /// An entry cannot be read.
    #[error(".dockerconfigjson: `auth` of «{0}» is not base64 of user name, colon and password")]
    Auth(String),
    /// An entry has a form that we do not know, such as an identity token.
    #[error(".dockerconfigjson: «{0}» needs `auth`, or `username` and `password`")]
    Incomplete(String),
}

impl CredentialsError {
    /// The reason for a condition.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::AccessDenied
    }
}

impl Credentials {
    /// Reads the value of the key `.dockerconfigjson`.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse(text: &[u8]) -> Result<Self, CredentialsError> {
        // Into a value first: the errors of typed reading quote what they found.
        let value: Value =
            serde_json::from_slice(text).map_err(|error| CredentialsError::Syntax(error.line(), error.column()))?;
        let auths = value.get("auths").and_then(Value::as_object).ok_or(CredentialsError::Form)?;
        let entries = auths.iter().map(|(key, written)| {
            let written = written.as_object().ok_or(CredentialsError::Form)?;
            let (registry, folder) = place(key);
            Ok(Entry { registry, folder, login: login(key, written)? })
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, secret: SecretName::default() })
    }

    /// The same, with the name of their Secret: errors name it.
    #[must_use]
    pub fn with_secret_name(self, name: Option<&str>) -> Self {
        Self { secret: SecretName::new(name), ..self }
    }

    /// The Secret that they are from.
    pub(super) const fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// The credentials for a repository: those of the innermost folder that it is in.
    pub(super) fn of(&self, repository: &Repository) -> Option<&Login> {
        let fitting = self.entries.iter().filter(|entry| entry.fits(repository));
        fitting.max_by_key(|entry| entry.folder.len()).map(|entry| &entry.login)
    }
}

impl Entry {
    fn fits(&self, repository: &Repository) -> bool {
        let inside = repository.path.strip_prefix(&self.folder);
        let is_folder = |rest: &str| self.folder.is_empty() || rest.is_empty() || rest.starts_with('/');
        self.registry == repository.registry && inside.is_some_and(is_folder)
    }
}

/// Neither names nor passwords: whoever prints this wants to know whether there are any.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.entries.iter().map(|entry| &entry.registry)).finish()
    }
}

/// Registry and folder of a key: `https://index.docker.io/v1/`, `registry.example`, `registry.example/team`.
fn place(key: &str) -> (String, String) {
    let rest = key.trim().trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, folder) = rest.split_once('/').unwrap_or((rest, ""));
    // The version of the protocol is no folder.
    let folder = if matches!(folder, "v1" | "v2") { "" } else { folder };
    let host = if DOCKER_IO.contains(&host) { "docker.io" } else { host };
    (host.to_owned(), folder.to_owned())
}

fn login(key: &str, written: &Map<String, Value>) -> Result<Login, CredentialsError> {
    let text = |name: &str| written.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Ok(Login { username: username.to_owned(), password: password.to_owned() });
    }
    let auth = text("auth").ok_or_else(|| CredentialsError::Incomplete(key.to_owned()))?;
    decoded(auth).ok_or_else(|| CredentialsError::Auth(key.to_owned()))
}

fn decoded(auth: &str) -> Option<Login> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Some tools end it with zeros.
    let password = password.trim_end_matches('\0');
    Some(Login { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(text: &str, image: &str) -> Option<(String, String)> {
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        credentials.of(&image.parse().unwrap()).map(|login| (login.username.clone(), login.password.clone()))
    }

    fn pair(user: &str, password: &str) -> (String, String) {
        (user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_entry_of_the_registry_is_found() {
        let auth = BASE64.encode("bob:s3cret:with:colons");
        for (key, image, fits) in [
            ("https://index.docker.io/v1/", "debian", true),
            ("index.docker.io", "team/web", true),
            ("docker.io", "docker.io/team/web", true),
            ("registry-1.docker.io", "debian", true),
            ("registry.example", "registry.example/a", true),
            ("https://registry.example", "registry.example/a", true),
            ("https://registry.example/v2/", "registry.example/a", true),
            ("http://registry.example:5000/", "registry.example:5000/a", true),
            ("registry.example/team", "registry.example/team/web", true),
            ("registry.example/team", "registry.example/team", true),
            ("registry.example/team", "registry.example/teams/web", false),
            ("registry.example", "registry.example:5000/a", false),
            ("registry.example", "other.example/a", false),
            ("registry.example", "debian", false),
            ("example", "registry.example/a", false),
        ] {
            let text = json!({"auths": {key: {"auth": auth}}}).to_string();
            let expected = if fits { Some(pair("bob", "s3cret:with:colons")) } else { None };
            assert_eq!(found(&text, image), expected, "{key} for {image}");
        }
    }

    #[test]
    fn credentials_are_read_in_every_form() {
        let encoded = BASE64.encode("bob:secret");
        for (entry, expected) in [
            (json!({"username": "bob", "password": "secret"}), Some(pair("bob", "secret"))),
            (
                json!({"username": "bob", "password": "secret", "auth": "?", "email": "b@c"}),
                Some(pair("bob", "secret")),
            ),
            (json!({"auth": encoded}), Some(pair("bob", "secret"))),
            (json!({"auth": encoded.trim_end_matches('=')}), Some(pair("bob", "secret"))),
            (json!({"auth": format!(" {encoded}\n")}), Some(pair("bob", "secret"))),
            (json!({"auth": BASE64.encode("bob:secret\0\0")}), Some(pair("bob", "secret"))),
            (json!({"auth": BASE64.encode("bob:")}), Some(pair("bob", ""))),
            (json!({"username": "", "auth": encoded}), Some(pair("bob", "secret"))),
        ] {
            let text = json!({"auths": {"r.example": entry}, "credsStore": "x"}).to_string();
            assert_eq!(found(&text, "r.example/a"), expected, "{text}");
        }
        assert_eq!(found(r#"{"auths": {}}"#, "r.example/a"), None);
    }

    #[test]
    fn the_innermost_folder_wins() {
        let entry = |name: &str| json!({"username": name, "password": "x"});
        let text =
            json!({"auths": {"r.example": entry("all"), "r.example/a/b": entry("b"), "r.example/a": entry("a")}});
        for (image, expected) in [("r.example/x", "all"), ("r.example/a/x", "a"), ("r.example/a/b", "b")] {
            assert_eq!(found(&text.to_string(), image), Some(pair(expected, "x")), "{image}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_values() {
        let key = "r.example".to_owned();
        for (text, expected) in [
            ("", CredentialsError::Syntax(1, 0)),
            ("{\"auths\": {\n\"canary", CredentialsError::Syntax(2, 7)),
            ("[]", CredentialsError::Form),
            ("{}", CredentialsError::Form),
            (r#"{"auths": "canary"}"#, CredentialsError::Form),
            (r#"{"auths": {"r.example": "canary"}}"#, CredentialsError::Form),
            (r#"{"auths": {"r.example": {}}}"#, CredentialsError::Incomplete(key.clone())),
            (r#"{"auths": {"r.example": {"identitytoken": "canary"}}}"#, CredentialsError::Incomplete(key.clone())),
            (r#"{"auths": {"r.example": {"auth": "canary!"}}}"#, CredentialsError::Auth(key.clone())),
            (r#"{"auths": {"r.example": {"auth": "Y2FuYXJ5"}}}"#, CredentialsError::Auth(key)),
        ] {
            let error = Credentials::parse(text.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("canary") && !format!("{error:?}").contains("canary"), "{error:?}");
            assert_eq!(error, expected, "{text}");
        }
    }

    #[test]
    fn debug_output_has_no_values() {
        let text = r#"{"auths": {"r.example": {"username": "bob", "password": "canary"}}}"#;
        assert_eq!(format!("{:?}", Credentials::parse(text.as_bytes()).unwrap()), r#"["r.example"]"#);
    }
}

//! What is the same in Secrets for git and for registries.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::ByteString;

use super::error::SecretError;

/// The values of a Secret by key.
pub type Values = BTreeMap<String, ByteString>;

/// The key of the certificates that a server is trusted by, as cert-manager and Flux name it.
pub const AUTHORITY: &str = "ca.crt";

/// The user name for a token without one. Servers that take tokens as passwords ignore it; a name must be there.
const TOKEN_USER: &str = "x-access-token";

/// A user name and a password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

/// Neither name nor password.
impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

/// A value without the newlines at its end: files end with one, and credentials do not. Empty is none.
pub(super) fn text(values: &Values, key: &str) -> Option<String> {
    let text = std::str::from_utf8(&values.get(key)?.0).ok()?;
    Some(without_newline(text).to_owned()).filter(|text| !text.is_empty())
}

pub(super) fn without_newline(text: &str) -> &str {
    text.trim_end_matches(['\n', '\r'])
}

/// Certificates, which are in PEM whatever newlines they have.
pub(super) fn authority(values: &Values) -> Option<String> {
    text(values, AUTHORITY)
}

/// User name and password of `kubernetes.io/basic-auth`, or a token alone; `None` where there is neither.
pub(super) fn login(values: &Values) -> Result<Option<Login>, SecretError> {
    match (text(values, "username"), text(values, "password")) {
        (username, Some(password)) => {
            let username = username.unwrap_or_else(|| TOKEN_USER.to_owned());
            Ok(Some(Login { username, password }))
        }
        (Some(_), None) => Err(SecretError::missing("«password»", "add it")),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
pub(super) fn values(keys: &[(&str, &str)]) -> Values {
    keys.iter().map(|(key, value)| ((*key).to_owned(), ByteString((*value).into()))).collect()
}

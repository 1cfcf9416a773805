//! Who we are to the package registry of Gitea or Forgejo, and by what it is trusted.

use std::fmt;

use super::{
    error::SecretError,
    secret::{Login, Values, authority, login, text},
};

/// What a Secret holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiteaSecret {
    /// Who we are.
    pub identity: Identity,
    /// Certificates of authorities that it is trusted by besides all others, as PEM.
    pub authority: Option<String>,
}

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever made this token.
    Token(String),
    /// A user. The password may be a token, too.
    Login(Login),
}

/// No value of it.
impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Token(_) => "Token",
            Self::Login(_) => "Login",
        })
    }
}

impl GiteaSecret {
    /// Reads a Secret: `token`, else `username` and `password`, as `kubernetes.io/basic-auth` has them, or a token as
    /// `password` alone, which Gitea takes with any user name.
    ///
    /// # Errors
    /// What is missing, without any value of it.
    pub fn read(values: &Values) -> Result<Self, SecretError> {
        let identity = match text(values, "token") {
            Some(token) => Some(Identity::Token(token)),
            None => login(values)?.map(Identity::Login),
        };
        let missing = || {
            let remedy = "make a token with the right `write:package`, and put it there";
            SecretError::missing("«token», and none «username» and «password»", remedy)
        };
        Ok(Self { identity: identity.ok_or_else(missing)?, authority: authority(values) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::credentials::secret::values;

    #[test]
    fn a_token_goes_before_a_login() {
        let token = |text: &str| Identity::Token(text.to_owned());
        let login = |username: &str, password: &str| {
            Identity::Login(Login { username: username.to_owned(), password: password.to_owned() })
        };
        for (keys, identity, authority) in [
            (&[("token", "t\n")] as &[_], token("t"), None),
            (&[("token", "t"), ("username", "bob"), ("password", "x"), ("ca.crt", "PEM\n")], token("t"), Some("PEM")),
            (&[("username", "bob\n"), ("password", "x\n")], login("bob", "x"), None),
            (&[("token", ""), ("username", "bob"), ("password", "x")], login("bob", "x"), None),
            (&[("password", "t")], login("x-access-token", "t"), None),
        ] {
            let expected = GiteaSecret { identity, authority: authority.map(ToOwned::to_owned) };
            assert_eq!(GiteaSecret::read(&values(keys)), Ok(expected), "{keys:?}");
        }
    }

    #[test]
    fn what_lacks_is_named_and_no_value() {
        for (keys, expected) in [
            (&["username"] as &[&str], "has no key «password»: add it"),
            (
                &["ca.crt", ".dockerconfigjson"],
                "has no key «token», and none «username» and «password»: make a token with the right `write:package`, \
                 and put it there",
            ),
        ] {
            let keys: Vec<_> = keys.iter().map(|key| (*key, "canary")).collect();
            assert_eq!(GiteaSecret::read(&values(&keys)).unwrap_err().to_string(), expected);
        }
        let held =
            [GiteaSecret::read(&values(&[("token", "canary")])), GiteaSecret::read(&values(&[("password", "canary")]))];
        assert!(!format!("{held:?}").contains("canary"), "{held:?}");
    }
}

//! Who we are to a git server. Credentials reach git by files of a temporary folder: never by its command
//! line, its environment or a URL.

use std::{fmt, fmt::Write as _};

/// Credentials of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// For http and https.
    Basic {
        /// The user name.
        username: String,
        /// The password or token.
        password: String,
    },
    /// For ssh.
    Ssh {
        /// The private key, as OpenSSH writes it, without a pass phrase.
        identity: String,
        /// The keys of the server, as in `known_hosts`: no other is believed.
        known_hosts: String,
    },
}

/// Which kind, and no value.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::Ssh { .. } => "Ssh",
        })
    }
}

impl Credentials {
    /// Those that a Secret holds for a URL, by the value of each key.
    ///
    /// # Errors
    /// The key that it lacks.
    pub fn of_secret(url: &str, value: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let key = |name: &'static str| value(name).filter(|value| !value.is_empty()).ok_or(name);
        if url.starts_with("ssh://") {
            return Ok(Self::Ssh { identity: key("identity")?, known_hosts: key("known_hosts")? });
        }
        Ok(Self::Basic { username: key("username")?, password: key("password")? })
    }

    /// Takes what is secret out of a text that somebody else wrote.
    pub(super) fn redacted(&self, text: &str) -> String {
        match self {
            Self::Basic { password, .. } if !password.is_empty() => text.replace(password.as_str(), "***"),
            _ => text.to_owned(),
        }
    }

    /// The line of `git credential-store` that answers for the scheme and host of a URL and for no other,
    /// whatever a server redirects to. `None` for ssh.
    pub(super) fn store_line(&self, url: &str) -> Option<String> {
        let Self::Basic { username, password } = self else { return None };
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Some(format!("{scheme}://{}:{}@{host}\n", encoded(username), encoded(password)))
    }
}

/// Percent encoding of all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn the_store_has_the_host_and_nothing_that_could_be_another_line() {
        for (url, username, password, expected) in [
            ("https://git.example/a/b.git", "bob", "s3cret", "https://bob:s3cret@git.example\n"),
            ("http://127.0.0.1:80/a", "bob", "a:b@c/d", "http://bob:a%3Ab%40c%2Fd@127.0.0.1:80\n"),
            ("https://alice@git.example/a", "bob", "x", "https://bob:x@git.example\n"),
            ("https://git.example", "b\nhttps://x", "ü", "https://b%0Ahttps%3A%2F%2Fx:%C3%BC@git.example\n"),
        ] {
            assert_eq!(basic(username, password).store_line(url).as_deref(), Some(expected), "{url}");
        }
        let ssh = Credentials::Ssh { identity: "canary".to_owned(), known_hosts: String::new() };
        assert_eq!(ssh.store_line("ssh://git.example/a"), None);
    }

    #[test]
    fn a_secret_holds_what_the_url_needs() {
        let ssh = Credentials::Ssh { identity: "identity".to_owned(), known_hosts: "known_hosts".to_owned() };
        for (url, keys, expected) in [
            ("https://a/b", &["username", "password", "identity"] as &[&str], Ok(basic("username", "password"))),
            ("ssh://a/b", &["identity", "known_hosts"], Ok(ssh)),
            ("http://a/b", &["username"], Err("password")),
            ("https://a/b", &["identity", "known_hosts"], Err("username")),
            ("ssh://a/b", &["identity"], Err("known_hosts")),
        ] {
            let value = |key: &str| keys.contains(&key).then(|| key.to_owned());
            assert_eq!(Credentials::of_secret(url, value), expected, "{url} {keys:?}");
        }
        assert_eq!(Credentials::of_secret("https://a/b", |_| Some(String::new())), Err("username"));
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let ssh = Credentials::Ssh { identity: "canary".to_owned(), known_hosts: "canary".to_owned() };
        assert_eq!(format!("{:?} {ssh:?}", basic("canary", "canary")), "Basic Ssh");
        assert_eq!(basic("bob", "canary").redacted("the canary is canary"), "the *** is ***");
        assert_eq!(basic("bob", "").redacted("text"), "text");
    }
}

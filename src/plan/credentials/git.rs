//! Who we are to a git server, and by what it is trusted.

use std::{fmt, fmt::Write as _};

use super::{
    error::SecretError,
    secret::{AUTHORITY, Values, authority, login, text},
};

/// What a Secret for git holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitSecret {
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// By what the server is trusted, and what we show it.
    pub tls: Tls,
}

/// By what a server is trusted besides what the system trusts, and what we show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities, as PEM.
    pub authority: Option<String>,
    /// Our own certificate.
    pub client: Option<ClientCertificate>,
}

/// A certificate that a client shows.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// It, and those between it and its authority, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: String,
}

/// What there is, and no value.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authority, client) = (self.authority.is_some(), self.client.is_some());
        formatter.debug_struct("Tls").field("authority", &authority).field("client", &client).finish()
    }
}

/// Credentials for git. They reach it by files of a temporary folder: never by its command line, its environment or a
/// URL.
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

/// The files that a Secret becomes for git by http and https, and by ssh. Where it has nothing for one, that is empty.
const HTTP_FILES: [&str; 5] = ["username", "password", AUTHORITY, "tls.crt", "tls.key"];
const SSH_FILES: [&str; 2] = ["identity", "known_hosts"];

/// The names of the files that a Secret becomes for a URL.
#[must_use]
pub fn files(url: &str) -> &'static [&'static str] {
    if is_ssh(url) { &SSH_FILES } else { &HTTP_FILES }
}

fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh:")
}

impl GitSecret {
    /// What a Secret holds for a URL: for ssh a private key (`ssh-privatekey` of `kubernetes.io/ssh-auth`, or
    /// `identity`) and `known_hosts`; for http and https user name and password, or a token as password alone; `ca.crt`;
    /// and a certificate of our own as in `kubernetes.io/tls`.
    ///
    /// # Errors
    /// The keys that it lacks.
    pub fn read(url: &str, values: &Values) -> Result<Self, SecretError> {
        if is_ssh(url) {
            return Ok(Self { credentials: Some(ssh(url, values)?), tls: Tls::default() });
        }
        let tls = Tls { authority: authority(values), client: client(values)? };
        let login = login(values)?;
        if login.is_none() && tls == Tls::default() {
            let remedy = "http and https want `username` and `password`, a token as `password` alone, or `ca.crt`";
            return Err(SecretError::missing("«username» and none «password»", remedy));
        }
        let credentials = login.map(|login| Credentials::Basic { username: login.username, password: login.password });
        Ok(Self { credentials, tls })
    }

    /// The content of one of the [`files`].
    #[must_use]
    pub fn file(&self, name: &str) -> &str {
        let (authority, client) = (self.tls.authority.as_deref(), self.tls.client.as_ref());
        let found = match (name, &self.credentials) {
            ("username", Some(Credentials::Basic { username, .. })) => Some(username.as_str()),
            ("password", Some(Credentials::Basic { password, .. })) => Some(password.as_str()),
            ("identity", Some(Credentials::Ssh { identity, .. })) => Some(identity.as_str()),
            ("known_hosts", Some(Credentials::Ssh { known_hosts, .. })) => Some(known_hosts.as_str()),
            (AUTHORITY, _) => authority,
            ("tls.crt", _) => client.map(|client| client.certificate.as_str()),
            ("tls.key", _) => client.map(|client| client.key.as_str()),
            _ => None,
        };
        found.unwrap_or_default()
    }
}

fn ssh(url: &str, values: &Values) -> Result<Credentials, SecretError> {
    let identity = text(values, "identity").or_else(|| text(values, "ssh-privatekey"));
    let identity =
        identity.ok_or_else(|| SecretError::missing("«ssh-privatekey»", "ssh wants a private key: add it"))?;
    let known_hosts = text(values, "known_hosts");
    let known_hosts = known_hosts.ok_or_else(|| {
        let remedy = format!("no other server than those in it is believed: add what `{}` prints", keyscan(url));
        SecretError::missing("«known_hosts»", remedy)
    })?;
    Ok(Credentials::Ssh { identity, known_hosts })
}

/// The command that prints the keys of a server.
fn keyscan(url: &str) -> String {
    let authority = url.trim_start_matches("ssh://").split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) => format!("ssh-keyscan -p {port} {host}"),
        None => format!("ssh-keyscan {host}"),
    }
}

fn client(values: &Values) -> Result<Option<ClientCertificate>, SecretError> {
    match (text(values, "tls.crt"), text(values, "tls.key")) {
        (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
        (None, None) => Ok(None),
        (None, _) => Err(SecretError::missing("«tls.crt»", "add it, or leave `tls.key` out")),
        (_, None) => Err(SecretError::missing("«tls.key»", "add it, or leave `tls.crt` out")),
    }
}

impl Credentials {
    /// Takes what is secret out of a text that somebody else wrote.
    #[must_use]
    pub fn redacted(&self, text: &str) -> String {
        match self {
            Self::Basic { password, .. } if !password.is_empty() => text.replace(password.as_str(), "***"),
            _ => text.to_owned(),
        }
    }

    /// The line of `git credential-store` that answers for the scheme and host of a URL and for no other,
    /// whatever a server redirects to. `None` for ssh.
    #[must_use]
    pub fn store_line(&self, url: &str) -> Option<String> {
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
    use crate::plan::credentials::secret::values;

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

    /// What is read of a Secret for a URL, or what is said of it.
    fn read(url: &str, keys: &[(&str, &str)]) -> Result<GitSecret, String> {
        GitSecret::read(url, &values(keys)).map_err(|error| error.to_string())
    }

    #[test]
    fn kubernetes_own_secrets_work_as_they_are() {
        let ssh = |identity: &str| Credentials::Ssh { identity: identity.to_owned(), known_hosts: "hosts".to_owned() };
        let authority = || Tls { authority: Some("PEM".to_owned()), client: None };
        let client = ClientCertificate { certificate: "C".to_owned(), key: "K".to_owned() };
        for (url, keys, credentials, tls) in [
            ("https://a/b", &[("username", "bob"), ("password", "x")] as &[_], Some(basic("bob", "x")), Tls::default()),
            ("https://a/b", &[("username", "bob\n"), ("password", "x\r\n\n")], Some(basic("bob", "x")), Tls::default()),
            ("http://a/b", &[("password", "token")], Some(basic("x-access-token", "token")), Tls::default()),
            ("https://a/b", &[("password", "x"), ("ca.crt", "PEM\n")], Some(basic("x-access-token", "x")), authority()),
            ("https://a/b", &[("ca.crt", "PEM")], None, authority()),
            (
                "https://a/b",
                &[("tls.crt", "C"), ("tls.key", "K"), ("ca.crt", "PEM")],
                None,
                Tls { client: Some(client), ..authority() },
            ),
            ("ssh://a/b", &[("identity", "key"), ("known_hosts", "hosts\n")], Some(ssh("key")), Tls::default()),
            ("ssh://a/b", &[("ssh-privatekey", "key"), ("known_hosts", "hosts")], Some(ssh("key")), Tls::default()),
        ] {
            assert_eq!(read(url, keys), Ok(GitSecret { credentials, tls }), "{url} {keys:?}");
        }
    }

    #[test]
    fn what_lacks_is_named() {
        for (url, keys, expected) in [
            ("http://a/b", &["username"] as &[&str], "has no key «password»: add it"),
            (
                "https://a/b",
                &["identity", "known_hosts"],
                "has no key «username» and none «password»: http and https want `username` and `password`, a token as \
                 `password` alone, or `ca.crt`",
            ),
            ("https://a/b", &["tls.crt"], "has no key «tls.key»: add it, or leave `tls.crt` out"),
            ("https://a/b", &["tls.key", "password"], "has no key «tls.crt»: add it, or leave `tls.key` out"),
            ("ssh://a/b", &["username", "password"], "has no key «ssh-privatekey»: ssh wants a private key: add it"),
            (
                "ssh://git@a:22/b",
                &["ssh-privatekey"],
                "has no key «known_hosts»: no other server than those in it is believed: add what \
                 `ssh-keyscan -p 22 a` prints",
            ),
        ] {
            let keys: Vec<_> = keys.iter().map(|key| (*key, "canary")).collect();
            assert_eq!(read(url, &keys), Err(expected.to_owned()), "{url} {keys:?}");
        }
        let (nothing, newline) = (read("https://a/b", &[("password", "")]), read("https://a/b", &[("password", "\n")]));
        assert!(nothing.is_err() && newline.is_err(), "{nothing:?} {newline:?}");
    }

    #[test]
    fn the_files_of_a_pod_are_read_as_the_secret_was() {
        let tls = [("tls.crt", "C"), ("tls.key", "K"), ("ca.crt", "PEM")];
        for (url, keys) in [
            ("https://a/b", &[("password", "x\n")] as &[_]),
            ("https://a/b", &tls),
            ("ssh://a/b", &[("ssh-privatekey", "key\n"), ("known_hosts", "hosts")]),
        ] {
            let secret = read(url, keys).unwrap();
            let written: Vec<_> = files(url).iter().map(|name| (*name, secret.file(name))).collect();
            assert_eq!(read(url, &written), Ok(secret), "{url} {keys:?}");
        }
    }

    #[test]
    fn what_is_secret_is_not_printed() {
        let ssh = Credentials::Ssh { identity: "canary".to_owned(), known_hosts: "canary".to_owned() };
        assert_eq!(format!("{:?} {ssh:?}", basic("canary", "canary")), "Basic Ssh");
        let client = ClientCertificate { certificate: "canary".to_owned(), key: "canary".to_owned() };
        let tls = Tls { authority: Some("canary".to_owned()), client: Some(client) };
        assert_eq!(format!("{tls:?}"), "Tls { authority: true, client: true }");
        assert_eq!(basic("bob", "canary").redacted("the canary is canary"), "the *** is ***");
        assert_eq!(basic("bob", "").redacted("text"), "text");
    }
}

//! Who we are to registries, as Docker writes it down: what Secrets of the types `kubernetes.io/dockerconfigjson`,
//! `kubernetes.io/dockercfg` and `kubernetes.io/basic-auth` hold.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value, json};

use super::{
    error::{ConfigError, SecretError},
    secret::{Login, Values, authority, login, without_newline},
};
use crate::plan::image::{DOCKER_HUB, Repository, canonical};

/// Docker writes padding, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of Secrets that hold a whole configuration; of the second, its `auths` alone.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
const LEGACY_CONFIG: &str = ".dockercfg";
/// The entry in which Docker's command line looks for its Hub.
const HUB_ENTRY: &str = "https://index.docker.io/v1/";

/// What a Secret for registries holds.
#[derive(Clone, Debug, Default)]
pub struct RegistrySecret {
    /// Who we are.
    pub config: DockerConfig,
    /// Certificates of authorities that the registry is trusted by besides those of the system, as PEM.
    pub authority: Option<String>,
}

/// Credentials by registry, or by a part of one. What Docker has no use for is skipped, as Docker does; an entry that
/// cannot be read matters to whoever needs that entry.
#[derive(Clone, Default)]
pub struct DockerConfig {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    /// As it is written.
    key: String,
    registry: String,
    /// The folder of the registry that it is for; empty: all of it.
    folder: String,
    held: Held,
}

/// What an entry holds.
#[derive(Clone)]
enum Held {
    Login(Login),
    /// Nothing, as `docker login` leaves it where a key store has the rest.
    Nothing,
    Unusable(ConfigError),
}

/// What there is for a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding<'c> {
    /// Credentials.
    Login(&'c Login),
    /// An entry without any: its key.
    Nothing(&'c str),
    /// No entry.
    Absent,
}

impl RegistrySecret {
    /// What a Secret holds. User name and password without a registry are for the one given, and so is a token, which
    /// is a password without a user name.
    ///
    /// # Errors
    /// It holds none, or cannot be read.
    pub fn read(registry: &str, values: &Values) -> Result<Self, SecretError> {
        let authority = authority(values);
        let config = match (values.get(DOCKER_CONFIG), values.get(LEGACY_CONFIG)) {
            (Some(text), _) => DockerConfig::parse(&text.0)?,
            (None, Some(text)) => DockerConfig::parse_legacy(&text.0)?,
            (None, None) => match login(values)? {
                Some(login) => DockerConfig::single(registry, login),
                None if authority.is_some() => DockerConfig::default(),
                None => return Err(nothing()),
            },
        };
        Ok(Self { config, authority })
    }
}

fn nothing() -> SecretError {
    let remedy = "make it of that type, or of kubernetes.io/basic-auth with `username` and `password`";
    SecretError::missing("«.dockerconfigjson»", remedy)
}

impl DockerConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let written = object(text)?;
        match written.get("auths") {
            Some(Value::Object(auths)) => Ok(Self::of(auths)),
            None | Some(Value::Null) => Ok(Self::default()),
            Some(_) => Err(ConfigError::Form),
        }
    }

    /// Reads the form before that, which has the entries alone.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse_legacy(text: &[u8]) -> Result<Self, ConfigError> {
        object(text).map(|auths| Self::of(&auths))
    }

    fn of(auths: &Map<String, Value>) -> Self {
        let entries = auths.iter().map(|(key, written)| {
            let (registry, folder) = place(key);
            Entry { key: key.clone(), registry, folder, held: held(key, written) }
        });
        Self { entries: entries.collect() }
    }

    fn single(registry: &str, login: Login) -> Self {
        let (registry, folder) = (canonical(registry).to_owned(), String::new());
        Self { entries: vec![Entry { key: registry.clone(), registry, folder, held: Held::Login(login) }] }
    }

    /// What it holds for a repository: what the innermost folder has that it is in.
    ///
    /// # Errors
    /// That entry cannot be used.
    pub fn of_repository(&self, repository: &Repository) -> Result<Holding<'_>, &ConfigError> {
        let fitting = self.entries.iter().filter(|entry| entry.fits(repository));
        match fitting.max_by_key(|entry| entry.rank()).map(|entry| (&entry.key, &entry.held)) {
            Some((_, Held::Login(login))) => Ok(Holding::Login(login)),
            Some((_, Held::Unusable(why))) => Err(why),
            Some((key, Held::Nothing)) => Ok(Holding::Nothing(key)),
            None => Ok(Holding::Absent),
        }
    }

    /// The `config.json` with which Docker's command line reaches a repository, and the other registries besides: it
    /// knows no folders, has no key store, and reads all entries or none.
    #[must_use]
    pub fn for_docker(&self, repository: &Repository) -> Map<String, Value> {
        let mut logins = BTreeMap::new();
        for entry in &self.entries {
            if let Held::Login(login) = &entry.held
                && (entry.folder.is_empty() || !logins.contains_key(&entry.registry))
            {
                logins.insert(&entry.registry, login);
            }
        }
        if let Ok(Holding::Login(login)) = self.of_repository(repository) {
            logins.insert(&repository.registry, login);
        }
        let auths = logins.into_iter().map(|(registry, login)| {
            let key = if registry == DOCKER_HUB { HUB_ENTRY } else { registry };
            let auth = BASE64.encode(format!("{}:{}", login.username, login.password));
            (key.to_owned(), json!({"auth": auth}))
        });
        Map::from_iter([("auths".to_owned(), Value::Object(auths.collect()))])
    }
}

impl Entry {
    fn fits(&self, repository: &Repository) -> bool {
        let inside = repository.path.strip_prefix(&self.folder);
        let is_folder = |rest: &str| self.folder.is_empty() || rest.is_empty() || rest.starts_with('/');
        self.registry == repository.registry && inside.is_some_and(is_folder)
    }

    /// What is empty is the last to be taken; among others the innermost is the first, and of two for one place, as
    /// two names of Docker Hub are, the one with credentials.
    fn rank(&self) -> (bool, usize, bool) {
        let (is_empty, is_login) = (matches!(self.held, Held::Nothing), matches!(self.held, Held::Login(_)));
        (!is_empty, self.folder.len(), is_login)
    }
}

/// Neither names nor passwords: whoever prints this wants to know whether there are any.
impl fmt::Debug for DockerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.entries.iter().map(|entry| &entry.registry)).finish()
    }
}

fn object(text: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    // Into a value first: the errors of typed reading quote what they found.
    let value = serde_json::from_slice(text).map_err(|error| ConfigError::Syntax(error.line(), error.column()))?;
    if let Value::Object(object) = value { Ok(object) } else { Err(ConfigError::Form) }
}

/// Registry and folder of a key: `https://index.docker.io/v1/`, `registry.example`, `registry.example/team`.
fn place(key: &str) -> (String, String) {
    let rest = key.trim().trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, folder) = rest.split_once('/').unwrap_or((rest, ""));
    // The version of the protocol is no folder.
    let folder = if matches!(folder, "v1" | "v2") { "" } else { folder };
    (canonical(host).to_owned(), folder.to_owned())
}

fn held(key: &str, written: &Value) -> Held {
    let text = |name: &str| written.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Held::Login(trimmed(username, password));
    }
    match text("auth") {
        Some(auth) => decoded(auth).map_or_else(|| Held::Unusable(ConfigError::Auth(key.to_owned())), Held::Login),
        None if is_empty(written) => Held::Nothing,
        None => Held::Unusable(ConfigError::Incomplete(key.to_owned())),
    }
}

/// Whether an entry says nothing of who we are.
fn is_empty(written: &Value) -> bool {
    let says = |(name, value): (&String, &Value)| name != "email" && !value.is_null() && value != "";
    written.is_null() || written.as_object().is_some_and(|fields| !fields.iter().any(says))
}

fn decoded(auth: &str) -> Option<Login> {
    let text = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Some tools end it with zeros.
    Some(trimmed(username, password.trim_end_matches('\0')))
}

fn trimmed(username: &str, password: &str) -> Login {
    Login { username: without_newline(username).to_owned(), password: without_newline(password).to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::credentials::secret::values;

    fn found(text: &str, image: &str) -> Option<(String, String)> {
        let config = DockerConfig::parse(text.as_bytes()).unwrap();
        match config.of_repository(&image.parse().unwrap()).unwrap() {
            Holding::Login(login) => Some((login.username.clone(), login.password.clone())),
            Holding::Nothing(_) | Holding::Absent => None,
        }
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
            ("docker.io", "index.docker.io/debian", true),
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
            (json!({"auth": BASE64.encode("bob:secret\n")}), Some(pair("bob", "secret"))),
            (json!({"username": "bob\n", "password": "secret\r\n"}), Some(pair("bob", "secret"))),
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
    fn one_entry_does_not_spoil_the_others() {
        let good = json!({"auth": BASE64.encode("bob:secret")});
        for other in [
            json!({}),
            json!(null),
            json!({"auth": "", "email": "b@c"}),
            json!({"auth": "canary!"}),
            json!({"identitytoken": "canary"}),
            json!("canary"),
        ] {
            let text = json!({"auths": {"https://index.docker.io/v1/": other, "r.example": good}, "credsStore": "x",
                "credHelpers": {"r.example": "ecr-login"}, "HttpHeaders": {"a": "b"}});
            assert_eq!(found(&text.to_string(), "r.example/a"), Some(pair("bob", "secret")), "{text}");
        }
        let two =
            json!({"auths": {"docker.io": {}, "https://index.docker.io/v1/": good, "index.docker.io": {"auth": "?"}}});
        assert_eq!(found(&two.to_string(), "debian"), Some(pair("bob", "secret")));
    }

    #[test]
    fn the_entry_that_is_needed_must_be_usable() {
        let of = |entry: Value| {
            let config = DockerConfig::parse(json!({"auths": {"r.example": entry}}).to_string().as_bytes()).unwrap();
            config.of_repository(&"r.example/a".parse().unwrap()).map(|held| format!("{held:?}")).map_err(Clone::clone)
        };
        let key = "r.example".to_owned();
        for (entry, expected) in [
            (json!({}), Ok("Nothing(\"r.example\")".to_owned())),
            (json!({"email": "b@c", "auth": ""}), Ok("Nothing(\"r.example\")".to_owned())),
            (json!({"identitytoken": "canary"}), Err(ConfigError::Incomplete(key.clone()))),
            (json!("canary"), Err(ConfigError::Incomplete(key.clone()))),
            (json!({"username": "canary"}), Err(ConfigError::Incomplete(key.clone()))),
            (json!({"auth": "canary!"}), Err(ConfigError::Auth(key.clone()))),
            (json!({"auth": "Y2FuYXJ5"}), Err(ConfigError::Auth(key))),
        ] {
            assert_eq!(of(entry.clone()), expected, "{entry}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_values() {
        for (text, expected) in [
            ("", ConfigError::Syntax(1, 0)),
            ("{\"auths\": {\n\"canary", ConfigError::Syntax(2, 7)),
            ("[]", ConfigError::Form),
            (r#"{"auths": "canary"}"#, ConfigError::Form),
        ] {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("canary") && !format!("{error:?}").contains("canary"), "{error:?}");
            assert_eq!(error, expected, "{text}");
        }
    }

    #[test]
    fn kubernetes_own_secrets_work_as_they_are() {
        let good = json!({"auth": BASE64.encode("bob:secret")});
        let (config, legacy) =
            (json!({"auths": {"r.example": good}}).to_string(), json!({"r.example": good}).to_string());
        for (keys, image, expected) in [
            (&[(".dockerconfigjson", config.as_str())] as &[(&str, &str)], "r.example/a", Some(pair("bob", "secret"))),
            (&[(".dockercfg", &legacy)], "r.example/a", Some(pair("bob", "secret"))),
            (&[(".dockercfg", &legacy)], "other.example/a", None),
            (&[("username", "bob\n"), ("password", "secret\n")], "r.example/a", Some(pair("bob", "secret"))),
            (&[("username", "bob"), ("password", "secret")], "other.example/a", None),
            (&[("password", "token")], "r.example/a", Some(pair("x-access-token", "token"))),
            (&[("ca.crt", "PEM")], "r.example/a", None),
        ] {
            let secret = RegistrySecret::read("r.example", &values(keys)).unwrap();
            let of = secret.config.of_repository(&image.parse().unwrap());
            let login = expected.map(|(username, password)| Login { username, password });
            assert_eq!(of, Ok(login.as_ref().map_or(Holding::Absent, Holding::Login)), "{keys:?} {image}");
        }
        let hub = RegistrySecret::read("docker.io", &values(&[("password", "token")])).unwrap();
        assert!(matches!(hub.config.of_repository(&"debian".parse().unwrap()), Ok(Holding::Login(_))));
        for (keys, expected) in [
            (&["username"] as &[&str], "has no key «password»: add it"),
            (
                &["ssh-privatekey"],
                "has no key «.dockerconfigjson»: make it of that type, or of kubernetes.io/basic-auth with `username` and \
                 `password`",
            ),
            (&[".dockercfg"], "cannot be used: its configuration of Docker is not JSON: line 1, column 1"),
        ] {
            let keys: Vec<_> = keys.iter().map(|key| (*key, "canary")).collect();
            let error = RegistrySecret::read("r.example", &values(&keys)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn docker_gets_what_it_can_read() {
        let entry = |name: &str| json!({"username": name, "password": "x\n"});
        let auth = |name: &str| json!({"auth": BASE64.encode(format!("{name}:x"))});
        let text = json!({"credsStore": "desktop", "auths": {
            "docker.io": entry("hub"), "r.example/team": entry("team"), "r.example": entry("all"),
            "s.example/a": entry("a"), "broken.example": {"auth": "!"}, "empty.example": {},
        }});
        let config = DockerConfig::parse(text.to_string().as_bytes()).unwrap();
        for (image, of_registry) in [("r.example/team/web", "team"), ("r.example/web", "all"), ("debian", "all")] {
            let expected = json!({"auths": {
                "https://index.docker.io/v1/": auth("hub"), "r.example": auth(of_registry), "s.example": auth("a"),
            }});
            assert_eq!(Value::Object(config.for_docker(&image.parse().unwrap())), expected, "{image}");
        }
    }

    #[test]
    fn debug_output_has_no_values() {
        let text = r#"{"auths": {"r.example": {"username": "bob", "password": "canary"}}}"#;
        assert_eq!(format!("{:?}", DockerConfig::parse(text.as_bytes()).unwrap()), r#"["r.example"]"#);
    }
}

//! What the kinds have in common: strings with a grammar, references, sources.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Declares a string whose grammar and length the API server checks. The doc comment describes it
/// wherever a field has none of its own. What a pattern cannot say is said by a rule in CEL, with its sentence;
/// where people would not read a pattern, rules alone say what is wrong.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal, $pattern:expr $(, $rule:literal, $sentence:literal)?) => {
        checked_string!(
            @$(#[$doc])* $name, length(min = $min, max = $max), regex(pattern = $pattern);
            $($rule, $sentence)?
        );
    };
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal; $($rule:expr => $sentence:expr),+ $(,)?) => {
        checked_string!(@$(#[$doc])* $name, length(min = $min, max = $max); $($rule, $sentence),+);
    };
    (@$(#[$doc:meta])* $name:ident, $($bound:ident($($value:tt)*)),+; $($rule:expr, $sentence:expr),*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(transform = rules(&[$(($rule, $sentence)),*]))]
        pub struct $name(#[schemars($($bound($($value)*)),+)] pub String);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// Adds rules in CEL to a schema, each with the sentence of whoever breaks it.
fn rules(all: &'static [(&'static str, &'static str)]) -> impl FnMut(&mut Schema) {
    move |schema| {
        let rules: Vec<_> = all.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect();
        if !rules.is_empty() {
            schema.insert("x-kubernetes-validations".to_owned(), Value::Array(rules));
        }
    }
}

/// A registry as host or host:port, as [`crate::plan::image`] reads it: labels of a DNS name, and a port that
/// there can be.
macro_rules! registry_host {
    () => {
        concat!(
            r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*",
            r"(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4}))?"
        )
    };
}

/// A part of the path of an image: between letters and digits one `.`, one or two `_`, or any number of `-`.
macro_rules! path_part {
    () => {
        r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
    };
}

/// The sentences of whoever writes a wrong path, URL or revision: the API server's, and those of a check without it.
/// A path that is not relative.
pub const ABSOLUTE_PATH: &str = "must be relative to the source: leave the / in front out";
/// A path with a part that a path of a source may not have.
pub const ESCAPING_PATH: &str = "must stay inside the source: none of its parts may be empty, . or ..";
/// A path with a character that no part of it may have.
pub const CHARACTER_OF_PATH: &str = "must not hold a backslash or a control character";
/// A path that is meant as a pattern.
pub const NO_PATTERN: &str = "must be files or folders, not patterns: of ansible/** name the folder, ansible";
/// A URL of git that is none, or has another scheme.
pub const GIT_SCHEME: &str =
    "must begin with https://, http:// or ssh://: write git@host:team/box.git as ssh://git@host/team/box.git";
/// A URL of git with a password in it.
pub const GIT_PASSWORD: &str = "must not hold a password: put it into the Secret of secretRef";
/// A URL of git that is otherwise malformed.
pub const GIT_ADDRESS: &str =
    "must be a host and a path of letters, digits and . _ ~ % + - /, with neither query nor fragment";
/// A URL of a server of packages that is none, or holds more than an address.
pub const PACKAGES_URL: &str = "must be https:// or http://, a host and perhaps a path, as https://git.example: neither user nor query nor fragment, and credentials belong into the Secret of secretRef";
/// The name of a box that is none.
pub const BOX_TAG: &str = "must be the owner and the name of a box in lower case, as team-a/web: letters, digits and . _ -, neither . nor - first";
/// A version of a box that a server of packages, or Vagrant, does not take for one.
pub const BOX_VERSION: &str = "must be a version in lower case, as 1.2.0, 1.2.0-rc.1 or 0.1.{{timestamp}}: numbers with dots between them, of up to 18 digits each, and perhaps - and letters, digits, . and - behind them; {{timestamp}} once at most";
/// A revision that git does not take, or takes for something else.
pub const GIT_REVISION: &str = "must be a branch, a tag, a full ref name or a commit, as git allows them: no space or control character, none of ~ ^ : ? * [ \\, no .. // @{, no - first, no part that begins with . or ends with .lock, neither . nor / at the end";

/// Entries that are files or folders: nobody resolves patterns.
pub(super) const PATHS: (&str, &str) = ("self.all(path, !path.contains('*'))", NO_PATTERN);

/// The keys of a map are names of variables: a schema has no pattern for keys.
pub(super) const VARIABLE_NAMES: (&str, &str) = (
    "self.all(name, size(name) <= 128 && name.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))",
    "the name of a variable must be letters, digits and _, not a digit first, 128 characters at most",
);

/// The keys of a map are paths inside the source.
pub(super) const FILE_PATHS: (&str, &str) = (
    r"self.all(path, size(path) <= 512 && !path.matches('(^|/)[.]{0,2}(/|$)|[\\\\\\x00-\\x1f\\x7f-\\x{9f}]'))",
    "a path must stay inside the source: relative, none of its parts empty, . or .., no backslash or control character, 512 characters at most",
);

checked_string!(
    /// A time span as numbers with the units h, m and s, for example `90s`, `10m` or `1h30m`.
    Duration, 2..=20, r"^([0-9]{1,5}[hms]){1,3}$",
    "duration(self) > duration('0s') && duration(self) <= duration('168h')",
    "a time span must be longer than nothing and not longer than a week (168h)"
);

checked_string!(
    /// The name of a Kubernetes object: lower case letters, digits, `-` and `.`.
    ObjectName, 1..=253, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
);

checked_string!(
    /// A name of lower case letters, digits and `-`, as in a DNS label.
    Label, 1..=40, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
);

checked_string!(
    /// A key of a Secret or `ConfigMap`.
    DataKey, 1..=253, r"^[-._a-zA-Z0-9]+$"
);

checked_string!(
    /// A path inside the source: relative, with `/` between its parts, none of which is `.` or `..`.
    RelativePath, 1..=512;
    "!self.startsWith('/')" => ABSOLUTE_PATH,
    "self.startsWith('/') || !('/' + self + '/').matches('/[.]{0,2}/')" => ESCAPING_PATH,
    r"!self.matches(r'[\p{Cc}\\]')" => CHARACTER_OF_PATH,
);

checked_string!(
    /// A file or folder of the source, as programs take it: `.` is the root, `./a` and `a/` are `a`.
    Location, 1..=512;
    "!self.startsWith('/')" => ABSOLUTE_PATH,
    "self.startsWith('/') || !self.matches('(^|/)[.][.](/|$)|/[.](/|$)|//')" => ESCAPING_PATH,
    r"!self.matches(r'[\p{Cc}\\]')" => CHARACTER_OF_PATH,
);

checked_string!(
    /// The name of an image in a registry, with a tag or a digest or both, for example
    /// `registry.example/debian:13` or `registry.example/debian@sha256:…`.
    ImageReference, 1..=512;
    concat!(
        // What Docker does not take for a registry is the first part of a path on its own one.
        "self.matches(r'^(", path_part!(), "|(", registry_host!(), r"|[a-z0-9]+((__?|-+)[a-z0-9]+)*)(/", path_part!(), ")+)",
        r"(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$')"
    ) => "must be the name of an image, in lower case, with a tag or a digest behind it: registry.example/team/web:1.2 or debian@sha256:…; it holds no placeholders",
);

checked_string!(
    /// A repository in a registry, with neither tag nor digest, for example `registry.example/team-a/web`.
    Repository, 1..=255;
    concat!("self.matches(r'^", registry_host!(), "(/", path_part!(), ")+$')")
        => "must be a repository as registry.example/team/web: the registry, a path in lower case, neither tag nor digest; it holds no placeholders",
);

checked_string!(
    /// A tag: letters, digits, `_`, `.` and `-`.
    Tag, 1..=128;
    "self.matches('^[a-zA-Z0-9_][a-zA-Z0-9._-]*$')"
        => "must be a tag: up to 128 letters, digits, _ . -, neither . nor - first",
);

checked_string!(
    /// A tag: letters, digits, `_`, `.` and `-`. It may hold `{{timestamp}}` once, as in `0.1.{{timestamp}}`: the time at
    /// which the `ImageBuild` was made, in seconds since 1970, so that each build has a tag of its own.
    TagTemplate, 1..=131;
    "self.matches('^([a-zA-Z0-9_][a-zA-Z0-9._-]*)?([{][{]timestamp[}][}][a-zA-Z0-9._-]*)?$') && (size(self) <= 128 || self.contains('{'))"
        => "must be a tag: up to 128 letters, digits, _ . -, neither . nor - first; {{timestamp}} once at most, for the ten digits of the time of the build; tags hold no other placeholders",
);

checked_string!(
    /// The base address of a server of packages: `https://` or `http://`, a host and perhaps a path, without user,
    /// query and fragment.
    PackagesUrl, 8..=200;
    r"self.matches(r'^https?://[a-zA-Z0-9\[][a-zA-Z0-9.:\[\]-]*(/[a-zA-Z0-9_~-][a-zA-Z0-9._~-]*)*/?$')" => PACKAGES_URL,
);

checked_string!(
    /// The owner and the name of a box, in lower case: `team-a/web`.
    BoxTag, 3..=128;
    "self.matches('^[a-z0-9_][a-z0-9._-]*/[a-z0-9_][a-z0-9._-]*$')" => BOX_TAG,
);

checked_string!(
    /// A version of a box, in lower case: numbers with dots between them, and perhaps `-` and what marks it as not
    /// released yet. It may hold `{{timestamp}}` once, as in `0.1.{{timestamp}}`: the time at which the `ImageBuild`
    /// was made, in seconds since 1970, so that each build has a version of its own.
    BoxVersionTemplate, 1..=131;
    "self.replace('{{timestamp}}', '1', 1).matches('^[0-9]{1,18}([.][0-9]{1,18})*(-[0-9a-z-]+([.][0-9a-z-]+)*)?$')" => BOX_VERSION,
);

checked_string!(
    /// Where something is published: a repository of a registry, or the address of a box that `vagrant box add` takes.
    PublishedPlace, 1..=512, r"^[^\s]+$"
);

checked_string!(
    /// The name of a variable: letters, digits and `_`, not a digit first.
    VariableName, 1..=128, r"^[a-zA-Z_][a-zA-Z0-9_]*$"
);

checked_string!(
    /// The URL of a git repository: `https://`, `http://` or `ssh://`, without a password; credentials
    /// belong into the Secret of `secretRef`.
    GitUrl, 1..=1024;
    "self.matches('^(https?|ssh)://')" => GIT_SCHEME,
    "!self.matches('^[a-z]+://[^/]*:[^/]*@')" => GIT_PASSWORD,
    concat!(
        "!self.matches('^(https?|ssh)://') || ",
        r"self.matches(r'^[a-z]+://([a-zA-Z0-9._~][a-zA-Z0-9._~:-]*@)?[a-zA-Z0-9\[][a-zA-Z0-9.:\[\]-]*(/[a-zA-Z0-9._~%+/-]*)?$')"
    ) => GIT_ADDRESS,
);

checked_string!(
    /// A branch, a tag, a full ref name or a commit hash.
    GitRevision, 1..=255;
    r"!self.matches(r'^[-/]|^@$|[\p{Cc} ~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|$)|[./]$')" => GIT_REVISION,
);

checked_string!(
    /// A registry as host or host:port.
    RegistryHost, 1..=255, concat!("^", registry_host!(), "$")
);

checked_string!(
    /// The URL of a proxy. Credentials in it would be shown to whoever may read the profile.
    ProxyUrl, 8..=255, r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"
);

checked_string!(
    /// A host, a domain, an address or a range of addresses that no proxy is asked for.
    NoProxy, 1..=255, r"^[A-Za-z0-9.*:_-]+(/[0-9]{1,3})?$"
);

checked_string!(
    /// A digest of a registry.
    Digest, 71..=71, r"^sha256:[a-f0-9]{64}$"
);

checked_string!(
    /// Text that may hold placeholders such as `$(parent.reference)`.
    Text, 0..=4096, r"^[^\x00]*$"
);

/// The `ServiceAccount` that every namespace has.
pub(super) fn default_service_account() -> ObjectName {
    ObjectName::from("default")
}

/// A Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The name of the Secret.
    pub name: ObjectName,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// The name of the Secret.
    pub name: ObjectName,
    /// The key within it.
    pub key: DataKey,
}

/// A variable whose value comes from a Secret. It never decides whether a link is out of date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVariable {
    /// The name of the variable.
    pub name: VariableName,
    /// Where its value is.
    pub secret_key_ref: SecretKeyReference,
}

/// Where templates, playbooks and tests come from. Exactly one of its fields must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.git), has(self.configMap), has(self.inline)].filter(x, x).size() == 1")
        .message("set exactly one of git, configMap, inline")
)]
pub struct Source {
    /// A git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitSource>,
    /// A `ConfigMap` whose entries are the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// Files written into the object itself: for a few lines, not for a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
}

/// A git repository at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// The URL of the repository.
    pub url: GitUrl,
    /// What of it to build: a branch, a tag, a full ref name or a commit hash. Default: the repository's
    /// own default branch.
    #[serde(default = "head")]
    pub revision: GitRevision,
    /// The folder of the repository that all paths are relative to. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<RelativePath>,
    /// A Secret: for http and https `username` and `password`, or a token as `password` alone, and `ca.crt`, `tls.crt`
    /// and `tls.key` where the server wants them; for ssh `ssh-privatekey` (or `identity`) and `known_hosts`. The types
    /// `kubernetes.io/basic-auth`, `kubernetes.io/ssh-auth` and `kubernetes.io/tls` have these. It is sent to the host of
    /// the URL and to no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

fn head() -> GitRevision {
    GitRevision::from("HEAD")
}

/// A `ConfigMap` in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// The name of the `ConfigMap`.
    pub name: ObjectName,
}

/// Files written into the object itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InlineSource {
    /// The files by path; at most 64 of at most 64 KiB each.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 64))]
    #[x_kube(validation = FILE_PATHS)]
    pub files: BTreeMap<String, FileContent>,
}

checked_string!(
    /// The content of a file.
    FileContent, 0..=65536, r"^[^\x00]*$"
);

/// Whether a field has the value that its absence stands for.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The observed generation of an object that nobody has looked at yet.
pub(super) fn not_observed() -> i64 {
    -1
}

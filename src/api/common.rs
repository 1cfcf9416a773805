//! What the kinds have in common: strings with a grammar, references, sources.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares a string whose grammar and length the API server checks. The doc comment describes it
/// wherever a field has none of its own. What a pattern cannot say is said by a rule in CEL, with its sentence.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal, $pattern:expr $(, $rule:literal, $sentence:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        $(#[schemars(extend("x-kubernetes-validations" = [{"rule": $rule, "message": $sentence}]))])?
        pub struct $name(#[schemars(length(min = $min, max = $max), regex(pattern = $pattern))] pub String);

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

// A segment of a path is anything but `.`, `..` and what holds a slash, a backslash or a control character.
checked_string!(
    /// A path inside the source: relative, with `/` between its parts, none of which is `.` or `..`.
    RelativePath, 1..=512,
    r"^([^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.[^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.\.[^/\\\x00-\x1f\x7f-\x{9f}]+)(/([^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.[^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.\.[^/\\\x00-\x1f\x7f-\x{9f}]+))*$"
);

checked_string!(
    /// A file or folder of the source, as programs take it: `.` is the root, `./a` and `a/` are `a`.
    Location, 1..=512, r"^[^\x00]*$",
    r"!self.matches('(^|/)[.][.](/|$)|/[.](/|$)|^/|//|[\\\\\\x00-\\x1f\\x7f-\\x{9f}]')",
    "must stay inside the source: a relative path without .., and without a backslash or a control character; . is the root"
);

checked_string!(
    /// The name of an image in a registry, with a tag or a digest or both, for example
    /// `registry.example/debian:13` or `registry.example/debian@sha256:…`.
    ImageReference, 1..=512, concat!(
        // What Docker does not take for a registry is the first part of a path on its own one.
        "^(", path_part!(), "|(", registry_host!(), r"|[a-z0-9]+((__?|-+)[a-z0-9]+)*)(/", path_part!(), ")+)",
        r"(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$"
    )
);

checked_string!(
    /// A repository in a registry, with neither tag nor digest, for example `registry.example/team-a/web`.
    Repository, 1..=255, concat!("^", registry_host!(), "(/", path_part!(), ")+$")
);

checked_string!(
    /// A tag: letters, digits, `_`, `.` and `-`.
    Tag, 1..=128, r"^[a-zA-Z0-9_][a-zA-Z0-9._-]*$"
);

checked_string!(
    /// The name of a variable: letters, digits and `_`, not a digit first.
    VariableName, 1..=128, r"^[a-zA-Z_][a-zA-Z0-9_]*$"
);

checked_string!(
    /// The URL of a git repository: `https://`, `http://` or `ssh://`, without a password; credentials
    /// belong into the Secret of `secretRef`.
    GitUrl, 8..=1024, r"^(https?|ssh)://([a-zA-Z0-9._~-]+@)?[a-zA-Z0-9\[][a-zA-Z0-9.:\[\]-]*(/[a-zA-Z0-9._~%+/-]*)?$"
);

checked_string!(
    /// A branch, a tag, a full ref name or a commit hash.
    GitRevision, 1..=255, r"^[a-zA-Z0-9_][a-zA-Z0-9._/+-]*$",
    "!self.matches('//|[.][.]|[.]lock(/|$)|[./]$|/[.]')",
    "git takes no name with .. or //, with a part that begins with . or ends with .lock, or with . or / at its end"
);

checked_string!(
    /// A registry as host or host:port.
    RegistryHost, 1..=255, concat!("^", registry_host!(), "$")
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
    /// A Secret with `username` and `password` (a token) for http and https, or `identity` and
    /// `known_hosts` for ssh. It is sent to the host of the URL and to no other.
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

//! The objects of the cluster that a build or a profile names.

use std::fmt;

/// Which of the two namespaces of a build an object is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceRole {
    /// The build's own: the tenant must have granted the right to read it.
    Tenant,
    /// That of its pods: the platform's administrators made the object.
    Execution,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

impl ObjectKind {
    /// The name of its resource, as RBAC and `kubectl` take it.
    #[must_use]
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// An object by its name, in one of the namespaces of a build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// In which namespace.
    pub namespace: NamespaceRole,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// A Secret of the build's namespace.
    #[must_use]
    pub fn secret(name: &str) -> Self {
        Self { namespace: NamespaceRole::Tenant, kind: ObjectKind::Secret, name: name.to_owned() }
    }

    /// A `ConfigMap` of the build's namespace.
    #[must_use]
    pub fn config_map(name: &str) -> Self {
        Self { kind: ObjectKind::ConfigMap, ..Self::secret(name) }
    }

    /// The same in the namespace of the pods.
    #[must_use]
    pub fn of_execution(self) -> Self {
        Self { namespace: NamespaceRole::Execution, ..self }
    }
}

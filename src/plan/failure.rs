//! What went wrong, in one form for everything that can: a look-up, a gate before an attempt, a stage, a pod.

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    dependency::Dependency,
    text::{LONGEST_MESSAGE, truncate_end},
};
use crate::api::{
    build::{self, Container},
    condition::Reason,
};

/// A failure. As JSON it is what a stage says of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The container of the pod that failed. Absent where none had begun, and where no pod is concerned.
    #[serde(skip)]
    pub container: Option<Container>,
    /// What, as one of a closed list.
    pub reason: Reason,
    /// What happened and what to do, in a sentence.
    pub message: String,
    /// The task of a playbook, or the test, that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What was missing: of a failure of class Dependency, what must change before another attempt makes sense.
    /// Absent where that is not known, or where what is said of it names nothing.
    #[serde(rename = "lacked", default, deserialize_with = "known_kind", skip_serializing_if = "Option::is_none")]
    pub missing: Option<Box<Dependency>>,
}

fn known_kind<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<Box<Dependency>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).map(Box::new))
}

impl Failure {
    /// A failure of nothing in particular.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { container: None, reason, message: message.into(), task: None, missing: None }
    }

    /// The same, in a container.
    #[must_use]
    pub fn of(self, container: impl Into<Container>) -> Self {
        Self { container: Some(container.into()), ..self }
    }

    /// As a build's status holds it, cut to the schema's bounds. The reason stands for a message that is empty.
    #[must_use]
    pub fn to_status(&self) -> build::Failure {
        let message = match self.message.trim() {
            "" => self.reason.to_string(),
            text => truncate_end(text, LONGEST_MESSAGE).to_owned(),
        };
        let (stage, reason, task) = (self.container, self.reason, self.task.clone());
        build::Failure { stage, reason, class: reason.class(), message, task }
    }
}

/// Whether something may go on: what it gets if it may, or why it must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate<T> {
    /// It may.
    Open(T),
    /// It must wait.
    Closed(Failure),
}

impl<T> From<Result<T, Failure>> for Gate<T> {
    fn from(checked: Result<T, Failure>) -> Self {
        match checked {
            Ok(value) => Self::Open(value),
            Err(failure) => Self::Closed(failure),
        }
    }
}

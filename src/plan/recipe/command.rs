//! Testing with a command.

use serde::{Deserialize, Serialize};

use super::{fields::Fields, values::Values};
use crate::{api::recipe as api, plan::placeholder::Template};

/// A program and its arguments: at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Command<T> {
    /// The program, and what it is called with.
    pub arguments: Vec<T>,
}

impl Command<Template> {
    /// Validates what is written. `None` where something is wrong that leaves no valid form.
    pub fn validate(written: &api::Command, fields: &mut Fields<'_>) -> Option<Self> {
        if written.arguments.is_empty() {
            fields.below("arguments").add("must name a program");
        }
        fields.texts("arguments", &written.arguments).map(|arguments| Self { arguments })
    }

    /// With values for its placeholders.
    #[must_use]
    pub fn fill(&self, values: &Values) -> Command<String> {
        Command { arguments: self.arguments.iter().map(|argument| values.fill(argument)).collect() }
    }
}

//! What is put in for placeholders.

use std::{borrow::Cow, collections::BTreeMap};

use crate::plan::placeholder::{Placeholder, Template};

/// The longest value of a placeholder, in bytes: the name of an image.
const LONGEST: usize = 512;
/// That of a path in the pod: 512 characters below the source.
const LONGEST_PATH: usize = 4 * 512 + 32;

/// The values of placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    known: BTreeMap<Placeholder, String>,
    /// Of all others.
    others: String,
}

impl FromIterator<(Placeholder, String)> for Values {
    fn from_iter<I: IntoIterator<Item = (Placeholder, String)>>(values: I) -> Self {
        Self { known: values.into_iter().collect(), others: String::new() }
    }
}

impl Values {
    /// Values as long as any can be.
    #[must_use]
    pub fn longest() -> Self {
        let known = BTreeMap::from([(Placeholder::SourcePath, "x".repeat(LONGEST_PATH))]);
        Self { known, others: "x".repeat(LONGEST) }
    }

    /// The text with the values put in. Validation has seen to it that each of them is there.
    #[must_use]
    pub fn fill(&self, template: &Template) -> String {
        template.fill(|placeholder| Cow::Borrowed(self.known.get(placeholder).unwrap_or(&self.others)))
    }
}

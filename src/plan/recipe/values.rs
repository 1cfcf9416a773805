//! What is put in for placeholders.

use std::collections::BTreeMap;

use crate::plan::placeholder::{Placeholder, Template};

/// The longest value of a placeholder, in bytes: the name of an image.
const LONGEST: usize = 512;
/// That of a path in the pod: 512 characters below the source.
const LONGEST_PATH: usize = 4 * 512 + 32;

/// The values of placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<Placeholder, String>);

impl FromIterator<(Placeholder, String)> for Values {
    fn from_iter<I: IntoIterator<Item = (Placeholder, String)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Values {
    /// Values as long as any can be.
    #[must_use]
    pub fn longest() -> Self {
        let longest = |placeholder| if placeholder == Placeholder::SourcePath { LONGEST_PATH } else { LONGEST };
        Placeholder::ALL.iter().map(|&placeholder| (placeholder, "x".repeat(longest(placeholder)))).collect()
    }

    /// The text with the values put in. Validation has seen to it that each of them is there.
    #[must_use]
    pub fn fill(&self, template: &Template) -> String {
        template.fill(|placeholder| self.0.get(&placeholder).map_or("", String::as_str))
    }
}

//! What is wrong with an object, and where: all of it at once, not the first thing only.

use std::fmt;

/// Something in an object that cannot be as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, as `kubectl` writes it: `spec.links[1].from.link`.
    pub path: String,
    /// What is wrong and what to do, in a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Collects problems, in the order in which they are found.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem, once: what is common to many links is looked at for each of them.
    pub fn add(&mut self, path: impl fmt::Display, message: impl fmt::Display) {
        let problem = Problem { path: path.to_string(), message: message.to_string() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// The value, or a noted problem.
    pub fn take<T, E: fmt::Display>(&mut self, path: impl fmt::Display, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(path, error)).ok()
    }

    /// Whether nothing was noted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that was noted.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }

    /// The value if nothing was noted, else all that was.
    ///
    /// # Errors
    /// The problems, at least one. A value that is missing without a problem would be a mistake of ours; it
    /// is reported as a problem of the whole object.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) => Err(self.0),
            None => {
                if self.0.is_empty() {
                    self.add("spec", "cannot be understood");
                }
                Err(self.0)
            }
        }
    }
}

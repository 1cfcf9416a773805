//! What is asked of a build tool.

use super::{needed::Needed, variables::Variables};
use crate::plan::path::SourcePath;

/// A build tool with its settings. `T` is a [`crate::plan::placeholder::Template`] as it is written, and a `String`
/// once its placeholders have values.
pub trait Tool<T> {
    /// Its variables, where it has any. The values of those that come from Secrets are in one file, which only this stage
    /// sees.
    fn variables(&self) -> Option<&Variables<T>>;

    /// Whether it reads the source at all: else no file that is not named decides its result.
    fn uses_source(&self) -> bool {
        true
    }

    /// The files and folders of the source that it names: they decide the result, too. `None`: all of the source.
    fn paths(&self) -> Option<Vec<&SourcePath>>;

    /// What of the source it must find, each with its field below that of the tool.
    fn needs(&self) -> Vec<Needed>;

    /// Its texts that may hold placeholders.
    fn texts(&self) -> Box<dyn Iterator<Item = &T> + '_> {
        Box::new(self.variables().into_iter().flat_map(|variables| variables.values.values()))
    }
}

//! Names that become values of labels.

use super::problem::Problems;

/// The names of builds and profiles become values of labels on pods.
pub(super) fn check_label(name: &str, problems: &mut Problems) {
    if name.len() > 63 {
        problems.add("metadata.name", "must have 63 characters at most: it becomes the value of a label on pods");
    }
}

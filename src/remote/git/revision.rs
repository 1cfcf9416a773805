//! What a revision may mean.

/// What to fetch.
pub(super) struct Wanted {
    pub(super) hash: String,
    /// The ref that led to it.
    pub(super) name: Option<String>,
}

/// Whether a revision is a whole hash, of SHA-1 or SHA-256.
pub(super) fn is_hash(revision: &str) -> bool {
    let is_hexadecimal = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
    matches!(revision.len(), 40 | 64) && revision.bytes().all(is_hexadecimal)
}

/// The refs that a revision may mean, the likeliest first. `^{}` is the commit of an annotated tag.
pub(super) fn names(revision: &str) -> Vec<String> {
    if revision == "HEAD" {
        return vec![revision.to_owned()];
    }
    let places: &[&str] = if revision.starts_with("refs/") { &[""] } else { &["refs/heads/", "refs/tags/", "refs/"] };
    places.iter().flat_map(|place| [format!("{place}{revision}^{{}}"), format!("{place}{revision}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_means_a_branch_before_a_tag() {
        for (revision, expected) in [
            ("HEAD", "HEAD"),
            ("refs/tags/v1", "refs/tags/v1^{} refs/tags/v1"),
            ("main", "refs/heads/main^{} refs/heads/main refs/tags/main^{} refs/tags/main refs/main^{} refs/main"),
        ] {
            assert_eq!(names(revision).join(" "), expected);
        }
    }

    #[test]
    fn a_hash_is_a_whole_one_in_lower_case() {
        for (revision, expected) in [
            ("0123456789abcdef0123456789abcdef01234567", true),
            ("0123456789abcdef0123456789abcdef0123456", false),
            ("0123456789ABCDEF0123456789abcdef01234567", false),
            (&"a".repeat(64), true),
            ("main", false),
        ] {
            assert_eq!(is_hash(revision), expected, "{revision}");
        }
    }
}

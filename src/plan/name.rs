//! Names of what we make: functions of what it is for, so that a repeated decision finds the same object.
//! The uniqueness of names in the API server is what makes every build and every attempt happen once.

use super::key::{Key, fingerprint};

/// What is wrong with a name that [`is_label`] is false for.
pub const LABEL: &str = "must be up to 40 lower case letters, digits and -, with no - at its ends";

/// Whether a text is a name that users give a link, or a file of one.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    text.len() <= 40
        && text.bytes().all(|letter| is_letter(letter) || letter == b'-')
        && [text.bytes().next(), text.bytes().last()].into_iter().all(|end| end.is_some_and(is_letter))
}

/// The name of the build of a link for a key. The chain's UID is in it: a chain that is made anew under
/// the same name builds anew.
#[must_use]
pub fn build(chain: &str, chain_uid: &str, link: &str, key: &Key) -> String {
    let hash = fingerprint(&["build", chain_uid, link, key.as_str()]);
    format!("{chain}-{link}-{}", hash.get(..10).unwrap_or(&hash))
}

/// The longest part of a build's name that goes into the name of a pod, in bytes.
const LONGEST_PREFIX: usize = 200;

/// The name of the pod of an attempt, which counts from 1. The build's UID is in it: pods of different
/// namespaces' builds share an execution namespace.
#[must_use]
pub fn pod(build: &str, build_uid: &str, attempt: u32) -> String {
    let hash = fingerprint(&["pod", build_uid]);
    let prefix = build.get(..LONGEST_PREFIX).unwrap_or(build).trim_end_matches(['-', '.']);
    format!("{prefix}-{}-{attempt}", hash.get(..6).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_functions_of_what_they_are_for() {
        let (one, other) = (Key::from_hash("1".to_owned()), Key::from_hash("2".to_owned()));
        let name = build("shop", "uid", "web", &one);
        assert_eq!(name, build("shop", "uid", "web", &one));
        assert!(name.starts_with("shop-web-") && name.len() == "shop-web-".len() + 10, "{name}");
        assert_ne!(name, build("shop", "uid", "web", &other));
        assert_ne!(name, build("shop", "other", "web", &one));
        assert_ne!(pod(&name, "uid", 1), pod(&name, "other", 1));
        assert!(pod(&name, "uid", 2).ends_with("-2"));
    }

    #[test]
    fn names_keep_their_bounds() {
        // 50 for chain and link together, one hyphen each, ten digits: a label's value has 63.
        let longest = build(&"c".repeat(25), "uid", &"l".repeat(25), &Key::from_hash(String::new()));
        assert!(longest.len() <= 63, "{longest}");
        assert!(pod(&"b".repeat(253), "uid", 64).len() <= 253);
    }
}

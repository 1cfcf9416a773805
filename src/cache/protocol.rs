//! What a cache and those who use it have agreed on. A file is known by its SHA-256 alone.

use std::time::Duration;

use crate::plan::image::Digest;

/// How long each file may take to be brought, and how many bytes a second it has to come with besides.
const LEAST_TIME: Duration = Duration::from_mins(1);
const LEAST_RATE: u64 = 4 << 20;
/// The header of an answer that tells how large a file may be that the cache keeps, in bytes.
pub const LARGEST: &str = "imagechain-largest";

/// How long a file of that size, in bytes, may take to be brought.
#[must_use]
pub const fn brought_within(size: u64) -> Duration {
    LEAST_TIME.saturating_add(Duration::from_secs(size / LEAST_RATE))
}

/// The path of a file.
#[must_use]
pub fn file_path(file: &Digest) -> String {
    format!("/{}", file.to_string().replace(':', "/"))
}

/// The file that has this path; `None` where none can have it.
#[must_use]
pub fn digest_of(path: &str) -> Option<Digest> {
    let (algorithm, digits) = path.strip_prefix('/')?.split_once('/')?;
    format!("{algorithm}:{digits}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_file_and_to_no_other() {
        let file = Digest::of(b"a file");
        let path = file_path(&file);
        assert!(path.starts_with("/sha256/") && path.len() == 72, "{path}");
        assert_eq!(digest_of(&path), Some(file));
        let digits = "0".repeat(64);
        for wrong in [
            String::new(),
            "/".to_owned(),
            "/sha256/".to_owned(),
            "/sha256/..".to_owned(),
            format!("/sha256/{digits}0"),
            format!("/sha256/{digits}/"),
            format!("/sha256//{digits}"),
            format!("/sha512/{digits}"),
            format!("/sha256:{digits}"),
            format!("/sha256/{}", "A".repeat(64)),
            format!("/../sha256/{digits}"),
        ] {
            assert_eq!(digest_of(&wrong), None, "{wrong}");
        }
    }
}

//! The grammar of git's URLs and revisions, as far as they are accepted.

use thiserror::Error;

use crate::api::common::{GIT_ADDRESS, GIT_PASSWORD, GIT_REVISION, GIT_SCHEME};

/// The longest URL and the longest revision, in characters.
const LONGEST_URL: usize = 1024;
const LONGEST_REVISION: usize = 255;

/// What is wrong with a URL or a revision, as the end of a sentence about its field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GitError {
    /// It is the short form of ssh, which is no URL.
    #[error("must be a URL: write {0}")]
    ShortForm(String),
    /// It has another scheme, or none.
    #[error("{GIT_SCHEME}")]
    Scheme,
    /// It holds a password.
    #[error("{GIT_PASSWORD}")]
    Password,
    /// Its host or path is malformed.
    #[error("{GIT_ADDRESS}")]
    Address,
    /// The revision is none.
    #[error("{GIT_REVISION}")]
    Revision,
    /// It is too long.
    #[error("must not be longer than {0} characters")]
    TooLong(usize),
}

/// Checks the URL of a repository: git must not take it for anything but an address, nor send a password that stands
/// in it.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(url: &str) -> Result<(), GitError> {
    const SCHEMES: [&str; 3] = ["https://", "http://", "ssh://"];
    if url.chars().count() > LONGEST_URL {
        return Err(GitError::TooLong(LONGEST_URL));
    }
    let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Err(short_form(url).map_or(GitError::Scheme, GitError::ShortForm));
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err(GitError::Password);
    }
    let is_of =
        |text: &str, others: &[u8]| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte));
    let good = is_of(user, b"._~-")
        && !user.starts_with('-')
        && (user.is_empty() != authority.contains('@'))
        && host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && is_of(host, b".:[]-")
        && is_of(path, b"._~%+/-");
    if good { Ok(()) } else { Err(GitError::Address) }
}

/// The URL that `git@host:team/box.git` stands for; `None` where a text is nothing of the kind.
fn short_form(text: &str) -> Option<String> {
    let (address, path) = text.split_once(':')?;
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    let is_address = !address.is_empty() && !address.starts_with('-') && is_plain(address);
    let path = path.trim_start_matches('/');
    // What has a scheme is a URL, of another kind.
    let url = format!("ssh://{address}/{path}");
    (is_address && !text.contains("://") && !path.is_empty() && check_url(&url).is_ok()).then_some(url)
}

/// Checks a revision by git's rules for refs (`git check-ref-format`), and that git takes it neither for an option nor
/// for an expression or a range.
///
/// # Errors
/// What is wrong with it.
pub fn check_revision(revision: &str) -> Result<(), GitError> {
    if revision.chars().count() > LONGEST_REVISION {
        return Err(GitError::TooLong(LONGEST_REVISION));
    }
    let is_special = |letter: char| letter.is_control() || " ~^:?*[\\".contains(letter);
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none();
    let good = !revision.starts_with('-')
        && revision != "@"
        && !revision.contains(is_special)
        && !revision.contains("..")
        && !revision.contains("@{")
        && !revision.ends_with('.')
        && revision.split('/').all(is_part);
    if good { Ok(()) } else { Err(GitError::Revision) }
}

/// Why a commit has nothing at a path, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A submodule stands at this path, which is the path itself or one above it: it is not fetched.
    Submodule(String),
    /// A link stands at this path, above: where it leads is seen when the files are there.
    Link(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_what_git_takes_for_a_name() {
        for revision in [
            "main",
            "fix@login",
            "feature/#42",
            "größe",
            "a+b",
            "_x",
            "v1.0-rc.1",
            "é/(x)",
            "HEAD",
            "a@",
            "a.b/c.locks",
        ] {
            assert_eq!(check_revision(revision), Ok(()), "{revision}");
        }
        for revision in [
            "",
            "@",
            "-c",
            "--upload-pack=id",
            "a b",
            "a\0",
            "a\u{7f}",
            "a\u{85}",
            "a~1",
            "a^",
            "a:b",
            ":/x",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "a..b",
            "a@{1}",
            "/a",
            "a/",
            "a//b",
            "a.",
            "a/.b",
            ".a",
            "a.lock",
            "a.lock/b",
        ] {
            assert_eq!(check_revision(revision), Err(GitError::Revision), "{revision:?}");
        }
        assert_eq!(check_revision(&"ü".repeat(255)), Ok(()));
        assert_eq!(check_revision(&"a".repeat(256)), Err(GitError::TooLong(255)));
    }

    #[test]
    fn a_short_form_is_told_as_the_url_that_it_stands_for() {
        for (text, url) in [
            ("git@host:team/box.git", "ssh://git@host/team/box.git"),
            ("git.example:shop", "ssh://git.example/shop"),
            ("git@host:/srv/box.git", "ssh://git@host/srv/box.git"),
        ] {
            let error = check_url(text).unwrap_err();
            assert_eq!(error.to_string(), format!("must be a URL: write {url}"));
            assert_eq!(check_url(url), Ok(()));
        }
        for text in
            ["file:///etc", "ext::sh -c id", "-oProxyCommand=id", "git.example/shop", "HTTPS://git.example", "a:", ""]
        {
            assert_eq!(check_url(text), Err(GitError::Scheme), "{text}");
        }
        assert_eq!(check_url("https://user:secret@git.example/shop"), Err(GitError::Password));
        for url in [
            "https://-x/",
            "https:// git",
            "https://",
            "https://@host/a",
            "ssh://-a@host/b",
            "https://host/a?b",
            "https://host/a#b",
        ] {
            assert_eq!(check_url(url), Err(GitError::Address), "{url}");
        }
    }
}

//! The grammar of git's URLs and revisions, as far as they are accepted.

/// Checks the URL of a repository: git must not take it for anything but an address, nor send a password that stands
/// in it.
///
/// # Errors
/// What is wrong with it, as the end of a sentence about its field.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    const SCHEMES: [&str; 3] = ["https://", "http://", "ssh://"];
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("must begin with https://, http:// or ssh://")?;
    if url.len() > 1024 || url.contains(|letter: char| !letter.is_ascii_graphic()) {
        return Err("must not be longer than 1024 characters, nor hold spaces or control characters");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return Err("must not hold a password: put it into the Secret of secretRef");
    }
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
        return Err("must name a host");
    }
    Ok(())
}

/// Checks a revision by the part of git's rules for refs (`git check-ref-format`) that keeps it from being an option,
/// an expression or a range.
///
/// # Errors
/// What is wrong with it, as the end of a sentence about its field.
pub fn check_revision(revision: &str) -> Result<(), &'static str> {
    let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._/+-".contains(&letter);
    let first = revision.bytes().next().is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == b'_');
    if first
        && revision.len() <= 255
        && revision.bytes().all(|letter| is_plain(letter) || letter == b'_')
        && !revision.contains("..")
        && !revision.ends_with('.')
        && revision
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none())
    {
        return Ok(());
    }
    Err(
        "must be a branch, a tag, a full ref name or a commit: letters, digits and . _ / + -, a letter, digit or _ first; no .. or //, no part that begins with . or ends with .lock, neither . nor / at the end",
    )
}

//! Names in layers: one form for each, and none that leads out of the image.

/// The longest name that Linux takes (`PATH_MAX` without its end), in bytes.
const LONGEST_NAME: usize = 4095;
/// The longest part of a name that file systems take (`NAME_MAX`), in bytes.
const LONGEST_PART: usize = 255;

/// What the name of an entry says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Something is there.
    Entry(Vec<u8>),
    /// What lower layers have there is hidden.
    Whiteout { folder: Vec<u8>, name: Vec<u8> },
    /// All that lower layers have in this directory is hidden.
    Opaque { folder: Vec<u8> },
    /// What AUFS keeps for itself: it is no part of the image.
    Nothing,
}

/// The name of an entry as a path: no leading `./`, no slash at an end, no empty part. The root is empty.
///
/// # Errors
/// What is wrong with it.
pub(super) fn path(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    // kaniko calls the root so.
    if name.starts_with(b"/") && !name.iter().all(|byte| *byte == b'/') {
        return Err("is an absolute name");
    }
    parts(name)
}

/// The same for the target of a hard link, which some programs write with a slash before it: it is meant within the
/// image.
///
/// # Errors
/// What is wrong with it.
pub(super) fn target(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    parts(name)
}

fn parts(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&b"..".as_slice()) {
        return Err("climbs out of its directory");
    }
    if name.contains(&0) {
        return Err("has a zero byte in its name");
    }
    let path = parts.join(&b'/');
    if path.len() > LONGEST_NAME || parts.iter().any(|part| part.len() > LONGEST_PART) {
        return Err("is longer than names can be");
    }
    Ok(path)
}

/// What a path in a layer means: whiteouts are told by their names.
///
/// # Errors
/// What is wrong with it.
pub(super) fn meaning(path: Vec<u8>) -> Result<Meaning, &'static str> {
    // Nothing that is below a whiteout's name can be in an image.
    if path.split(|byte| *byte == b'/').rev().skip(1).any(|part| part.starts_with(b".wh.")) {
        return if path.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh..wh.")) {
            Ok(Meaning::Nothing)
        } else {
            Err("is below a whiteout")
        };
    }
    let (folder, last) = split(&path);
    match last.strip_prefix(b".wh.") {
        None => Ok(Meaning::Entry(path)),
        Some(b".wh..opq") => Ok(Meaning::Opaque { folder: folder.to_vec() }),
        Some(b"" | b"." | b"..") => Err("is a whiteout of nothing"),
        Some(aufs) if aufs.starts_with(b".wh.") => Ok(Meaning::Nothing),
        Some(name) => Ok(Meaning::Whiteout { folder: folder.to_vec(), name: name.to_vec() }),
    }
}

/// The directory of a path, and the name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            let (folder, name) = path.split_at(slash);
            (folder, name.get(1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// A name in a directory.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}

//! Names of entries.

const LONGEST: usize = 255;
const DEEPEST: usize = 8;

/// A name as a path below the folder of the archive: without `./` before it and without `/` behind it; empty for the
/// folder itself. Else what is wrong with it.
pub(super) fn clean(written: &str) -> Result<&str, &'static str> {
    let mut name = written;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    let name = name.strip_suffix('/').unwrap_or(name);
    match name {
        _ if name.len() > LONGEST => Err("is longer than 255 bytes"),
        "" if written.is_empty() => Err("has no name"),
        "" | "." if !written.starts_with('/') => Ok(""),
        _ if written.starts_with('/') || name.starts_with('/') => Err("is absolute"),
        _ if name.contains(|letter: char| letter == '\\' || letter.is_control()) => {
            Err("has a backslash or a control character in its name")
        }
        _ if name.split('/').any(|part| part == "..") => Err("climbs out of the folder"),
        _ if name.split('/').any(|part| matches!(part, "" | ".")) => Err("has an empty part in its name"),
        _ if name.split('/').count() > DEEPEST => Err("is more than 8 folders deep"),
        _ => Ok(name),
    }
}

/// The folders on the way to a name, from the outermost.
pub(super) fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_folder() {
        for (written, name) in [
            ("box.img", "box.img"),
            ("./box.img", "box.img"),
            ("././a/b", "a/b"),
            ("a/", "a"),
            (".", ""),
            ("./", ""),
            ("..a", "..a"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(clean(written), Ok(name), "{written}");
        }
        assert_eq!(folders("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        for (written, problem) in [
            ("", "has no name"),
            ("/", "is absolute"),
            ("/etc/passwd", "is absolute"),
            (".//etc", "is absolute"),
            ("..", "climbs out of the folder"),
            ("../a", "climbs out of the folder"),
            ("./../a", "climbs out of the folder"),
            ("a/../../b", "climbs out of the folder"),
            ("a//b", "has an empty part in its name"),
            ("a/./b", "has an empty part in its name"),
            ("a//", "has an empty part in its name"),
            ("a\\b", "has a backslash or a control character in its name"),
            ("a\0", "has a backslash or a control character in its name"),
            ("a\nb", "has a backslash or a control character in its name"),
            ("a/a/a/a/a/a/a/a/a", "is more than 8 folders deep"),
            (&*"a".repeat(256), "is longer than 255 bytes"),
        ] {
            assert_eq!(clean(written), Err(problem), "{written:?}");
        }
    }
}

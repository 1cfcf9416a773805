//! The files of a source as a list: what is at a path, where links lead, and what of it is not the file that it
//! stands for.

use std::collections::{BTreeMap, VecDeque};

/// As many links as one path may lead through: the kernel's limit.
const MOST_LINKS: usize = 40;
/// The largest that a pointer of Git LFS may be, in bytes; its specification says so.
pub const LARGEST_POINTER: u64 = 1024;
/// As many names as a sentence shows.
const SHOWN: usize = 5;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File,
    /// A file whose content is in Git LFS: a pointer of three lines stands in its place.
    Pointer,
    /// A folder.
    Folder,
    /// A symbolic link to there.
    Link(String),
    /// A submodule: the commit of another repository, which is not fetched.
    Submodule,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// Why a path leads to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is nothing.
    Missing,
    /// It leads out of the source; by which link, if one does.
    Outside(Option<(String, String)>),
    /// It is in the submodule at this path.
    Submodule(String),
    /// Links lead in a circle.
    Circle,
}

/// The files of a source, by paths from its root.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// A tree of these entries, and of the folders above them.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (String, Entry)>) -> Self {
        let mut tree = BTreeMap::new();
        for (path, entry) in entries {
            for (end, _) in path.match_indices('/') {
                let folder = path.get(..end).unwrap_or_default().to_owned();
                tree.entry(folder).or_insert(Entry::Folder);
            }
            tree.insert(path, entry);
        }
        Self(tree)
    }

    /// What a path leads to, through whatever links there are: where, and what it is.
    ///
    /// # Errors
    /// Why it leads to nothing.
    pub fn find(&self, path: &str) -> Result<(String, Kind), Absent> {
        let (mut here, mut rest) = (Vec::new(), parts(path));
        let (mut link, mut followed, mut kind) = (None, 0, Kind::Folder);
        while let Some(part) = rest.pop_front() {
            if kind == Kind::File {
                return Err(Absent::Missing);
            }
            if part == ".." {
                here.pop().ok_or_else(|| Absent::Outside(link.clone()))?;
                continue;
            }
            here.push(part);
            let at = here.join("/");
            match self.0.get(&at).ok_or(Absent::Missing)? {
                Entry::Folder => {}
                Entry::File | Entry::Pointer => kind = Kind::File,
                Entry::Submodule => return Err(Absent::Submodule(at)),
                Entry::Link(target) => {
                    followed += 1;
                    link = Some((at, target.clone()));
                    if target.starts_with('/') {
                        return Err(Absent::Outside(link));
                    }
                    if followed > MOST_LINKS {
                        return Err(Absent::Circle);
                    }
                    here.pop();
                    let mut further = parts(target);
                    further.append(&mut rest);
                    rest = further;
                }
            }
        }
        Ok((here.join("/"), kind))
    }

    /// The names in a folder.
    pub fn names<'t>(&'t self, folder: &str) -> impl Iterator<Item = &'t str> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = self.0.keys().filter_map(move |path| path.strip_prefix(&prefix));
        inside.filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// The pointers of Git LFS.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, entry)| **entry == Entry::Pointer).map(|(path, _)| path.as_str())
    }

    /// The links that lead out, with where they lead.
    pub fn outward(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(path, entry)| match entry {
            Entry::Link(target) if leads_out(path, target) => Some((path.as_str(), target.as_str())),
            _ => None,
        })
    }
}

fn parts(path: &str) -> VecDeque<String> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
}

/// Whether a link at a path leads out of the source. Each link on its way is looked at for itself.
#[must_use]
pub fn leads_out(path: &str, target: &str) -> bool {
    let depth = path.matches('/').count();
    let after = parts(target).iter().try_fold(depth, |depth, part| match part.as_str() {
        ".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    });
    target.starts_with('/') || after.is_none()
}

/// Whether a file that begins like this is a pointer of Git LFS.
#[must_use]
pub fn is_pointer(beginning: &[u8]) -> bool {
    const VERSIONS: [&[u8]; 2] =
        [b"version https://git-lfs.github.com/spec/v1", b"version https://hawser.github.com/spec/v1"];
    VERSIONS.iter().any(|version| beginning.strip_prefix(*version).is_some_and(|rest| rest.starts_with(b"\n")))
}

/// The paths of submodules that a file `.gitmodules` names.
#[must_use]
pub fn submodules(text: &str) -> Vec<&str> {
    let settings = text.lines().filter_map(|line| line.split_once('='));
    settings.filter(|(key, _)| key.trim() == "path").map(|(_, value)| value.trim().trim_matches('"')).collect()
}

/// Whether a path is the other one, or below it. All are below the empty one.
#[must_use]
pub fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Some names in a sentence.
#[must_use]
pub fn some<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{rest}", shown.join(", "))
}

/// Why pointers of Git LFS cannot be used, and what to do.
#[must_use]
pub fn of_lfs<T: AsRef<str>>(pointers: &[T]) -> String {
    format!(
        "what the link uses has files in Git LFS, whose content is not fetched: {}. Commit them as ordinary files (git \
         lfs migrate export), let the build download them, or name in paths only what the link uses",
        some(pointers)
    )
}

/// That something is in a submodule, and what to do.
#[must_use]
pub fn of_submodule(path: &str, submodule: &str) -> String {
    let place = if path == submodule { "is a submodule" } else { "is in a submodule" };
    let at = if path == submodule { String::new() } else { format!(" («{submodule}»)") };
    format!(
        "«{path}» {place}{at}, and these are not fetched: commit the files themselves (git subtree), or name the \
         submodule's own repository as the source"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let entries = [
            ("packer/web.json", Entry::File),
            ("packer/big.bin", Entry::Pointer),
            ("packer/common", Entry::Link("../shared".to_owned())),
            ("shared/a.sh", Entry::File),
            ("root/etc/localtime", Entry::Link("/usr/share/zoneinfo/UTC".to_owned())),
            ("root/up", Entry::Link("../../up".to_owned())),
            ("root/down", Entry::Link("nowhere".to_owned())),
            ("circle", Entry::Link("circle".to_owned())),
            ("lib", Entry::Submodule),
        ];
        Tree::new(entries.map(|(path, entry)| (path.to_owned(), entry)))
    }

    #[test]
    fn paths_lead_where_the_kernel_says() {
        let outside = |link: &str, target: &str| Err(Absent::Outside(Some((link.to_owned(), target.to_owned()))));
        for (path, expected) in [
            ("", Ok(("", Kind::Folder))),
            (".", Ok(("", Kind::Folder))),
            ("packer/web.json", Ok(("packer/web.json", Kind::File))),
            ("packer/./../packer//web.json", Ok(("packer/web.json", Kind::File))),
            ("packer/common/a.sh", Ok(("shared/a.sh", Kind::File))),
            ("packer/common/..", Ok(("", Kind::Folder))),
            ("packer/web.json/x", Err(Absent::Missing)),
            ("nothing", Err(Absent::Missing)),
            ("root/down", Err(Absent::Missing)),
            ("../x", Err(Absent::Outside(None))),
            ("root/etc/localtime", outside("root/etc/localtime", "/usr/share/zoneinfo/UTC")),
            ("root/up/x", outside("root/up", "../../up")),
            ("circle/x", Err(Absent::Circle)),
            ("lib/a", Err(Absent::Submodule("lib".to_owned()))),
        ] {
            assert_eq!(tree().find(path), expected.map(|(at, kind)| (at.to_owned(), kind)), "{path}");
        }
    }

    #[test]
    fn what_is_special_is_listed() {
        let tree = tree();
        assert_eq!(tree.pointers().collect::<Vec<_>>(), ["packer/big.bin"]);
        assert_eq!(tree.names("packer").collect::<Vec<_>>(), ["big.bin", "common", "web.json"]);
        let outward: Vec<_> = tree.outward().map(|(path, _)| path).collect();
        assert_eq!(outward, ["root/etc/localtime", "root/up"]);
    }

    #[test]
    fn a_link_stays_inside_or_leads_out() {
        for (path, target, expected) in [
            ("a", "b", false),
            ("a", "../b", true),
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a/b", "c/../../../d", true),
            ("a", "/etc/passwd", true),
            ("a", "./b/..", false),
        ] {
            assert_eq!(leads_out(path, target), expected, "{path} -> {target}");
        }
    }

    #[test]
    fn a_pointer_is_known_by_its_first_line() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_pointer(pointer) && is_pointer(b"version https://hawser.github.com/spec/v1\n"));
        for other in [
            &b"version https://git-lfs.github.com/spec/v10\n"[..],
            b"",
            b"see version https://git-lfs.github.com/spec/v1\n",
        ] {
            assert!(!is_pointer(other));
        }
    }

    #[test]
    fn submodules_are_read_from_their_list() {
        let text = "[submodule \"lib\"]\n\tpath = third party/lib\n\turl = https://git.example/lib\n[submodule \"b\"]\n\turl=x\n\tpath=b\n";
        assert_eq!(submodules(text), ["third party/lib", "b"]);
    }

    #[test]
    fn many_names_are_cut() {
        assert_eq!(some(&["a", "b"]), "a, b");
        assert_eq!(some(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}

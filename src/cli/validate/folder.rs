//! A folder that stands for a source: what is in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::plan::tree::{Entry, LARGEST_POINTER, Tree, is_pointer, submodules};

/// The most files and folders that are read; a build refuses as many.
const MOST: usize = 500_000;

/// A folder, as it was read.
pub(super) struct Folder {
    root: PathBuf,
    /// What is in it.
    pub(super) tree: Tree,
}

impl Folder {
    /// Reads a folder.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let about = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        let mut entries = walk(root).map_err(about)?;
        let list = fs::read_to_string(root.join(".gitmodules")).unwrap_or_default();
        entries.extend(submodules(&list).into_iter().map(|path| (path.to_owned(), Entry::Submodule)));
        entries.extend(in_lfs(root).into_iter().map(|path| (path, Entry::Pointer)));
        Ok(Self { root: root.to_owned(), tree: Tree::new(entries) })
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let (path, _) = self.tree.find(path).ok()?;
        fs::read_to_string(self.root.join(path)).ok()
    }
}

fn walk(root: &Path) -> io::Result<Vec<(String, Entry)>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if path == Path::new(".git") {
                continue;
            }
            let what = look(&entry)?;
            if what == Entry::Folder {
                folders.push(path.clone());
            }
            found.push((path.to_string_lossy().into_owned(), what));
            if found.len() > MOST {
                return Err(io::Error::other(format!("there are more than {MOST} files and folders")));
            }
        }
    }
    Ok(found)
}

fn look(entry: &fs::DirEntry) -> io::Result<Entry> {
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        return Ok(Entry::Link(fs::read_link(entry.path())?.to_string_lossy().into_owned()));
    }
    if kind.is_dir() {
        // Git takes a repository in a repository for a submodule.
        return Ok(if entry.path().join(".git").exists() { Entry::Submodule } else { Entry::Folder });
    }
    let is_small = kind.is_file() && entry.metadata()?.len() <= LARGEST_POINTER;
    let is_pointer = is_small && fs::read(entry.path()).is_ok_and(|content| is_pointer(&content));
    Ok(if is_pointer { Entry::Pointer } else { Entry::File })
}

/// The files that git has in LFS. In a checkout they may be there in full, where a build finds the pointers. Nothing
/// where git cannot tell.
fn in_lfs(root: &Path) -> Vec<String> {
    if !root.join(".git").exists() {
        return Vec::new();
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["ls-files", "-z", "--", ":(attr:filter=lfs)"]).stdin(Stdio::null());
    let output = git.output().ok().filter(|output| output.status.success());
    let names = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

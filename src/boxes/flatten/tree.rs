//! Names and what they stand for, while layers are laid over each other and afterwards.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    error::{Error, Refusal},
    name::{join, split},
};

/// The most bytes of all names and of the targets of symlinks: they are held in memory.
const MOST_BYTES_OF_NAMES: usize = 256 * 1024 * 1024;
/// As many symlinks as Linux follows (`MAXSYMLINKS`).
const MOST_SYMLINKS: usize = 40;
/// What the file system gives out space by, in bytes.
const BLOCK: u64 = 4096;
/// The longest target of a symlink that ext4 keeps in the inode, in bytes.
const LONGEST_INLINE_TARGET: usize = 59;

/// What is in an image, by paths without a leading slash. The root is empty.
#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
    inodes: Vec<Inode>,
    most: usize,
    /// Of all layers, those that are hidden among them.
    entries: usize,
    bytes_of_names: usize,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Its index.
    inode: usize,
    /// The layer that has the name.
    layer: usize,
}

/// A file with all that is known of it but its names.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Of its content, in bytes.
    pub(super) size: u64,
    /// Of a symlink.
    pub(super) target: Vec<u8>,
    /// Absent for a directory that only names imply.
    pub(super) origin: Option<Origin>,
}

/// Where the entry of a file is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The index of the layer.
    pub(super) layer: usize,
    /// Where it begins there.
    pub(super) start: u64,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device or a named pipe.
    Special,
}

/// What an image takes on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its files, directories, links and devices; several names of one file count once.
    pub inodes: u64,
    /// Of the content of its files, in bytes.
    pub bytes: u64,
    /// The same in whole blocks of 4096 bytes, with those of directories and long symlinks.
    pub blocks: u64,
}

const LOOP: &str = "leads through too many symlinks";
const NO_DIRECTORY: &str = "is below something that is no directory";
const NO_ROOT: &str = "is the root, and no directory";

impl Tree {
    pub(super) fn new(most: usize) -> Self {
        let root = Inode { kind: Kind::Directory, size: 0, target: Vec::new(), origin: None };
        let nodes = BTreeMap::from([(Vec::new(), Node { inode: 0, layer: 0 })]);
        Self { nodes, inodes: vec![root], most, entries: 0, bytes_of_names: 0 }
    }

    /// What a path stands for, with the symlinks in it followed within the image; nothing if it leads nowhere.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Kind> {
        let resolved = self.resolve(path.as_bytes(), true).ok()?;
        self.get(&resolved).map(|(_, inode)| inode.kind)
    }

    /// The names in a directory, in the order of their bytes; none if it is not there.
    pub fn names_in(&self, folder: &str) -> impl Iterator<Item = &[u8]> {
        let resolved = self.resolve(folder.as_bytes(), true).ok();
        let below = resolved.map(|folder| (join(&folder, b"x").len().saturating_sub(1), self.below(&folder)));
        below.into_iter().flat_map(|(skipped, nodes)| {
            nodes.filter_map(move |(path, _)| path.get(skipped..)).filter(|name| !name.contains(&b'/'))
        })
    }

    /// What the image takes on a disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut seen = BTreeSet::new();
        let live = self.nodes.values().filter(|node| seen.insert(node.inode));
        live.filter_map(|node| self.inodes.get(node.inode)).fold(Usage::default(), |sum, inode| Usage {
            inodes: sum.inodes.saturating_add(1),
            bytes: sum.bytes.saturating_add(inode.size),
            blocks: sum.blocks.saturating_add(inode.blocks()),
        })
    }

    /// All names in the order of their bytes, so that a directory comes before what is in it.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], (usize, &Inode))> {
        let entry = |(path, node): (_, &Node)| Some((path, (node.inode, self.inodes.get(node.inode)?)));
        self.nodes.iter().map(|(path, node)| (path.as_slice(), node)).filter_map(entry)
    }

    /// Counts an entry of a layer, or a directory that is only implied.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub(super) fn count_entry(&mut self) -> Result<(), Error> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.most { Err(Error::TooMany { most: self.most }) } else { Ok(()) }
    }

    /// Keeps a file that has no name yet.
    ///
    /// # Errors
    /// The names are longer in all than they may be.
    pub(super) fn keep(&mut self, inode: Inode) -> Result<usize, Error> {
        self.count(inode.target.len())?;
        self.inodes.push(inode);
        Ok(self.inodes.len().saturating_sub(1))
    }

    fn count(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes_of_names = self.bytes_of_names.saturating_add(bytes);
        if self.bytes_of_names > MOST_BYTES_OF_NAMES {
            return Err(Error::TooManyNames { most: MOST_BYTES_OF_NAMES });
        }
        Ok(())
    }

    /// The file with that name, its symlinks not followed.
    pub(super) fn get(&self, path: &[u8]) -> Option<(usize, &Inode)> {
        let node = self.nodes.get(path)?;
        Some((node.inode, self.inodes.get(node.inode)?))
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        self.get(path).is_some_and(|(_, inode)| inode.kind == Kind::Directory)
    }

    /// Where a path leads with the symlinks of its directories followed within the image, and that of its last name
    /// if `last`.
    pub(super) fn resolve(&self, path: &[u8], last: bool) -> Result<Vec<u8>, &'static str> {
        let mut ahead: VecDeque<&[u8]> = parts(path).collect();
        let mut at = Vec::new();
        let mut followed = 0;
        while let Some(part) = ahead.pop_front() {
            if part == b".." {
                at = split(&at).0.to_vec();
                continue;
            }
            let next = join(&at, part);
            match self.get(&next) {
                Some((_, inode)) if inode.kind == Kind::Symlink && (last || !ahead.is_empty()) => {
                    followed += 1;
                    if inode.target.starts_with(b"/") {
                        at.clear();
                    }
                    parts(&inode.target).rev().for_each(|part| ahead.push_front(part));
                }
                _ => at = next,
            }
            if followed > MOST_SYMLINKS {
                return Err(LOOP);
            }
        }
        Ok(at)
    }

    /// Gives a file a resolved name of a layer: what had it is gone, unless both are directories.
    ///
    /// # Errors
    /// It cannot be there, or there are as many as there may be.
    pub(super) fn put(&mut self, path: Vec<u8>, inode: usize, layer: usize) -> Result<(), Refusal> {
        let is_directory = self.inodes.get(inode).is_some_and(|inode| inode.kind == Kind::Directory);
        if path.is_empty() && !is_directory {
            return Err(Refusal::Name(NO_ROOT));
        }
        self.make_directories(&path, layer)?;
        if !(is_directory && self.is_directory(&path)) {
            self.forget(&path);
        }
        self.count(path.len())?;
        self.nodes.insert(path, Node { inode, layer });
        Ok(())
    }

    /// The directories that a name needs and that nobody has made.
    fn make_directories(&mut self, path: &[u8], layer: usize) -> Result<(), Refusal> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for folder in slashes.filter_map(|(slash, _)| path.get(..slash)) {
            if self.is_directory(folder) {
                continue;
            }
            if self.nodes.contains_key(folder) {
                return Err(Refusal::Name(NO_DIRECTORY));
            }
            self.count_entry()?;
            let implied = Inode { kind: Kind::Directory, size: 0, target: Vec::new(), origin: None };
            let inode = self.keep(implied)?;
            self.count(folder.len())?;
            self.nodes.insert(folder.to_vec(), Node { inode, layer });
        }
        Ok(())
    }

    /// Hides what lower layers than this one have at a resolved path and below it.
    pub(super) fn hide(&mut self, path: &[u8], layer: usize) -> Result<(), Refusal> {
        if self.nodes.get(path).is_some_and(|node| node.layer < layer) {
            self.nodes.remove(path);
        }
        self.hide_below(path, layer)
    }

    /// Hides what lower layers than this one have below a resolved path.
    pub(super) fn hide_below(&mut self, path: &[u8], layer: usize) -> Result<(), Refusal> {
        let (kept, hidden): (Vec<_>, Vec<_>) = self.below(path).partition(|(_, node)| node.layer >= layer);
        let [kept, hidden] =
            [kept, hidden].map(|part| part.into_iter().map(|(path, _)| path.clone()).collect::<Vec<_>>());
        for path in hidden {
            self.nodes.remove(&path);
        }
        // What this layer has there stays, whether the directories come from it or not.
        kept.iter().try_for_each(|path| self.make_directories(path, layer))
    }

    /// Takes a name away, with all below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        let below: Vec<Vec<u8>> = self.below(path).map(|(path, _)| path.clone()).collect();
        self.nodes.remove(path);
        for path in below {
            self.nodes.remove(&path);
        }
    }

    fn below<'t>(&'t self, path: &[u8]) -> impl Iterator<Item = (&'t Vec<u8>, &'t Node)> + use<'t> {
        let (first, end) = bounds(path);
        self.nodes.range(first..).take_while(move |(path, _)| end.as_ref().is_none_or(|end| *path < end))
    }
}

/// The first path that can be below another one, and the first after all of them; the root has all but itself.
fn bounds(path: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    if path.is_empty() { (vec![0], None) } else { (join(path, b""), Some([path, b"0"].concat())) }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

impl Inode {
    fn blocks(&self) -> u64 {
        let content = self.size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX);
        let own = match self.kind {
            Kind::Directory => true,
            Kind::Symlink => self.target.len() > LONGEST_INLINE_TARGET,
            Kind::File | Kind::Special => false,
        };
        content.saturating_add(if own { BLOCK } else { 0 })
    }
}

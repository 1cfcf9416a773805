//! One layer over those below it, entry by entry.

use std::io::{Read, Seek};

use tar::EntryType;

use super::{
    entry::{Entry, Layer},
    error::{Error, Refusal},
    name::{self, Meaning, join},
    tree::{Inode, Kind, Origin, Tree},
};

/// Lays a layer over those that the tree has.
///
/// # Errors
/// The layer cannot be read, or has what cannot be in a file system.
pub(super) fn lay_over<R: Read + Seek>(tree: &mut Tree, layer: &mut Layer<R>, index: usize) -> Result<(), Error> {
    let mut start = 0;
    while let Some(entry) = layer.entry(start).map_err(|fault| fault.of_layer(index))? {
        start = entry.next();
        add(tree, &entry, index).map_err(|refusal| refusal.of_entry(index, &entry.name))?;
    }
    Ok(())
}

fn add(tree: &mut Tree, entry: &Entry, layer: usize) -> Result<(), Refusal> {
    tree.count_entry()?;
    match name::meaning(name::path(&entry.name)?)? {
        Meaning::Nothing => Ok(()),
        Meaning::Whiteout { folder, name } => {
            let folder = tree.resolve(&folder, true)?;
            tree.hide(&join(&folder, &name), layer)
        }
        Meaning::Opaque { folder } => {
            let folder = tree.resolve(&folder, true)?;
            tree.hide_below(&folder, layer)
        }
        Meaning::Entry(path) => {
            let inode = inode(tree, entry, layer)?;
            let path = tree.resolve(&path, false)?;
            tree.put(path, inode, layer)
        }
    }
}

/// The file that an entry is, or is another name of.
fn inode(tree: &mut Tree, entry: &Entry, layer: usize) -> Result<usize, Refusal> {
    if entry.kind == EntryType::Link {
        return linked(tree, &entry.link);
    }
    let kind = kind(entry)?;
    let target = if kind == Kind::Symlink { entry.link.clone() } else { Vec::new() };
    if kind == Kind::Symlink && target.is_empty() {
        return Err(Refusal::Name("is a symlink to nothing"));
    }
    let origin = Some(Origin { layer, start: entry.start });
    Ok(tree.keep(Inode { kind, size: entry.size, target, origin })?)
}

/// The file keeps its content for this name, whatever becomes of the other one.
fn linked(tree: &Tree, target: &[u8]) -> Result<usize, Refusal> {
    let target = tree.resolve(&name::target(target)?, false)?;
    match tree.get(&target) {
        None => Err(Refusal::Name("is a link to something that is not there")),
        Some((_, inode)) if inode.kind == Kind::Directory => Err(Refusal::Name("is a hard link to a directory")),
        Some((inode, _)) => Ok(inode),
    }
}

fn kind(entry: &Entry) -> Result<Kind, &'static str> {
    match entry.kind {
        EntryType::Regular => Ok(Kind::File),
        EntryType::Directory => Ok(Kind::Directory),
        EntryType::Symlink => Ok(Kind::Symlink),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(Kind::Special),
        EntryType::GNUSparse => Err("is stored as sparse, which no engine does"),
        _ => Err("is of a kind that is not known"),
    }
}

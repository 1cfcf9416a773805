//! The layers of an image as one file system: what stays of each layer when all are laid over each other.
//!
//! The rules are those of the OCI image specification 1.1, "Image Layer Filesystem Changeset". Where it says nothing,
//! a layer means what containerd makes of it: names lead through symlinks of the lower layers, within the image.

mod entry;
mod error;
mod manifest;
mod merge;
mod name;
mod output;
mod tree;

use std::io::{Read, Seek, Write};

use self::{entry::Layer, output::Output};
pub use self::{
    error::Error,
    manifest::{ManifestError, layer_files},
    tree::{Kind, Tree, Usage},
};

/// What an image may have and a machine must not: the signs by which programs tell that they are in a container, and
/// the folder that each ext4 has of its own; `mke2fs` breaks the file system if it is to be a file.
const LEFT_OUT: [&[u8]; 3] = [b".dockerenv", b"run/.containerenv", b"lost+found"];

/// How much an image may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most entries of all layers, directories that only names imply among them.
    pub entries: usize,
    /// The most bytes of all files that are left in the end.
    pub bytes: u64,
}

/// The layers of an image and what they make together. The content of files stays in the layers.
#[derive(Debug)]
pub struct Image<R> {
    layers: Vec<Layer<R>>,
    tree: Tree,
}

impl<R: Read + Seek> Image<R> {
    /// Reads the uncompressed layers of an image, the lowest first.
    ///
    /// Memory is taken for names, not for content: at most [`Limits::entries`] of them, and 256 MiB in all.
    ///
    /// # Errors
    /// A layer cannot be read or is no tar archive, has a name that leads out of the image, or the image is larger
    /// than it may be.
    pub fn read(layers: impl IntoIterator<Item = R>, limits: Limits) -> Result<Self, Error> {
        let mut tree = Tree::new(limits.entries);
        let mut read = Vec::new();
        for (index, reader) in layers.into_iter().enumerate() {
            let mut layer = Layer::new(reader).map_err(|fault| fault.of_layer(index))?;
            merge::lay_over(&mut tree, &mut layer, index)?;
            read.push(layer);
        }
        for name in LEFT_OUT {
            tree.forget(name);
        }
        if tree.usage().bytes > limits.bytes {
            return Err(Error::TooLarge { most: limits.bytes });
        }
        Ok(Self { layers: read, tree })
    }

    /// What is in the image.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Writes the image as one tar archive, which is the same for the same layers.
    ///
    /// The root comes first, as `./`; a directory comes before what is in it; of several names of one file the first
    /// has the content, and the others are links with all of its metadata, since `mke2fs` gives the file that of the
    /// last link. Long names are in GNU's format, since libarchive turns those of pax into the characters of the
    /// locale. Of pax records only times, owners and extended attributes stay. Owners are numbers.
    ///
    /// # Errors
    /// A layer cannot be read any more, or the archive cannot be written.
    pub fn write(&mut self, writer: impl Write) -> Result<(), Error> {
        let mut output = Output::new(writer);
        for (name, inode) in self.tree.entries() {
            output.add(&mut self.layers, name, inode)?;
        }
        output.end()
    }
}

#[cfg(test)]
mod tests;

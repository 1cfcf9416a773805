//! Machine boxes as files: what they are made of, what must not be in them, and how one is made of another or of an
//! image.
//!
//! Files are read once and are never in memory as a whole, however large they are.

pub mod bootable;
pub mod flatten;

mod archive;
mod bytes;
mod check;
mod content;
mod disk;
mod format;
mod gate;
mod identity;
mod inspect;
mod markers;
mod metadata;
mod name;
mod ovf;
mod pack;
mod qcow2;
mod refusal;
mod stream;
mod unpack;
mod vagrant;
mod vdi;
mod vmdk;
mod write_ovf;

pub use self::{
    check::{Checked, checked},
    disk::Disk,
    inspect::{Inspected, inspect},
    pack::{Parts, pack},
    refusal::{Defect, Refusal},
    stream::checksum,
    unpack::{Unpacked, unpack},
    write_ovf::{Hardware, write_ovf},
};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

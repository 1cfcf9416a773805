//! A disk that boots what a container image holds: how large it is, what starts it, and the programs that make it.
//!
//! The disk has a DOS partition table and one partition with ext4, which `mke2fs` fills from an archive, so that no
//! privilege is needed. GRUB stands in the first sector and in the gap before the partition. It boots from a BIOS, which
//! QEMU, libvirt and `VirtualBox` have unless told otherwise.

mod kernel;
mod sector;
mod size;
mod steps;

pub use self::{
    kernel::{Boot, NoKernel, boot},
    sector::{Identity, Uninstallable, install},
    size::{DiskSize, NoSize, disk_size},
    steps::{Files, Step, core_image, early_config, file_system, qcow2},
};

#[cfg(test)]
mod tests;

//! The first sectors of a disk: GRUB and the partition table.

use std::{
    fmt,
    io::{self, Seek, SeekFrom, Write},
};

use thiserror::Error;

use super::size::{DiskSize, PARTITION, SECTOR};

/// How much of the first sector is for the program that boots, in bytes. The rest is the partition table.
const PROGRAM: usize = 440;

/// What makes a disk another one than any other. The same digest gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity([u8; 16]);

impl Identity {
    /// By the first bytes of a digest of all that decides what is on the disk.
    #[must_use]
    pub const fn new(digest: [u8; 16]) -> Self {
        Self(digest)
    }

    /// Of the partition table, never 0: partitions are called after it (`PARTUUID`).
    #[must_use]
    pub const fn signature(self) -> u32 {
        let [first, second, third, fourth, ..] = self.0;
        u32::from_le_bytes([first | 1, second, third, fourth])
    }
}

/// The UUID of the file system: version 8 of RFC 9562, which is for those that make theirs of what they like.
impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version_8 = (u128::from_be_bytes(self.0) & !(0xf << 76)) | (0x8 << 76);
        let bits = (version_8 & !(0b11 << 62)) | (0b10 << 62);
        let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
        let (low, middle, version) = (part(96, 8), part(80, 4), part(64, 4));
        write!(out, "{low:08x}-{middle:04x}-{version:04x}-{:04x}-{:012x}", part(48, 4), part(0, 12))
    }
}

/// Why a disk cannot be made bootable.
#[derive(Debug, Error)]
pub enum Uninstallable {
    /// The first sector of GRUB is none.
    #[error("GRUB's boot.img is no boot sector: it has {0} bytes, or no mark at its end")]
    NoSector(usize),
    /// The rest of GRUB does not fit before the partition.
    #[error("GRUB's core image has {0} bytes: it does not fit before the partition")]
    TooLarge(usize),
    /// The disk cannot be written.
    #[error("the disk cannot be written: {0}")]
    Unwritable(#[from] io::Error),
}

/// Writes the partition table and GRUB to a disk, and nothing from the partition on. `boot` is GRUB's `boot.img`, which
/// looks for the rest in the second sector; `core` is what `grub-mkimage` made, which knows its own length.
///
/// # Errors
/// One of both is not what it should be, or the disk cannot be written.
pub fn install(
    disk: &mut (impl Write + Seek),
    boot: &[u8],
    core: &[u8],
    identity: Identity,
    size: DiskSize,
) -> Result<(), Uninstallable> {
    let program = boot.get(..PROGRAM).filter(|_| boot.get(510..) == Some(&[0x55, 0xaa]));
    let program = program.ok_or(Uninstallable::NoSector(boot.len()))?;
    if u64::try_from(core.len()).unwrap_or(u64::MAX) > PARTITION - SECTOR {
        return Err(Uninstallable::TooLarge(core.len()));
    }
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(program)?;
    disk.write_all(&table(identity, size))?;
    disk.write_all(core)?;
    Ok(disk.flush()?)
}

/// The end of the first sector: the signature of the disk, one partition that is booted, three that are not there.
/// Sectors are counted from the first one; the older way by cylinders says that it cannot (0xfeffff).
fn table(identity: Identity, size: DiskSize) -> Vec<u8> {
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX).to_le_bytes();
    let mut table = Vec::new();
    table.extend(identity.signature().to_le_bytes());
    table.extend([0, 0]);
    // Booted; Linux.
    table.extend([0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff]);
    table.extend(sectors(PARTITION));
    table.extend(sectors(size.bytes.saturating_sub(PARTITION)));
    table.extend([0; 48]);
    table.extend([0x55, 0xaa]);
    table
}

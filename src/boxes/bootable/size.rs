//! How large a disk is.

use thiserror::Error;

use crate::boxes::flatten::Usage;

/// Where the partition begins on the disk, in bytes.
pub(super) const PARTITION: u64 = MEBIBYTE;
/// The size of a sector, in bytes.
pub(super) const SECTOR: u64 = 512;
const MEBIBYTE: u64 = 1024 * 1024;
/// What is free on a disk whose size nobody has set, beside a part of the content, in bytes.
const FREE: u64 = 256 * MEBIBYTE;
/// Sizes that nobody has set are multiples of this, in bytes.
const STEP: u64 = 64 * MEBIBYTE;
/// What ext4 takes at least for its journal and tables, in bytes.
const TABLES: u64 = 64 * MEBIBYTE;
/// How many bytes of a disk there are for each inode, as mke2fs has it.
const BYTES_PER_INODE: u64 = 16 * 1024;
/// The size of an inode, in bytes.
const INODE: u64 = 256;
/// The most sectors that a DOS partition table can count.
const MOST_SECTORS: u64 = u32::MAX as u64;

/// The size of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSize {
    /// Of the whole disk, in bytes: a multiple of 1 MiB.
    pub bytes: u64,
    /// How many files and directories can be on it.
    pub inodes: u64,
}

/// Why a disk cannot have a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoSize {
    /// The content does not fit.
    #[error("the image does not fit on a disk of {wanted} bytes: it needs {needed} at least")]
    TooSmall {
        /// The size that was asked for, in bytes.
        wanted: u64,
        /// The least that can do, in bytes.
        needed: u64,
    },
    /// It is more than a DOS partition table can say.
    #[error("a disk of {bytes} bytes is too large: less than 2 TiB can be booted from a BIOS")]
    TooLarge {
        /// The size, in bytes.
        bytes: u64,
    },
}

/// The size of the disk for an image: as it is wanted, in bytes, rounded up to 1 MiB; else 1.3 times what it takes and
/// 256 MiB, rounded up to 64 MiB.
///
/// # Errors
/// The image does not fit, or the disk is larger than can be.
pub fn disk_size(image: Usage, wanted: Option<u64>) -> Result<DiskSize, NoSize> {
    let third = image.blocks.saturating_mul(3) / 10;
    let inodes = image.inodes.saturating_add(image.inodes / 3).saturating_add(1024);
    let own = image.blocks.saturating_add(third).saturating_add(FREE).saturating_add(inodes.saturating_mul(INODE));
    let (size, step) = wanted.map_or((own, STEP), |wanted| (wanted, MEBIBYTE));
    let bytes = size.checked_next_multiple_of(step).unwrap_or(u64::MAX);
    if bytes / SECTOR > MOST_SECTORS {
        return Err(NoSize::TooLarge { bytes });
    }
    let inodes = inodes.max(bytes / BYTES_PER_INODE);
    let needed = image.blocks.saturating_add(inodes.saturating_mul(INODE)).saturating_add(TABLES + PARTITION);
    if bytes < needed { Err(NoSize::TooSmall { wanted: bytes, needed }) } else { Ok(DiskSize { bytes, inodes }) }
}

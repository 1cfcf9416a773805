//! The header of a VDI disk: only such as have no parent.
//!
//! The places of the fields are those of version 1.1 in `VirtualBox`'s source (`VDICore.h`: `VDIPREHEADER`,
//! `VDIHEADER1PLUS`); all numbers are little-endian.

use super::{
    bytes::{le32, le64},
    refusal::Defect,
};

/// At 64, after a text for people.
const SIGNATURE: u32 = 0xbeda_107f;
const VERSION: u32 = 0x0001_0001;

/// Whether a file is a VDI.
pub(super) fn is_vdi(head: &[u8]) -> bool {
    le32(head, 64) == Some(SIGNATURE)
}

/// The size of a disk that stands alone, as the machine sees it, in bytes.
pub(super) fn capacity(head: &[u8]) -> Result<u64, Defect> {
    if !is_vdi(head) {
        return Err(Defect::Format { expected: "VDI" });
    }
    if le32(head, 68).ok_or(Defect::Short)? != VERSION {
        return Err(Defect::Header { field: "version" });
    }
    match le32(head, 76).ok_or(Defect::Short)? {
        // Dynamic and fixed; the others are differences to another disk.
        1 | 2 => {}
        3 | 4 => return Err(Defect::BackingFile { name: "its parent".to_owned() }),
        _ => return Err(Defect::Header { field: "type" }),
    }
    match le64(head, 368).ok_or(Defect::Short)? {
        0 => Err(Defect::Header { field: "size" }),
        size => Ok(size),
    }
}

/// Whether the file ends before the last block that its header counts. `qemu-img check` does not find that.
pub(super) fn is_short(head: &[u8], size: u64) -> bool {
    let number = |at| le32(head, at).map_or(0, u64::from);
    // The place of the data, and of a block its length, what is kept of it besides, and how many there are.
    let (start, block, extra, blocks) = (number(344), number(376), number(380), number(388));
    start.saturating_add((block + extra).saturating_mul(blocks)) > size
}

/// Whether no block of the disk was ever written.
pub(super) fn is_unwritten(head: &[u8]) -> bool {
    le32(head, 388) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{vdi, with},
        *,
    };

    #[test]
    fn only_a_disk_without_a_parent_is_taken() {
        assert_eq!(capacity(&vdi(5)), Ok(5));
        let parent = Defect::BackingFile { name: "its parent".to_owned() };
        for (at, value, defect) in [
            (64, 0_u32, Defect::Format { expected: "VDI" }),
            (68, 0x0001_0000, Defect::Header { field: "version" }),
            (76, 3, parent.clone()),
            (76, 4, parent),
            (76, 5, Defect::Header { field: "type" }),
            (368, 0, Defect::Header { field: "size" }),
        ] {
            assert_eq!(capacity(&with(vdi(5), at, &value.to_le_bytes())), Err(defect), "{at} {value}");
        }
        assert_eq!(capacity(&vdi(5)[..370]), Err(Defect::Short));
    }

    #[test]
    fn a_disk_that_ends_before_its_last_block_is_short() {
        let numbers = [(344, 512_u32), (376, 300), (380, 100), (388, 3)];
        let disk = numbers.iter().fold(vdi(5), |disk, (at, number)| with(disk, *at, &number.to_le_bytes()));
        assert!(!is_short(&disk, 512 + 3 * 400));
        assert!(is_short(&disk, 512 + 3 * 400 - 1));
        assert!(!is_short(&vdi(5), 1024));
        let most = with(with(disk, 376, &[0xff; 8]), 388, &[0xff; 4]);
        assert!(is_short(&most, 1 << 60));
    }

    #[test]
    fn a_disk_without_blocks_is_unwritten() {
        assert!(!is_unwritten(&vdi(5)));
        assert!(is_unwritten(&with(vdi(5), 388, &[0; 4])));
    }
}

//! The header of a qcow2 disk: what must not be in it.
//!
//! The places and meanings of the fields are those of QEMU's "qcow2 image format" (docs/interop/qcow2 of its source);
//! all numbers are big-endian.

use std::ops::Range;

use super::{
    bytes::{be32, be64, shown},
    refusal::Defect,
};

/// What every qcow2 begins with.
pub(super) const MAGIC: &[u8] = b"QFI\xfb";

/// Incompatible features: bits of which a program that does not know them all must not open the disk.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
/// Another compression, and extended L2 entries: QEMU 5.1 and 5.2 know them.
const HARMLESS: u64 = 1 << 3 | 1 << 4;

/// The shortest header of version 3, in bytes.
const VERSION_3: u32 = 104;
/// QEMU does not open a disk whose L1 table is larger, in bytes.
const LARGEST_TABLE: u64 = 32 << 20;

/// What is known by a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The size of the disk as the machine sees it, in bytes.
    pub(super) virtual_size: u64,
    /// Where the L1 table is in the file, in bytes. A disk to which nothing was written has zeros there.
    pub(super) table: Range<u64>,
}

/// Reads the header of a disk that stands alone.
pub(super) fn header(head: &[u8]) -> Result<Header, Defect> {
    if !head.starts_with(MAGIC) {
        return Err(Defect::Format { expected: "qcow2" });
    }
    let version = be32(head, 4).ok_or(Defect::Short)?;
    backing_file(head)?;
    if be32(head, 32).ok_or(Defect::Short)? != 0 {
        return Err(Defect::Encrypted);
    }
    match version {
        2 => {}
        3 => features(head)?,
        _ => return Err(Defect::Header { field: "version" }),
    }
    if !(9..=21).contains(&be32(head, 20).ok_or(Defect::Short)?) {
        return Err(Defect::Header { field: "cluster_bits" });
    }
    let virtual_size = be64(head, 24).ok_or(Defect::Short)?;
    if virtual_size == 0 {
        return Err(Defect::Header { field: "size" });
    }
    Ok(Header { virtual_size, table: table(head)? })
}

fn backing_file(head: &[u8]) -> Result<(), Defect> {
    let at = be64(head, 8).ok_or(Defect::Short)?;
    if at == 0 {
        return Ok(());
    }
    let length = be32(head, 16).ok_or(Defect::Short)?.min(1023);
    let end = at.saturating_add(length.into());
    let range = usize::try_from(at).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
    Err(Defect::BackingFile { name: head.get(range).map_or_else(|| "?".to_owned(), shown) })
}

fn features(head: &[u8]) -> Result<(), Defect> {
    let length = be32(head, 100).ok_or(Defect::Short)?;
    if length < VERSION_3 || !length.is_multiple_of(8) {
        return Err(Defect::Header { field: "header_length" });
    }
    let bits = be64(head, 72).ok_or(Defect::Short)?;
    let unknown = bits & !(DIRTY | CORRUPT | DATA_FILE | HARMLESS);
    match bits {
        _ if bits & DATA_FILE != 0 => Err(Defect::DataFile),
        _ if bits & CORRUPT != 0 => Err(Defect::Corrupt),
        _ if bits & DIRTY != 0 => Err(Defect::Dirty),
        _ if unknown != 0 => Err(Defect::Features { bits: unknown }),
        _ => Ok(()),
    }
}

fn table(head: &[u8]) -> Result<Range<u64>, Defect> {
    let wrong = Defect::Header { field: "l1_table_offset" };
    let entries = be32(head, 36).ok_or(Defect::Short)?;
    let start = be64(head, 40).ok_or(Defect::Short)?;
    let length = u64::from(entries) * 8;
    match start.checked_add(length) {
        Some(end) if start >= 72 && length > 0 && length <= LARGEST_TABLE => Ok(start..end),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{qcow2, with},
        *,
    };

    fn defect(at: usize, bytes: &[u8]) -> Defect {
        header(&with(qcow2(10 << 30), at, bytes)).unwrap_err()
    }

    #[test]
    fn a_disk_that_stands_alone_is_known_by_its_header() {
        let version_2 = with(with(qcow2(5), 4, &2_u32.to_be_bytes()), 72, &[0xff; 32]);
        for (disk, virtual_size) in [(qcow2(10 << 30), 10 << 30), (version_2, 5)] {
            assert_eq!(header(&disk), Ok(Header { virtual_size, table: 0x200..0x208 }));
        }
        for bits in [1_u64 << 3, 1 << 4] {
            assert!(header(&with(qcow2(5), 72, &bits.to_be_bytes())).is_ok());
        }
    }

    #[test]
    fn a_disk_that_reads_other_files_is_refused() {
        let name = b"/etc/shadow\n";
        let backing = with(with(qcow2(5), 8, &0x110_u64.to_be_bytes()), 16, &12_u32.to_be_bytes());
        let found = header(&with(backing, 0x110, name)).unwrap_err();
        assert_eq!(found, Defect::BackingFile { name: "/etc/shadow\\n".to_owned() });
        assert_eq!(defect(8, &u64::MAX.to_be_bytes()), Defect::BackingFile { name: "?".to_owned() });
        // Version 2 has backing files too.
        let older = with(with(qcow2(5), 4, &2_u32.to_be_bytes()), 8, &[0, 0, 0, 0, 0, 0, 0, 1]);
        assert!(matches!(header(&older), Err(Defect::BackingFile { .. })));
        assert_eq!(defect(72, &DATA_FILE.to_be_bytes()), Defect::DataFile);
        for method in [1_u32, 2, 77] {
            assert_eq!(defect(32, &method.to_be_bytes()), Defect::Encrypted);
        }
    }

    #[test]
    fn what_no_qemu_writes_is_refused() {
        assert_eq!(defect(0, b"QFI\xfa"), Defect::Format { expected: "qcow2" });
        assert_eq!(defect(72, &DIRTY.to_be_bytes()), Defect::Dirty);
        assert_eq!(defect(72, &CORRUPT.to_be_bytes()), Defect::Corrupt);
        assert_eq!(defect(72, &(1_u64 << 5 | 1 << 63).to_be_bytes()), Defect::Features { bits: 1 << 5 | 1 << 63 });
        for (at, bytes, field) in [
            (4, 1_u32, "version"),
            (4, 4, "version"),
            (20, 8, "cluster_bits"),
            (20, 22, "cluster_bits"),
            (100, 72, "header_length"),
            (100, 105, "header_length"),
            (36, 0, "l1_table_offset"),
            (36, u32::MAX, "l1_table_offset"),
        ] {
            assert_eq!(defect(at, &bytes.to_be_bytes()), Defect::Header { field }, "{at} {bytes}");
        }
        assert_eq!(defect(24, &[0; 8]), Defect::Header { field: "size" });
        assert_eq!(defect(40, &u64::MAX.to_be_bytes()), Defect::Header { field: "l1_table_offset" });
        let whole = qcow2(5);
        for end in 4..104 {
            assert_eq!(header(&whole[..end]), Err(Defect::Short), "{end}");
        }
    }
}

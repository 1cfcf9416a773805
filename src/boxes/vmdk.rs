//! The header of a VMDK disk: only such as are one file.
//!
//! The places of the fields are those of `VMware`'s "Virtual Disk Format 5.0", section "Hosted Sparse Extent Header"; all
//! numbers are little-endian. A descriptor in the file says what the disk is made of.

use std::ops::Range;

use super::{
    bytes::{le32, le64, shown},
    refusal::Defect,
};

/// What a sparse VMDK begins with.
pub(super) const MAGIC: &[u8] = b"KDMV";
/// What a descriptor begins with. As a file of its own it names other files.
pub(super) const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";

const SECTOR: u64 = 512;

/// A flag: there are markers before the data, as streamOptimized has them.
const MARKERS: u32 = 1 << 17;

/// The kinds that are one file.
const WHOLE: [&str; 2] = ["streamOptimized", "monolithicSparse"];

/// The size of a disk that stands alone, as the machine sees it, in bytes.
pub(super) fn capacity(head: &[u8]) -> Result<u64, Defect> {
    if head.starts_with(DESCRIPTOR) {
        return Err(Defect::Kind { found: "text descriptor of other files".to_owned() });
    }
    if !head.starts_with(MAGIC) {
        return Err(Defect::Format { expected: "VMDK" });
    }
    if !(1..=3).contains(&le32(head, 4).ok_or(Defect::Short)?) {
        return Err(Defect::Header { field: "version" });
    }
    let sectors = le64(head, 12).ok_or(Defect::Short)?;
    // QEMU takes a disk of the capacity 0 for a descriptor, and opens the files that it names.
    let capacity = sectors.checked_mul(SECTOR).filter(|size| *size > 0).ok_or(Defect::Header { field: "capacity" })?;
    check(descriptor(head)?)?;
    Ok(capacity)
}

/// Whether nothing was ever written to a streamOptimized disk: behind its header nothing follows, or a marker of no
/// data. It is not known of other disks, nor where the header is longer than what is kept of a file.
pub(super) fn is_unwritten(head: &[u8], size: u64) -> bool {
    let Some(start) = data(head) else { return false };
    let is_no_data = || {
        let marker = usize::try_from(start).ok().and_then(|start| start.checked_add(8));
        marker.and_then(|at| le32(head, at)) == Some(0)
    };
    size <= start || is_no_data()
}

/// Where the data begins, in bytes, with a marker; `None` of a disk without markers, which is not streamOptimized.
pub(super) fn data(head: &[u8]) -> Option<u64> {
    let has_markers = le32(head, 8)? & MARKERS != 0;
    le64(head, 64)?.checked_mul(SECTOR).filter(|_| has_markers)
}

/// The sector of the disk up to which all grains are whole.
pub(super) fn whole(head: &[u8]) -> Option<u64> {
    let (capacity, grain) = (le64(head, 12)?, le64(head, 20)?);
    capacity.checked_sub(capacity.checked_rem(grain).unwrap_or(0))
}

/// Where the descriptor is in the file, in bytes.
pub(super) fn place(head: &[u8]) -> Result<Range<usize>, Defect> {
    let wrong = || Defect::Header { field: "descriptorOffset" };
    let place = |at| {
        let sectors = le64(head, at).filter(|sectors| *sectors > 0)?;
        usize::try_from(sectors.checked_mul(SECTOR)?).ok()
    };
    let (start, length) = (place(28).ok_or_else(wrong)?, place(36).ok_or_else(wrong)?);
    start.checked_add(length).map(|end| start..end).ok_or_else(wrong)
}

/// The text of the descriptor, which must be in the part of the file that is kept.
pub(super) fn descriptor(head: &[u8]) -> Result<&str, Defect> {
    let place = place(head)?;
    let text = head.get(place.start..).ok_or(Defect::Header { field: "descriptorOffset" })?;
    let text = text.get(..place.len()).unwrap_or(text);
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(text).ok().filter(|text| text.len() < place.len()).ok_or(Defect::Header { field: "descriptor" })
}

/// A descriptor of a disk that is one file and has no parent.
fn check(text: &str) -> Result<(), Defect> {
    let (mut kinds, mut extents) = (Vec::new(), 0_usize);
    for line in text.lines().map(str::trim) {
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        match key.to_ascii_lowercase().as_str() {
            "createtype" => kinds.push(value.trim_matches('"')),
            "parentcid" if !value.eq_ignore_ascii_case("ffffffff") => return Err(parent(value)),
            "parentfilenamehint" => return Err(parent(value)),
            _ => extents += usize::from(is_extent(line)?),
        }
    }
    match (kinds.as_slice(), extents) {
        ([kind], 1) if WHOLE.contains(kind) => Ok(()),
        ([kind], 0 | 1) => Err(Defect::Kind { found: shown(kind.as_bytes()) }),
        ([_], _) => Err(Defect::Kind { found: "several extents".to_owned() }),
        _ => Err(Defect::Header { field: "createType" }),
    }
}

fn parent(value: &str) -> Defect {
    Defect::BackingFile { name: shown(value.as_bytes()) }
}

/// Whether a line is an extent, as `RW 20480 SPARSE "disk.vmdk"`. One of a whole disk is in the file itself.
fn is_extent(line: &str) -> Result<bool, Defect> {
    let mut words = line.split_whitespace();
    if !matches!(words.next(), Some("RW" | "RDONLY" | "NOACCESS")) {
        return Ok(false);
    }
    let leads_out = line.contains(['/', '\\']);
    match words.nth(1) {
        Some("SPARSE") if !leads_out => Ok(true),
        kind => Err(Defect::Kind { found: shown(kind.filter(|_| !leads_out).unwrap_or(line).as_bytes()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{vmdk, vmdk_of, with},
        *,
    };

    const GOOD: &str = "# Disk DescriptorFile\nversion=1\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\
                        RW 20480 SPARSE \"box-disk001.vmdk\"\n#DDB\nddb.adapterType = \"ide\"\n";

    #[test]
    fn a_disk_of_one_file_is_known_by_its_header() {
        assert_eq!(capacity(&vmdk(20480)), Ok(10 << 20));
        for text in [GOOD, &GOOD.replace("streamOptimized", "monolithicSparse"), &GOOD.replace("Type=", "Type = ")] {
            assert_eq!(capacity(&vmdk_of(4, text)), Ok(2048), "{text}");
        }
    }

    #[test]
    fn a_disk_of_several_files_is_refused() {
        let kind = |found: &str| Defect::Kind { found: found.to_owned() };
        let parent = |name: &str| Defect::BackingFile { name: name.to_owned() };
        for (text, defect) in [
            (GOOD.replace("streamOptimized", "monolithicFlat"), kind("monolithicFlat")),
            (GOOD.replace("SPARSE", "FLAT"), kind("FLAT")),
            (GOOD.replace("box-disk", "/etc/box-disk"), kind("RW 20480 SPARSE \\\"/etc/box-disk001.vmdk\\\"")),
            (format!("{GOOD}RW 1 SPARSE \"b.vmdk\"\n"), kind("several extents")),
            (GOOD.replace("ffffffff", "12345678"), parent("12345678")),
            (format!("{GOOD}parentFileNameHint=\"/a\"\n"), parent("\\\"/a\\\"")),
            (format!("{GOOD}createType=\"custom\"\n"), Defect::Header { field: "createType" }),
            (String::new(), Defect::Header { field: "createType" }),
        ] {
            assert_eq!(capacity(&vmdk_of(4, &text)), Err(defect), "{text}");
        }
        assert_eq!(capacity(GOOD.as_bytes()), Err(kind("text descriptor of other files")));
    }

    #[test]
    fn the_last_grain_may_be_a_part_of_one() {
        for (sectors, grain, expected) in [(300, 128, 256), (256, 128, 256), (100, 128, 0), (300, 0, 300)] {
            let disk = with(vmdk(sectors), 20, &u64::to_le_bytes(grain));
            assert_eq!(whole(&disk), Some(expected), "{sectors} {grain}");
        }
    }

    #[test]
    fn a_disk_without_data_is_unwritten() {
        let disk = vmdk(4);
        assert!(!is_unwritten(&disk, 2048));
        // Nothing follows, and a marker of metadata, of which the size is 0.
        assert!(is_unwritten(&disk[..1536], 1536));
        assert!(is_unwritten(&with(disk.clone(), 1544, &[0; 4]), 2048));
        // The header is longer than what is kept, and without markers it is not known.
        assert!(!is_unwritten(&with(disk.clone(), 64, &9000_u64.to_le_bytes()), u64::MAX));
        assert!(!is_unwritten(&with(disk.clone(), 64, &[0xff; 8]), 2048));
        assert!(!is_unwritten(&with(disk, 8, &[0; 4])[..1536], 1536));
    }

    #[test]
    fn what_no_program_writes_is_refused() {
        for (at, bytes, field) in [
            (4, [9, 0, 0, 0, 0, 0, 0, 0], "version"),
            (12, [0; 8], "capacity"),
            (12, [0xff; 8], "capacity"),
            (28, [0; 8], "descriptorOffset"),
            (28, [0xff; 8], "descriptorOffset"),
            (28, [0, 0, 1, 0, 0, 0, 0, 0], "descriptorOffset"),
            (36, [0; 8], "descriptorOffset"),
        ] {
            assert_eq!(capacity(&with(vmdk(4), at, &bytes)), Err(Defect::Header { field }), "{at} {bytes:?}");
        }
        assert_eq!(capacity(&vmdk(4)[..15]), Err(Defect::Short));
        assert_eq!(capacity(b"QFI\xfb"), Err(Defect::Format { expected: "VMDK" }));
        assert_eq!(capacity(&with(vmdk(4), 520, &[0xff])), Err(Defect::Header { field: "descriptor" }));
    }
}

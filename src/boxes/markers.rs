//! The markers before the parts of a streamOptimized VMDK, by which it is read from its beginning to its end.
//!
//! By `VMware`'s "Virtual Disk Format 5.0", section "Stream-Optimized Compressed Sparse Extents", a marker is a number
//! of 8 bytes, a size of 4 and, where the size is 0, a kind of 4; all are little-endian, and each part begins at a
//! sector. Behind the last part there is a marker of the end, all zeros. QEMU (7.2, measured) does not write it, and
//! `VirtualBox` (7.2) does not import such a disk (`VERR_EOF`), unless its last 64 KiB were written to. Nor does it import
//! one whose last grain is written and shorter than the others (`VERR_VD_VMDK_INVALID_FORMAT`): QEMU compresses only
//! what is there of it.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::{
    bytes::{le32, le64},
    content::fill,
};

const SECTOR: u64 = 512;
/// The length of a marker with its kind, in bytes.
const MARKER: usize = 16;
/// The kind of the marker of the end.
const END: u32 = 0;

/// Where the data of a disk ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is a marker of the end.
    Marked,
    /// The file ends behind a whole part, at this place, in bytes.
    Unmarked(u64),
    /// The file ends within a part.
    Cut,
    /// A grain is written that is not whole, since the disk ends within it.
    Partial,
}

/// Follows the markers from the first one, of whose place in bytes the header tells. All grains before the sector
/// `whole` of the disk are whole.
pub(super) fn end(file: &File, first: u64, whole: u64) -> io::Result<End> {
    let (mut at, length) = (first, file.metadata()?.len());
    while at < length {
        let mut marker = [0; MARKER];
        let count = fill(&mut At { file, at }, &mut marker)?;
        let marker = marker.get(..count).unwrap_or_default();
        match next(marker, at) {
            None => return Ok(End::Cut),
            Some(next) if next == at => return Ok(End::Marked),
            Some(_) if is_grain_at(marker, whole) => return Ok(End::Partial),
            Some(next) => at = next,
        }
    }
    Ok(if at == length { End::Unmarked(at) } else { End::Cut })
}

/// Where the part behind a marker ends, which is the place of the marker itself at the end; `None` where it is cut.
fn next(marker: &[u8], at: u64) -> Option<u64> {
    let (number, size) = (le64(marker, 0)?, le32(marker, 8)?);
    let length = match size {
        0 if le32(marker, 12)? == END => 0,
        // Of a table, the number says how many sectors it has.
        0 => number.checked_add(1)?.checked_mul(SECTOR)?,
        size => u64::from(size).checked_add(12)?.next_multiple_of(SECTOR),
    };
    at.checked_add(length)
}

/// Whether a marker is of a grain that is at that sector of the disk, or behind it.
fn is_grain_at(marker: &[u8], sector: u64) -> bool {
    le32(marker, 8).is_some_and(|size| size > 0) && le64(marker, 0).is_some_and(|number| number >= sector)
}

/// Writes the marker of the end.
pub(super) fn mark(file: &File, at: u64) -> io::Result<()> {
    file.write_all_at(&[0; 512], at)
}

/// A file from a place on.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A marker and what is behind it, up to the next sector.
    fn part(number: u64, size: u32, behind: &[u8]) -> Vec<u8> {
        let mut part = [&number.to_le_bytes()[..], &size.to_le_bytes(), behind].concat();
        part.resize(part.len().next_multiple_of(512), 0);
        part
    }

    fn end_of(parts: &[Vec<u8>]) -> End {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[vec![0; 1024], parts.concat()].concat()).unwrap();
        end(&file, 1024, 256).unwrap()
    }

    #[test]
    fn a_disk_ends_with_a_marker_or_behind_a_part() {
        let grain = || part(128, 600, &[7; 600]);
        let table = || [part(2, 0, &1_u32.to_le_bytes()), vec![9; 1024]].concat();
        assert_eq!(end_of(&[]), End::Unmarked(1024));
        assert_eq!(end_of(&[grain()]), End::Unmarked(2048));
        assert_eq!(end_of(&[grain(), table(), grain()]), End::Unmarked(4608));
        assert_eq!(end_of(&[grain(), table(), vec![0; 512]]), End::Marked);
        // What is behind it does not count.
        assert_eq!(end_of(&[vec![0; 512], vec![1; 700]]), End::Marked);
    }

    #[test]
    fn a_disk_that_was_cut_ends_within_a_part() {
        let grain = part(128, 600, &[7; 600]);
        for length in [1, 11, 12, 15, 16, 500, 512, 1023] {
            assert_eq!(end_of(&[grain.clone(), grain[..length].to_vec()]), End::Cut, "{length}");
        }
        for lie in [part(u64::MAX, 0, &[1]), part(1 << 60, 0, &[1]), part(0, u32::MAX, &[1])] {
            assert_eq!(end_of(&[lie]), End::Cut);
        }
    }

    #[test]
    fn a_grain_that_is_not_whole_is_found() {
        let grain = |sector| part(sector, 600, &[7; 600]);
        assert_eq!(end_of(&[grain(0), grain(256), grain(0)]), End::Partial);
        // A table may have more sectors than that.
        let table = [part(256, 0, &1_u32.to_le_bytes()), vec![9; 256 << 9]].concat();
        assert_eq!(end_of(&[grain(255), table]), End::Unmarked(1024 + 1024 + (257 << 9)));
    }

    #[test]
    fn the_end_is_marked_once() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&part(128, 600, &[7; 600])).unwrap();
        assert_eq!(end(&file, 0, 256).unwrap(), End::Unmarked(1024));
        mark(&file, 1024).unwrap();
        assert_eq!((end(&file, 0, 256).unwrap(), file.metadata().unwrap().len()), (End::Marked, 1536));
    }
}

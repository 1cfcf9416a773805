//! The format of a file, by what it begins with.

use super::{qcow2, refusal::Refusal, vdi, vmdk};

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Gzip,
    Tar,
    Qcow2,
    /// Nothing that is known.
    Raw,
}

/// Formats that a raw disk would be taken for by programs that guess: a few of them read other files then.
const OTHERS: [(&[u8], &str); 15] = [
    (vmdk::MAGIC, "a VMDK disk"),
    (vmdk::DESCRIPTOR, "a descriptor of a VMDK disk"),
    (b"COWD", "a VMDK disk"),
    (b"vhdxfile", "a VHDX disk"),
    (b"conectix", "a VHD disk"),
    (b"QED\0", "a QED disk"),
    (b"QFI", "a damaged qcow2 disk"),
    (b"WithoutFreeSpace", "a Parallels disk"),
    (b"WithouFreSpacExt", "a Parallels disk"),
    (b"LUKS\xba\xbe", "an encrypted disk"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
];

/// The place of `ustar` in the header of an entry (POSIX.1-1988), and how long the header is.
const USTAR: usize = 257;
const HEADER: usize = 512;

/// The format of a file by its first bytes, 512 or more where it is so long.
pub(super) fn of(head: &[u8]) -> Result<Found, Refusal> {
    match head {
        [] => Err(Refusal::Empty),
        [0x1f, 0x8b, ..] => Ok(Found::Gzip),
        _ if head.starts_with(qcow2::MAGIC) => Ok(Found::Qcow2),
        _ if is_tar(head) => Ok(Found::Tar),
        _ if vdi::is_vdi(head) => Err(Refusal::OtherFormat { found: "a VDI disk" }),
        _ => match OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
            Some((_, found)) => Err(Refusal::OtherFormat { found }),
            None => Ok(Found::Raw),
        },
    }
}

/// Whether it begins with the header of an entry: with the word for it, or as older programs write it, with its sum.
fn is_tar(head: &[u8]) -> bool {
    if head.get(USTAR..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return true;
    }
    let Some(block) = head.first_chunk::<HEADER>() else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum: u32 = block.iter().enumerate().map(|(at, byte)| if is_sum(at) { 32 } else { u32::from(*byte) }).sum();
    block.first().is_some_and(|letter| *letter != 0) && header.cksum().is_ok_and(|written| written == sum)
}

/// The field of the sum counts as spaces.
fn is_sum(at: usize) -> bool {
    (148..156).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{qcow2, vdi, vmdk, with},
        *,
    };

    #[test]
    fn a_format_is_known_by_its_beginning() {
        let mut old = tar::Header::new_old();
        old.set_path("metadata.json").unwrap();
        old.set_cksum();
        let new = with(vec![0; 512], USTAR, b"ustar\0");
        for (head, found) in [
            (&b"\x1f\x8b\x08"[..], Found::Gzip),
            (&qcow2(5), Found::Qcow2),
            (old.as_bytes(), Found::Tar),
            (&new, Found::Tar),
            (&[0; 512], Found::Raw),
            (b"a", Found::Raw),
            (&with(vec![0; 512], 510, b"\x55\xaa"), Found::Raw),
        ] {
            assert_eq!(of(head).unwrap(), found);
        }
    }

    #[test]
    fn what_is_no_box_is_not_taken_for_a_raw_disk() {
        assert!(matches!(of(b""), Err(Refusal::Empty)));
        for (head, expected) in [
            (vmdk(5), "a VMDK disk"),
            (vdi(5), "a VDI disk"),
            (b"# Disk DescriptorFile\nRW 1 FLAT \"/etc/shadow\" 0".to_vec(), "a descriptor of a VMDK disk"),
            (b"QFI\xfa".to_vec(), "a damaged qcow2 disk"),
        ] {
            assert!(matches!(of(&head), Err(Refusal::OtherFormat { found }) if found == expected), "{expected}");
        }
    }
}

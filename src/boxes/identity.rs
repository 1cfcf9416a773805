//! What a VMDK is known by: a checksum of all that does not change where the same disk is written again.
//!
//! `qemu-img` leaves two things to be done. A descriptor names a content identifier (`CID`), which whoever writes to the disk changes. `qemu-img` takes it at
//! random, so that two conversions of one disk are two files; here it is set by the content. And the marker of its end is
//! missing, without which `VirtualBox` does not import the disk: see [`markers`].

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

use ring::digest::{Context, Digest, SHA256, digest};

use super::{
    content::{CHUNK, KEPT, fill},
    markers::{self, End},
    refusal::{Defect, Refusal, local},
    stream::open_to_change,
    vmdk,
};

/// The first half of all addresses of `VirtualBox`: its own organisation's.
const VENDOR: &str = "080027";

/// What is known of a VMDK that was written here.
pub(super) struct Settled {
    /// The size as the machine sees it, in bytes.
    pub(super) capacity: u64,
    digest: Digest,
}

impl Settled {
    /// An address for an adapter, of 12 hexadecimal digits. Of the same disk it is the same.
    pub(super) fn mac(&self) -> String {
        format!("{VENDOR}{}", self.digits("adapter", 6).to_ascii_uppercase())
    }

    /// A UUID (RFC 9562, version 8: one of its own kind) for a purpose. Of the same disk it is the same.
    pub(super) fn uuid(&self, purpose: &str) -> String {
        let digits = |purpose: &str, count| self.digits(purpose, count);
        let [one, two, three, four, five] = [("a", 8), ("b", 4), ("c", 3), ("d", 3), ("e", 12)]
            .map(|(part, count)| digits(&format!("{purpose} {part}"), count));
        format!("{one}-{two}-8{three}-8{four}-{five}")
    }

    /// As many hexadecimal digits, at most 64, that differ for each purpose.
    fn digits(&self, purpose: &str, count: usize) -> String {
        let digest = digest(&SHA256, &[self.digest.as_ref(), purpose.as_bytes()].concat());
        let mut text = String::new();
        for byte in digest.as_ref() {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.chars().take(count).collect()
    }
}

/// Marks the end of a VMDK that was written by `qemu-img`, and sets its content identifier by its content: two
/// conversions of one disk are the same file then. What was settled already stays as it is.
pub(super) fn settle(path: &Path, name: &str) -> Result<Settled, Refusal> {
    let mut file = open_to_change(path)?;
    let failed = || local(format!("{} cannot be read", path.display()));
    let mut head = vec![0; KEPT];
    let count = fill(&mut file, &mut head).map_err(failed())?;
    head.truncate(count);
    let capacity = vmdk::capacity(&head).map_err(refused(name))?;
    let unsettled = with_identifier(&mut head, "0").map_err(refused(name))?;
    complete(&file, &head, path, name)?;
    let digest = rest(&mut file, &unsettled).map_err(failed())?;
    let settled = Settled { capacity, digest };
    // The highest one stands for no disk.
    let identifier = format!("1{}", settled.digits("content", 7));
    let written = with_identifier(&mut head, &identifier).map_err(refused(name))?;
    let done = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&written));
    done.map_err(local(format!("{} cannot be written", path.display())))?;
    Ok(settled)
}

/// Marks the end where it is not marked.
fn complete(file: &File, head: &[u8], path: &Path, name: &str) -> Result<(), Refusal> {
    let kind = || Defect::Kind { found: "VMDK without markers".to_owned() };
    let first = vmdk::data(head).ok_or_else(kind).map_err(refused(name))?;
    let whole = vmdk::whole(head).unwrap_or(u64::MAX);
    match markers::end(file, first, whole).map_err(local(format!("{} cannot be read", path.display())))? {
        End::Marked => Ok(()),
        End::Unmarked(at) => markers::mark(file, at).map_err(local(format!("{} cannot be written", path.display()))),
        End::Cut => Err(refused(name)(Defect::Short)),
        End::Partial => Err(refused(name)(Defect::Partial)),
    }
}

fn refused(name: &str) -> impl Fn(Defect) -> Refusal {
    move |defect| Refusal::Disk { name: name.to_owned(), defect }
}

/// The beginning of a disk with another content identifier; its descriptor is as long as before, with zeros behind it.
fn with_identifier(head: &mut [u8], identifier: &str) -> Result<Vec<u8>, Defect> {
    let wrong = || Defect::Header { field: "descriptor" };
    let (place, mut text) = (vmdk::place(head)?, String::new());
    for line in vmdk::descriptor(head)?.split_inclusive('\n') {
        if line.starts_with("CID=") {
            text.extend(["CID=", identifier, "\n"]);
        } else {
            text.push_str(line);
        }
    }
    let mut descriptor = text.into_bytes();
    // The length is of a number of sectors of the header: it is not trusted before it is compared.
    if descriptor.len() >= place.len() || place.end > head.len() {
        return Err(wrong());
    }
    descriptor.resize(place.len(), 0);
    let (before, after) = (head.get(..place.start), head.get(place.end..));
    Ok([before.ok_or_else(wrong)?, &descriptor, after.ok_or_else(wrong)?].concat())
}

/// The checksum of a file that begins with these bytes, and of which the rest is still to be read.
fn rest(file: &mut File, head: &[u8]) -> io::Result<Digest> {
    let mut context = Context::new(&SHA256);
    context.update(head);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = fill(file, &mut buffer)?;
        if count == 0 {
            return Ok(context.finish());
        }
        context.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::fixtures::{vmdk_of, with},
        *,
    };

    fn disk(identifier: &str) -> Vec<u8> {
        vmdk_of(
            4,
            &format!(
                "# Disk DescriptorFile\nversion=1\nCID={identifier}\nparentCID=ffffffff\n\
                 createType=\"streamOptimized\"\nRW 4 SPARSE \"x.vmdk\"\n"
            ),
        )
    }

    fn settled(bytes: &[u8]) -> (Settled, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.vmdk");
        fs::write(&path, bytes).unwrap();
        let settled = settle(&path, "a.vmdk").unwrap();
        (settled, fs::read(path).unwrap())
    }

    #[test]
    fn two_conversions_of_a_disk_become_the_same_file() {
        let (one, bytes) = settled(&disk("93f94608"));
        // A shorter one: its digits are not filled up with zeros.
        for identifier in ["5", "0", "fffffffe", "1234567"] {
            let (other, same) = settled(&disk(identifier));
            assert_eq!((same, other.mac(), other.uuid("a")), (bytes.clone(), one.mac(), one.uuid("a")));
        }
        let (again, same) = settled(&bytes);
        assert_eq!((same, again.mac()), (bytes.clone(), one.mac()));
        // Nothing but the identifier and the end changed.
        assert_eq!(with(bytes, 512, &disk("5")[512..1536]), [disk("5"), vec![0; 512]].concat());
        assert_eq!(one.capacity, 2048);
    }

    #[test]
    fn another_disk_has_another_address() {
        let (one, _) = settled(&disk("5"));
        let data = [disk("5"), vec![0; KEPT], vec![1]].concat();
        for other in [with(disk("5"), 1550, b"x"), with(disk("5"), 12, &5_u64.to_le_bytes()), data] {
            let (other, _) = settled(&other);
            assert_ne!(other.mac(), one.mac());
            assert_ne!(other.uuid("a"), one.uuid("a"));
        }
    }

    #[test]
    fn an_address_is_one_of_virtualbox() {
        let (disk, _) = settled(&disk("5"));
        assert!(disk.mac().starts_with("080027") && disk.mac().len() == 12, "{}", disk.mac());
        let uuid = disk.uuid("a");
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!((lengths, &uuid[14..15], &uuid[19..20]), (vec![8, 4, 4, 4, 12], "8", "8"));
        assert_ne!(uuid, disk.uuid("b"));
    }

    #[test]
    fn a_disk_that_cannot_be_settled_stays_as_it_was() {
        let full = disk(&"0".repeat(800));
        let beyond = with(disk("5"), 36, &4_u64.to_le_bytes());
        let without_markers = with(disk("5"), 8, &3_u32.to_le_bytes());
        let cut = disk("5")[..2000].to_vec();
        // The sectors of a grain, more than the disk has.
        let partial = with(disk("5"), 20, &128_u64.to_le_bytes());
        for bytes in [with(full, 36, &1_u64.to_le_bytes()), beyond, without_markers, cut, partial] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.vmdk");
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(settle(&path, "a.vmdk"), Err(Refusal::Disk { .. })));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }
}

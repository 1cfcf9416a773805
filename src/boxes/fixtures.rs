//! Small disks, machines and archives.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

/// Bytes with others at a place.
pub(super) fn with(mut bytes: Vec<u8>, at: usize, others: &[u8]) -> Vec<u8> {
    bytes[at..at + others.len()].copy_from_slice(others);
    bytes
}

/// A qcow2 of version 3 with one entry in its table, at 0x200, and something written.
pub(super) fn qcow2(virtual_size: u64) -> Vec<u8> {
    let mut disk = vec![0; 0x1000];
    for (at, number) in [(4, 3_u32), (20, 16), (36, 1), (96, 4), (100, 104)] {
        disk = with(disk, at, &number.to_be_bytes());
    }
    for (at, number) in [(24, virtual_size), (40, 0x200), (0x200, 1 << 63 | 0x400), (0x400, 7)] {
        disk = with(disk, at, &number.to_be_bytes());
    }
    with(disk, 0, b"QFI\xfb")
}

/// A streamOptimized VMDK of so many sectors.
pub(super) fn vmdk(sectors: u64) -> Vec<u8> {
    vmdk_of(
        sectors,
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\
         RDONLY 4 SPARSE \"x.vmdk\"\n",
    )
}

/// A VMDK with a descriptor.
pub(super) fn vmdk_of(sectors: u64, descriptor: &str) -> Vec<u8> {
    let disk = with(vec![0; 2048], 0, b"KDMV\x03\0\0\0");
    let fields = [(12, sectors), (28, 1), (36, 2)];
    let disk = fields.iter().fold(disk, |disk, (at, number)| with(disk, *at, &number.to_le_bytes()));
    // Its flags, where its data begins, and a marker of data there: sector, size.
    let disk = with(with(disk, 8, &0x0003_0003_u32.to_le_bytes()), 64, &3_u64.to_le_bytes());
    with(with(disk, 512, descriptor.as_bytes()), 1536, b"\0\0\0\0\0\0\0\0\x04\0\0\0data")
}

/// A dynamic VDI with one block.
pub(super) fn vdi(virtual_size: u64) -> Vec<u8> {
    let disk = with(vec![0; 1024], 0, b"<<< Oracle VM VirtualBox Disk Image >>>\n");
    let disk = with(with(disk, 64, &0xbeda_107f_u32.to_le_bytes()), 68, &0x0001_0001_u32.to_le_bytes());
    let disk = with(with(disk, 76, &1_u32.to_le_bytes()), 388, &1_u32.to_le_bytes());
    with(disk, 368, &virtual_size.to_le_bytes())
}

/// An OVF of disks: file, capacity, unit.
pub(super) fn ovf(disks: &[(&str, &str, Option<&str>)]) -> String {
    let of = |(at, (file, capacity, unit)): (usize, &(&str, &str, Option<&str>))| {
        let unit = unit.map_or_else(String::new, |unit| format!(" ovf:capacityAllocationUnits=\"{unit}\""));
        let disk = format!("<Disk ovf:capacity=\"{capacity}\"{unit} ovf:diskId=\"d{at}\" ovf:fileRef=\"file{at}\"/>");
        (format!("<File ovf:id=\"file{at}\" ovf:href=\"{file}\"/>"), disk)
    };
    let (files, section): (Vec<_>, Vec<_>) = disks.iter().enumerate().map(of).unzip();
    let (files, section) = (files.concat(), section.concat());
    format!(
        "<?xml version=\"1.0\"?>\n<Envelope ovf:version=\"1.0\" xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" xmlns:vbox=\"http://www.virtualbox.org/ovf/machine\">\
         <References>{files}</References><DiskSection><Info>Disks</Info>{section}</DiskSection>\
         <VirtualSystem ovf:id=\"box\"><vbox:Machine><Hardware><Network>\
         <Adapter slot=\"1\" MACAddress=\"000000000000\"/>\
         <Adapter slot=\"0\" enabled=\"true\" MACAddress=\"080027C7DF4B\"/>\
         </Network></Hardware></vbox:Machine></VirtualSystem></Envelope>"
    )
}

/// An entry: name, kind, content. A kind of tar is a byte: `0` is a file.
pub(super) fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut entry = header(name, kind, content.len().try_into().unwrap());
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// The header of an entry, with whatever name.
pub(super) fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// An archive of entries, with its end.
pub(super) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

/// An archive of files.
pub(super) fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(name, content)| entry(name, b'0', content)).collect();
    archive(&entries)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

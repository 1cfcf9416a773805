//! Disks: what there is to know of one, and why it may not be used.

use super::{
    content::Content,
    qcow2,
    refusal::{Defect, Refusal},
    vdi, vmdk,
};

/// A disk of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its path in the archive; of a file that is a disk, the name of the file.
    pub name: String,
    /// The size of its file, in bytes.
    pub size: u64,
    /// The size of the disk as the machine sees it, in bytes.
    pub virtual_size: u64,
}

/// A format of disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Qcow2,
    Raw,
    /// VMDK or VDI, which `VirtualBox` reads.
    VirtualBox,
}

/// Looks at a whole file that should be a disk of at most `bound` bytes, for the machine.
pub(super) fn check(name: &str, content: &Content, format: Format, bound: u64) -> Result<Disk, Refusal> {
    let name = name.to_owned();
    if content.size == 0 {
        return Err(Refusal::EmptyDisk { name });
    }
    let virtual_size = match virtual_size(content, format) {
        Err(defect) => return Err(Refusal::Disk { name, defect }),
        Ok(_) if is_empty(content, format) => return Err(Refusal::EmptyDisk { name }),
        Ok(virtual_size) => virtual_size,
    };
    Ok(Disk { name: fit(name, virtual_size, bound)?, size: content.size, virtual_size })
}

/// The name of a disk that is not larger for the machine than the bound. Its file may be short all the same, and grows
/// to that size where it is converted.
pub(super) fn fit(name: String, virtual_size: u64, bound: u64) -> Result<String, Refusal> {
    if virtual_size > bound { Err(Refusal::DiskTooLarge { name, virtual_size, bound }) } else { Ok(name) }
}

fn is_empty(content: &Content, format: Format) -> bool {
    let is_unwritten = match format {
        Format::Qcow2 | Format::Raw => false,
        Format::VirtualBox if vdi::is_vdi(&content.head) => vdi::is_unwritten(&content.head),
        Format::VirtualBox => vmdk::is_unwritten(&content.head, content.size),
    };
    is_unwritten || content.is_empty()
}

fn virtual_size(content: &Content, format: Format) -> Result<u64, Defect> {
    let head = &content.head;
    match format {
        Format::Qcow2 => {
            let header = qcow2::header(head)?;
            if content.is_short() { Err(Defect::Short) } else { Ok(header.virtual_size) }
        }
        Format::VirtualBox if vdi::is_vdi(head) => {
            let capacity = vdi::capacity(head)?;
            if vdi::is_short(head, content.size) { Err(Defect::Short) } else { Ok(capacity) }
        }
        Format::VirtualBox => vmdk::capacity(head),
        Format::Raw if content.size.is_multiple_of(512) => Ok(content.size),
        Format::Raw => Err(Defect::Sectors { size: content.size }),
    }
}

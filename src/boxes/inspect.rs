//! What there is to know of the file of a box, in one pass over it.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use super::{
    archive::{self, Sink},
    content::{CHUNK, Content, fill},
    disk::{self, Disk, Format},
    format::{self, Found},
    refusal::{Refusal, local},
    stream::{Hashed, open},
    vagrant::{self, Vagrant},
};
use crate::api::boxes::{BoxConfig, BoxFormat, BoxProvider};

/// What is known of the file of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The format, by the content of the file.
    pub format: BoxFormat,
    /// The provider of a Vagrant box; `None` for a disk.
    pub provider: Option<BoxProvider>,
    /// The architecture that a Vagrant box names, as OCI names it; `None` where it names none, and for a disk.
    pub architecture: Option<String>,
    /// The size of the first disk as the machine sees it, in bytes.
    pub virtual_size: u64,
    /// The SHA-256 of the file, as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The size of the file, in bytes.
    pub size: u64,
    /// The disks, at least one, in the order in which the machine has them.
    pub disks: Vec<Disk>,
}

impl Inspected {
    /// Its configuration in a registry. The architecture is the one that was built for, where the box names none.
    #[must_use]
    pub fn config(&self, built_for: &str) -> BoxConfig {
        let architecture = self.architecture.as_deref().unwrap_or(built_for).to_owned();
        let Self { format, provider, virtual_size, .. } = *self;
        BoxConfig { format, provider, architecture, virtual_size }
    }

    /// What is known of a Vagrant box, with the checksum and the size of its file.
    pub(super) fn of_vagrant(vagrant: Vagrant, (sha256, size): (String, u64)) -> Self {
        let Vagrant { provider, architecture, disks } = vagrant;
        let virtual_size = disks.first().map_or(0, |disk| disk.virtual_size);
        Self { format: BoxFormat::Vagrant, provider: Some(provider), architecture, virtual_size, sha256, size, disks }
    }
}

/// Reads the file of a box, once, and looks whether it may be used. It keeps at most 128 KiB of each of at most 64
/// entries, and 4 MiB of headers of the archive.
///
/// The content of a disk, or of all entries of an archive together with their holes, is at most `bound` bytes. So is
/// each disk as its machine sees it, since that is how large it is as a raw disk.
///
/// # Errors
///
/// What is wrong with the file. A plain tar has no checksums: a byte of a disk in it that has changed is only known by
/// the SHA-256 of the file. Of a disk only its header is read, and whether anything was ever written to it; that is not
/// known of a monolithicSparse VMDK. `qemu-img check` finds what else may be wrong.
pub fn inspect(path: &Path, bound: u64) -> Result<Inspected, Refusal> {
    read(path, bound, &mut |_| Ok(None), false)
}

/// Reads the file of a box, and writes the entries of an archive where they are wanted.
pub(super) fn read(path: &Path, bound: u64, sink: Sink, only_archive: bool) -> Result<Inspected, Refusal> {
    let mut reader = BufReader::with_capacity(CHUNK, Hashed::new(open(path)?));
    let found = format::of(reader.fill_buf().map_err(unreadable(path))?)?;
    let format = match found {
        Found::Gzip => {
            let entries = archive::read(MultiGzDecoder::new(&mut reader), bound, sink)?;
            return of_archive(&entries, bound, reader);
        }
        Found::Tar => return of_archive(&archive::read(&mut reader, bound, sink)?, bound, reader),
        Found::Qcow2 | Found::Raw if only_archive => return Err(Refusal::NoArchive),
        Found::Qcow2 => (BoxFormat::Qcow2, Format::Qcow2),
        Found::Raw => (BoxFormat::Raw, Format::Raw),
    };
    let content = content(path, &mut reader, bound)?;
    of_disk(path, (&content, bound), format, reader)
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Refusal {
    local(format!("{} cannot be read", path.display()))
}

fn of_archive(entries: &archive::Entries, bound: u64, reader: BufReader<Hashed<File>>) -> Result<Inspected, Refusal> {
    Ok(Inspected::of_vagrant(vagrant::of(entries, bound)?, reader.into_inner().finish()))
}

fn content(path: &Path, reader: &mut impl BufRead, bound: u64) -> Result<Content, Refusal> {
    let (mut content, mut buffer) = (Content::default(), vec![0; CHUNK]);
    loop {
        let count = fill(reader, &mut buffer).map_err(unreadable(path))?;
        if count == 0 {
            return Ok(content);
        }
        content.add(buffer.get(..count).unwrap_or_default());
        if content.size > bound {
            return Err(Refusal::TooLarge { place: "in the file".to_owned(), bound });
        }
    }
}

fn of_disk(
    path: &Path,
    (content, bound): (&Content, u64),
    (format, of_disk): (BoxFormat, Format),
    reader: BufReader<Hashed<File>>,
) -> Result<Inspected, Refusal> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let disk = disk::check(&name, content, of_disk, bound)?;
    let (sha256, size) = reader.into_inner().finish();
    let virtual_size = disk.virtual_size;
    Ok(Inspected { format, provider: None, architecture: None, virtual_size, sha256, size, disks: vec![disk] })
}

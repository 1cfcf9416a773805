//! Writes Vagrant boxes: of the same files, the same bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::{
    archive::Entries,
    content::{CHUNK, Content, KEPT, fill},
    inspect::Inspected,
    metadata, qcow2,
    refusal::{Refusal, local},
    stream::{Hashed, open},
    vagrant::{self, OVF, machine},
};
use crate::api::boxes::BoxProvider;

/// The longest name that a header of tar holds, in bytes.
const LONGEST: usize = 100;

/// What a Vagrant box is made of.
#[derive(Clone, Copy, Debug)]
pub enum Parts<'a> {
    /// Of libvirt: a disk as qcow2.
    Libvirt {
        /// The file of the disk.
        disk: &'a Path,
    },
    /// Of `VirtualBox`: an OVF. The files that it names are beside it.
    VirtualBox {
        /// The file of the OVF, of whatever name.
        ovf: &'a Path,
    },
}

/// Writes a new file with a Vagrant box, compressed fast, and answers what [`inspect`](super::inspect()) would answer
/// of it with the same `bound`. Of the same parts and architecture, the bytes are the same.
///
/// The parts together are at most `bound` bytes, and so is each disk as its machine sees it.
///
/// # Errors
///
/// What is wrong with the parts, or how the machine failed; the new file is removed then.
pub fn pack(parts: Parts, architecture: Option<&str>, bound: u64, out: &Path) -> Result<Inspected, Refusal> {
    let mut entries = match parts {
        Parts::Libvirt { disk } => of_libvirt(disk, architecture)?,
        Parts::VirtualBox { ovf } => of_virtualbox(ovf, architecture)?,
    };
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let failed = || local(format!("{} cannot be written", out.display()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(out).map_err(failed())?;
    let written = write(entries, bound, (file, out));
    if written.is_err() {
        // Why it is not whole is more than that it could not be removed.
        let _ = fs::remove_file(out);
    }
    written
}

struct Entry {
    name: String,
    source: Source,
}

enum Source {
    Text(String),
    File(PathBuf, File),
}

impl Entry {
    fn text(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), source: Source::Text(text) }
    }

    fn file(name: &str, path: &Path) -> Result<Self, Refusal> {
        Ok(Self { name: name.to_owned(), source: Source::File(path.to_owned(), open(path)?) })
    }

    /// In bytes.
    fn size(&self) -> Result<u64, Refusal> {
        match &self.source {
            Source::Text(text) => Ok(u64::try_from(text.len()).unwrap_or(u64::MAX)),
            Source::File(path, file) => {
                let metadata = file.metadata().map_err(local(format!("{} cannot be read", path.display())))?;
                Ok(metadata.len())
            }
        }
    }

    /// The beginning of a file, which is then read from its beginning.
    fn head(&mut self) -> Result<Content, Refusal> {
        let Source::File(path, file) = &mut self.source else { return Ok(Content::default()) };
        let mut buffer = vec![0; KEPT];
        let read = fill(file, &mut buffer).and_then(|count| file.seek(SeekFrom::Start(0)).map(|_| count));
        let count = read.map_err(local(format!("{} cannot be read", path.display())))?;
        Ok(Content::of(buffer.get(..count).unwrap_or_default()))
    }
}

fn of_libvirt(path: &Path, architecture: Option<&str>) -> Result<Vec<Entry>, Refusal> {
    let mut disk = Entry::file(metadata::DISK, path)?;
    let head = disk.head()?;
    if head.size == 0 {
        return Err(Refusal::EmptyDisk { name: disk.name });
    }
    let header = qcow2::header(&head.head);
    let header = header.map_err(|defect| Refusal::Disk { name: disk.name.clone(), defect })?;
    let text = metadata::write(BoxProvider::Libvirt, architecture, Some(header.virtual_size));
    let vagrantfile = "Vagrant.configure(\"2\") do |config|\nend\n".to_owned();
    Ok(vec![disk, Entry::text(metadata::FILE, text), Entry::text("Vagrantfile", vagrantfile)])
}

fn of_virtualbox(path: &Path, architecture: Option<&str>) -> Result<Vec<Entry>, Refusal> {
    let mut ovf = Entry::file(OVF, path)?;
    let machine = machine(OVF, &ovf.head()?)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mac = machine.mac.ok_or_else(|| Refusal::Ovf {
        name: OVF.to_owned(),
        problem: "has no adapter with an address, which Vagrant needs".to_owned(),
    })?;
    let vagrantfile = format!("Vagrant.configure(\"2\") do |config|\n  config.vm.base_mac = \"{mac}\"\nend\n");
    let text = metadata::write(BoxProvider::VirtualBox, architecture, None);
    let mut entries = vec![ovf, Entry::text(metadata::FILE, text), Entry::text("Vagrantfile", vagrantfile)];
    for name in machine.files {
        find_room(&name, &entries)?;
        entries.push(beside(folder, &name)?);
    }
    Ok(entries)
}

/// Whether a file that an OVF names can be put into a box under its name.
fn find_room(name: &str, entries: &[Entry]) -> Result<(), Refusal> {
    let refused = |problem| Err(Refusal::Name { name: name.to_owned(), problem });
    match name {
        _ if name.len() > LONGEST => refused("is longer than 100 bytes"),
        // A folder that is a link would lead to files that are not of the machine.
        _ if name.contains('/') => refused("is in a folder, and not beside the OVF"),
        _ if entries.iter().any(|entry| entry.name == name) => Err(Refusal::Duplicate { name: name.to_owned() }),
        _ => Ok(()),
    }
}

/// A file that an OVF names.
fn beside(folder: &Path, name: &str) -> Result<Entry, Refusal> {
    Entry::file(name, &folder.join(name)).map_err(|refusal| match refusal {
        Refusal::Local { error, .. } if error.kind() == io::ErrorKind::NotFound => {
            Refusal::NoFile { ovf: OVF.to_owned(), name: name.to_owned() }
        }
        other => other,
    })
}

type Packer = Builder<GzEncoder<BufWriter<Hashed<File>>>>;

fn write(entries: Vec<Entry>, bound: u64, (file, out): (File, &Path)) -> Result<Inspected, Refusal> {
    let failed = || local(format!("{} cannot be written", out.display()));
    let buffered = BufWriter::with_capacity(CHUNK, Hashed::new(file));
    // Without a name, and with the time 0.
    let mut packer = Builder::new(GzBuilder::new().mtime(0).write(buffered, Compression::fast()));
    let (mut written, mut left) = (Entries::new(), bound);
    for entry in entries {
        let place = format!("in «{}»", entry.name);
        left = left.checked_sub(entry.size()?).ok_or(Refusal::TooLarge { place, bound })?;
        let content = append(&mut packer, &entry, out)?;
        written.insert(entry.name, content);
    }
    let finished = packer.into_inner().and_then(GzEncoder::finish).map_err(failed())?;
    let hashed = finished.into_inner().map_err(|error| failed()(error.into_error()))?;
    Ok(Inspected::of_vagrant(vagrant::of(&written, bound)?, hashed.finish()))
}

fn append(packer: &mut Packer, entry: &Entry, out: &Path) -> Result<Content, Refusal> {
    let size = entry.size()?;
    match &entry.source {
        Source::Text(text) => copy(packer, &entry.name, size, &mut Cursor::new(text), (out, Path::new(&entry.name))),
        Source::File(path, file) => copy(packer, &entry.name, size, &mut &*file, (out, path)),
    }
}

fn copy(
    packer: &mut Packer,
    name: &str,
    size: u64,
    from: &mut impl Read,
    (out, path): (&Path, &Path),
) -> Result<Content, Refusal> {
    let failed = || local(format!("{} cannot be written", out.display()));
    begin(packer, name, size).map_err(failed())?;
    let (mut content, mut buffer) = (Content::default(), vec![0; CHUNK]);
    loop {
        let count = fill(from, &mut buffer).map_err(local(format!("{} cannot be read", path.display())))?;
        let bytes = buffer.get(..count).unwrap_or_default();
        content.add(bytes);
        if content.size > size || bytes.is_empty() && content.size < size {
            return Err(Refusal::Changed { path: path.display().to_string() });
        }
        if bytes.is_empty() {
            let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
            packer.get_mut().write_all(&vec![0; padding]).map_err(failed())?;
            return Ok(content);
        }
        packer.get_mut().write_all(bytes).map_err(failed())?;
    }
}

/// Writes the header of an entry.
fn begin(packer: &mut Packer, name: &str, size: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_path(name)?;
    header.set_cksum();
    packer.get_mut().write_all(header.as_bytes())
}

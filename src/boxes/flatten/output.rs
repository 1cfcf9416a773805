//! The one archive that comes out.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, Write},
};

use tar::{EntryType, Header};

use super::{
    entry::{BLOCK, Entry, Layer, Uncopied},
    error::Error,
    tree::{Inode, Kind, Origin},
};

/// The longest name that a header has room for, in bytes.
const LONGEST_NAME: usize = 100;
/// The name that GNU tar gives to the entries that hold long names.
const LONG_NAME: &[u8] = b"././@LongLink";
/// What a machine must find where container engines, which mount a file of their own there, leave an empty one: without
/// it nobody knows `localhost`, and `sudo` complains.
const FILLED: [(&[u8], &[u8]); 1] =
    [(b"etc/hosts", b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")];
/// Of the entries that hold pax records.
const RECORDS: &[u8] = b"././@PaxHeader";

/// An archive as it is written.
pub(super) struct Output<'t, W> {
    writer: W,
    /// The first name of each file that was written.
    names: BTreeMap<usize, &'t [u8]>,
}

impl<'t, W: Write> Output<'t, W> {
    pub(super) const fn new(writer: W) -> Self {
        Self { writer, names: BTreeMap::new() }
    }

    /// Writes a name: with all of its file, or as a link to an earlier one.
    ///
    /// # Errors
    /// The layer of the file cannot be read any more, or the archive cannot be written.
    pub(super) fn add<R: Read + Seek>(
        &mut self,
        layers: &mut [Layer<R>],
        name: &'t [u8],
        (index, inode): (usize, &Inode),
    ) -> Result<(), Error> {
        let Some(origin) = inode.origin else { return self.implied(name) };
        let mut entry = found(layers, origin)?;
        if let Some(first) = self.names.get(&index) {
            entry.kind = EntryType::Link;
            return self.described(&entry, name, first, 0);
        }
        let name = if inode.kind == Kind::Directory { &directory(name) } else { self.remember(index, name) };
        let empty = |path: &[u8]| path == name && inode.kind == Kind::File && entry.size == 0;
        if let Some((_, text)) = FILLED.iter().find(|(path, _)| empty(path)) {
            return self.filled(&entry, name, text);
        }
        self.described(&entry, name, &inode.target, entry.size)?;
        self.content(layers, origin, &entry)
    }

    /// Ends the archive, with two blocks of zeros.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn end(mut self) -> Result<(), Error> {
        self.writer.write_all(&[0; 1024]).and_then(|()| self.writer.flush()).map_err(Error::Unwritable)
    }

    fn remember(&mut self, index: usize, name: &'t [u8]) -> &'t [u8] {
        self.names.insert(index, name);
        name
    }

    /// A directory that only names imply: as engines make it, but of no certain time.
    fn implied(&mut self, name: &[u8]) -> Result<(), Error> {
        self.named(plain(EntryType::Directory, 0o755, 0), &directory(name), b"")
    }

    fn described(&mut self, entry: &Entry, name: &[u8], link: &[u8], size: u64) -> Result<(), Error> {
        if !entry.records.is_empty() {
            self.extension(EntryType::XHeader, RECORDS, &entry.records)?;
        }
        self.named(header(entry, size), name, link)
    }

    /// A header with a name and the target of a link, and what it has no room for before it.
    fn named(&mut self, mut header: Header, name: &[u8], link: &[u8]) -> Result<(), Error> {
        if link.len() > LONGEST_NAME {
            self.extension(EntryType::GNULongLink, LONG_NAME, &[link, b"\0"].concat())?;
        }
        if name.len() > LONGEST_NAME {
            self.extension(EntryType::GNULongName, LONG_NAME, &[name, b"\0"].concat())?;
        }
        fill(&mut header.as_old_mut().name, name);
        fill(&mut header.as_old_mut().linkname, link);
        self.header(header)
    }

    fn filled(&mut self, entry: &Entry, name: &[u8], text: &[u8]) -> Result<(), Error> {
        let size = text.len().try_into().unwrap_or(u64::MAX);
        self.described(entry, name, b"", size)?;
        self.writer.write_all(text).map_err(Error::Unwritable)?;
        self.pad(size)
    }

    fn extension(&mut self, kind: EntryType, name: &[u8], text: &[u8]) -> Result<(), Error> {
        let size = text.len().try_into().unwrap_or(u64::MAX);
        let mut header = plain(kind, 0o644, size);
        fill(&mut header.as_old_mut().name, name);
        self.header(header)?;
        self.writer.write_all(text).map_err(Error::Unwritable)?;
        self.pad(size)
    }

    fn header(&mut self, mut header: Header) -> Result<(), Error> {
        header.set_cksum();
        self.writer.write_all(header.as_bytes()).map_err(Error::Unwritable)
    }

    fn content<R: Read + Seek>(&mut self, layers: &mut [Layer<R>], origin: Origin, entry: &Entry) -> Result<(), Error> {
        let Some(layer) = layers.get_mut(origin.layer) else { return Err(changed(origin)) };
        layer.copy(entry, &mut self.writer).map_err(|failed| match failed {
            Uncopied::Read(fault) => fault.of_layer(origin.layer),
            Uncopied::Written(error) => Error::Unwritable(error),
        })?;
        self.pad(entry.size)
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let missing = size.next_multiple_of(BLOCK) - size;
        io::copy(&mut io::repeat(0).take(missing), &mut self.writer).map(|_| ()).map_err(Error::Unwritable)
    }
}

fn found<R: Read + Seek>(layers: &mut [Layer<R>], origin: Origin) -> Result<Entry, Error> {
    let layer = layers.get_mut(origin.layer).ok_or_else(|| changed(origin))?;
    let entry = layer.entry(origin.start).map_err(|fault| fault.of_layer(origin.layer))?;
    entry.ok_or_else(|| changed(origin))
}

fn changed(origin: Origin) -> Error {
    Error::Broken { layer: origin.layer.saturating_add(1), fault: "it changed while it was read" }
}

/// A header that comes from no layer.
fn plain(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The header of an entry without its names: in GNU's format, and with no names of owners.
fn header(entry: &Entry, size: u64) -> Header {
    let mut header = Header::new_gnu();
    let (new, old) = (header.as_old_mut(), entry.header.as_old());
    (new.mode, new.uid, new.gid, new.mtime) = (old.mode, old.uid, old.gid, old.mtime);
    header.set_entry_type(entry.kind);
    header.set_size(size);
    if matches!(entry.kind, EntryType::Char | EntryType::Block)
        && let (Some((major, minor)), Some(new)) = (device(&entry.header), header.as_gnu_mut())
    {
        (new.dev_major, new.dev_minor) = (major, minor);
    }
    header
}

/// Archives that are older than both formats have no numbers of devices.
fn device(header: &Header) -> Option<([u8; 8], [u8; 8])> {
    let gnu = header.as_gnu().map(|header| (header.dev_major, header.dev_minor));
    gnu.or_else(|| header.as_ustar().map(|header| (header.dev_major, header.dev_minor)))
}

/// The name of a directory in an archive.
fn directory(name: &[u8]) -> Vec<u8> {
    if name.is_empty() { b"./".to_vec() } else { [name, b"/"].concat() }
}

/// As much of a text as there is room for, and zeros behind it.
fn fill(field: &mut [u8], text: &[u8]) {
    field.fill(0);
    field.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
}

//! Entries of a tar archive, with where they are in it.
//!
//! The iterator of the `tar` crate is not used: it ends pax records at line feeds, and the value of
//! `security.capability` may have one; a name or a size behind such a value would be lost. The format is that of
//! POSIX.1-2008, "pax Interchange Format", with GNU's long names.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use tar::{EntryType, Header};

use super::error::Fault;

/// The size of a block of an archive, in bytes.
pub(super) const BLOCK: u64 = 512;
/// The most bytes of a long name or of the pax records of one entry, as Go's archive/tar has it.
const LONGEST_EXTENSION: u64 = 1024 * 1024;

/// How much of a layer is read at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// A layer that is read here and there.
#[derive(Debug)]
pub(super) struct Layer<R> {
    reader: BufReader<R>,
    at: u64,
    length: u64,
}

/// An entry of a layer, with what stands before it about it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) header: Header,
    /// What it is, whatever the age of the archive.
    pub(super) kind: EntryType,
    /// Where it begins.
    pub(super) start: u64,
    /// Its name as it is written.
    pub(super) name: Vec<u8>,
    /// The target of a link as it is written.
    pub(super) link: Vec<u8>,
    /// The pax records that are part of the file, in their form in archives.
    pub(super) records: Vec<u8>,
    /// Where its content begins.
    pub(super) content: u64,
    /// Of its content, in bytes.
    pub(super) size: u64,
}

/// Why content was not copied.
pub(super) enum Uncopied {
    Read(Fault),
    Written(io::Error),
}

/// What stands before an entry about it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Vec<u8>>,
}

impl<R: Read + Seek> Layer<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        Ok(Self { reader: BufReader::with_capacity(BUFFER, reader), at: 0, length })
    }

    /// The entry that begins at a place, unless the archive ends there.
    pub(super) fn entry(&mut self, start: u64) -> Result<Option<Entry>, Fault> {
        self.go_to(start)?;
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            let kind = header.entry_type();
            if !is_extension(kind) {
                return self.described(header, start, extensions).map(Some);
            }
            let text = self.extension(&header)?;
            extensions.add(kind, text)?;
        }
        if extensions.is_empty() { Ok(None) } else { Err(Fault::Broken("it ends where an entry is announced")) }
    }

    /// Copies the content of an entry.
    pub(super) fn copy(&mut self, entry: &Entry, writer: &mut impl Write) -> Result<(), Uncopied> {
        self.go_to(entry.content).map_err(Uncopied::Read)?;
        let mut rest = entry.size;
        while rest > 0 {
            let chunk = self.reader.fill_buf().map_err(|error| Uncopied::Read(Fault::Io(error)))?;
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(chunk.len());
            let chunk = chunk.get(..wanted).filter(|chunk| !chunk.is_empty());
            writer.write_all(chunk.ok_or(Uncopied::Read(Fault::Broken(TRUNCATED)))?).map_err(Uncopied::Written)?;
            self.reader.consume(wanted);
            let wanted = u64::try_from(wanted).unwrap_or(rest);
            (rest, self.at) = (rest.saturating_sub(wanted), self.at.saturating_add(wanted));
        }
        Ok(())
    }

    fn go_to(&mut self, place: u64) -> Result<(), Fault> {
        match i64::try_from(i128::from(place) - i128::from(self.at)) {
            Ok(distance) => self.reader.seek_relative(distance)?,
            Err(_) => return Err(Fault::Broken("it is larger than files can be")),
        }
        self.at = place;
        Ok(())
    }

    /// The header of the next block, unless the archive ends here.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        if self.at == self.length {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.read(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if header.cksum().ok() != Some(checksum(&header)) {
            return Err(Fault::Broken("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        self.reader.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Broken(TRUNCATED),
            _ => Fault::Io(error),
        })?;
        self.at = self.at.saturating_add(into.len().try_into().unwrap_or(u64::MAX));
        Ok(())
    }

    /// The text of an entry that says something of the next one.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Fault> {
        let size = header.entry_size().map_err(|_| Fault::Broken(NO_SIZE))?;
        if size > LONGEST_EXTENSION {
            return Err(Fault::Broken("what it says of an entry is longer than 1 MiB"));
        }
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read(&mut text)?;
        self.go_to(self.at.next_multiple_of(BLOCK))?;
        Ok(text)
    }

    fn described(&self, header: Header, start: u64, extensions: Extensions) -> Result<Entry, Fault> {
        let Extensions { name, link, records } = extensions;
        let said = Said::by(records.as_deref().unwrap_or_default())?;
        let size = match said.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| Fault::Broken(NO_SIZE))?,
        };
        // As Go's archive/tar has it, which engines read layers with: no other entry has content.
        let name = name.or(said.name).unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = kind(&header, &name);
        let size = if has_content(kind) { size } else { 0 };
        let link = link.or(said.link).or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default();
        let entry = Entry { header, kind, start, name, link, records: said.kept, content: self.at, size };
        if entry.next() > self.length.next_multiple_of(BLOCK) || entry.content.saturating_add(size) > self.length {
            return Err(Fault::Broken(TRUNCATED));
        }
        Ok(entry)
    }
}

const TRUNCATED: &str = "it ends within an entry";
const NO_SIZE: &str = "the size of an entry is no number";

impl Entry {
    /// Where the next entry begins.
    pub(super) fn next(&self) -> u64 {
        self.content.saturating_add(self.size).checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX)
    }
}

impl Extensions {
    fn add(&mut self, kind: EntryType, text: Vec<u8>) -> Result<(), Fault> {
        let place = match kind {
            EntryType::GNULongName => &mut self.name,
            EntryType::GNULongLink => &mut self.link,
            EntryType::XHeader => &mut self.records,
            // Of all entries that follow; no engine takes heed of it.
            _ => return Ok(()),
        };
        let text = if kind == EntryType::XHeader { text } else { until_zero(text) };
        if place.replace(text).is_some() { Err(Fault::Broken("an entry is announced twice")) } else { Ok(()) }
    }

    const fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.records.is_none()
    }
}

fn until_zero(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
    text
}

fn is_extension(kind: EntryType) -> bool {
    matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader)
}

fn kind(header: &Header, name: &[u8]) -> EntryType {
    match header.entry_type() {
        // Of archives that are older than the kind for directories.
        EntryType::Regular if header.as_old().linkflag == [0] && name.ends_with(b"/") => EntryType::Directory,
        EntryType::Continuous => EntryType::Regular,
        kind => kind,
    }
}

/// Also of kinds that are not known, so that what follows is found.
fn has_content(kind: EntryType) -> bool {
    !matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// The sum of all bytes of a header, with spaces for the sum itself.
fn checksum(header: &Header) -> u32 {
    let sum_of = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum_of(header.as_bytes()) - sum_of(&header.as_old().cksum) + 8 * u32::from(b' ')
}

/// What pax records say of an entry.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    /// The records that are part of the file.
    kept: Vec<u8>,
}

impl Said {
    fn by(mut records: &[u8]) -> Result<Self, Fault> {
        let mut said = Self::default();
        while !records.is_empty() {
            let (record, rest) = next_record(records).ok_or(Fault::Broken("a pax record is no record"))?;
            said.add(&record)?;
            records = rest;
        }
        Ok(said)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        match record.key {
            b"path" => self.name = Some(record.value.to_vec()),
            b"linkpath" => self.link = Some(record.value.to_vec()),
            b"size" => self.size = Some(number(record.value).ok_or(Fault::Broken(NO_SIZE))?),
            key if key.starts_with(b"GNU.sparse.") => return Err(Fault::Broken(SPARSE)),
            b"uid" | b"gid" | b"mtime" | b"atime" | b"ctime" => self.kept.extend_from_slice(record.whole),
            key if key.starts_with(b"SCHILY.xattr.") => self.kept.extend_from_slice(record.whole),
            _ => {}
        }
        Ok(())
    }
}

/// Why a file with holes in GNU's format is refused.
const SPARSE: &str = "a file in it is stored as sparse, which no engine does";

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

struct Record<'t> {
    whole: &'t [u8],
    key: &'t [u8],
    value: &'t [u8],
}

/// The first of several records, and the others. A record is `LENGTH KEY=VALUE` and a line feed; the length is that
/// of all of it, and the value may have any byte.
fn next_record(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(records.get(..space)?)?).ok()?;
    let (whole, rest) = records.split_at_checked(length)?;
    let text = whole.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (text.get(..equals)?, text.get(equals.checked_add(1)?..)?);
    Some((Record { whole, key, value }, rest))
}

//! The entries of an archive, in one pass: what no box holds is refused, and nothing but a part of each is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    rc::Rc,
};

use tar::{Archive, Entry, EntryType};

use super::{
    content::{CHUNK, Content, KEPT, fill},
    gate::{self, Gate, Seen},
    name::{clean, folders},
    refusal::{Refusal, local},
};

/// The most entries of an archive: a box of `VirtualBox` with several disks has about ten.
pub(super) const MOST_ENTRIES: usize = 64;

/// The files of an archive by their names.
pub(super) type Entries = BTreeMap<String, Content>;
/// Where the content of an entry is written to; nowhere if only its content is looked at.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&str) -> Result<Option<File>, Refusal>;

/// Reads all entries. Their content together is at most `bound` bytes, with holes counted as what they stand for.
pub(super) fn read(source: impl Read, bound: u64, sink: Sink) -> Result<Entries, Refusal> {
    let (gate, seen) = Gate::new(source);
    let mut archive = Archive::new(gate);
    let mut walk = Walk::new(bound, seen, sink);
    let entries = archive.entries().map_err(|error| walk.refusal(&error))?;
    for entry in entries {
        let entry = entry.map_err(|error| walk.refusal(&error))?;
        walk.take(entry)?;
    }
    walk.end(archive.into_inner())
}

struct Walk<'a> {
    bound: u64,
    /// What is left of the bound.
    left: u64,
    seen: Rc<Seen>,
    sink: Sink<'a>,
    count: usize,
    folders: BTreeSet<String>,
    entries: Entries,
    /// Where it is in the archive, for people.
    place: String,
    buffer: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(bound: u64, seen: Rc<Seen>, sink: Sink<'a>) -> Self {
        let (folders, entries) = Default::default();
        let place = "at its beginning".to_owned();
        Self { bound, left: bound, seen, sink, count: 0, folders, entries, place, buffer: vec![0; CHUNK] }
    }

    fn take(&mut self, mut entry: Entry<impl Read>) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > MOST_ENTRIES {
            return Err(Refusal::TooManyEntries { most: MOST_ENTRIES });
        }
        let name = name_of(&entry)?;
        self.place = format!("in «{name}»");
        let is_folder = self.is_folder(&name, &mut entry)?;
        self.find_room(&name, is_folder)?;
        if is_folder {
            return Ok(());
        }
        self.seen.is_content.set(true);
        let content = self.content(&name, &mut entry)?;
        self.seen.is_content.set(false);
        self.place = format!("after «{name}»");
        self.entries.insert(name, content);
        Ok(())
    }

    fn is_folder(&self, name: &str, entry: &mut Entry<impl Read>) -> Result<bool, Refusal> {
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::GNUSparse if has_holes_of_pax(entry).map_err(|e| self.refusal(&e))? => {
                "a sparse file in the form of pax, which programs read in different ways"
            }
            EntryType::Regular | EntryType::GNUSparse if name.is_empty() => "a file without a name",
            EntryType::Regular | EntryType::GNUSparse => return Ok(false),
            EntryType::Directory if entry.size() == 0 => return Ok(true),
            EntryType::Link => "a hard link",
            EntryType::Symlink => "a symbolic link",
            EntryType::Char | EntryType::Block => "a device",
            EntryType::Fifo => "a pipe",
            _ => "of a kind that is not known",
        };
        Err(Refusal::Kind { name: name.to_owned(), kind })
    }

    /// No two entries may be the same file, and none a file where another one needs a folder.
    fn find_room(&mut self, name: &str, is_folder: bool) -> Result<(), Refusal> {
        let is_taken = if is_folder { false } else { self.folders.contains(name) };
        let under = folders(name).find(|folder| self.entries.contains_key(*folder));
        if is_taken || under.is_some() || self.entries.contains_key(name) {
            return Err(Refusal::Duplicate { name: under.unwrap_or(name).to_owned() });
        }
        self.folders.extend(folders(name).chain(is_folder.then_some(name)).map(str::to_owned));
        Ok(())
    }

    /// The content of an entry. Its size is known before it is read, so that nothing is written beyond the bound.
    fn content(&mut self, name: &str, entry: &mut Entry<impl Read>) -> Result<Content, Refusal> {
        let size = entry.size();
        let too_large = Refusal::TooLarge { place: self.place.clone(), bound: self.bound };
        self.left = self.left.checked_sub(size).ok_or(too_large)?;
        if is_text(name) && usize::try_from(size).is_ok_and(|size| size > KEPT) {
            return Err(Refusal::TooMuchText { name: name.to_owned(), most: KEPT });
        }
        let file = (self.sink)(name)?;
        let content = self.copy(name, entry, file.as_ref())?;
        if content.size == size { Ok(content) } else { Err(self.cut()) }
    }

    fn copy(&mut self, name: &str, from: &mut impl Read, file: Option<&File>) -> Result<Content, Refusal> {
        let mut content = Content::default();
        loop {
            let count = fill(from, &mut self.buffer).map_err(|error| self.refusal(&error))?;
            let bytes = self.buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            let is_zero = content.add(bytes);
            write(file, bytes, is_zero).map_err(local(format!("{name} cannot be written")))?;
        }
        let finished = file.map_or(Ok(()), |file| file.set_len(content.size));
        finished.map_err(local(format!("{name} cannot be written")))?;
        Ok(content)
    }

    /// Behind the last entry there is one block of zeros that was read, another one, and only zeros behind it. Without
    /// them, an archive that was cut between two entries would be taken for a whole one.
    fn end(mut self, mut rest: impl Read) -> Result<Entries, Refusal> {
        if self.seen.has_ended.get() {
            return Err(self.cut());
        }
        let mut total = 0;
        loop {
            let count = fill(&mut rest, &mut self.buffer).map_err(|error| self.refusal(&error))?;
            total += count;
            match self.buffer.get(..count).unwrap_or_default() {
                [] => break,
                bytes if bytes.iter().any(|byte| *byte != 0) => return Err(Refusal::Trailing),
                _ => {}
            }
        }
        if total < 512 { Err(self.cut()) } else { Ok(self.entries) }
    }

    fn cut(&self) -> Refusal {
        Refusal::Cut { place: self.place.clone() }
    }

    /// What an error of the archive or of its compression means.
    fn refusal(&self, error: &io::Error) -> Refusal {
        let place = self.place.clone();
        if error.kind() == io::ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
            return Refusal::TooManyHeaders { place, most: gate::MOST };
        }
        if let Some(number) = error.raw_os_error() {
            return local("the file cannot be read")(io::Error::from_raw_os_error(number));
        }
        if error.kind() == io::ErrorKind::UnexpectedEof || self.seen.has_ended.get() {
            return Refusal::Cut { place };
        }
        Refusal::Damaged { place, problem: error.to_string().escape_debug().take(200).collect() }
    }
}

/// The name of an entry, which is a path below the folder of the archive.
fn name_of(entry: &Entry<impl Read>) -> Result<String, Refusal> {
    let written = entry.path_bytes();
    let shown = || String::from_utf8_lossy(&written).escape_debug().take(300).collect();
    let text = match std::str::from_utf8(&written) {
        Err(_) => Err("is not UTF-8"),
        // Old programs mark a folder so, and others take it for a file.
        Ok(text) if text.ends_with('/') && !entry.header().entry_type().is_dir() => Err("is a file with a slash"),
        Ok(text) => Ok(text),
    };
    text.and_then(clean).map(str::to_owned).map_err(|problem| Refusal::Name { name: shown(), problem })
}

/// Such files have another name and other content than they seem to.
fn has_holes_of_pax(entry: &mut Entry<impl Read>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries that are read whole.
fn is_text(name: &str) -> bool {
    let is_ovf = name.rsplit_once('.').is_some_and(|(_, end)| end == "ovf");
    is_ovf || matches!(name, "metadata.json" | "Vagrantfile")
}

/// Zeros are not written: what is not written is a hole, and reads as zeros.
fn write(file: Option<&File>, bytes: &[u8], is_zero: bool) -> io::Result<()> {
    let Some(mut file) = file else { return Ok(()) };
    if !is_zero {
        return file.write_all(bytes);
    }
    let length = i64::try_from(bytes.len()).map_err(io::Error::other)?;
    file.seek(SeekFrom::Current(length)).map(drop)
}

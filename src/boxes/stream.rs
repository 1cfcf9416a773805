//! Files that are read and written, with their checksums.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use ring::digest::{Context, SHA256};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::refusal::{Refusal, local};

/// Opens a regular file, and nothing that it may lead to. A pipe is not waited for.
pub(super) fn open(path: &Path) -> Result<File, Refusal> {
    open_to(path, OFlags::RDONLY)
}

/// The same for a file of which something is changed.
pub(super) fn open_to_change(path: &Path) -> Result<File, Refusal> {
    open_to(path, OFlags::RDWR)
}

fn open_to(path: &Path, access: OFlags) -> Result<File, Refusal> {
    let none = || Refusal::NoRegularFile { path: path.display().to_string() };
    let failed = || local(format!("{} cannot be read", path.display()));
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        // A link, and a socket or a device that is not there.
        Err(Errno::LOOP | Errno::NXIO) => return Err(none()),
        opened => opened.map_err(|error| failed()(error.into()))?,
    };
    let file = File::from(opened);
    let is_file = file.metadata().map_err(failed())?.is_file();
    if is_file { Ok(file) } else { Err(none()) }
}

/// The SHA-256 of a regular file, as 64 lower-case hexadecimal digits.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn checksum(path: &Path) -> Result<String, Refusal> {
    let mut file = Hashed::new(open(path)?);
    let read = io::copy(&mut file, &mut io::sink());
    read.map_err(local(format!("{} cannot be read", path.display())))?;
    Ok(file.finish().0)
}

/// What passes through, with its checksum.
pub(super) struct Hashed<T> {
    inner: T,
    context: Context,
    size: u64,
}

impl<T> Hashed<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, context: Context::new(&SHA256), size: 0 }
    }

    /// The SHA-256 of all that passed, in lower-case hexadecimal digits, and how many bytes those were.
    pub(super) fn finish(self) -> (String, u64) {
        let mut text = String::new();
        for byte in self.context.finish().as_ref() {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        (text, self.size)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.add(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.add(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert!(open(&file).is_ok());
        let link = folder.path().join("link");
        symlink(&file, &link).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        for path in [link.as_path(), folder.path(), &folder.path().join("socket"), Path::new("/dev/zero")] {
            assert!(matches!(open(path), Err(Refusal::NoRegularFile { .. })), "{}", path.display());
            assert!(open_to_change(path).is_err(), "{}", path.display());
        }
        assert!(matches!(open(&folder.path().join("absent")), Err(Refusal::Local { .. })));
    }

    #[test]
    fn what_passes_has_a_checksum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut reader = Hashed::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), (abc.to_owned(), 3));
        let mut writer = Hashed::new(Vec::new());
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.finish(), (abc.to_owned(), 3));
    }
}

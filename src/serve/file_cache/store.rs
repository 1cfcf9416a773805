//! The files on the disk: [`Stock`] says which ones, and this does it. Whatever changes both happens under its lock.

use std::{
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use tempfile::TempPath;

use crate::{
    cache::{Bound, NoRoom, Stock},
    plan::image::Digest,
};

/// What the names of files begin with that are being received.
const INCOMING: &str = "incoming-";

/// The files of a folder. Each has the digits of its SHA-256 as its name, and the time of its last use.
pub(super) struct Store {
    folder: PathBuf,
    stock: Mutex<Stock>,
    /// The number of the next file that is received.
    next: AtomicU64,
}

/// A file that is being read.
pub(super) struct Opened {
    pub content: Arc<File>,
    /// In bytes.
    pub size: u64,
    pub reader: Reader,
}

/// Somebody reads a file, which stays as long as this value.
pub(super) struct Reader {
    store: Arc<Store>,
    file: Digest,
}

/// The room for a file that is being received, as long as this value.
pub(super) struct Room {
    store: Arc<Store>,
    /// In bytes; `None` once the file is kept.
    size: Option<u64>,
    /// Where it is received.
    pub path: PathBuf,
}

/// A file that an earlier process has left.
struct Left {
    file: Digest,
    size: u64,
    used: SystemTime,
}

impl Store {
    /// Those that are in a folder. What was not received whole is removed, and so is what is beyond the bound.
    pub fn open(folder: &Path, bound: Bound) -> io::Result<Self> {
        let store = Self { folder: folder.to_owned(), stock: Mutex::new(Stock::new(bound)), next: AtomicU64::new(0) };
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            found.extend(left(&entry?)?);
        }
        found.sort_by_key(|left| left.used);
        for left in &found {
            store.take_over(left);
        }
        store.tell();
        Ok(store)
    }

    fn tell(&self) {
        let stock = self.stock();
        tracing::info!(files = stock.count(), bytes = stock.taken(), "what an earlier process has left");
    }

    fn take_over(&self, Left { file, size, .. }: &Left) {
        let mut stock = self.stock();
        match stock.make_room(*size) {
            Ok(gone) => {
                for (file, size) in &gone {
                    self.evict(file, *size);
                }
                stock.keep(file, *size);
            }
            Err(_) => self.evict(file, *size),
        }
    }

    /// The size of the largest file that is kept, in bytes.
    pub fn largest(&self) -> u64 {
        self.stock().largest()
    }

    /// A file, where it is here.
    pub fn read(self: &Arc<Self>, file: &Digest) -> Option<Opened> {
        let mut stock = self.stock();
        let size = stock.open(file)?;
        match self.whole(file, size) {
            Ok(content) => {
                let reader = Reader { store: Arc::clone(self), file: file.clone() };
                Some(Opened { content: Arc::new(content), size, reader })
            }
            Err(error) => {
                tracing::warn!(%file, %error, "a file is damaged: it is removed");
                stock.forget(file);
                self.remove(file);
                None
            }
        }
    }

    /// Opens a file, which is used now.
    fn whole(&self, file: &Digest, size: u64) -> io::Result<File> {
        let content = File::open(self.path(file))?;
        if content.metadata()?.len() != size {
            return Err(io::Error::other("it has another size than the one that was received"));
        }
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        futimens(&content, &Timestamps { last_access: now, last_modification: now })?;
        Ok(content)
    }

    /// Makes room for a file of that size.
    pub fn make_room(self: &Arc<Self>, size: u64) -> Result<Room, NoRoom> {
        let mut stock = self.stock();
        for (file, size) in stock.make_room(size)? {
            self.evict(&file, size);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Room { store: Arc::clone(self), size: Some(size), path: self.folder.join(format!("{INCOMING}{number}")) })
    }

    fn evict(&self, file: &Digest, size: u64) {
        tracing::info!(%file, size, "a file goes, to make room");
        self.remove(file);
    }

    fn remove(&self, file: &Digest) {
        match fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::error!(%file, %error, "a file stays"),
            _ => {}
        }
    }

    fn path(&self, file: &Digest) -> PathBuf {
        self.folder.join(file.to_string().trim_start_matches("sha256:"))
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Keeps what has come. `false` where the same file is here already, and being read.
    pub fn keep(mut self, file: &Digest, received: TempPath) -> io::Result<bool> {
        let mut stock = self.store.stock();
        let Some(size) = self.size.take() else { return Ok(false) };
        if !stock.keep(file, size) {
            return Ok(false);
        }
        received.persist(self.store.path(file)).map_err(|error| {
            stock.forget(file);
            self.store.remove(file);
            error.error
        })?;
        Ok(true)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(size) = self.size {
            self.store.stock().give_up(size);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.store.stock().close(&self.file);
    }
}

/// What an entry of the folder is. What was being received is removed.
fn left(entry: &DirEntry) -> io::Result<Option<Left>> {
    let (name, metadata) = (entry.file_name(), entry.metadata()?);
    let name = name.to_string_lossy();
    if name.starts_with(INCOMING) && metadata.is_file() {
        fs::remove_file(entry.path())?;
        return Ok(None);
    }
    match format!("sha256:{name}").parse() {
        Ok(file) if metadata.is_file() => Ok(Some(Left { file, size: metadata.len(), used: metadata.modified()? })),
        _ => {
            tracing::warn!(%name, "this is no file of the cache: it stays, and nobody counts it");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUND: Bound = Bound { bytes: 64 << 10, files: 100 };

    fn opened(folder: &Path) -> Arc<Store> {
        Arc::new(Store::open(folder, BOUND).unwrap())
    }

    /// Keeps a file of that size, and gives its digest.
    fn kept(store: &Arc<Store>, name: u8, size: usize) -> Digest {
        let content = vec![name; size];
        let room = store.make_room(u64::try_from(size).unwrap()).unwrap();
        fs::write(&room.path, &content).unwrap();
        let (file, received) = (Digest::of(&content), TempPath::try_from_path(room.path.clone()).unwrap());
        assert!(room.keep(&file, received).unwrap());
        file
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn another_process_finds_what_is_there_and_in_which_order_it_was_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path());
        let files = [1, 2, 3].map(|name| kept(&store, name, 10_000));
        // Used in another order than they came.
        for (age, file) in [(1, &files[0]), (3, &files[1]), (2, &files[2])] {
            let used = store.read(file).unwrap().content.metadata().unwrap().modified().unwrap();
            let path = store.path(file);
            File::options().write(true).open(path).unwrap().set_modified(used - Duration::from_secs(age)).unwrap();
        }
        drop(store);
        fs::write(folder.path().join("incoming-7"), b"a part").unwrap();
        fs::write(folder.path().join("README"), b"not ours").unwrap();
        let store = opened(folder.path());
        assert!(!names(folder.path()).contains(&"incoming-7".to_owned()));
        assert!(names(folder.path()).contains(&"README".to_owned()));
        let _more = store.make_room(20_000).unwrap();
        assert_eq!(files.each_ref().map(|file| store.read(file).is_some()), [true, false, true]);
    }

    #[test]
    fn what_is_beyond_a_bound_that_became_smaller_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path());
        let (large, small) = (kept(&store, 1, 30_000), kept(&store, 2, 5000));
        let store = Arc::new(Store::open(folder.path(), Bound { bytes: 16 << 10, files: 100 }).unwrap());
        assert!(store.read(&large).is_none() && store.read(&small).is_some());
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn room_is_given_back_and_what_was_cut_or_is_gone_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path());
        let whole = store.largest();
        assert!(matches!(store.make_room(whole + 1), Err(NoRoom::TooLarge(_))));
        let room = store.make_room(whole).unwrap();
        assert!(matches!(store.make_room(0), Err(NoRoom::InUse)));
        drop(room);
        let (cut, gone) = (kept(&store, 1, 1000), kept(&store, 2, 1000));
        fs::write(store.path(&cut), b"less").unwrap();
        fs::remove_file(store.path(&gone)).unwrap();
        assert!(store.read(&cut).is_none() && store.read(&gone).is_none());
        assert_eq!((names(folder.path()).len(), store.stock().taken()), (0, 0));
    }

    #[test]
    fn a_file_that_is_read_is_not_replaced_and_makes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path());
        let file = kept(&store, 1, 1000);
        let reading = store.read(&file).unwrap();
        let room = store.make_room(1000).unwrap();
        let path = room.path.clone();
        fs::write(&path, vec![1; 1000]).unwrap();
        assert!(!room.keep(&file, TempPath::try_from_path(&path).unwrap()).unwrap());
        assert!(!path.exists());
        assert!(matches!(store.make_room(store.largest()), Err(NoRoom::InUse)));
        drop(reading);
        assert!(store.make_room(store.largest()).is_ok());
        assert_eq!(names(folder.path()).len(), 0);
    }
}

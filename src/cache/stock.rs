//! What is on the disk, what is on its way there, and which files go for it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::plan::image::Digest;

/// The blocks of file systems, in bytes: a file takes whole ones, and one for its inode and name.
const BLOCK: u64 = 4096;

/// The most that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of all files, those that are being received among them, in bytes.
    pub bytes: u64,
    /// How many there are.
    pub files: usize,
}

/// Why there is no room for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoRoom {
    /// There never is.
    #[error("it is larger than all that this cache may have, {0} bytes")]
    TooLarge(u64),
    /// What is being received and read does not leave enough at present.
    #[error("what this cache receives and sends at present leaves no room for it")]
    InUse,
}

/// What a cache has. It decides alone: whoever has the disk does what it says before anything else.
#[derive(Clone, Debug)]
pub struct Stock {
    bound: Bound,
    files: BTreeMap<Digest, File>,
    /// The files by their last use, the earliest first.
    by_use: BTreeMap<u64, Digest>,
    /// The number of the next use.
    next: u64,
    /// What the files take on the disk, in bytes.
    kept: u64,
    /// What those that are being received may take, in bytes, and how many they are.
    coming: (u64, usize),
}

#[derive(Clone, Copy, Debug)]
struct File {
    size: u64,
    used: u64,
    /// How many read it now.
    readers: usize,
}

/// What a file of that size takes on the disk, in bytes.
const fn on_disk(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_add(1).saturating_mul(BLOCK)
}

impl Stock {
    /// Nothing.
    #[must_use]
    pub const fn new(bound: Bound) -> Self {
        Self { bound, files: BTreeMap::new(), by_use: BTreeMap::new(), next: 0, kept: 0, coming: (0, 0) }
    }

    /// The size of the largest file that may be kept, in bytes.
    #[must_use]
    pub const fn largest(&self) -> u64 {
        self.bound.bytes.saturating_sub(BLOCK)
    }

    /// What all files take on the disk, in bytes, those that are being received among them.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.kept.saturating_add(self.coming.0)
    }

    /// How many files are kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Somebody begins to read a file, which is the one that was used last now, and stays until [`Stock::close`]. Its size
    /// in bytes; `None` where it is not kept.
    pub fn open(&mut self, file: &Digest) -> Option<u64> {
        let next = self.next;
        let found = self.files.get_mut(file)?;
        self.by_use.remove(&found.used);
        self.by_use.insert(next, file.clone());
        (found.used, found.readers) = (next, found.readers + 1);
        self.next += 1;
        Some(found.size)
    }

    /// Somebody reads a file no longer.
    pub fn close(&mut self, file: &Digest) {
        if let Some(found) = self.files.get_mut(file) {
            found.readers = found.readers.saturating_sub(1);
        }
    }

    /// Keeps room for a file of that size until it is [kept](Stock::keep) or [given up](Stock::give_up). The files that
    /// are to be removed before anything of it is written, with their sizes: those that were not used for the longest
    /// time, and none that is being read.
    ///
    /// # Errors
    /// There is no room. Nothing is to be removed then.
    pub fn make_room(&mut self, size: u64) -> Result<Vec<(Digest, u64)>, NoRoom> {
        let needed = on_disk(size);
        if needed > self.bound.bytes || self.bound.files == 0 {
            return Err(NoRoom::TooLarge(self.bound.bytes));
        }
        let (mut bytes, mut count) = (self.taken(), self.files.len() + self.coming.1);
        let mut gone = Vec::new();
        for (file, File { size, readers, .. }) in self.by_use.values().filter_map(|file| self.files.get_key_value(file))
        {
            if bytes.saturating_add(needed) <= self.bound.bytes && count < self.bound.files {
                break;
            }
            if *readers == 0 {
                (bytes, count) = (bytes.saturating_sub(on_disk(*size)), count.saturating_sub(1));
                gone.push((file.clone(), *size));
            }
        }
        if bytes.saturating_add(needed) > self.bound.bytes || count >= self.bound.files {
            return Err(NoRoom::InUse);
        }
        for (file, _) in &gone {
            self.forget(file);
        }
        self.coming = (self.coming.0.saturating_add(needed), self.coming.1 + 1);
        Ok(gone)
    }

    /// A file for which there was room has come, and is the one that was used last. It takes the place of an earlier copy;
    /// `false` where somebody reads that: the one that has come is to be removed then.
    pub fn keep(&mut self, file: &Digest, size: u64) -> bool {
        self.give_up(size);
        if self.files.get(file).is_some_and(|earlier| earlier.readers > 0) {
            return false;
        }
        self.forget(file);
        self.files.insert(file.clone(), File { size, used: self.next, readers: 0 });
        self.by_use.insert(self.next, file.clone());
        self.next += 1;
        self.kept = self.kept.saturating_add(on_disk(size));
        true
    }

    /// A file for which there was room does not come.
    pub const fn give_up(&mut self, size: u64) {
        self.coming = (self.coming.0.saturating_sub(on_disk(size)), self.coming.1.saturating_sub(1));
    }

    /// A file is no longer there.
    pub fn forget(&mut self, file: &Digest) {
        if let Some(File { size, used, .. }) = self.files.remove(file) {
            self.by_use.remove(&used);
            self.kept = self.kept.saturating_sub(on_disk(size));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1 << 10;

    fn file(name: u8) -> Digest {
        Digest::of(&[name])
    }

    /// With files of these names, the earliest used first, each of 96 KiB: 100 KiB on the disk.
    fn stock(bound: Bound, names: &[u8]) -> Stock {
        let mut stock = Stock::new(bound);
        for name in names {
            assert_eq!(stock.make_room(96 * KIB), Ok(Vec::new()));
            assert!(stock.keep(&file(*name), 96 * KIB));
        }
        stock
    }

    /// The names of what goes for another file.
    fn gone(stock: &mut Stock, size: u64) -> Result<Vec<u8>, NoRoom> {
        let gone = stock.make_room(size)?;
        Ok(gone.iter().map(|(gone, _)| (0..=u8::MAX).find(|name| file(*name) == *gone).unwrap()).collect())
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let bound = Bound { bytes: 400 * KIB, files: 5 };
        let of = |names: &[u8]| stock(bound, names);
        assert_eq!(gone(&mut of(&[1, 2, 3]), 96 * KIB), Ok(vec![]));
        assert_eq!(gone(&mut of(&[1, 2, 3, 4]), 1), Ok(vec![1]));
        assert_eq!(gone(&mut of(&[1, 2, 3, 4]), 196 * KIB), Ok(vec![1, 2]));
        assert_eq!(gone(&mut of(&[1, 2, 3, 4]), 396 * KIB), Ok(vec![1, 2, 3, 4]));
        let mut used = of(&[1, 2, 3, 4]);
        assert_eq!(used.open(&file(1)), Some(96 * KIB));
        used.close(&file(1));
        assert_eq!(gone(&mut used, 196 * KIB), Ok(vec![2, 3]));
        assert_eq!((used.open(&file(2)), used.count()), (None, 2));
    }

    #[test]
    fn what_is_read_or_received_stays() {
        let bound = Bound { bytes: 400 * KIB, files: 5 };
        let mut read = stock(bound, &[1, 2, 3, 4]);
        read.open(&file(1)).unwrap();
        read.open(&file(1)).unwrap();
        assert_eq!(gone(&mut read, 96 * KIB), Ok(vec![2]));
        // Three remain, one of which is read, and one that comes.
        assert_eq!(gone(&mut read, 296 * KIB), Err(NoRoom::InUse));
        assert_eq!(read.count(), 3, "nothing goes in vain");
        read.give_up(96 * KIB);
        assert_eq!(gone(&mut read, 296 * KIB), Ok(vec![3, 4]));
        read.give_up(296 * KIB);
        read.close(&file(1));
        assert_eq!(gone(&mut read, 396 * KIB), Err(NoRoom::InUse), "there are two readers");
        read.close(&file(1));
        assert_eq!(gone(&mut read, 396 * KIB), Ok(vec![1]));
    }

    #[test]
    fn what_is_larger_than_everything_is_refused_and_takes_nothing_away() {
        let mut stock = stock(Bound { bytes: 400 * KIB, files: 5 }, &[1, 2]);
        for size in [stock.largest() + 1, u64::MAX] {
            assert_eq!(stock.make_room(size), Err(NoRoom::TooLarge(400 * KIB)), "{size}");
        }
        assert_eq!((stock.count(), stock.taken()), (2, 200 * KIB));
        let largest = stock.largest();
        assert_eq!(gone(&mut stock, largest), Ok(vec![1, 2]));
    }

    #[test]
    fn there_are_so_many_files_and_no_more() {
        let mut stock = stock(Bound { bytes: 4000 * KIB, files: 3 }, &[1, 2, 3]);
        assert_eq!(gone(&mut stock, 0), Ok(vec![1]));
        assert_eq!(gone(&mut stock, 0), Ok(vec![2]));
        assert!(stock.keep(&file(4), 0));
        assert_eq!(gone(&mut stock, 0), Ok(vec![3]));
    }

    #[test]
    fn a_file_that_comes_again_takes_the_place_of_the_earlier_one_unless_that_is_read() {
        let mut stock = stock(Bound { bytes: 400 * KIB, files: 5 }, &[1, 2]);
        assert_eq!(gone(&mut stock, 96 * KIB), Ok(vec![]));
        assert!(stock.keep(&file(1), 96 * KIB));
        assert_eq!((stock.count(), stock.taken()), (2, 200 * KIB));
        stock.open(&file(2)).unwrap();
        assert_eq!(gone(&mut stock, 96 * KIB), Ok(vec![]));
        assert!(!stock.keep(&file(2), 96 * KIB));
        assert_eq!((stock.count(), stock.taken()), (2, 200 * KIB));
        // A reader of something that is gone.
        stock.forget(&file(2));
        stock.close(&file(2));
        assert_eq!((stock.count(), stock.taken()), (1, 100 * KIB));
    }

    #[derive(Clone, Debug)]
    enum Happens {
        Comes(u64),
        Ends(usize, u8, bool),
        Opens(u8),
        Closes(u8),
        Vanishes(u8),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let (name, size) = (0_u8..8, 0_u64..600 << 10);
        prop_oneof![
            4 => size.prop_map(Happens::Comes),
            4 => (0_usize..4, name.clone(), prop::bool::weighted(0.8)).prop_map(|(at, name, good)| Happens::Ends(at, name, good)),
            3 => name.clone().prop_map(Happens::Opens),
            2 => name.clone().prop_map(Happens::Closes),
            1 => name.prop_map(Happens::Vanishes),
        ]
    }

    /// What is on a disk on which everything is done as it is said.
    #[derive(Default)]
    struct Disk {
        /// With their sizes, their last uses and how many read them.
        files: BTreeMap<u8, (u64, usize, usize)>,
        /// The sizes of what comes.
        coming: Vec<u64>,
    }

    impl Disk {
        fn taken(&self) -> u64 {
            let whole = |size: u64| size.next_multiple_of(BLOCK) + BLOCK;
            self.files.values().map(|(size, ..)| whole(*size)).sum::<u64>()
                + self.coming.iter().map(|size| whole(*size)).sum::<u64>()
        }

        fn remove(&mut self, gone: &[u8]) {
            let last = gone
                .iter()
                .map(|name| self.files.remove(name).unwrap())
                .inspect(|(_, _, readers)| assert_eq!(*readers, 0));
            let last = last.map(|(_, used, _)| used).max();
            // All that stays and is not read was used later.
            let mut others = self.files.values().filter(|(_, _, readers)| *readers == 0);
            assert!(others.all(|(_, used, _)| last.is_none_or(|last| *used > last)));
        }

        fn comes(&mut self, stock: &mut Stock, size: u64, bound: Bound) {
            match gone(stock, size) {
                Ok(gone) => {
                    self.remove(&gone);
                    self.coming.push(size);
                }
                Err(NoRoom::TooLarge(_)) => assert!(size > stock.largest()),
                // Whatever else goes, it would be too much.
                Err(NoRoom::InUse) => {
                    self.files.retain(|_, (_, _, readers)| *readers > 0);
                    let count = self.files.len() + self.coming.len();
                    assert!(self.taken() + on_disk(size) > bound.bytes || count >= bound.files);
                    *self = Self::default();
                    *stock = Stock::new(bound);
                }
            }
        }

        fn ends(&mut self, stock: &mut Stock, at: usize, (name, is_good, now): (u8, bool, usize)) {
            if at >= self.coming.len() {
                return;
            }
            let size = self.coming.remove(at);
            if !is_good {
                return stock.give_up(size);
            }
            let is_read = self.files.get(&name).is_some_and(|(_, _, readers)| *readers > 0);
            assert_eq!(stock.keep(&file(name), size), !is_read);
            if !is_read {
                self.files.insert(name, (size, now, 0));
            }
        }

        fn does(&mut self, stock: &mut Stock, now: usize, event: &Happens, bound: Bound) {
            match event {
                Happens::Comes(size) => self.comes(stock, *size, bound),
                Happens::Ends(at, name, is_good) => self.ends(stock, *at, (*name, *is_good, now)),
                Happens::Opens(name) => {
                    let found = self.files.get_mut(name);
                    assert_eq!(stock.open(&file(*name)), found.as_ref().map(|(size, ..)| *size));
                    if let Some((_, used, readers)) = found {
                        (*used, *readers) = (now, *readers + 1);
                    }
                }
                Happens::Closes(name) => {
                    if let Some((_, _, readers @ 1..)) = self.files.get_mut(name) {
                        *readers -= 1;
                        stock.close(&file(*name));
                    }
                }
                Happens::Vanishes(name) => {
                    self.files.remove(name);
                    stock.forget(&file(*name));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_what_was_used_last_stays(events in prop::collection::vec(happens(), 1..80)) {
            let bound = Bound { bytes: 1 << 20, files: 6 };
            let (mut stock, mut disk) = (Stock::new(bound), Disk::default());
            for (now, event) in events.iter().enumerate() {
                disk.does(&mut stock, now, event, bound);
                prop_assert_eq!(stock.count(), disk.files.len());
                prop_assert!(disk.taken() <= stock.taken() && stock.taken() <= bound.bytes);
                prop_assert!(disk.files.len() + disk.coming.len() <= bound.files);
                for name in disk.files.keys() {
                    let mut copy = stock.clone();
                    prop_assert_eq!(copy.open(&file(*name)), Some(disk.files[name].0));
                }
            }
        }
    }
}

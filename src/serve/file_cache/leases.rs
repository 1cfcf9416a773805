//! Who fetches what is not here, so that others wait for it instead of fetching it, too.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::plan::image::Digest;

/// The most files that are waited for. Each is an open connection: others must find places, too.
const MOST: usize = 64;
/// The most files that are remembered as too large.
const MOST_TOO_LARGE: usize = 1024;

/// The files that somebody fetches.
#[derive(Clone, Default)]
pub(super) struct Leases(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    fetched: HashSet<Digest>,
    /// Whoever waits for one of these waits in vain.
    too_large: HashSet<Digest>,
}

/// What somebody is told who asks for a file that is not here.
pub(super) enum Told {
    /// The first one: others wait until this is dropped.
    First(Lease),
    /// Another one fetches it.
    Later,
    /// Nobody waits for anybody.
    Alone,
}

/// Somebody fetches a file.
pub(super) struct Lease {
    file: Digest,
    of: Leases,
}

impl Leases {
    pub fn ask(&self, file: &Digest) -> Told {
        let mut known = self.known();
        if known.too_large.contains(file) {
            Told::Alone
        } else if known.fetched.contains(file) {
            Told::Later
        } else if known.fetched.len() >= MOST {
            Told::Alone
        } else {
            known.fetched.insert(file.clone());
            Told::First(Lease { file: file.clone(), of: self.clone() })
        }
    }

    /// A file is too large to be kept.
    pub fn is_too_large(&self, file: &Digest) {
        let mut known = self.known();
        if known.too_large.len() >= MOST_TOO_LARGE {
            known.too_large.clear();
        }
        known.too_large.insert(file.clone());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.of.known().fetched.remove(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fetches_a_file_and_others_wait_until_that_ends() {
        let (leases, file, other) = (Leases::default(), Digest::of(b"a"), Digest::of(b"b"));
        let Told::First(lease) = leases.ask(&file) else { panic!("nobody else") };
        assert!(matches!(leases.ask(&file), Told::Later));
        assert!(matches!(leases.ask(&other), Told::First(_)), "another file");
        drop(lease);
        assert!(matches!(leases.ask(&file), Told::First(_)));
        leases.is_too_large(&file);
        assert!(matches!(leases.ask(&file), Told::Alone));
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let leases = Leases::default();
        let file = |number: usize| Digest::of(&number.to_be_bytes());
        let held: Vec<_> = (0..MOST).map(|number| leases.ask(&file(number))).collect();
        assert!(held.iter().all(|told| matches!(told, Told::First(_))));
        assert!(matches!(leases.ask(&file(MOST)), Told::Alone));
        assert!(matches!(leases.ask(&file(0)), Told::Later));
    }
}

//! What downloads and uploads of large files have in common.

mod body;
mod file_body;
mod target;
mod tries;

use std::io;

pub(crate) use self::{body::Parts, file_body::file_body, target::Target};
pub(super) use self::{
    file_body::{STEP, part},
    target::{first_byte, left, range, size},
    tries::{Passing, Tries},
};

pub(crate) fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to do about a file of ours.
pub(super) fn file_trouble(why: &io::Error) -> String {
    if is_full(why) { "the disk is full: free some, or need less".to_owned() } else { why.to_string() }
}

//! The one system call for which there is no safe function.

use rustix::{
    io::Errno,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Gives this process a cgroup namespace, whose root is the group that it is in, and a mount namespace.
#[expect(unsafe_code, reason = "unshare is unsafe for CLONE_FILES alone, which is not among the flags")]
pub(super) fn unshare() -> Result<(), Errno> {
    // SAFETY: tables of file descriptors are not unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP | UnshareFlags::NEWNS) }
}

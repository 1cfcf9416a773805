//! A Vagrant box as files in a folder.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    inspect::{Inspected, read},
    refusal::{Refusal, local},
    vagrant::OVF,
};
use crate::api::boxes::BoxProvider;

/// Where the parts of a Vagrant box are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// What is known of the box.
    pub inspected: Inspected,
    /// The files of its disks, in the order of [`Inspected::disks`].
    pub disks: Vec<PathBuf>,
    /// The file of the OVF of a box of `VirtualBox`.
    pub ovf: Option<PathBuf>,
}

/// Writes the entries of a Vagrant box into an empty folder: as regular files that are new, with blocks of zeros as
/// holes. Nobody else may write into the folder meanwhile. At most `bound` bytes are written, and no
/// disk is larger for its machine.
///
/// # Errors
///
/// What is wrong with the file, as [`inspect`](super::inspect()) says it. What was written until then stays in the
/// folder, and is not to be used.
pub fn unpack(path: &Path, folder: &Path, bound: u64) -> Result<Unpacked, Refusal> {
    let failed = || local(format!("{} cannot be read", folder.display()));
    if fs::read_dir(folder).map_err(failed())?.next().is_some() {
        return Err(Refusal::FolderInUse { path: folder.display().to_string() });
    }
    let inspected = read(path, bound, &mut |name| create(folder, name).map(Some), true)?;
    let disks = inspected.disks.iter().map(|disk| folder.join(&disk.name)).collect();
    let ovf = (inspected.provider == Some(BoxProvider::VirtualBox)).then(|| folder.join(OVF));
    Ok(Unpacked { inspected, disks, ovf })
}

/// All folders on the way are ours, and none is a link.
fn create(folder: &Path, name: &str) -> Result<File, Refusal> {
    let failed = || local(format!("«{name}» cannot be written"));
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed())?;
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed())
}

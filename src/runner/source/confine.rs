//! Keeps what we read within the source: no path of a recipe leads out of it, by whatever links. Links that nobody
//! names may lead anywhere.

use std::{
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::super::report::local;
use crate::{
    api::condition::Reason,
    plan::{
        failure::Failure,
        tree::{LARGEST_POINTER, is_pointer, leads_out},
    },
};

/// The most files and folders that a source may have.
const MOST: usize = 500_000;

/// A path inside the source, as the kernel sees it now: a stage before may have changed what is there.
pub(super) fn inside(source: &Path, path: &str) -> Result<PathBuf, Failure> {
    let opened = openat2(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty())
        .and_then(|root| openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH));
    let opened = match opened.map_err(io::Error::from) {
        // A kernel or a filter that does not know the call.
        Err(error) if matches!(error.raw_os_error(), Some(38 | 1)) => beneath(source, path),
        opened => opened.map(drop),
    };
    let Err(error) = opened else { return Ok(source.join(path)) };
    match error.kind() {
        // Whoever reads it says what is missing.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(source.join(path)),
        io::ErrorKind::CrossesDevices => Err(Failure::new(
            Reason::PathEscapesSource,
            format!("{path} leads out of the source{}", by_link(source, path)),
        )),
        // The kernel gives up links (ELOOP).
        _ if error.raw_os_error() == Some(40) => {
            Err(Failure::new(Reason::SourceRejected, format!("{path} of the source is a link that leads in a circle")))
        }
        _ => Err(local(&format!("{path} of the source cannot be read"), &error)),
    }
}

/// The same by asking for the real path: what is there may change until it is read, by whoever has our rights.
fn beneath(source: &Path, path: &str) -> io::Result<()> {
    let is_inside = fs::canonicalize(source.join(path))?.starts_with(fs::canonicalize(source)?);
    if is_inside { Ok(()) } else { Err(io::ErrorKind::CrossesDevices.into()) }
}

/// The link on a path that leads out, for people.
fn by_link(source: &Path, path: &str) -> String {
    let mut here = PathBuf::new();
    for part in Path::new(path).components() {
        here.push(part);
        if let Ok(target) = fs::read_link(source.join(&here)) {
            let (link, target) = (here.display(), target.display());
            return format!(", by the link {link} to {target}: make it a relative one to a file of the source");
        }
    }
    String::new()
}

/// What is in a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// How many files and folders.
    pub(super) count: usize,
    /// The links that lead out, each with where it leads. They stay: who follows them has the rights of the build.
    pub(super) outward: Vec<String>,
    /// The files that are pointers of Git LFS.
    pub(super) pointers: Vec<String>,
}

/// Looks at all of a source, and follows no link.
pub(super) fn survey(source: &Path) -> Result<Survey, Failure> {
    let (mut found, mut folders) = (Survey::default(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(source.join(&folder)).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let path = folder.join(entry.file_name());
            found.count += 1;
            if found.count > MOST {
                let message = format!("the source has more than {MOST} files and folders");
                return Err(Failure::new(Reason::SourceRejected, message));
            }
            if found.add(&entry, &path)? {
                folders.push(path);
            }
        }
    }
    found.outward.sort();
    found.pointers.sort();
    Ok(found)
}

impl Survey {
    /// Takes an entry into account; whether it is a folder.
    fn add(&mut self, entry: &DirEntry, path: &Path) -> Result<bool, Failure> {
        let failed = |error: io::Error| unreadable(path, &error);
        let kind = entry.file_type().map_err(failed)?;
        let name = path.to_string_lossy();
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(failed)?;
            if leads_out(&name, &target.to_string_lossy()) {
                self.outward.push(format!("{name} → {}", target.display()));
            }
        } else if kind.is_file() {
            let is_small = entry.metadata().map_err(failed)?.len() <= LARGEST_POINTER;
            if is_small && is_pointer(&fs::read(entry.path()).map_err(failed)?) {
                self.pointers.push(name.into_owned());
            }
        } else if !kind.is_dir() {
            let message = format!("{name} of the source is neither a file, a folder nor a link");
            return Err(Failure::new(Reason::SourceRejected, message));
        }
        Ok(kind.is_dir())
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    local(&format!("{} of the source cannot be read", path.display()), error)
}

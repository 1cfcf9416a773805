//! Keeps what is read within the source: neither a path nor a symbolic link leads out of it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::super::report::local;
use crate::{api::condition::Reason, plan::failure::Failure};

/// The most files and folders that a source may have.
const MOST: usize = 500_000;

/// A path inside the source, as the kernel sees it now: a stage before may have changed what is there.
pub(super) fn inside(source: &Path, path: &str) -> Result<PathBuf, Failure> {
    let opened = openat2(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty())
        .and_then(|root| openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH));
    match opened.map_err(io::Error::from) {
        Ok(_) => Ok(source.join(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(source.join(path)),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            Err(Failure::new(Reason::PathEscapesSource, format!("{path} leads out of the source")))
        }
        // A kernel or a filter that does not know the call: links were looked at when they were fetched.
        Err(error) if matches!(error.raw_os_error(), Some(38 | 1)) => Ok(source.join(path)),
        Err(error) => Err(local(&format!("{path} of the source cannot be read"), &error)),
    }
}

/// Looks at all of a source; how many files and folders it has.
pub(super) fn check(source: &Path) -> Result<usize, Failure> {
    let (mut count, mut folders) = (0, vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(source.join(&folder)).map_err(|error| unreadable(&folder, &error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&folder, &error))?;
            let path = folder.join(entry.file_name());
            count += 1;
            if count > MOST {
                let message = format!("the source has more than {MOST} files and folders");
                return Err(Failure::new(Reason::SourceRejected, message));
            }
            let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                link(source, &path)?;
            } else if !kind.is_file() {
                let message = format!("{} of the source is neither a file, a folder nor a link", path.display());
                return Err(Failure::new(Reason::SourceRejected, message));
            }
        }
    }
    Ok(count)
}

fn link(source: &Path, path: &Path) -> Result<(), Failure> {
    let target = fs::read_link(source.join(path)).map_err(|error| unreadable(path, &error))?;
    if leads_out(path, &target) {
        let message = format!(
            "the link {} of the source leads out of it, to {}: make it a relative one to a file of the source",
            path.display(),
            target.display()
        );
        return Err(Failure::new(Reason::PathEscapesSource, message));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    local(&format!("{} of the source cannot be read", path.display()), error)
}

/// Whether a link at a path of the source leads out of it. Each link on the way is looked at for itself.
fn leads_out(path: &Path, target: &Path) -> bool {
    let depth = path.components().count().saturating_sub(1);
    let after = target.components().try_fold(depth, |depth, component| match component {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    });
    after.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside_or_leads_out() {
        for (path, target, expected) in [
            ("a", "b", false),
            ("a", "../b", true),
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a/b", "c/../../../d", true),
            ("a", "/etc/passwd", true),
            ("a", "./b/..", false),
        ] {
            assert_eq!(leads_out(Path::new(path), Path::new(target)), expected, "{path} -> {target}");
        }
    }
}

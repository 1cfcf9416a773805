//! Other texts in place of files of the source, for as long as packer reads them. A copy elsewhere would have another
//! `path.root`, and another name in packer's messages; one that stays would end up in images that copy the source.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Texts for files of the source.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    texts: Vec<(PathBuf, String)>,
}

impl Overlay {
    /// Has packer read a text in place of a file.
    pub(super) fn put(&mut self, path: PathBuf, text: String) {
        self.texts.push((path, text));
    }

    /// Puts the texts in place. The files are moved into a folder of their own below `aside`, which must be on the same
    /// volume, and come back when this is lifted or dropped.
    ///
    /// # Errors
    /// A file cannot be moved or written.
    pub(super) fn lay(&self, aside: &Path) -> io::Result<Laid> {
        let aside = if self.texts.is_empty() { None } else { Some(tempfile::tempdir_in(aside)?) };
        let folder = aside.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default();
        let mut laid = Laid { moved: Vec::new(), _aside: aside };
        for (index, (path, text)) in self.texts.iter().enumerate() {
            let own = folder.join(index.to_string());
            fs::rename(path, &own)?;
            laid.moved.push((own, path.clone()));
            fs::write(path, text)?;
        }
        Ok(laid)
    }
}

/// Texts that are in place.
#[derive(Debug)]
pub(super) struct Laid {
    /// Where each file is, and where it belongs.
    moved: Vec<(PathBuf, PathBuf)>,
    /// Dropped after the files have come back.
    _aside: Option<TempDir>,
}

impl Laid {
    /// Puts the files back; again, where it could not.
    ///
    /// # Errors
    /// A file cannot be moved.
    pub(super) fn lift(&mut self) -> io::Result<()> {
        while let Some((own, path)) = self.moved.last() {
            fs::rename(own, path)?;
            self.moved.pop();
        }
        Ok(())
    }
}

impl Drop for Laid {
    fn drop(&mut self) {
        // Whoever was told by `lift` that it cannot be done, or ends early, can do no more.
        let _ = self.lift();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn files_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let (source, aside) = (folder.path().join("source"), folder.path().join("aside"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&aside).unwrap();
        let (file, link) = (source.join("a.json"), source.join("link.json"));
        fs::write(&file, "own").unwrap();
        symlink("a.json", &link).unwrap();
        let inode = fs::metadata(&file).unwrap().ino();

        let mut overlay = Overlay::default();
        overlay.put(file.clone(), "other".to_owned());
        overlay.put(link.clone(), "third".to_owned());
        let mut laid = overlay.lay(&aside).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&file), read(&link)), ("other".to_owned(), "third".to_owned()));
        laid.lift().unwrap();
        assert_eq!((read(&file), read(&link)), ("own".to_owned(), "own".to_owned()));
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        // Whoever ends early, too.
        drop(overlay.lay(&aside).unwrap());
        assert_eq!(read(&file), "own");
        assert_eq!(fs::read_dir(&source).unwrap().count(), 2);
        drop(laid);
        assert_eq!(fs::read_dir(&aside).unwrap().count(), 0);
    }

    #[test]
    fn a_text_that_cannot_be_put_leaves_the_others_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "own").unwrap();
        let mut overlay = Overlay::default();
        overlay.put(file.clone(), "other".to_owned());
        overlay.put(folder.path().join("absent"), String::new());
        assert!(overlay.lay(folder.path()).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "own");
    }
}

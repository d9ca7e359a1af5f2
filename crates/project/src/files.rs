//! Where the files of a project are read from: a folder, or memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Largest file of a project: no person writes more, and no length it names is believed (S30).
pub(crate) const FILE_BYTES_MAX: usize = 4_000_000;

/// The files of a project, by their paths relative to its folder.
pub trait ProjectFiles {
    /// The bytes of a file; of one that is too large to be a project's, as many as show that.
    ///
    /// # Errors
    ///
    /// Of kind `NotFound` when there is no such file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files in a folder, sorted; none when there is no such folder.
    ///
    /// # Errors
    ///
    /// When the folder is there and cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// A folder on disk.
pub(crate) struct Folder<'a>(pub(crate) &'a Path);

/// A folder on disk, its project file as it would be with another text.
pub struct Edited<'a> {
    /// The folder.
    pub dir: &'a Path,
    /// The text of its project file.
    pub text: &'a str,
}

impl ProjectFiles for Edited<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path == Path::new(crate::load::MAIN_FILE) {
            true => Ok(self.text.as_bytes().to_vec()),
            false => Folder(self.dir).read(path),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Folder(self.dir).list(folder)
    }
}

impl ProjectFiles for Folder<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        File::open(self.0.join(path))?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.0.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(folder.join(entry?.file_name())));
        let mut names = names.collect::<io::Result<Vec<PathBuf>>>()?;
        names.sort();
        Ok(names)
    }
}

/// Files in memory: those of a template, or of a test.
impl ProjectFiles for BTreeMap<PathBuf, Vec<u8>> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

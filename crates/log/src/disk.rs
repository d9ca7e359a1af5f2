//! The machine's files, as [`Disk`].
//!
//! `sync_data` is `fdatasync`, on macOS `F_FULLFSYNC`; both wait for the device. The failing disk
//! for tests is `thalweg_sim::MemDisk`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::time::Timestamp;

/// Files of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = entries
            .map(|entry| Ok(PathBuf::from(entry?.file_name())))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(File::open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn written_at(&self, path: &Path) -> io::Result<Option<Timestamp>> {
        let written = fs::metadata(path)?.modified()?;
        let since = written.duration_since(UNIX_EPOCH).ok();
        Ok(since.and_then(|since| i64::try_from(since.as_micros()).ok()).map(Timestamp))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        File::open(path)?.sync_all()
    }

    fn volume_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        let volume = rustix::fs::statvfs(path)?;
        Ok(Some(volume.f_blocks.saturating_mul(volume.f_frsize)))
    }
}

struct OsFile(File);

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_behave_as_the_trait_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let disk = OsDisk;
        assert!(disk.list(&path("none")).unwrap().is_empty());
        assert!(disk.open(&path("a"), false).is_err());

        disk.create_dir_all(&path("b/c")).unwrap();
        disk.write_whole(&path("z"), b"one").unwrap();
        disk.write_whole(&path("z"), b"two").unwrap();
        disk.rename(&path("z"), &path("a")).unwrap();
        disk.remove(&path("z")).unwrap();
        disk.sync_dir(folder.path()).unwrap();
        assert_eq!(disk.list(folder.path()).unwrap(), [Path::new("a"), Path::new("b")]);
        assert_eq!(disk.read(&path("a")).unwrap(), b"two");

        let file = disk.open(&path("a"), false).unwrap();
        file.write_at(b"!", 5).unwrap();
        assert_eq!(file.len().unwrap(), 6);
        let mut buffer = [1; 8];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 5);
        assert_eq!(buffer, *b"wo\0\0!\x01\x01\x01");
        assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 0);
        assert!(disk.open_to_read(&path("a")).unwrap().write_at(b"!", 0).is_err());
        file.truncate(0).unwrap();
        file.sync_data().unwrap();
        assert!(file.is_empty().unwrap());
        assert!(disk.volume_bytes(folder.path()).unwrap().is_some_and(|bytes| bytes > 0));
    }
}

//! Files of this machine.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use thalweg_core::env::{Disk, DiskFile};
use thalweg_core::error::{Error, Result};

use super::files::{Files, Listed, Part, ReadError, Watched};
use super::on_thread;
use super::pattern::PathPattern;

/// The files of a path with wildcards.
pub(super) struct DiskFiles {
    disk: Arc<dyn Disk>,
    pattern: Arc<PathPattern>,
}

impl DiskFiles {
    /// # Errors
    ///
    /// `Invalid` when the path is no pattern.
    pub(super) fn new(disk: Arc<dyn Disk>, path: &str) -> Result<Self> {
        Ok(Self { disk, pattern: Arc::new(PathPattern::parse(path)?) })
    }
}

#[async_trait]
impl Files for DiskFiles {
    async fn list(&self) -> Result<Vec<Listed>> {
        let (disk, pattern) = (Arc::clone(&self.disk), Arc::clone(&self.pattern));
        on_thread(move || {
            let paths = pattern.expand(&*disk).map_err(|error| {
                Error::unavailable("cannot list the files of the source").with_source(error)
            })?;
            let mut listed = Vec::with_capacity(paths.len());
            for path in paths {
                // A path that is no text could not be written into the list.
                let Ok(path) = path.into_os_string().into_string() else { continue };
                match size(&*disk, &path) {
                    Ok(Some(size)) => listed.push(Listed { path, size, tag: None }),
                    // A file that goes before it was listed is nobody's loss.
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(cannot_read(&path, error)),
                }
            }
            Ok(listed)
        })
        .await?
    }

    async fn read(
        &self,
        path: &str,
        range: Range<u64>,
        watched: Watched<'_>,
        mut buffer: BytesMut,
    ) -> Result<Part, ReadError> {
        let disk = Arc::clone(&self.disk);
        let (path, watched) = (path.to_owned(), watched.ranges);
        let read = move || {
            let read = || -> io::Result<Part> {
                let file = disk.open_to_read(Path::new(&path))?;
                let size = file.len()?;
                let [head, tail] = watched;
                let watched = [part(&*file, head)?, part(&*file, tail)?];
                let there = range.start.min(size)..range.end.min(size);
                buffer.resize(usize::try_from(there.end - there.start).unwrap_or(usize::MAX), 0);
                let length = read_full(&*file, &mut buffer, there.start)?;
                buffer.truncate(length);
                Ok(Part { data: buffer.freeze(), size, tag: None, watched: Some(watched) })
            };
            read().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => ReadError::Gone,
                _ => ReadError::Unavailable(cannot_read(&path, error)),
            })
        };
        on_thread(read).await.map_err(ReadError::Unavailable)?
    }
}

fn cannot_read(path: &str, error: io::Error) -> Error {
    Error::unavailable(format!("cannot read {path}")).with_source(error)
}

/// The length of a file; none for what is no file.
fn size(disk: &dyn Disk, path: &str) -> io::Result<Option<u64>> {
    let looked = disk.open_to_read(Path::new(path)).and_then(|file| {
        // A folder can be opened, but not read.
        file.read_at(&mut [0], 0)?;
        file.len()
    });
    match looked {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        size => Ok(Some(size?)),
    }
}

/// Bytes of a watched range, at most a few KiB.
fn part(file: &dyn DiskFile, range: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
    let length = read_full(file, &mut bytes, range.start)?;
    bytes.truncate(length);
    Ok(bytes.into())
}

fn read_full(file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

//! Where tables lie, and how a file becomes durable.
//!
//! [`folder`] is the door to folders of this machine. A store of objects elsewhere is opened by the
//! binary and handed in ([`Place::of`](crate::Place::of)).
//!
//! The local object store of the library beneath neither syncs what it writes nor the folder that
//! names it, so after a power cut a commit could be there without its bytes. [`DurableFiles`] does
//! both. Every object appears whole, in this order:
//!
//! ```text
//! write .NAME.ID.staged · sync it · link or rename it to NAME · sync the folder
//! ```
//!
//! A name that begins with a dot is no part of a Delta table to any reader. A process that dies in
//! between leaves the staged file behind, on HDFS as `.NAME.tmp.N`; [`is_staged`] tells them, and a
//! table removes them when it is opened.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UploadPart,
};
use thalweg_core::Error;
use thalweg_core::time::{Timestamp, micros};
use url::Url;
use uuid::Uuid;

use crate::error::fold;

const STAGED: &str = ".staged";

/// The folder `location` names, an absolute path or a `file://` URL, made if it was not there: the
/// store of all files of this machine, and where in it the folder is.
///
/// # Errors
///
/// `Invalid` when it is no such place, `Unavailable` when the folder cannot be made.
pub(crate) fn folder(location: &str) -> thalweg_core::Result<(Arc<dyn ObjectStore>, Location)> {
    let path = absolute(location)?;
    let cannot_make = || format!("cannot make the folder {}", path.display());
    make_folder(&path).map_err(|error| fold(cannot_make(), error))?;
    let path = fs::canonicalize(&path).map_err(|error| fold(cannot_make(), error))?;
    stored(location, &path)
}

/// The folder `location` names as [`folder`], but left as it is, there or not.
///
/// # Errors
///
/// `Invalid` when it is no such place.
pub(crate) fn folder_of_others(
    location: &str,
) -> thalweg_core::Result<(Arc<dyn ObjectStore>, Location)> {
    stored(location, &absolute(location)?)
}

fn stored(location: &str, path: &Path) -> thalweg_core::Result<(Arc<dyn ObjectStore>, Location)> {
    let folder = Location::from_absolute_path(path).map_err(|error| {
        Error::invalid(format!("a table cannot lie at `{location}`")).with_source(error)
    })?;
    Ok((Arc::new(DurableFiles { files: LocalFileSystem::new() }), folder))
}

/// The path that `location` names.
fn absolute(location: &str) -> thalweg_core::Result<PathBuf> {
    let path = match Url::parse(location) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        Ok(url) => {
            return Err(Error::invalid(format!("a table cannot lie at `{location}`"))
                .with_detail(format!("Tables in `{}` are not supported.", url.scheme()))
                .with_hint("Name a folder of this machine."));
        }
        Err(_) => Some(PathBuf::from(location)),
    };
    path.filter(|path| path.is_absolute()).ok_or_else(|| {
        Error::invalid(format!("a table cannot lie at `{location}`"))
            .with_detail("The path is not absolute.")
    })
}

/// The instant it is for files: the machine's, as their times are, whatever the one clock says.
pub(crate) fn file_time() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is compared with times the file system gives, never with those of records"
    )]
    let now = SystemTime::now();
    Timestamp(now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros))
}

/// A name part that no other process has given out or will.
pub(crate) fn unique() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "two processes started with one seed must not give two files one name; nothing \
                  else depends on it"
    )]
    let id = Uuid::new_v4();
    id.simple().to_string()
}

/// Whether a file of this name was on its way to become an object.
pub(crate) fn is_staged(name: &str) -> bool {
    let is_of_hdfs = || {
        let number = name.rsplit_once(".tmp.").map(|(_, number)| number.parse::<u32>());
        number.is_some_and(|number| number.is_ok())
    };
    name.starts_with('.') && (name.ends_with(STAGED) || is_of_hdfs())
}

/// The files of this machine, each written durably.
#[derive(Debug)]
struct DurableFiles {
    files: LocalFileSystem,
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files of this machine")
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let replace = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => return self.files.put_opts(location, payload, options).await,
        };
        let target = self.files.path_to_filesystem(location)?;
        blocking(move || {
            let mut staged = Staged::new(target)?;
            for bytes in payload.iter() {
                staged.file.write_all(bytes).map_err(|error| staged.failed(error))?;
            }
            staged.publish(replace)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.files.path_to_filesystem(location)?;
        let staged = blocking(move || Staged::new(target)).await?;
        Ok(Box::new(Upload { staged: Arc::new(Mutex::new(Some(staged))), length: 0 }))
    }

    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Location,
        ranges: &[Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location>>,
    ) -> BoxStream<'static, Result<Location>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Location>,
        offset: &Location,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &Location,
        to: &Location,
        options: RenameOptions,
    ) -> Result<()> {
        let replace = matches!(options.target_mode, RenameTargetMode::Overwrite);
        let (from, to) = (self.files.path_to_filesystem(from)?, self.files.path_to_filesystem(to)?);
        blocking(move || rename(&from, &to, replace)).await
    }
}

/// Renames a file that is synced already, durably in both folders.
fn rename(from: &Path, to: &Path, replace: bool) -> Result<()> {
    let folder = to.parent().unwrap_or_else(|| Path::new("/"));
    make_folder(folder).map_err(|error| failed(to, error))?;
    let renamed = if replace {
        fs::rename(from, to)
    } else {
        fs::hard_link(from, to).and_then(|()| fs::remove_file(from))
    };
    renamed.map_err(|error| failed(from, error))?;
    let left = from.parent().unwrap_or_else(|| Path::new("/"));
    sync_folder(folder).and_then(|()| sync_folder(left)).map_err(|error| failed(to, error))
}

/// A file on its way to become an object; removed again unless it is published.
#[derive(Debug)]
struct Staged {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn new(target: PathBuf) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}{STAGED}", unique()));
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = create().or_else(|error| match (error.kind(), target.parent()) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                make_folder(folder)?;
                create()
            }
            _ => Err(error),
        });
        match file {
            Ok(file) => Ok(Self { file, path, target }),
            Err(error) => Err(failed(&target, error)),
        }
    }

    fn write_at(&mut self, position: u64, payload: &PutPayload) -> Result<()> {
        let written = self
            .file
            .seek(SeekFrom::Start(position))
            .and_then(|_| payload.iter().try_for_each(|bytes| self.file.write_all(bytes)));
        written.map_err(|error| self.failed(error))
    }

    fn publish(self, replace: bool) -> Result<()> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        let named = if replace {
            fs::rename(&self.path, &self.target)
        } else {
            fs::hard_link(&self.path, &self.target)
        };
        named.map_err(|error| self.failed(error))?;
        let folder = self.target.parent().unwrap_or_else(|| Path::new("."));
        sync_folder(folder).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> object_store::Error {
        failed(&self.target, error)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; what cannot be removed is found at open.
        let _ = fs::remove_file(&self.path);
    }
}

/// An object written in parts.
#[derive(Debug)]
struct Upload {
    staged: Arc<Mutex<Option<Staged>>>,
    length: u64,
}

impl Upload {
    fn take(&self) -> Option<Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let position = self.length;
        self.length += payload.content_length() as u64;
        let staged = self.staged.clone();
        Box::pin(blocking(move || {
            match staged.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(staged) => staged.write_at(position, &payload),
                None => Err(closed()),
            }
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.take().ok_or_else(closed)?;
        blocking(move || staged.publish(true)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        drop(self.take());
        Ok(())
    }
}

fn closed() -> object_store::Error {
    object_store::Error::Generic { store: "files", source: "the upload is closed".into() }
}

/// What went wrong with a file, and with which.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct FileError {
    path: PathBuf,
    source: io::Error,
}

fn failed(path: &Path, error: io::Error) -> object_store::Error {
    let kind = error.kind();
    let source = Box::new(FileError { path: path.to_owned(), source: error });
    let path = path.display().to_string();
    match kind {
        io::ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        io::ErrorKind::NotFound => object_store::Error::NotFound { path, source },
        _ => object_store::Error::Generic { store: "files", source },
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| object_store::Error::JoinError { source })?
}

/// Makes a folder and those above it, each durable in the one that holds it.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or_else(|| Path::new("/"));
    make_folder(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => sync_folder(above),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests;

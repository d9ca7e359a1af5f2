//! Where a table lies: a store of objects, and the folder in it.
//!
//! Every call ends: a store that does not answer within [`PATIENCE`] is unavailable (S25).

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use thalweg_core::{Error, Result};

use crate::error::fold;
use crate::rooted::Rooted;
use crate::storage;

/// Longest wait for a store to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// A part of an upload; the least that S3 accepts.
const PART_BYTES: usize = 5 << 20;

/// A folder in a store of objects. Clones are the same place.
#[derive(Clone)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    url: String,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Place {
    /// A folder of this machine, made if it is not there; what is written in it is synced.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is no absolute path, `Unavailable` when it cannot be made.
    pub fn on_disk(location: &str) -> Result<Self> {
        let (store, folder) = storage::folder(location)?;
        Ok(Self { store, folder, url: location.to_owned() })
    }

    /// A folder of this machine that others fill: it is neither made nor written.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is no absolute path.
    pub fn of_others(location: &str) -> Result<Self> {
        let (store, folder) = storage::folder_of_others(location)?;
        Ok(Self { store, folder, url: location.to_owned() })
    }

    /// The folder `folder` of a store; `url` is its name in messages and holds no secret.
    ///
    /// # Errors
    ///
    /// `Invalid` when it names no folder.
    pub fn of(store: Arc<dyn ObjectStore>, folder: &str, url: &str) -> Result<Self> {
        let folder = Path::parse(folder.trim_matches('/')).map_err(|error| {
            Error::invalid(format!("a table cannot lie at `{url}`")).with_source(error)
        })?;
        Ok(Self { store, folder, url: url.to_owned() })
    }

    /// The folder as a store of its own.
    pub(crate) fn rooted(&self) -> Rooted {
        Rooted::new(self.store.clone(), self.folder.clone(), &self.url, PATIENCE)
    }

    /// The store as a whole.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The place of a file that lies at `below` in the folder.
    pub(crate) fn at(&self, below: &str) -> Result<Path> {
        let path = match self.folder.as_ref() {
            "" => Path::parse(below),
            folder => Path::parse(format!("{folder}/{below}")),
        };
        path.map_err(|error| {
            Error::invalid(format!("`{below}` cannot be a file of {}", self.url)).with_source(error)
        })
    }

    /// Where in the folder an object lies; none when it lies elsewhere.
    pub(crate) fn below(&self, object: &Path) -> Option<String> {
        match self.folder.as_ref() {
            "" => Some(object.as_ref().to_owned()),
            folder => Some(object.as_ref().strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
        }
    }

    /// Writes a small file whole, unless there is one; whether it did.
    pub(crate) async fn put_new(&self, below: &str, bytes: Vec<u8>) -> Result<bool> {
        let path = self.at(below)?;
        let put = self.store.put_opts(&path, PutPayload::from(bytes), PutMode::Create.into());
        match self.answered(put).await? {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(fold(format!("cannot write {below} in {}", self.url), error)),
        }
    }

    /// The bytes of a small file; none when it is not there.
    pub(crate) async fn read(&self, below: &str) -> Result<Option<Bytes>> {
        let path = self.at(below)?;
        let read = async {
            match self.store.get(&path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let read = self.answered(read).await?;
        read.map_err(|error| fold(format!("cannot read {below} in {}", self.url), error))
    }

    /// Every file below a folder of it, `""` for all.
    pub(crate) async fn list(&self, below: &str) -> Result<Vec<ObjectMeta>> {
        let folder = if below.is_empty() { self.folder.clone() } else { self.at(below)? };
        let cannot = |error| fold(format!("cannot list {}", self.url), error);
        let mut objects = self.store.list(Some(&folder));
        let mut found = Vec::new();
        while let Some(object) = self.answered(objects.try_next()).await?.map_err(cannot)? {
            found.push(object);
        }
        Ok(found)
    }

    /// Gives a file its place, over what lies there; `false` when the file is not there.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (source, target) = (self.at(from)?, self.at(to)?);
        let renamed = self.answered(self.store.rename(&source, &target)).await?;
        let Err(error) = renamed else { return Ok(true) };
        if self.holds(&source).await? {
            return Err(fold(format!("cannot make {to} in {}", self.url), error));
        }
        Ok(false)
    }

    /// Whether there is a file at `below`.
    pub(crate) async fn has(&self, below: &str) -> Result<bool> {
        self.holds(&self.at(below)?).await
    }

    async fn holds(&self, path: &Path) -> Result<bool> {
        match self.answered(self.store.head(path)).await? {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fold(format!("cannot look at {path} in {}", self.url), error)),
        }
    }

    /// Removes a file, if it is there.
    pub(crate) async fn delete(&self, below: &str) -> Result<()> {
        let path = self.at(below)?;
        match self.answered(self.store.delete(&path)).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fold(format!("cannot remove {below} of {}", self.url), error)),
        }
    }

    /// Begins a file of any size, which is there when the writer is shut down.
    pub(crate) fn upload(&self, below: &str) -> Result<BufWriter> {
        Ok(BufWriter::with_capacity(self.store.clone(), self.at(below)?, PART_BYTES))
    }

    /// Waits for an answer of the store.
    pub(crate) async fn answered<T>(&self, call: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(PATIENCE, call).await.map_err(|_| {
            Error::unavailable(format!("{} does not answer", self.url))
                .with_detail(format!("Nothing came within {} s.", PATIENCE.as_secs()))
        })
    }
}

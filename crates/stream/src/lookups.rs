//! Lookups: relations on the other side of a stream's JOIN, IN or EXISTS (S11).
//!
//! A lookup is read whole before the first epoch, and again between epochs when it has changed. What
//! a stream looks up in is a *snapshot*, kept as a file in the data folder before the first epoch
//! record names it, so that an epoch that runs again sees the very rows it saw before (S8), whatever
//! became of the original. All streams of a source change to another one at the same row.
//!
//! What a stream does with the rows is [`crate::operators::lookup`]; where they come from is wired by
//! the binary.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use thalweg_core::env::Disk;
use thalweg_core::{Error, Result};

use crate::operators::expressions::engine_error;

/// Number of a snapshot, counted up from 1 by source and lookup.
pub type SnapshotNumber = u64;

/// Key of a snapshot's metadata that holds the version of the original.
const VERSION: &str = "thalweg.version";

/// A relation that streams look up in.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Changes whenever the rows may have changed; cheap, since it is asked again and again.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the original cannot be reached.
    async fn version(&self) -> Result<String>;

    /// All its rows, and the version they are of.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the original cannot be reached; `Invalid` when it is too large to be held,
    /// or holds what does not decode.
    async fn read(&self) -> Result<LookupRows>;
}

/// Lookups of a project, by name.
pub type Lookups = Arc<BTreeMap<String, Arc<dyn Lookup>>>;

/// The rows of a lookup at one version.
#[derive(Clone, Debug)]
pub struct LookupRows {
    /// Version of the original.
    pub version: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl LookupRows {
    /// Bytes they take in memory.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// The rows, to be read by a query.
    pub fn table(&self) -> Result<Arc<MemTable>> {
        let rows = vec![self.batches.clone()];
        Ok(Arc::new(MemTable::try_new(Arc::clone(&self.schema), rows).map_err(engine_error)?))
    }

    /// `Arrow IPC stream`, the version in the metadata of its schema.
    fn encode(&self) -> Result<Vec<u8>> {
        let mut metadata = self.schema.metadata().clone();
        metadata.insert(VERSION.to_owned(), self.version.clone());
        let schema = Schema::new_with_metadata(self.schema.fields().clone(), metadata);
        let schema = Arc::new(schema);
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(engine_error)?;
        for batch in &self.batches {
            let columns = batch.columns().to_vec();
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
            writer.write(&batch.map_err(engine_error)?).map_err(engine_error)?;
        }
        writer.into_inner().map_err(engine_error)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(engine_error)?;
        let schema = reader.schema();
        let version = schema.metadata().get(VERSION).cloned().unwrap_or_default();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        Ok(Self { version, schema, batches })
    }
}

/// The snapshots that the pipelines of one source look up in: a file each, named by the lookup and
/// their number.
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Snapshots {
    /// Those of `source` in the data folder.
    pub(crate) fn new(disk: Arc<dyn Disk>, data: &Path, source: &str) -> Self {
        Self { disk, folder: data.join("lookups").join(source) }
    }

    fn path(&self, lookup: &str, number: SnapshotNumber) -> PathBuf {
        self.folder.join(format!("{lookup}-{number:020}.arrow"))
    }

    /// Makes a snapshot durable.
    pub(crate) fn write(
        &self,
        lookup: &str,
        number: SnapshotNumber,
        rows: &LookupRows,
    ) -> Result<()> {
        let path = self.path(lookup, number);
        let bytes = rows.encode()?;
        let written = self.disk.create_dir_all(&self.folder);
        written.and_then(|()| self.disk.write_whole(&path, &bytes)).map_err(|error| {
            Error::unavailable(format!("cannot write the snapshot {}", path.display()))
                .with_source(error)
        })
    }

    /// Reads a snapshot; none when it is not there.
    pub(crate) fn read(&self, lookup: &str, number: SnapshotNumber) -> Result<Option<LookupRows>> {
        let path = self.path(lookup, number);
        match self.disk.read(&path) {
            Ok(bytes) => LookupRows::decode(&bytes).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Error::unavailable(format!("cannot read the snapshot {}", path.display()))
                    .with_source(error))
            }
        }
    }

    /// The newest snapshot of a lookup.
    pub(crate) fn newest(&self, lookup: &str) -> Result<Option<LookupRows>> {
        let newest = self.kept(lookup)?.into_iter().max();
        newest.map_or(Ok(None), |number| self.read(lookup, number))
    }

    /// Removes the snapshots of a lookup that are older than that of `needed`.
    pub(crate) fn forget(&self, lookup: &str, needed: SnapshotNumber) -> Result<()> {
        for number in self.kept(lookup)?.into_iter().filter(|number| *number < needed) {
            // A file that stays is found again at the next checkpoint.
            if let Err(error) = self.disk.remove(&self.path(lookup, number)) {
                tracing::debug!(lookup, number, %error, "an old snapshot stays");
            }
        }
        Ok(())
    }

    fn kept(&self, lookup: &str) -> Result<Vec<SnapshotNumber>> {
        let names = self.disk.list(&self.folder).map_err(|error| {
            Error::unavailable(format!("cannot list {}", self.folder.display())).with_source(error)
        })?;
        let number = |name: &PathBuf| {
            let rest = name.to_str()?.strip_prefix(lookup)?.strip_prefix('-')?;
            rest.strip_suffix(".arrow")?.parse().ok()
        };
        Ok(names.iter().filter_map(number).collect())
    }
}

//! Writes rows into Parquet files below a table's folder, where nobody sees them before a commit.
//!
//! ```text
//! day=2023-12-22/thalweg-<32 hex digits>.parquet        (without a day column: no folder)
//! ```
//!
//! A day has one open file at a time, at most [`OPEN_FILES_MAX`] days have one: the file that was
//! written to least recently is closed for the next. A file rolls at the table's file size; memory
//! is bounded by [`BUFFERED_BYTES_MAX`] of encoded rows over all open files.
//!
//! Settings are the measured best that Spark 3.5 reads too: text with dictionaries, integers,
//! dates and instants as deltas, doubles plain, Snappy, bounds per row group.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use deltalake_core::kernel::Add;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use thalweg_core::Result;
use thalweg_core::time::Day;

use super::columns::{Columns, align};
use super::statistics;
use crate::error::fold;
use crate::storage::unique;

const ROW_GROUP_ROWS: usize = 256 * 1024;
const WRITE_BATCH_ROWS: usize = 16 * 1024;
/// A part of an upload; the least that S3 accepts.
const PART_BYTES: usize = 5 << 20;
const OPEN_FILES_MAX: usize = 8;
const BUFFERED_BYTES_MAX: usize = 64 << 20;
const NAME: (&str, &str) = ("thalweg-", ".parquet");
/// Folder value of rows without a day, by Hive's convention.
const NO_DAY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whether a data file of this name is one of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    let id = name.strip_prefix(NAME.0).and_then(|rest| rest.strip_suffix(NAME.1));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Writes rows into new files of one table.
pub(crate) struct Writer {
    store: Arc<dyn ObjectStore>,
    columns: Arc<Columns>,
    file_bytes: u64,
    /// The least recently written first.
    open: Vec<OpenFile>,
    finished: Vec<Add>,
}

struct OpenFile {
    day: Option<Day>,
    path: Path,
    schema: SchemaRef,
    writer: AsyncArrowWriter<BufWriter>,
}

impl Writer {
    /// A writer of files of about `file_bytes`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, columns: Arc<Columns>, file_bytes: u64) -> Self {
        Self { store, columns, file_bytes, open: Vec::new(), finished: Vec::new() }
    }

    /// Writes rows, whatever files they belong to.
    pub(crate) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.columns.conform(rows)?;
        for (day, part) in self.columns.split(rows)? {
            self.append(day, part).await?;
        }
        self.bound_memory().await
    }

    /// Closes all files and returns them, durable and not yet part of the table.
    pub(crate) async fn finish(&mut self) -> Result<Vec<Add>> {
        while let Some(file) = self.open.pop() {
            self.close(file).await?;
        }
        Ok(std::mem::take(&mut self.finished))
    }

    /// Removes everything written.
    pub(crate) async fn discard(self) {
        for file in self.open {
            // What a store keeps of an upload that was given up is its own to forget.
            if let Err(error) = file.writer.into_inner().abort().await {
                tracing::debug!(path = %file.path, %error, "an upload was left behind");
            }
        }
        remove(&self.store, &self.finished).await;
    }

    async fn append(&mut self, day: Option<Day>, rows: RecordBatch) -> Result<()> {
        let open = self.open.iter().position(|file| file.day == day);
        let mut file = match open {
            Some(position) => self.open.remove(position),
            None => {
                if self.open.len() == OPEN_FILES_MAX {
                    let oldest = self.open.remove(0);
                    self.close(oldest).await?;
                }
                self.create(day, rows.schema())?
            }
        };
        let rows = align(rows, &file.schema)?;
        let written = file.writer.write(&rows).await;
        written.map_err(|error| fold(format!("cannot write {}", file.path), error))?;
        let length = file.writer.bytes_written() + file.writer.in_progress_size();
        if length as u64 >= self.file_bytes {
            self.close(file).await
        } else {
            self.open.push(file);
            Ok(())
        }
    }

    fn create(&self, day: Option<Day>, schema: SchemaRef) -> Result<OpenFile> {
        let mut path = Path::default();
        if let Some(partition) = &self.columns.partition {
            let value = day.map_or_else(|| NO_DAY.to_owned(), |day| day.to_string());
            path = path.join(format!("{}={value}", partition.column));
        }
        let path = path.join(format!("{}{}{}", NAME.0, unique(), NAME.1));
        let upload = BufWriter::with_capacity(self.store.clone(), path.clone(), PART_BYTES);
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&schema))
            .with_skip_arrow_metadata(true);
        let writer = AsyncArrowWriter::try_new_with_options(upload, schema.clone(), options)
            .map_err(|error| fold(format!("cannot write {path}"), error))?;
        Ok(OpenFile { day, path, schema, writer })
    }

    async fn close(&mut self, mut file: OpenFile) -> Result<()> {
        let cannot_write = || format!("cannot write {}", file.path);
        let written = file.writer.finish().await;
        let written = written.map_err(|error| fold(cannot_write(), error))?;
        let object = self.store.head(&file.path).await;
        let object = object.map_err(|error| fold(cannot_write(), error))?;
        let partition = self.columns.partition.iter();
        let value = file.day.map(|day| day.to_string());
        self.finished.push(Add {
            path: file.path.to_string(),
            partition_values: partition.map(|day| (day.column.clone(), value.clone())).collect(),
            size: i64::try_from(object.size).unwrap_or(i64::MAX),
            modification_time: object.last_modified.timestamp_millis(),
            data_change: true,
            stats: Some(statistics::of_file(&written, &self.columns.file)),
            ..Add::default()
        });
        Ok(())
    }

    /// Moves the largest row group in progress out of memory when there is too much there.
    async fn bound_memory(&mut self) -> Result<()> {
        let buffered: usize = self.open.iter().map(|file| file.writer.memory_size()).sum();
        if buffered <= BUFFERED_BYTES_MAX {
            return Ok(());
        }
        let largest = self.open.iter_mut().max_by_key(|file| file.writer.memory_size());
        let Some(file) = largest else { return Ok(()) };
        let flushed = file.writer.flush().await;
        flushed.map_err(|error| fold(format!("cannot write {}", file.path), error))
    }
}

/// Removes files that no commit names. One that stays is found when the table is next opened.
pub(crate) async fn remove(store: &Arc<dyn ObjectStore>, files: &[Add]) {
    for file in files {
        if let Err(error) = store.delete(&Path::from(file.path.as_str())).await {
            tracing::debug!(path = file.path, %error, "an uncommitted file was left behind");
        }
    }
}

/// How Parquet files are written.
pub(crate) fn properties(schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("thalweg ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_write_batch_size(WRITE_BATCH_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_enabled(false);
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        properties = match field.data_type() {
            DataType::Utf8 | DataType::Dictionary(_, _) => {
                properties.set_column_dictionary_enabled(column, true)
            }
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(_, _) => {
                properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
            }
            _ => properties,
        };
    }
    properties.build()
}

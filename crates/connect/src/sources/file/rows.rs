//! Files of a format that keeps rows: Parquet, Avro. A row is a frame, its number in the file the
//! byte of its position.
//!
//! Readers jump about and block, so each works on a thread that may. What a reader finds wrong ends
//! its file with a reason; rows it gave before stand.

mod avro;
mod bytes;
mod parquet;
mod thrift;

use std::sync::Arc;

use ::bytes::{Bytes, BytesMut};
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema, SchemaRef};
use thalweg_core::env::Disk;
use thalweg_core::error::{Error, Result};
use thalweg_core::frame::{FrameSpan, Frames};
use thalweg_core::source::{Chunk, Origin, ReadLimit};

use self::avro::AvroRows;
use self::bytes::FileBytes;
use self::parquet::ParquetRows;
use super::disk::DiskFiles;
use super::files::{Files, ReadError, Watched};
use super::framing::RowFormat;
use super::manifest::{Packing, Position, Prints};
use super::piece::Broken;
use super::step::Step;
use super::{FileInput, on_thread};

/// A file that gives rows. Blocks.
trait RowFile: Send {
    /// Its columns.
    fn schema(&self) -> &SchemaRef;

    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>, RowError>;

    /// The file.
    fn bytes(&self) -> &FileBytes;

    /// The byte of the file up to which it was read.
    fn read_to(&self) -> u64;
}

/// Why there are no more rows.
#[derive(Debug)]
enum RowError {
    /// The file ends too early; more may come.
    CutOff(String),
    /// It is not what it should be.
    Damaged(String),
    /// It cannot be read.
    Read(ReadError),
}

impl RowError {
    fn damaged(how: impl Into<String>) -> Self {
        Self::Damaged(how.into())
    }
}

impl From<ReadError> for RowError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// The file of rows that is being read.
pub(super) struct OpenRows {
    number: usize,
    file: Box<dyn RowFile>,
    // The row that comes next, and rows that were read already.
    next: u64,
    rest: Option<RecordBatch>,
    // What the file is known by, once it was read to its end.
    ended: Option<Prints>,
}

impl OpenRows {
    /// Makes sure that there are rows, unless there are no more.
    fn fill(&mut self) -> Result<(), RowError> {
        if self.rest.is_none() {
            self.rest = self.file.next()?;
            if self.rest.is_none() {
                self.ended = Some(self.file.bytes().prints(self.file.read_to())?);
            }
        }
        Ok(())
    }
}

/// Opens a file at a row. Blocks.
fn open(
    format: RowFormat,
    files: Arc<dyn Files>,
    path: &str,
    prints: &Prints,
    from: u64,
    runtime: tokio::runtime::Handle,
) -> Result<Box<dyn RowFile>, RowError> {
    let bytes = FileBytes::open(files, path, prints, runtime)?;
    Ok(match format {
        RowFormat::Parquet => Box::new(ParquetRows::open(bytes, from)?),
        RowFormat::Avro => Box::new(AvroRows::open(bytes, from)?),
    })
}

impl FileInput {
    /// Takes one step in a file of rows.
    pub(super) async fn step_rows(
        &mut self,
        format: RowFormat,
        at: Position,
        limit: &ReadLimit,
    ) -> Result<Step> {
        let stretch = &self.manifest.files[at.number];
        if stretch.broken.is_some() && stretch.end == Some(at.byte + 1) {
            let broken = Broken { reason: String::new(), may_grow: false };
            return self.step_broken(at, at.byte, &Bytes::new(), broken, limit);
        }
        let mut open = match self.rows_at(format, at).await {
            Ok(open) => open,
            Err(error) => return self.no_rows(at, error, limit),
        };
        let Some(rows) = open.rest.take() else {
            self.note_end(&open, at);
            self.rows = Some(open);
            return self.rows_ended(at).await;
        };
        let until = match limit.until.map(Position::from_offset) {
            Some(until) if until.number == at.number => until.byte.saturating_sub(at.byte),
            _ => u64::MAX,
        };
        let bytes_a_row = rows.get_array_memory_size() / rows.num_rows().max(1) + 1;
        let count = rows
            .num_rows()
            .min(limit.frames_max.max(1))
            .min((limit.bytes_max / bytes_a_row).max(1))
            .min(usize::try_from(until).unwrap_or(usize::MAX));
        if count < rows.num_rows() {
            open.rest = Some(rows.slice(count, rows.num_rows() - count));
        }
        open.next = at.byte + count as u64;
        let next = Position { number: at.number, byte: open.next };
        self.rows = Some(open);
        let stretch = &self.manifest.files[at.number];
        let (first, received_at) = (at.offset()?, stretch.discovered_at);
        let file = stretch.path.as_str().into();
        let span = |row: usize| FrameSpan {
            start: 0,
            len: 0,
            offset: first + i64::try_from(row).unwrap_or(i64::MAX),
            received_at,
        };
        let frames = Frames {
            spans: (0..count).map(span).collect(),
            rows: Some(rows.slice(0, count)),
            ..Frames::default()
        };
        self.report.bytes_since += (count * bytes_a_row) as u64;
        let origin = Some(Origin { file, number: at.byte + 1, is_row: true });
        Ok(Step::Took(Chunk { frames, next: next.offset()?, origin, ..Chunk::default() }))
    }

    /// The open file at a position, with rows unless there are no more.
    async fn rows_at(&mut self, format: RowFormat, at: Position) -> Result<OpenRows, RowError> {
        let _busy = self.env.clock.busy();
        let kept = self.rows.take();
        let mut open = match kept.filter(|open| open.number == at.number && open.next == at.byte) {
            Some(open) => open,
            None => self.open_rows(format, at).await?,
        };
        if open.rest.is_some() {
            return Ok(open);
        }
        let (open, filled) = on_thread(move || {
            let filled = open.fill();
            (open, filled)
        })
        .await
        .map_err(|error| RowError::Read(ReadError::Unavailable(error)))?;
        match filled {
            Ok(()) => Ok(open),
            Err(error) => {
                // The size it was found wrong at: another one may mend it.
                let now = self.env.clock.now();
                self.manifest.files[at.number].note_size(open.file.bytes().size(), now);
                Err(error)
            }
        }
    }

    async fn open_rows(&mut self, format: RowFormat, at: Position) -> Result<OpenRows, RowError> {
        let unavailable = |error| RowError::Read(ReadError::Unavailable(error));
        let stretch = &self.manifest.files[at.number];
        let (path, prints) = (stretch.path.clone(), stretch.prints);
        let watched = Watched::new(&prints, None);
        // Its size first, so that one that is not whole is known again when it has grown.
        let part = self.files.read(&path, 0..0, watched, BytesMut::new()).await?;
        let now = self.env.clock.now();
        self.manifest.files[at.number].note_size(part.size, now);
        let (files, runtime) = (Arc::clone(&self.files), tokio::runtime::Handle::current());
        let file = on_thread(move || open(format, files, &path, &prints, at.byte, runtime))
            .await
            .map_err(unavailable)??;
        Ok(OpenRows { number: at.number, file, next: at.byte, rest: None, ended: None })
    }

    /// Notes what a file that was read to its end is known by.
    fn note_end(&mut self, open: &OpenRows, at: Position) {
        let stretch = &mut self.manifest.files[at.number];
        let bytes = open.file.bytes();
        if stretch.length == Some(at.byte) && stretch.size == bytes.size() {
            return;
        }
        stretch.prints = open.ended.unwrap_or_default();
        stretch.packing = Some(Packing::Packed);
        stretch.length = Some(at.byte);
        stretch.size = bytes.size();
        stretch.tag = bytes.tag().map(str::to_owned);
        self.report.has_changed = true;
    }

    /// At the end of a file of rows.
    async fn rows_ended(&mut self, at: Position) -> Result<Step> {
        let number = at.number;
        if number + 1 < self.manifest.files.len() {
            self.seal(number, at.byte, false);
            self.rows = None;
            return Ok(Step::Moved(at.next_stretch()));
        }
        // The last file grows where it is.
        let _busy = self.env.clock.busy();
        let stretch = &self.manifest.files[number];
        let watched = Watched::new(&stretch.prints, stretch.tag.as_deref());
        let part = match self.files.read(&stretch.path, 0..0, watched, BytesMut::new()).await {
            Ok(part) => part,
            Err(ReadError::Gone) => return Ok(Step::AtEnd),
            Err(error) => return Err(error.about(&stretch.path)),
        };
        if let Err(error) = part.check(&stretch.prints) {
            return Err(error.about(&stretch.path));
        }
        if part.size != stretch.size {
            self.rows = None;
        }
        Ok(Step::AtEnd)
    }

    /// What it means that there are no rows.
    fn no_rows(&mut self, at: Position, error: RowError, limit: &ReadLimit) -> Result<Step> {
        let (reason, may_grow) = match error {
            RowError::CutOff(how) => (format!("the file ends too early: {how}"), true),
            RowError::Damaged(how) => (format!("the file cannot be read: {how}"), false),
            RowError::Read(error) => return self.unreadable(at, error, limit),
        };
        self.manifest.files[at.number].packing = Some(Packing::Packed);
        self.step_broken(at, at.byte, &Bytes::new(), Broken { reason, may_grow }, limit)
    }

    /// The first row of every file that is not begun at `from`.
    pub(super) async fn row_heads(&mut self, format: RowFormat, from: Position) -> Result<Frames> {
        let (mut spans, mut heads) = (Vec::new(), Vec::new());
        for number in from.number..self.manifest.files.len() {
            let start = self.manifest.files[number].start;
            if number == from.number && from.byte > start {
                continue;
            }
            if !self.row_heads.contains_key(&number) {
                let Some(head) = self.first_row(format, number).await? else { continue };
                self.row_heads.insert(number, head);
            }
            heads.push(self.row_heads[&number].clone());
            spans.push(FrameSpan {
                start: 0,
                len: 0,
                offset: Position { number, byte: start }.offset()?,
                received_at: self.manifest.files[number].discovered_at,
            });
        }
        self.row_heads.retain(|number, _| *number >= from.number);
        let rows = if heads.is_empty() { None } else { Some(side_by_side(&heads)?) };
        Ok(Frames { spans, rows, ..Frames::default() })
    }

    async fn first_row(&mut self, format: RowFormat, number: usize) -> Result<Option<RecordBatch>> {
        let _busy = self.env.clock.busy();
        let stretch = &self.manifest.files[number];
        let (path, prints, from) = (stretch.path.clone(), stretch.prints, stretch.start);
        let (files, runtime) = (Arc::clone(&self.files), tokio::runtime::Handle::current());
        let first = on_thread(move || {
            let mut file = open(format, files, &path, &prints, from, runtime)?;
            file.next()
        })
        .await?;
        match first {
            Ok(rows) => Ok(rows.map(|rows| rows.slice(0, 1))),
            Err(RowError::Read(ReadError::Unavailable(error))) => Err(error),
            // What is wrong with it is told when it is its turn.
            Err(_) => Ok(None),
        }
    }
}

/// One batch of rows of several files. A column that a file lacks, or has as another type than the
/// first, is NULL.
fn side_by_side(heads: &[RecordBatch]) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = Vec::new();
    for field in heads.iter().flat_map(|head| head.schema_ref().fields()) {
        if !fields.iter().any(|known| known.name() == field.name()) {
            fields.push(field.as_ref().clone().with_nullable(true));
        }
    }
    let mut columns = Vec::with_capacity(fields.len());
    for field in &fields {
        let part = |head: &RecordBatch| -> ArrayRef {
            head.column_by_name(field.name())
                .filter(|column| column.data_type() == field.data_type())
                .cloned()
                .unwrap_or_else(|| new_null_array(field.data_type(), head.num_rows()))
        };
        let parts: Vec<ArrayRef> = heads.iter().map(part).collect();
        let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(concat(&parts).map_err(unlike)?);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(heads.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(unlike)
}

fn unlike(error: arrow::error::ArrowError) -> Error {
    Error::internal("first rows of files do not stand side by side").with_source(error)
}

/// The columns that the first file at `path` on this machine carries. Blocks.
///
/// # Errors
///
/// `Invalid` when there is no such file, or it is not of the format.
pub fn carried_schema(disk: &Arc<dyn Disk>, path: &str, format: RowFormat) -> Result<SchemaRef> {
    let files: Arc<dyn Files> = Arc::new(DiskFiles::new(Arc::clone(disk), path)?);
    // Whoever asks may be in a runtime already, in which no other can wait.
    let looked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime
            .map_err(|error| Error::internal("no runtime to look at a file").with_source(error))?;
        let listed = runtime.block_on(files.list())?;
        let Some(first) = listed.into_iter().next() else { return Ok(None) };
        let handle = runtime.handle().clone();
        let opened = open(format, files, &first.path, &Prints::default(), 0, handle);
        match opened {
            Ok(file) => Ok(Some(Arc::clone(file.schema()))),
            Err(RowError::Read(error)) => Err(error.about(&first.path)),
            Err(RowError::CutOff(how) | RowError::Damaged(how)) => {
                Err(Error::invalid(format!("{}: {how}", first.path)))
            }
        }
    })
    .join();
    let schema = looked.map_err(|_| Error::internal("looking at a file ended early"))??;
    schema.ok_or_else(|| Error::invalid(format!("there is no file at {path}")))
}

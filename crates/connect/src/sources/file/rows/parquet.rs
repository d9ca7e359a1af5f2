//! Rows of a Parquet file.
//!
//! # What is believed of a file (S30)
//!
//! The footer is read whole when it is at most [`FOOTER_BYTES_MAX`] and its lists and texts are no
//! longer than it is. A column chunk must lie within the file. Each page header is looked at before
//! the reader of the `parquet` crate sees it: a page unpacks to [`PAGE_BYTES_MAX`] at most, a
//! dictionary has no more entries than its bytes can hold. Texts are read as views, so that a long
//! one in a dictionary is not copied for each row that has it. A panic of that crate over bytes it
//! did not expect ends the file with a reason, as any damage does.
//!
//! Types are those of Parquet itself; what a writer says in `ARROW:schema` is not looked at.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::bytes::FileBytes;
use super::{RowError, RowFile, thrift};
use crate::sources::file::files::ReadError;

const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";
/// Length and magic at the end of a file.
const TRAILER_BYTES: u64 = 8;
/// Longest footer.
const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Longest page, packed or not.
const PAGE_BYTES_MAX: i64 = 256 << 20;
/// Longest page header.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Most values of a page of a nested column, where a row may have any number.
const NESTED_VALUES_MAX: i64 = 16 << 20;
/// Rows read at a time.
const BATCH_ROWS_MAX: usize = 8192;
/// Bytes read at a time, as far as the footer tells.
const BATCH_BYTES: i64 = 16 << 20;

/// A Parquet file that is being read.
pub(super) struct ParquetRows {
    bytes: Pages,
    metadata: ArrowReaderMetadata,
    schema: SchemaRef,
    // The group that is read, and the rows of it and of those before it.
    group: usize,
    reader: Option<ParquetRecordBatchReader>,
    // Rows that are skipped at the front of the next group.
    skipped: u64,
}

impl ParquetRows {
    /// Reads from row `from` on.
    pub(super) fn open(bytes: FileBytes, from: u64) -> Result<Self, RowError> {
        let bytes = Arc::new(bytes);
        guarded(&Arc::clone(&bytes), || {
            let metadata = Arc::new(read_footer(&bytes)?);
            let has_nested = metadata
                .file_metadata()
                .schema_descr()
                .columns()
                .iter()
                .any(|column| column.max_rep_level() > 0);
            let metadata = with_views(metadata)?;
            let schema = Arc::clone(metadata.schema());
            let (mut group, mut skipped) = (0, from);
            for rows in metadata.metadata().row_groups() {
                let rows = u64::try_from(rows.num_rows()).unwrap_or_default();
                if skipped < rows {
                    break;
                }
                skipped -= rows;
                group += 1;
            }
            let bytes = Pages { bytes, has_nested, judged: Arc::default() };
            Ok(Self { bytes, metadata, schema, group, reader: None, skipped })
        })
    }

    /// The next group, from the row that is wanted on; none behind the last.
    fn next_reader(&mut self) -> Result<Option<ParquetRecordBatchReader>, RowError> {
        self.bytes.judged = Arc::default();
        let Some(group) = self.metadata.metadata().row_groups().get(self.group) else {
            return Ok(None);
        };
        let bytes_a_row = group.total_byte_size() / group.num_rows().max(1) + 1;
        let rows = usize::try_from(BATCH_BYTES / bytes_a_row.max(1)).unwrap_or(1);
        let rows = if self.bytes.has_nested { rows.min(1024) } else { rows };
        let skipped = usize::try_from(self.skipped).unwrap_or(usize::MAX);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            self.metadata.clone(),
        );
        let reader = builder
            .with_row_groups(vec![self.group])
            .with_batch_size(rows.clamp(1, BATCH_ROWS_MAX))
            .with_offset(skipped)
            .build()
            .map_err(damaged)?;
        self.group += 1;
        self.skipped = 0;
        Ok(Some(reader))
    }
}

impl RowFile for ParquetRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, RowError> {
        guarded(&Arc::clone(&self.bytes.bytes), || {
            loop {
                if self.reader.is_none() {
                    self.reader = self.next_reader()?;
                }
                let Some(reader) = &mut self.reader else { return Ok(None) };
                match reader.next() {
                    Some(Ok(batch)) if batch.num_rows() == 0 => {}
                    Some(Ok(batch)) => return Ok(Some(batch)),
                    Some(Err(error)) => return Err(RowError::damaged(error.to_string())),
                    None => self.reader = None,
                }
            }
        })
    }

    fn bytes(&self) -> &FileBytes {
        &self.bytes.bytes
    }

    fn read_to(&self) -> u64 {
        // Its footer is at its end, and holds the whole together.
        self.bytes.bytes.size()
    }
}

/// Turns a panic into an error: bytes must not bring the process down. An error that began with
/// reading the file is told as what it is.
fn guarded<T>(
    bytes: &FileBytes,
    work: impl FnOnce() -> Result<T, RowError>,
) -> Result<T, RowError> {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(RowError::damaged(what.unwrap_or("its reader gave up")))
    });
    done.map_err(|error| bytes.take_failure().map_or(error, RowError::Read))
}

fn damaged(error: ParquetError) -> RowError {
    RowError::damaged(error.to_string())
}

/// Reads and judges the footer.
fn read_footer(bytes: &FileBytes) -> Result<ParquetMetaData, RowError> {
    let size = bytes.size();
    if size < TRAILER_BYTES + MAGIC.len() as u64 {
        return Err(RowError::CutOff("a Parquet file is longer".to_owned()));
    }
    let front = bytes.exact(0, MAGIC.len())?;
    if front == ENCRYPTED {
        return Err(RowError::damaged("it is encrypted"));
    }
    if front != MAGIC {
        return Err(RowError::damaged("it is no Parquet file"));
    }
    let trailer = bytes.exact(size - TRAILER_BYTES, 8)?;
    if trailer[4..] == *ENCRYPTED {
        return Err(RowError::damaged("it is encrypted"));
    }
    if trailer[4..] != *MAGIC {
        return Err(RowError::CutOff("its footer is missing".to_owned()));
    }
    let length = u64::from((&trailer[..4]).get_u32_le());
    if length > FOOTER_BYTES_MAX || length + TRAILER_BYTES > size {
        return Err(RowError::damaged("its footer has a length that cannot be"));
    }
    let length_usize = usize::try_from(length).unwrap_or(usize::MAX);
    let footer = bytes.exact(size - TRAILER_BYTES - length, length_usize)?;
    thrift::walk(&footer).map_err(|fault| RowError::damaged(format!("its footer: {fault}")))?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(damaged)?;
    judge(&metadata, size)?;
    Ok(metadata)
}

/// Refuses what cannot be true of a file of `size` bytes.
fn judge(metadata: &ParquetMetaData, size: u64) -> Result<(), RowError> {
    let wrong = |what: &str| Err(RowError::damaged(what));
    let lies_within = |start: i64, length: i64| {
        let end = start.checked_add(length).and_then(|end| u64::try_from(end).ok());
        start >= 0 && length >= 0 && end.is_some_and(|end| end <= size)
    };
    let mut rows = 0_i64;
    for group in metadata.row_groups() {
        let mut chunks = Vec::with_capacity(group.num_columns());
        if group.num_rows() < 0 || group.total_byte_size() < 0 {
            return wrong("a row group has a negative length");
        }
        rows = rows.saturating_add(group.num_rows());
        for column in group.columns() {
            let data = column.data_page_offset();
            let start = match column.dictionary_page_offset() {
                Some(start) if start > 0 => start.min(data),
                _ => data,
            };
            if !lies_within(start, column.compressed_size()) || column.num_values() < 0 {
                return wrong("a column lies beyond its end");
            }
            chunks.push((start, start + column.compressed_size()));
            if column.file_path().is_some() {
                return wrong("a column stands in another file");
            }
            if column.column_descr().max_rep_level() == 0 && column.num_values() != group.num_rows()
            {
                return wrong("a column has another number of rows than its group");
            }
        }
        // What is a header for one column must not be data of another.
        chunks.sort_unstable();
        if chunks.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return wrong("two columns lie in one place");
        }
    }
    if rows >> 40 != 0 { wrong("it has more than a trillion rows") } else { Ok(()) }
}

/// The metadata for reading, texts as views where that can be.
fn with_views(metadata: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, RowError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(damaged)?;
    let view = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        DataType::Binary => Arc::new(field.as_ref().clone().with_data_type(DataType::BinaryView)),
        _ => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = plain.schema().fields().iter().map(view).collect();
    let schema = Schema::new(fields).with_metadata(plain.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    Ok(ArrowReaderMetadata::try_new(metadata, options).unwrap_or(plain))
}

/// The pages of a file, each looked at before it is handed over.
#[derive(Clone)]
struct Pages {
    bytes: Arc<FileBytes>,
    has_nested: bool,
    // Where the data of pages begin whose headers were looked at, and whether they have any: the
    // reader asks for them apart when it has only peeked at the header.
    judged: Arc<Mutex<HashMap<u64, bool>>>,
}

impl Pages {
    /// Looks at the header of the page at `start`, unless its data begin there.
    fn judge_page(&self, start: u64) -> ParquetResult<()> {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let has_data = judged.remove(&start);
        if has_data == Some(true) {
            return Ok(());
        }
        let wrong = |what: String| Err(ParquetError::General(what));
        let mut header = self.bytes.some(start).map_err(|error| self.failed(error))?;
        let mut walked = thrift::walk(&header);
        let mut length = 4096;
        while walked.is_err() && length <= HEADER_BYTES_MAX {
            // It may stand across two blocks.
            let longer = self.bytes.exact(start, length).map_err(|error| self.failed(error))?;
            (header, length) = (longer, 4 * length);
            walked = thrift::walk(&header);
        }
        let numbers = match walked {
            Ok(numbers) => numbers,
            // No data, and behind them no header either.
            Err(_) if has_data == Some(false) => return Ok(()),
            Err(fault) => return wrong(format!("a page header: {fault}")),
        };
        let number = |path: &[i16]| numbers.get(path).unwrap_or_default();
        let (unpacked, packed) = (number(&[2]), number(&[3]));
        if !(0..=PAGE_BYTES_MAX).contains(&unpacked) || !(0..=PAGE_BYTES_MAX).contains(&packed) {
            return wrong(format!("a page of {} bytes", unpacked.max(packed)));
        }
        // Data pages of either version, and a dictionary, whose entries have a bit at least.
        let data = [number(&[5, 1]), number(&[8, 1])];
        let entries = number(&[7, 1]);
        let values_max = if self.has_nested { NESTED_VALUES_MAX } else { i64::from(i32::MAX) };
        if data.iter().any(|values| !(0..=values_max).contains(values)) {
            return wrong("a page has a number of values that cannot be".to_owned());
        }
        if !(0..=unpacked.saturating_mul(8)).contains(&entries) {
            return wrong("a dictionary has more entries than bytes".to_owned());
        }
        judged.insert(start + numbers.length as u64, packed > 0);
        Ok(())
    }

    /// Keeps why the file could not be read, for when the reader has given up over it.
    fn failed(&self, error: ReadError) -> ParquetError {
        self.bytes.fail(error);
        ParquetError::General("it cannot be read".to_owned())
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.bytes.size()
    }
}

impl ChunkReader for Pages {
    type T = PageRead;

    fn get_read(&self, start: u64) -> ParquetResult<PageRead> {
        self.judge_page(start)?;
        Ok(PageRead { bytes: Arc::clone(&self.bytes), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.bytes.size());
        if end.is_none() || length as i64 > PAGE_BYTES_MAX {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are not there")));
        }
        self.bytes.exact(start, length).map_err(|error| self.failed(error))
    }
}

/// Bytes from a page on.
struct PageRead {
    bytes: Arc<FileBytes>,
    at: u64,
}

impl io::Read for PageRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.bytes.some(self.at).map_err(|error| {
            self.bytes.fail(error);
            io::Error::other("it cannot be read")
        })?;
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

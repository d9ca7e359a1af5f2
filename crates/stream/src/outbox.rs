//! The outbox of a sink: rows its target does not hold yet, in memory and beyond that on disk.
//!
//! Rows are read in the order of their epochs, and stay until the target holds them, so that they can
//! be read again. The newest that do not fit memory go to disk together: a *segment* is a file of the
//! rows of many epochs, so that a target that is away for thousands of them costs a few files, and
//! memory that does not grow with their number.
//!
//! ```text
//! <folder>/000000000000.arrow   Arrow IPC stream, one batch: the columns, then `_epoch` (UInt64)
//! ```
//!
//! Files belong to this process only: what a crash leaves is removed when the outbox is made again.

use std::collections::VecDeque;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use thalweg_core::budget::{Budget, Holding};
use thalweg_core::env::Disk;
use thalweg_core::sink::Epoch;
use thalweg_core::{Error, Result};

use crate::delivery::DeliveryConfig;
use crate::operators::expressions::engine_error;

/// How much an outbox may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of rows kept in memory before the disk is used.
    pub memory_bytes: usize,
    /// Bytes of rows that go to disk together.
    pub segment_bytes: usize,
    /// Bytes on disk; less where the disk's budget is used up.
    pub disk_bytes: u64,
}

/// Rows by epoch, waiting.
pub struct Outbox {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    limits: OutboxLimits,
    memory: Holding,
    room: Budget,
    on_disk: Holding,
    entries: VecDeque<Entry>,
    // Entries that were read; of the last of them `rest` is still to come.
    read: usize,
    rest: VecDeque<Waiting>,
    // What the target holds.
    dropped_through: Epoch,
    memory_bytes: usize,
    // Of them, those of entries that were read.
    memory_bytes_read: usize,
    disk_bytes: u64,
    rows: u64,
    next_file: u64,
}

/// Rows of one epoch.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The epoch.
    pub epoch: Epoch,
    /// Its rows, or some of them.
    pub rows: RecordBatch,
    /// Their share of memory.
    pub bytes: usize,
}

enum Entry {
    Memory(Waiting),
    Segment { file: PathBuf, bytes: u64, rows: u64, first: Epoch, last: Epoch },
}

impl Entry {
    fn first(&self) -> Epoch {
        match self {
            Self::Memory(waiting) => waiting.epoch,
            Self::Segment { first, .. } => *first,
        }
    }

    fn last(&self) -> Epoch {
        match self {
            Self::Memory(waiting) => waiting.epoch,
            Self::Segment { last, .. } => *last,
        }
    }
}

impl Outbox {
    /// An empty outbox; files of an earlier process are removed.
    pub fn new(disk: Arc<dyn Disk>, config: &DeliveryConfig) -> Self {
        let folder = config.outbox.clone();
        for old in disk.list(&folder).unwrap_or_default() {
            // What cannot be removed now is only space.
            let _ = disk.remove(&folder.join(old));
        }
        Self {
            disk,
            folder,
            limits: config.limits,
            memory: config.memory.holding(format!("rows on their way to `{}`", config.name)),
            room: config.disk.clone(),
            on_disk: config.disk.holding(format!("the outbox of `{}`", config.name)),
            entries: VecDeque::new(),
            read: 0,
            rest: VecDeque::new(),
            dropped_through: 0,
            memory_bytes: 0,
            memory_bytes_read: 0,
            disk_bytes: 0,
            rows: 0,
            next_file: 0,
        }
    }

    /// Rows that wait, those that were read included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether no more rows should be handed over: memory is full, and the disk takes nothing.
    pub fn is_full(&self) -> bool {
        self.memory_bytes_unread() >= self.limits.memory_bytes + 2 * self.limits.segment_bytes
    }

    fn memory_bytes_unread(&self) -> usize {
        self.memory_bytes - self.memory_bytes_read
    }

    /// Tells the budgets.
    fn count(&self) {
        self.memory.set(self.memory_bytes as u64);
        self.on_disk.set(self.disk_bytes);
    }

    /// Adds rows of an epoch, none older than the last.
    ///
    /// # Errors
    ///
    /// When memory is full and the disk fails; the rows are kept in memory all the same.
    pub fn push(&mut self, epoch: Epoch, rows: RecordBatch) -> Result<()> {
        let bytes = rows.get_array_memory_size();
        self.memory_bytes += bytes;
        self.rows += rows.num_rows() as u64;
        self.entries.push_back(Entry::Memory(Waiting { epoch, rows, bytes }));
        self.make_room()
    }

    /// Moves rows to disk while more wait in memory than may.
    ///
    /// # Errors
    ///
    /// When the disk fails; those rows stay in memory.
    pub fn make_room(&mut self) -> Result<()> {
        let most = self.limits.memory_bytes + self.limits.segment_bytes;
        let mut spilled = Ok(());
        while spilled.is_ok()
            && self.memory_bytes_unread() > most
            && self.disk_bytes < self.limits.disk_bytes
            && self.room.shortage().is_none()
            && let Some((at, bytes)) = self.spillable()
        {
            spilled = self.write_segment(at.clone()).map(|segment| {
                self.entries.drain(at.clone());
                self.entries.insert(at.start, segment);
                self.memory_bytes -= bytes;
            });
        }
        self.count();
        spilled
    }

    /// The newest neighbours in memory, not read yet, that make up a segment or at least half of
    /// one; and their bytes.
    fn spillable(&self) -> Option<(Range<usize>, usize)> {
        let mut end = self.entries.len();
        while end > self.read {
            let (mut start, mut bytes) = (end, 0);
            while start > self.read
                && bytes < self.limits.segment_bytes
                && let Some(Entry::Memory(waiting)) = self.entries.get(start - 1)
            {
                start -= 1;
                bytes += waiting.bytes;
            }
            if start < end && 2 * bytes >= self.limits.segment_bytes {
                return Some((start..end, bytes));
            }
            end = if start < end { start } else { end - 1 };
        }
        None
    }

    fn write_segment(&mut self, entries: Range<usize>) -> Result<Entry> {
        let waiting = self.entries.range(entries).filter_map(|entry| match entry {
            Entry::Memory(waiting) => Some(waiting),
            Entry::Segment { .. } => None,
        });
        let batches: Vec<&RecordBatch> = waiting.clone().map(|waiting| &waiting.rows).collect();
        let schema =
            batches.first().map(|rows| rows.schema()).unwrap_or_else(|| Schema::empty().into());
        let rows = concat_batches(&schema, batches).map_err(engine_error)?;
        let epochs = waiting
            .clone()
            .flat_map(|waiting| std::iter::repeat_n(waiting.epoch, waiting.rows.num_rows()));
        let epochs: ArrayRef = Arc::new(UInt64Array::from_iter_values(epochs));
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new("_epoch", DataType::UInt64, false)));
        let mut columns = rows.columns().to_vec();
        columns.push(epochs);
        let schema = Schema::new(fields);
        let segment = RecordBatch::try_new(Arc::new(schema), columns).map_err(engine_error)?;
        let mut writer =
            StreamWriter::try_new(Vec::new(), segment.schema_ref()).map_err(engine_error)?;
        writer.write(&segment).map_err(engine_error)?;
        let bytes = writer.into_inner().map_err(engine_error)?;
        let (first, last) = waiting.fold((Epoch::MAX, 0), |(first, last), waiting| {
            (first.min(waiting.epoch), last.max(waiting.epoch))
        });

        let file = self.folder.join(format!("{:012}.arrow", self.next_file));
        let written = self.disk.create_dir_all(&self.folder).and_then(|()| {
            let handle = self.disk.open(&file, true)?;
            handle.truncate(0)?;
            handle.write_at(&bytes, 0)
        });
        if let Err(error) = written {
            // Half a file would only take room.
            let _ = self.disk.remove(&file);
            return Err(Error::unavailable(format!("cannot write the outbox {}", file.display()))
                .with_source(error));
        }
        self.next_file += 1;
        let bytes = bytes.len() as u64;
        self.disk_bytes += bytes;
        Ok(Entry::Segment { file, bytes, rows: rows.num_rows() as u64, first, last })
    }

    /// The next rows, of an epoch no later than `through`; none when all were read.
    ///
    /// # Errors
    ///
    /// When a segment cannot be read; nothing has moved then.
    pub fn next(&mut self, through: Epoch) -> Result<Option<Waiting>> {
        if self.rest.is_empty() {
            let Some(entry) = self.entries.get(self.read) else { return Ok(None) };
            if entry.first() > through {
                return Ok(None);
            }
            self.rest = match entry {
                Entry::Memory(waiting) => {
                    self.memory_bytes_read += waiting.bytes;
                    VecDeque::from([waiting.clone()])
                }
                Entry::Segment { file, .. } => self.read_segment(file)?,
            };
            self.read += 1;
        }
        Ok(self.rest.pop_front_if(|waiting| waiting.epoch <= through))
    }

    /// Rows of a segment that the target does not hold, epoch by epoch.
    fn read_segment(&self, file: &Path) -> Result<VecDeque<Waiting>> {
        let bytes = self.disk.read(file).map_err(|error| {
            Error::unavailable(format!("cannot read the outbox {}", file.display()))
                .with_source(error)
        })?;
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(engine_error)?;
        let mut segment = reader
            .next()
            .ok_or_else(|| Error::internal("a file of the outbox is empty"))?
            .map_err(engine_error)?;
        let all = segment.get_array_memory_size();
        let epochs = segment.remove_column(segment.num_columns() - 1);
        let epochs = epochs.as_primitive::<UInt64Type>().values();
        let mut waiting = VecDeque::new();
        let mut from = 0;
        for run in epochs.chunk_by(|left, right| left == right) {
            if run[0] > self.dropped_through {
                let bytes = all * run.len() / epochs.len();
                let rows = segment.slice(from, run.len());
                waiting.push_back(Waiting { epoch: run[0], rows, bytes });
            }
            from += run.len();
        }
        Ok(waiting)
    }

    /// Begins to read at the oldest rows again.
    pub fn rewind(&mut self) {
        self.read = 0;
        self.memory_bytes_read = 0;
        self.rest.clear();
    }

    /// Forgets everything up to `epoch`, and says how many rows that were.
    ///
    /// # Errors
    ///
    /// When a segment that holds later rows too cannot be read, so that they cannot be counted.
    pub fn drop_through(&mut self, epoch: Epoch) -> Result<u64> {
        self.dropped_through = self.dropped_through.max(epoch);
        self.rest.retain(|waiting| waiting.epoch > epoch);
        let before = self.rows;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.last() <= epoch) {
            match entry {
                Entry::Memory(waiting) => {
                    self.rows -= waiting.rows.num_rows() as u64;
                    self.memory_bytes -= waiting.bytes;
                    if self.read > 0 {
                        self.memory_bytes_read -= waiting.bytes;
                    }
                }
                Entry::Segment { file, bytes, rows, .. } => {
                    self.rows -= rows;
                    self.disk_bytes -= bytes;
                    // What cannot be removed now is removed at the next start.
                    let _ = self.disk.remove(&file);
                }
            }
            self.read = self.read.saturating_sub(1);
        }
        if let Some(Entry::Segment { file, first, .. }) = self.entries.front()
            && *first <= epoch
        {
            let left = self.read_segment(file)?;
            let count = left.iter().map(|waiting| waiting.rows.num_rows() as u64).sum();
            if let Some(Entry::Segment { first, rows, .. }) = self.entries.front_mut() {
                self.rows -= *rows - count;
                *rows = count;
                *first = left.front().map_or(*first, |waiting| waiting.epoch);
            }
        }
        self.count();
        Ok(before - self.rows)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.rewind();
        for entry in self.entries.drain(..) {
            if let Entry::Segment { file, .. } = entry {
                let _ = self.disk.remove(&file);
            }
        }
        (self.memory_bytes, self.disk_bytes, self.rows) = (0, 0, 0);
        self.count();
    }
}

#[cfg(test)]
mod tests;

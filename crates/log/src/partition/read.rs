//! Reading: whole batches below the high watermark (L3), straight from the files.
//!
//! Where to read is decided under the lock, from memory; the reading itself runs on a thread that
//! may block. What lies below the high watermark never changes, so a reader needs no lock for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thalweg_core::env::DiskFile;
use thalweg_core::log::{FetchLimit, Fetched};
use thalweg_core::records::{BATCH_HEADER_BYTES, Batch, BatchHeader, batches};
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use thalweg_core::{Error, Result};
use tokio::time::timeout;

use super::{Partition, State};
use crate::error::{cannot, damaged};
use crate::index::SegmentIndex;
use crate::segment::{self, Window};

/// Most that one fetch brings, whatever it asks for.
const FETCH_BYTES_MAX: usize = 64 << 20;
/// How much is read at a time on the way to a batch.
const SEEK_BYTES: usize = 8 << 10;

/// A stretch of a segment that may be read.
struct Stretch {
    path: PathBuf,
    /// The active segment is open; a closed one is opened when it is read.
    file: Option<Arc<dyn DiskFile>>,
    /// Begins at a batch.
    start: u64,
    end: u64,
}

impl Partition {
    /// Batches from the one that holds `from`.
    ///
    /// The wait is a network client's long poll, and like a socket's time-out it is not on the
    /// clock of [`thalweg_core::env`] (S3).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Fetched> {
        let Ok(stretch) = timeout(limit.wait, self.wait_readable(from)).await else {
            return Ok(Fetched { batches: Bytes::new(), next: from, bounds: self.bounds() });
        };
        let stretch = stretch?;
        let partition = Arc::clone(self);
        let read = move || partition.read(&stretch, from, limit.bytes_max);
        let (batches, next) = may_block(read).await?;
        Ok(Fetched { batches, next, bounds: self.bounds() })
    }

    /// The first offset below the high watermark whose record has `time` or a later one.
    pub(crate) async fn offset_at(self: &Arc<Self>, time: Timestamp) -> Result<Option<Offset>> {
        // The first whole millisecond that is not before it.
        let time_ms = time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0);
        let partition = Arc::clone(self);
        may_block(move || {
            for stretch in partition.stretches_with(time_ms) {
                if let Some(offset) = partition.find_time(&stretch, time_ms)? {
                    return Ok(Some(offset));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Waits until there is something to read from `from` on.
    async fn wait_readable(&self, from: Offset) -> Result<Stretch> {
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            if let Some(stretch) = self.stretch_from(from)? {
                return Ok(stretch);
            }
            progress.changed().await.expect("the sender lives in self");
        }
    }

    /// Where `from` can be read, if it is below the high watermark.
    fn stretch_from(&self, from: Offset) -> Result<Option<Stretch>> {
        let state = self.lock();
        let bounds = state.bounds();
        if from < bounds.log_start || from > bounds.log_end {
            return Err(self
                .out_of_bounds(from)
                .with_detail(format!("It holds {} to {}.", bounds.log_start, bounds.log_end)));
        }
        if from >= bounds.high_watermark {
            return Ok(None);
        }
        let later = state.closed.partition_point(|segment| segment.end <= from);
        Ok(Some(match state.closed.get(later) {
            Some(segment) => self.closed(segment, segment.position_before_offset(from)),
            None => {
                let mark = state.marks.iter().rev().find(|(offset, _)| *offset <= from);
                let start = state.active.position_before_offset(from);
                self.active(&state, mark.map_or(start, |(_, position)| start.max(*position)))
            }
        }))
    }

    /// Where records of `time_ms` or later may be, oldest first.
    fn stretches_with(&self, time_ms: i64) -> Vec<Stretch> {
        let state = self.lock();
        let closed = state
            .closed
            .iter()
            .filter(|segment| segment.max_timestamp_ms >= time_ms)
            .map(|segment| self.closed(segment, segment.position_before_time(time_ms)));
        let active = state.active.position_before_time(time_ms);
        closed.chain([self.active(&state, active)]).collect()
    }

    fn closed(&self, segment: &SegmentIndex, start: u64) -> Stretch {
        let path = segment::path(&self.folder, segment.base);
        Stretch { path, file: None, start, end: segment.length }
    }

    fn active(&self, state: &State, start: u64) -> Stretch {
        let path = segment::path(&self.folder, state.active.base);
        Stretch { path, file: Some(Arc::clone(&state.file)), start, end: state.synced_length }
    }

    fn open(&self, stretch: &Stretch) -> io::Result<Arc<dyn DiskFile>> {
        match &stretch.file {
            Some(file) => Ok(Arc::clone(file)),
            None => self.disk.open_to_read(&stretch.path).map(Arc::from),
        }
    }

    /// Reads whole batches from the one that holds `from`; the first whatever its length.
    fn read(&self, stretch: &Stretch, from: Offset, bytes_max: usize) -> Result<(Bytes, Offset)> {
        let file = self.open(stretch).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.out_of_bounds(from).with_detail("Retention has just passed it.")
            }
            _ => cannot("open", &stretch.path, error),
        })?;
        let unreadable = |error| cannot("read", &stretch.path, error);
        let damaged_at = |position| {
            damaged(&stretch.path, format!("There is no batch at byte {position}, where one was."))
        };

        let mut window = Window::new(&*file, stretch.end, SEEK_BYTES);
        let mut position = stretch.start;
        let first = loop {
            let bytes = window.bytes(position, BATCH_HEADER_BYTES).map_err(unreadable)?;
            let header = BatchHeader::parse(bytes).map_err(|_| damaged_at(position))?;
            if header.next_offset() > from {
                break header;
            }
            position += header.length as u64;
        };

        let left = usize::try_from(stretch.end - position).unwrap_or(usize::MAX);
        let wanted = bytes_max.min(FETCH_BYTES_MAX).max(first.length).min(left);
        let mut buffer = BytesMut::zeroed(wanted);
        let count = segment::read_full(&*file, &mut buffer, position).map_err(unreadable)?;
        buffer.truncate(count);

        let (mut whole, mut next) = (0, from);
        for batch in batches(&buffer).map_while(Result::ok) {
            whole += batch.bytes.len();
            next = batch.header.next_offset();
        }
        if whole == 0 {
            return Err(damaged_at(position));
        }
        buffer.truncate(whole);
        Ok((buffer.freeze(), next))
    }

    /// The first offset of a stretch whose record has `time_ms` or a later one. Records that are
    /// compressed count as one.
    fn find_time(&self, stretch: &Stretch, time_ms: i64) -> Result<Option<Offset>> {
        let file = match self.open(stretch) {
            // Retention has just removed it; what follows is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| cannot("open", &stretch.path, error))?,
        };
        let unreadable = |error| cannot("read", &stretch.path, error);
        let mut window = Window::new(&*file, stretch.end, SEEK_BYTES);
        let mut position = stretch.start;
        while position < stretch.end {
            let bytes = window.bytes(position, BATCH_HEADER_BYTES).map_err(unreadable)?;
            let header = BatchHeader::parse(bytes)
                .map_err(|error| damaged(&stretch.path, error.detail.unwrap_or_default()))?;
            if header.max_timestamp_ms >= time_ms {
                let bytes = window.bytes(position, header.length).map_err(unreadable)?;
                let batch = Batch::parse(bytes)
                    .map_err(|error| damaged(&stretch.path, error.detail.unwrap_or_default()))?;
                let Ok(records) = batch.records() else { return Ok(Some(header.base_offset)) };
                let mut readable = records.map_while(Result::ok);
                if let Some(record) = readable.find(|record| record.timestamp.millis() >= time_ms) {
                    return Ok(Some(record.offset));
                }
            }
            position += header.length as u64;
        }
        Ok(None)
    }

    fn out_of_bounds(&self, from: Offset) -> Error {
        Error::invalid(format!("partition {} does not hold offset {from}", self.name))
    }
}

/// Runs what may wait for the disk where it holds nobody up.
async fn may_block<T: Send + 'static>(
    read: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|panicked| {
        Err(Error::internal("reading the log failed").with_source(panicked))
    })
}

//! The tail of a relation: rows newer than its table's last commit (S17a).
//!
//! A reader gets one table version and exactly the epochs behind it, taken under one lock. Without a
//! table the tail is what `keep` holds.

use std::collections::VecDeque;
use std::sync::Mutex;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use tokio::sync::watch;

use crate::delivery::lock;

/// Rows of the newest epochs of one pipeline.
pub struct Tail {
    schema: SchemaRef,
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

struct Inner {
    epochs: VecDeque<(Epoch, Timestamp, RecordBatch)>,
    bytes: usize,
    has_table: bool,
    table: TableMark,
    // The watermark after each epoch behind the table's, to know it when the table has passed.
    watermarks: VecDeque<(Epoch, Timestamp)>,
}

/// Where the table of a relation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMark {
    /// The last epoch it holds.
    pub epoch: Epoch,
    /// The watermark after that epoch.
    pub watermark: Timestamp,
}

impl Tail {
    /// An empty tail of rows of `schema`.
    pub fn new(schema: SchemaRef, has_table: bool) -> Self {
        let inner = Inner {
            epochs: VecDeque::new(),
            bytes: 0,
            has_table,
            table: TableMark { epoch: 0, watermark: Timestamp::MIN },
            watermarks: VecDeque::new(),
        };
        Self { schema, inner: Mutex::new(inner), version: watch::Sender::new(0) }
    }

    /// Columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Forgets everything, before epochs are run again from a checkpoint.
    pub fn clear(&self) {
        let mut inner = lock(&self.inner);
        inner.epochs.clear();
        inner.watermarks.clear();
        inner.bytes = 0;
    }

    /// Adds the rows of an epoch, received at `now`, and publishes them.
    pub fn push(&self, epoch: Epoch, now: Timestamp, watermark: Timestamp, rows: &[RecordBatch]) {
        let mut inner = lock(&self.inner);
        if epoch > inner.table.epoch {
            for rows in rows {
                inner.bytes += rows.get_array_memory_size();
                inner.epochs.push_back((epoch, now, rows.clone()));
            }
            inner.watermarks.push_back((epoch, watermark));
        }
        drop(inner);
        self.version.send_modify(|version| *version += 1);
    }

    /// The table holds everything up to `epoch`: those rows are read from it.
    pub fn table_passed(&self, epoch: Epoch) {
        let mut inner = lock(&self.inner);
        if epoch <= inner.table.epoch {
            return;
        }
        inner.table.epoch = epoch;
        while let Some((first, watermark)) = inner.watermarks.front().copied() {
            if first > epoch {
                break;
            }
            inner.table.watermark = inner.table.watermark.max(watermark);
            inner.watermarks.pop_front();
        }
        while inner.epochs.front().is_some_and(|(first, ..)| *first <= epoch) {
            if let Some((.., rows)) = inner.epochs.pop_front() {
                inner.bytes -= rows.get_array_memory_size();
            }
        }
    }

    /// Without a table: forgets rows older than `from`, and beyond `bytes_max`.
    pub fn trim(&self, from: Timestamp, bytes_max: usize) {
        let mut inner = lock(&self.inner);
        if inner.has_table {
            return;
        }
        while inner.bytes > bytes_max || inner.epochs.front().is_some_and(|(_, at, _)| *at < from) {
            match inner.epochs.pop_front() {
                Some((.., rows)) => inner.bytes -= rows.get_array_memory_size(),
                None => break,
            }
        }
        inner.watermarks.clear();
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        lock(&self.inner).bytes
    }

    /// Where the table stands.
    pub fn table(&self) -> TableMark {
        lock(&self.inner).table
    }

    /// The rows of the epochs behind `epoch`, in order.
    pub fn after(&self, epoch: Epoch) -> Vec<RecordBatch> {
        let inner = lock(&self.inner);
        let newer = inner.epochs.iter().filter(|(number, ..)| *number > epoch);
        newer.map(|(.., rows)| rows.clone()).collect()
    }

    /// Counts up with each epoch.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

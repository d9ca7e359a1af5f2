//! The tail of a relation: its newest rows, in memory (S17a).
//!
//! A tail holds every row behind one epoch, [`Reach`], and says where in the input that epoch ended.
//! What is older is in the relation's table, or is decoded again from the journal or the files
//! ([`crate::replay`]). Rows leave it by age and bytes (`keep`) alone, whatever the table holds: a
//! reader takes those behind the table's version. Closed windows, which nothing decodes again, wait
//! for the table besides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use thalweg_core::sink::Epoch;
use thalweg_core::time::Timestamp;
use thalweg_core::topic::Offset;
use tokio::sync::watch;

use crate::checkpoint::Position;
use crate::delivery::lock;

/// What an epoch costs beside its rows.
const EPOCH_BYTES: usize = 512;
/// Watermarks remembered behind a table that does not commit; beyond it the oldest are forgotten,
/// which only makes the table's own watermark seem earlier.
const WATERMARKS_MAX: usize = 65_536;

/// Rows of the newest epochs of one pipeline.
pub struct Tail {
    schema: SchemaRef,
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

struct Inner {
    epochs: VecDeque<Held>,
    bytes: usize,
    reach: Option<Reach>,
    // The newest manifest of each partition; it says what offsets mean, earlier ones too.
    manifests: BTreeMap<u32, String>,
    older: Older,
    table: TableMark,
    // The watermark after each epoch behind the table's, to know it when the table has passed.
    watermarks: VecDeque<(Epoch, Timestamp)>,
}

/// The rows of one epoch.
#[derive(Clone)]
struct Held {
    epoch: Epoch,
    at: Timestamp,
    rows: Vec<RecordBatch>,
    bytes: usize,
    ends: Arc<Ends>,
}

/// Where the rows are that a tail has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// In the input alone.
    Input,
    /// In the table; those that it lacks in the input.
    TableAndInput,
    /// In the table alone: rows stay until it holds them.
    Table,
}

/// Where reading goes on, by partition.
pub type Ends = BTreeMap<u32, Offset>;

/// How far back a tail reaches: it holds every row behind `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The last epoch whose rows it may lack.
    pub epoch: Epoch,
    /// Where that epoch ended in the input.
    pub ends: Arc<Ends>,
}

/// Where the table of a relation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMark {
    /// The last epoch it holds.
    pub epoch: Epoch,
    /// The watermark after that epoch.
    pub watermark: Timestamp,
}

/// A tail as it was at one moment.
pub struct Newest {
    /// How far back it reaches; none when its pipeline has not run in this process.
    pub reach: Option<Reach>,
    /// The newest manifest of each partition that has one.
    pub manifests: BTreeMap<u32, String>,
    epochs: Vec<(Epoch, Vec<RecordBatch>)>,
}

impl Newest {
    /// The rows of the epochs behind `epoch`, in order.
    pub fn after(&self, epoch: Epoch) -> Vec<RecordBatch> {
        let newer = self.epochs.iter().filter(|(number, _)| *number > epoch);
        newer.flat_map(|(_, rows)| rows.iter().cloned()).collect()
    }
}

impl Tail {
    /// An empty tail of rows of `schema`.
    pub fn new(schema: SchemaRef, older: Older) -> Self {
        let inner = Inner {
            epochs: VecDeque::new(),
            bytes: 0,
            reach: None,
            manifests: BTreeMap::new(),
            older,
            table: TableMark { epoch: 0, watermark: Timestamp::MIN },
            watermarks: VecDeque::new(),
        };
        Self { schema, inner: Mutex::new(inner), version: watch::Sender::new(0) }
    }

    /// Columns of the rows.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins anew behind `epoch`, whose end is at `positions`: epochs behind it come again.
    pub fn begin(&self, epoch: Epoch, watermark: Timestamp, positions: &BTreeMap<u32, Position>) {
        let mut inner = lock(&self.inner);
        inner.epochs.clear();
        inner.watermarks.clear();
        inner.bytes = 0;
        inner.reach = Some(Reach { epoch, ends: Arc::new(ends(positions)) });
        // It may have been emptied meanwhile; the first look at it says.
        inner.table = TableMark { epoch: 0, watermark: Timestamp::MIN };
        inner.note_manifests(positions);
        inner.note_watermark(epoch, watermark);
    }

    /// Adds the rows of an epoch that ended at `positions`, received at `now`, and publishes them.
    pub fn push(
        &self,
        epoch: Epoch,
        now: Timestamp,
        watermark: Timestamp,
        rows: &[RecordBatch],
        positions: &BTreeMap<u32, Position>,
    ) {
        let mut inner = lock(&self.inner);
        inner.note_manifests(positions);
        inner.note_watermark(epoch, watermark);
        let rows: Vec<RecordBatch> =
            rows.iter().filter(|rows| rows.num_rows() > 0).cloned().collect();
        // Of windows nothing has changed where none has closed.
        let is_news = !rows.is_empty() || inner.older != Older::Table;
        if !rows.is_empty() {
            let bytes = rows.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
            let ends = Arc::new(ends(positions));
            let bytes = bytes + EPOCH_BYTES;
            inner.bytes += bytes;
            inner.epochs.push_back(Held { epoch, at: now, rows, bytes, ends });
        }
        drop(inner);
        if is_news {
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// The table holds everything up to `epoch`.
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
    }

    /// Forgets rows older than `from`, and beyond `bytes_max`.
    pub fn trim(&self, from: Timestamp, bytes_max: usize) {
        let mut inner = lock(&self.inner);
        let held_at = match inner.older {
            Older::Table => inner.table.epoch,
            Older::Input | Older::TableAndInput => Epoch::MAX,
        };
        while let Some(oldest) = inner.epochs.front()
            && oldest.epoch <= held_at
            && (inner.bytes > bytes_max || oldest.at < from)
        {
            let Some(held) = inner.epochs.pop_front() else { break };
            inner.bytes -= held.bytes;
            inner.reach = Some(Reach { epoch: held.epoch, ends: held.ends });
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        lock(&self.inner).bytes
    }

    /// Where the table stands.
    pub fn table(&self) -> TableMark {
        lock(&self.inner).table
    }

    /// What it holds now.
    ///
    /// A table that is pinned after this call is no older than what this knew of it, so the two fit
    /// without a hole.
    pub fn newest(&self) -> Newest {
        let inner = lock(&self.inner);
        Newest {
            reach: inner.reach.clone(),
            manifests: inner.manifests.clone(),
            epochs: inner.epochs.iter().map(|held| (held.epoch, held.rows.clone())).collect(),
        }
    }

    /// Counts up with each epoch.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

impl Inner {
    fn note_manifests(&mut self, positions: &BTreeMap<u32, Position>) {
        for (partition, position) in positions {
            if let Some(manifest) = &position.manifest
                && self.manifests.get(partition) != Some(manifest)
            {
                self.manifests.insert(*partition, manifest.clone());
            }
        }
    }

    fn note_watermark(&mut self, epoch: Epoch, watermark: Timestamp) {
        if self.older == Older::Input {
            return;
        }
        if self.watermarks.len() >= WATERMARKS_MAX {
            self.watermarks.pop_front();
        }
        self.watermarks.push_back((epoch, watermark));
    }
}

fn ends(positions: &BTreeMap<u32, Position>) -> Ends {
    positions.iter().map(|(partition, position)| (*partition, position.next)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]))
    }

    fn push(tail: &Tail, epoch: Epoch, at: i64) {
        let column = Arc::new(Int64Array::from(vec![at]));
        let rows = RecordBatch::try_new(schema(), vec![column]).expect("fits");
        let next = i64::try_from(epoch).expect("small") * 10;
        let positions = BTreeMap::from([(0, Position { next, manifest: None })]);
        tail.push(epoch, Timestamp(at), Timestamp(at), &[rows], &positions);
    }

    #[test]
    fn it_reaches_back_to_what_it_forgot_whatever_the_table_holds() {
        let tail = Tail::new(schema(), Older::TableAndInput);
        tail.begin(0, Timestamp::MIN, &BTreeMap::from([(0, Position::default())]));
        for epoch in 1..=4_u64 {
            push(&tail, epoch, i64::try_from(epoch).expect("small"));
        }
        tail.table_passed(3);
        let newest = tail.newest();
        assert_eq!(newest.reach.map(|reach| reach.epoch), Some(0), "a commit forgets nothing");
        tail.trim(Timestamp(3), usize::MAX);
        let newest = tail.newest();
        assert_eq!(
            newest.reach,
            Some(Reach { epoch: 2, ends: Arc::new(Ends::from([(0, 20)])) }),
            "S17a: it says where what it lacks ends"
        );
        assert_eq!(newest.after(0).len(), 2);
        assert_eq!(newest.after(3).len(), 1);
        assert_eq!(tail.table(), TableMark { epoch: 3, watermark: Timestamp(3) });
    }
    #[test]
    fn what_nothing_makes_again_waits_for_the_table() {
        let tail = Tail::new(schema(), Older::Table);
        tail.begin(0, Timestamp::MIN, &BTreeMap::new());
        for epoch in 1..=4_u64 {
            push(&tail, epoch, i64::try_from(epoch).expect("small"));
        }
        tail.trim(Timestamp(9), 0);
        assert_eq!(tail.newest().after(0).len(), 4, "the table holds none of them");
        tail.table_passed(2);
        tail.trim(Timestamp(9), 0);
        assert_eq!(tail.newest().after(0).len(), 2);
        assert_eq!(tail.newest().reach.map(|reach| reach.epoch), Some(2));
    }
}

//! Current results by key: what a stream with GROUP BY, or `latest(x)`, is when it is read.
//!
//! The rows of one key replace each other; rows stay in the batches they came in until too many of
//! those are stale. A reader gets one batch, made once for each published version.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave, max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use tokio::sync::watch;

use crate::operators::expressions::engine_error;
use crate::operators::keys::{Keys, nullable};

/// Rows kept beyond the living ones before they are copied together.
const SLACK_ROWS: usize = 16_384;
/// Which part of the time that rows span is forgotten at once.
const FORGET_PART: u32 = 8;

/// Rows by key, shared between the pipeline that writes and those who read.
pub struct Results {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

struct Inner {
    schema: SchemaRef,
    key_columns: Vec<usize>,
    keys: Keys,
    chunks: Vec<RecordBatch>,
    // By number of key: the row that holds, as (chunk, row).
    places: Vec<(usize, usize)>,
    held: usize,
    // From when on it is worth while to forget again.
    forget_at: Timestamp,
    read: Option<RecordBatch>,
}

impl Results {
    /// No rows yet; `key` names the columns that tell rows apart.
    pub fn new(schema: SchemaRef, key: &[String]) -> Result<Self> {
        let inner = Inner::new(schema, key)?;
        Ok(Self { inner: Mutex::new(inner), version: watch::Sender::new(0) })
    }

    /// Columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.lock().schema)
    }

    /// Takes rows; later ones replace earlier ones of the same key. Not seen before
    /// [`publish`](Self::publish).
    pub fn apply(&self, rows: &RecordBatch) -> Result<()> {
        self.lock().apply(rows)
    }

    /// Makes what was applied a new version.
    pub fn publish(&self) {
        self.lock().read = None;
        self.version.send_modify(|version| *version += 1);
    }

    /// Counts up with each version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Every row of the newest version, in order of first sight of its key.
    pub fn read(&self) -> Result<RecordBatch> {
        let mut inner = self.lock();
        if let Some(read) = &inner.read {
            return Ok(read.clone());
        }
        let rows = inner.living()?;
        inner.read = Some(rows.clone());
        Ok(rows)
    }

    /// Every row now, published or not: what a checkpoint holds.
    pub fn living(&self) -> Result<RecordBatch> {
        self.lock().living()
    }

    /// Forgets the rows whose `column` is before `from`; returns how many.
    ///
    /// Looking costs as much as there are rows, so it is done only once `from` has come on by a part
    /// of the time they span: a row may stay a little longer.
    pub fn forget_before(&self, column: &str, from: Timestamp) -> Result<usize> {
        let mut inner = self.lock();
        if from < inner.forget_at {
            return Ok(0);
        }
        let rows = inner.living()?;
        let Some(times) = rows.column_by_name(column) else {
            return Err(Error::internal(format!("results have no column `{column}`")));
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let kept: arrow::array::BooleanArray =
            times.iter().map(|time| Some(time.is_none_or(|time| time >= from.0))).collect();
        let forgotten = kept.false_count();
        let newest = max(times).map_or(from, Timestamp);
        let oldest = min(times).map_or(from, |oldest| from.max(Timestamp(oldest)));
        inner.forget_at = oldest.plus(newest.since(oldest) / FORGET_PART);
        if forgotten > 0 {
            let rows = filter_record_batch(&rows, &kept).map_err(engine_error)?;
            inner.replace(&rows)?;
        }
        Ok(forgotten)
    }

    /// Takes back the rows a checkpoint holds.
    pub fn restore(&self, rows: &RecordBatch) -> Result<()> {
        self.lock().replace(rows)?;
        self.publish();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn new(schema: SchemaRef, key: &[String]) -> Result<Self> {
        let key_columns: Result<Vec<usize>, _> =
            key.iter().map(|name| schema.index_of(name)).collect();
        let key_columns = key_columns.map_err(engine_error)?;
        let key_schema = schema.project(&key_columns).map_err(engine_error)?;
        Ok(Self {
            schema,
            key_columns,
            keys: Keys::new(nullable(&key_schema))?,
            chunks: Vec::new(),
            places: Vec::new(),
            held: 0,
            forget_at: Timestamp::MIN,
            read: None,
        })
    }

    fn apply(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let keys: Vec<ArrayRef> =
            self.key_columns.iter().map(|at| Arc::clone(rows.column(*at))).collect();
        let numbers = self.keys.intern(&keys, rows.num_rows())?;
        let chunk = self.chunks.len();
        for (row, number) in numbers.iter().enumerate() {
            if *number == self.places.len() {
                self.places.push((chunk, row));
            } else {
                self.places[*number] = (chunk, row);
            }
        }
        self.held += rows.num_rows();
        self.chunks.push(rows.clone());
        if self.held > 4 * self.places.len() + SLACK_ROWS || self.chunks.len() > 256 {
            let rows = self.living()?;
            self.held = rows.num_rows();
            self.places = (0..rows.num_rows()).map(|row| (0, row)).collect();
            self.chunks = vec![rows];
        }
        Ok(())
    }

    fn living(&self) -> Result<RecordBatch> {
        if self.places.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let columns: Result<Vec<ArrayRef>, _> = (0..self.schema.fields().len())
            .map(|column| {
                let parts: Vec<&dyn Array> =
                    self.chunks.iter().map(|chunk| chunk.column(column).as_ref()).collect();
                interleave(&parts, &self.places)
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns.map_err(engine_error)?)
            .map_err(engine_error)
    }

    fn replace(&mut self, rows: &RecordBatch) -> Result<()> {
        let key_schema = self.schema.project(&self.key_columns).map_err(engine_error)?;
        self.keys = Keys::new(nullable(&key_schema))?;
        self.chunks.clear();
        self.places.clear();
        self.held = 0;
        self.read = None;
        self.apply(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use thalweg_core::schema::timestamp_type;

    fn rows(rows: &[(&str, i64)]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Utf8, false),
            Field::new("v", DataType::Int64, false),
        ]);
        let keys: StringArray = rows.iter().map(|row| Some(row.0)).collect();
        let values: Int64Array = rows.iter().map(|row| Some(row.1)).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(values)])
            .expect("columns fit")
    }

    #[test]
    fn the_last_row_of_a_key_holds_whatever_was_copied_together() {
        let results = Results::new(rows(&[]).schema(), &["k".to_owned()]).expect("key exists");
        for round in 0..600_i64 {
            results.apply(&rows(&[("a", round), ("b", -round), ("a", round + 1)])).expect("fits");
        }
        results.publish();
        assert_eq!(results.read().expect("reads"), rows(&[("a", 600), ("b", -599)]));
    }

    #[test]
    fn old_rows_are_forgotten_a_part_at_a_time() {
        let times = |times: std::ops::Range<i64>| {
            let schema = Schema::new(vec![Field::new("t", timestamp_type(), false)]);
            let column = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
            RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).expect("it fits")
        };
        let results = Results::new(times(0..0).schema(), &["t".to_owned()]).expect("key exists");
        results.apply(&times(0..800)).expect("fits");
        let forget = |from| results.forget_before("t", Timestamp(from)).expect("it is a time");
        assert_eq!(forget(0), 0);
        // An eighth of 799 on, and not before, it is worth a look at all rows.
        assert_eq!(forget(98), 0);
        assert_eq!(forget(99), 99);
        assert_eq!(results.living().expect("reads").num_rows(), 701);
        assert_eq!(forget(150), 0);
        assert_eq!(forget(1_000), 701);
    }
}

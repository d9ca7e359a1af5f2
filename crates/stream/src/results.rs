//! Current results by key: what a stream with GROUP BY, or `latest(x)`, is when it is read.
//!
//! The rows of one key replace each other; rows stay in the batches they came in until too many of
//! those are stale. A reader gets one batch, made once for each published version.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{
    SortOptions, filter_record_batch, interleave, max, min, sort, sort_to_indices,
    take_record_batch,
};
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

/// Rows below which nothing is forgotten by number.
const PRUNE_ROWS_MIN: usize = 1_024;

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
    // Rows at which those that are old are looked for.
    prune_at: usize,
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

    /// Whether columns tell rows apart; without, there is one row.
    pub fn has_key(&self) -> bool {
        !self.lock().key_columns.is_empty()
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

    /// Forgets the rows beyond the newest `rows_max` by `column`; returns how many. They go a quarter
    /// at a time, so that a row costs the same however many are kept.
    pub fn forget_beyond(&self, column: &str, rows_max: usize) -> Result<usize> {
        let mut inner = self.lock();
        if inner.places.len() <= rows_max + rows_max / 4 {
            return Ok(0);
        }
        let rows = inner.living()?;
        let Some(times) = rows.column_by_name(column) else {
            return Err(Error::internal(format!("results have no column `{column}`")));
        };
        let newest_first = SortOptions { descending: true, nulls_first: false };
        let newest = sort_to_indices(times, Some(newest_first), Some(rows_max));
        // Back into the order of first sight, which readers see.
        let newest = sort(&newest.map_err(engine_error)?, None).map_err(engine_error)?;
        let newest = take_record_batch(&rows, newest.as_ref()).map_err(engine_error)?;
        inner.replace(&newest)?;
        Ok(rows.num_rows() - newest.num_rows())
    }

    /// Forgets all but the `count` newest rows by `column` of each key, other columns of time left out
    /// of the key: `apart` are those that remain. Does so only once at least as many rows can go as
    /// stay, so that what it costs is spread; returns how many went.
    pub fn keep_newest(&self, column: &str, apart: &[String], count: usize) -> Result<usize> {
        let mut inner = self.lock();
        if inner.places.len() < inner.prune_at {
            return Ok(0);
        }
        let rows = inner.living()?;
        let times = rows
            .column_by_name(column)
            .ok_or_else(|| Error::internal(format!("results have no column `{column}`")))?
            .as_primitive::<TimestampMicrosecondType>();
        let columns: Result<Vec<usize>, _> =
            apart.iter().map(|name| rows.schema_ref().index_of(name)).collect();
        let keys = rows.project(&columns.map_err(engine_error)?).map_err(engine_error)?;
        let mut numbered = Keys::new(nullable(keys.schema_ref()))?;
        let numbers = numbered.intern(keys.columns(), keys.num_rows())?;
        let mut by_key: Vec<Vec<usize>> = Vec::new();
        for (row, number) in numbers.iter().enumerate() {
            by_key.resize_with(by_key.len().max(number + 1), Vec::new);
            by_key[*number].push(row);
        }
        let mut kept = vec![true; rows.num_rows()];
        for mut of_key in by_key {
            of_key.sort_by_key(|row| std::cmp::Reverse(times.value(*row)));
            for row in of_key.into_iter().skip(count) {
                kept[row] = false;
            }
        }
        let kept = arrow::array::BooleanArray::from(kept);
        let forgotten = kept.false_count();
        if forgotten > 0 {
            let rows = filter_record_batch(&rows, &kept).map_err(engine_error)?;
            inner.replace(&rows)?;
        }
        inner.prune_at = (2 * kept.true_count()).max(PRUNE_ROWS_MIN);
        Ok(forgotten)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.lock().places.is_empty()
    }

    /// Takes back the rows a checkpoint holds.
    pub fn restore(&self, rows: &RecordBatch) -> Result<()> {
        self.lock().replace(rows)?;
        self.publish();
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        let chunks = inner.chunks.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let read = inner.read.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        chunks + read + inner.keys.bytes()
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
            prune_at: PRUNE_ROWS_MIN,
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
    fn the_newest_rows_stay() {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Int64, false),
            Field::new("at", DataType::Int64, true),
        ]);
        let batch = |rows: &[(i64, Option<i64>)]| {
            let keys: Int64Array = rows.iter().map(|row| Some(row.0)).collect();
            let times: Int64Array = rows.iter().map(|row| row.1).collect();
            RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(keys), Arc::new(times)])
                .expect("columns fit")
        };
        let results = Results::new(batch(&[]).schema(), &["k".to_owned()]).expect("key exists");
        let rows = [(1, Some(5)), (2, None), (3, Some(9)), (4, Some(7)), (5, Some(6))];
        results.apply(&batch(&rows)).expect("fits");
        assert_eq!(results.forget_beyond("at", 4).expect("a column"), 0, "a quarter is let be");
        results.apply(&batch(&[(6, Some(8))])).expect("fits");
        assert_eq!(results.forget_beyond("at", 4).expect("a column"), 2);
        results.publish();
        let kept = [(3, Some(9)), (4, Some(7)), (5, Some(6)), (6, Some(8))];
        assert_eq!(results.read().expect("reads"), batch(&kept));
    }

    #[test]
    fn the_newest_rows_of_each_key_stay() {
        let schema = Schema::new(vec![
            Field::new("k", DataType::Utf8, false),
            Field::new("at", timestamp_type(), false),
        ]);
        let key = ["k".to_owned(), "at".to_owned()];
        let results = Results::new(Arc::new(schema), &key).expect("key exists");
        let apply = |key: &str, times: std::ops::Range<i64>| {
            let keys: StringArray = times.clone().map(|_| Some(key)).collect();
            let times: TimestampMicrosecondArray = times.map(Some).collect();
            let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times.with_timezone("UTC"))];
            let rows = RecordBatch::try_new(results.schema(), columns).expect("columns fit");
            results.apply(&rows).expect("applies");
        };
        let keep = || results.keep_newest("at", &["k".to_owned()], 10).expect("forgets");
        apply("rare", 0..4);
        apply("busy", 0..1_000);
        assert_eq!(keep(), 0, "too few to be worth it");
        apply("busy", 1_000..2_000);
        assert_eq!(keep(), 1_990);
        results.publish();
        let left = results.read().expect("reads");
        let times = left.column(1).as_primitive::<TimestampMicrosecondType>();
        let expected: Vec<i64> = (0..4).chain(1_990..2_000).collect();
        assert_eq!(times.values().to_vec(), expected);
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

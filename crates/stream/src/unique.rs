//! `unique`: a row that repeats an id is dropped (S16).
//!
//! An id is remembered by `_received_at` for `within` at least and an eighth of it longer at most,
//! however rows are cut into epochs: time is cut into eighths, and they are forgotten one by one. So
//! what is dropped is a function of the rows alone, and a replay drops the same (S11). A NULL in an id
//! equals nothing.
//!
//! The last whole number of an id is kept as ranges, since feeds count their records: without gaps a
//! day of trades takes a few dozen bytes for each symbol. Other ids take their own length. Beyond
//! [`BYTES_MAX`] the oldest are forgotten early.
//!
//! In a checkpoint it is the batch [`NAME`]: `eighth bigint, key binary, first bigint, last bigint`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, Int64Builder,
    RecordBatch,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use thalweg_core::ledger::SourceLedger;
use thalweg_core::schema::meta;
use thalweg_core::time::micros;
use thalweg_core::{Error, Result};

use crate::operators::expressions::engine_error;

/// Name of its batch among the results of a checkpoint; no result has a name like it.
pub const NAME: &str = "_unique";

/// Parts that `within` is cut into.
const EIGHTHS: i64 = 8;
/// Most that is remembered.
const BYTES_MAX: usize = 64 << 20;
/// What a key and a range take beside the key's bytes.
const KEY_BYTES: usize = 96;
const RANGE_BYTES: usize = 32;

/// Remembers the ids of one source's rows, and drops those that come again.
pub struct Unique {
    // Columns of the key, in order.
    columns: Vec<usize>,
    // The column that is kept as ranges.
    number: Option<usize>,
    received_at: usize,
    eighth_micros: i64,
    // Oldest first.
    eighths: VecDeque<Eighth>,
    bytes: usize,
    key: Vec<u8>,
}

/// The ids received in an eighth of `within`.
struct Eighth {
    number: i64,
    seen: HashMap<Box<[u8]>, Ranges>,
    bytes: usize,
}

/// Whole numbers: first to last of each run of them.
#[derive(Default)]
struct Ranges(BTreeMap<i64, i64>);

/// Rows that repeat none, and how many did.
pub struct Fresh {
    /// The rows.
    pub rows: RecordBatch,
    /// Rows that were dropped.
    pub duplicates: u64,
}

impl Fresh {
    /// The counts of the source with those of its repeats.
    pub fn count(&self, taken: &SourceLedger) -> SourceLedger {
        SourceLedger {
            rows_valid: self.rows.num_rows() as u64,
            rows_duplicate: self.duplicates,
            ..*taken
        }
    }
}

impl Unique {
    /// Remembers the values of `columns` of rows of `schema`.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such column.
    pub fn new(schema: &Schema, columns: &[String], within: Duration) -> Result<Self> {
        let index = |name: &str| {
            let index = schema.index_of(name);
            index.map_err(|_| Error::invalid(format!("`unique` names no column: `{name}`")))
        };
        let mut columns: Vec<usize> =
            columns.iter().map(|name| index(name)).collect::<Result<_>>()?;
        let is_whole = |column: &usize| {
            matches!(schema.field(*column).data_type(), DataType::Int32 | DataType::Int64)
        };
        let number = columns.iter().rposition(is_whole).map(|at| columns.remove(at));
        Ok(Self {
            columns,
            number,
            received_at: index(meta::RECEIVED_AT)?,
            eighth_micros: (micros(within) / EIGHTHS).max(1),
            eighths: VecDeque::new(),
            bytes: 0,
            key: Vec::new(),
        })
    }

    /// The rows that repeat none of those before them, which they are remembered with.
    pub fn keep(&mut self, rows: &RecordBatch) -> Result<Fresh> {
        let received = rows.column(self.received_at).as_primitive::<TimestampMicrosecondType>();
        let keys = Keys::new(rows, &self.columns)?;
        let numbers = self.number.map(|column| Numbers::new(rows.column(column)));
        let mut fresh = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let number = numbers.as_ref().map_or(Some(0), |numbers| numbers.value(row));
            let is_fresh = match number {
                Some(number) if keys.write(row, &mut self.key)? => {
                    self.remember(number, received.value(row))
                }
                _ => true,
            };
            fresh.push(is_fresh);
        }
        let fresh = BooleanArray::from(fresh);
        let duplicates = (fresh.len() - fresh.true_count()) as u64;
        let rows = match duplicates {
            0 => rows.clone(),
            _ => filter_record_batch(rows, &fresh).map_err(engine_error)?,
        };
        Ok(Fresh { rows, duplicates })
    }

    /// Bytes that are held, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it remembers, for a checkpoint.
    ///
    /// # Errors
    ///
    /// `Internal` when Arrow cannot hold it.
    pub fn snapshot(&self) -> Result<RecordBatch> {
        let (mut eighths, mut firsts, mut lasts) =
            (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
        let mut keys = BinaryBuilder::new();
        for eighth in &self.eighths {
            // In an order of their own: a checkpoint of the same rows has the same bytes.
            let seen: BTreeMap<&[u8], &Ranges> =
                eighth.seen.iter().map(|(key, ranges)| (&**key, ranges)).collect();
            for (key, ranges) in seen {
                for (first, last) in &ranges.0 {
                    eighths.append_value(eighth.number);
                    keys.append_value(key);
                    firsts.append_value(*first);
                    lasts.append_value(*last);
                }
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(eighths.finish()),
            Arc::new(keys.finish()),
            Arc::new(firsts.finish()),
            Arc::new(lasts.finish()),
        ];
        RecordBatch::try_new(snapshot_schema(), columns).map_err(engine_error)
    }

    /// Takes back what a checkpoint holds; nothing: it begins anew.
    ///
    /// # Errors
    ///
    /// `Internal` when that is no snapshot.
    pub fn restore(&mut self, snapshot: Option<&RecordBatch>) -> Result<()> {
        self.eighths.clear();
        self.bytes = 0;
        let Some(snapshot) = snapshot else { return Ok(()) };
        if snapshot.schema() != snapshot_schema() {
            return Err(Error::internal("what `unique` remembers is damaged"));
        }
        let number = |column: usize| -> &Int64Array { snapshot.column(column).as_primitive() };
        let (eighths, firsts, lasts) = (number(0), number(2), number(3));
        let keys: &BinaryArray = snapshot.column(1).as_binary();
        for row in 0..snapshot.num_rows() {
            let eighth = self.eighth(eighths.value(row));
            let ranges = eighth.ranges(keys.value(row));
            ranges.0.insert(firsts.value(row), lasts.value(row));
            eighth.bytes += RANGE_BYTES;
        }
        self.bytes = self.eighths.iter().map(|eighth| eighth.bytes).sum();
        Ok(())
    }

    /// Remembers the key in hand with this number; `false`: it is remembered already.
    fn remember(&mut self, number: i64, received_at: i64) -> bool {
        let now = received_at.div_euclid(self.eighth_micros);
        while self.eighths.front().is_some_and(|oldest| oldest.number < now - EIGHTHS) {
            self.forget_oldest();
        }
        let key = std::mem::take(&mut self.key);
        let is_known = self
            .eighths
            .iter()
            .any(|eighth| eighth.seen.get(&*key).is_some_and(|ranges| ranges.contains(number)));
        if !is_known {
            let eighth = self.eighth(now);
            let before = eighth.bytes;
            let ranges = eighth.ranges(&key);
            let ranges_before = ranges.0.len();
            ranges.add(number);
            let ranges_after = ranges.0.len();
            eighth.bytes += ranges_after * RANGE_BYTES;
            eighth.bytes -= (ranges_before * RANGE_BYTES).min(eighth.bytes);
            let after = eighth.bytes;
            self.bytes = self.bytes + after - before;
            while self.bytes > BYTES_MAX {
                self.forget_oldest();
            }
        }
        self.key = key;
        !is_known
    }

    /// The eighth of this number, or the newest where time has gone back.
    fn eighth(&mut self, number: i64) -> &mut Eighth {
        if self.eighths.back().is_none_or(|newest| newest.number < number) {
            self.eighths.push_back(Eighth { number, seen: HashMap::new(), bytes: 0 });
        }
        let newest = self.eighths.len() - 1;
        &mut self.eighths[newest]
    }

    fn forget_oldest(&mut self) {
        let bytes = self.eighths.pop_front().map_or(self.bytes, |oldest| oldest.bytes);
        self.bytes -= bytes;
    }
}

fn snapshot_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("eighth", DataType::Int64, false),
        Field::new("key", DataType::Binary, false),
        Field::new("first", DataType::Int64, false),
        Field::new("last", DataType::Int64, false),
    ]))
}

impl Eighth {
    fn ranges(&mut self, key: &[u8]) -> &mut Ranges {
        if !self.seen.contains_key(key) {
            self.bytes += key.len() + KEY_BYTES;
            self.seen.insert(key.into(), Ranges::default());
        }
        self.seen.get_mut(key).expect("it is there by now")
    }
}

impl Ranges {
    fn contains(&self, number: i64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// Adds a number that is not in it.
    fn add(&mut self, number: i64) {
        let next = number.checked_add(1).and_then(|next| self.0.remove(&next));
        let last = next.unwrap_or(number);
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if before.checked_add(1) == Some(number) => *before = last,
            _ => {
                self.0.insert(number, last);
            }
        }
    }
}

/// The whole numbers of a column.
enum Numbers<'a> {
    Int(&'a arrow::array::Int32Array),
    Bigint(&'a Int64Array),
}

impl<'a> Numbers<'a> {
    fn new(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Int32 => Self::Int(column.as_primitive::<Int32Type>()),
            _ => Self::Bigint(column.as_primitive::<Int64Type>()),
        }
    }

    /// None: NULL.
    fn value(&self, row: usize) -> Option<i64> {
        match self {
            Self::Int(column) => column.is_valid(row).then(|| column.value(row).into()),
            Self::Bigint(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

/// The other columns of ids, as text.
struct Keys<'a> {
    columns: Vec<(&'a ArrayRef, ArrayFormatter<'a>)>,
}

impl<'a> Keys<'a> {
    fn new(rows: &'a RecordBatch, columns: &[usize]) -> Result<Self> {
        let options = FormatOptions::default();
        let column = |column: &usize| {
            let column = rows.column(*column);
            Ok((column, ArrayFormatter::try_new(column, &options).map_err(engine_error)?))
        };
        Ok(Self { columns: columns.iter().map(column).collect::<Result<_>>()? })
    }

    /// Writes the key of a row; `false`: a NULL is in it.
    fn write(&self, row: usize, key: &mut Vec<u8>) -> Result<bool> {
        key.clear();
        let mut text = String::new();
        for (column, formatter) in &self.columns {
            if column.is_null(row) {
                return Ok(false);
            }
            text.clear();
            write!(text, "{}", formatter.value(row)).map_err(engine_error)?;
            // Its length first: no two lists of texts are the same bytes.
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;

//! Rows between `write` and `commit`: the last row per key, and chunks of bounded size.
//!
//! Rows stay in the batches they came in; only a chunk is copied, while it is sent. How they got
//! the table's columns is in [`super::layout`].

use std::collections::HashSet;
use std::iter::Peekable;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use thalweg_core::{Error, Result};

/// Most rows of one chunk.
const CHUNK_ROWS_MAX: usize = 10_000;
/// Bytes of text and binary values after which a chunk takes no further row.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// A row: number of its batch, and of the row in it.
pub(super) type Position = (usize, usize);

pub(super) fn misshapen(error: ArrowError) -> Error {
    Error::internal("rows could not be staged for a database").with_source(error)
}

/// Rows of the table, in arrival order.
pub(super) struct Staged {
    /// In the Arrow types of [`Kind::staged`].
    pub(super) rows: RecordBatch,
    /// Which rows delete their key; none when no row can.
    pub(super) deletes: Option<BooleanArray>,
}

/// What is left of staged rows when only the last of each key counts, in arrival order.
pub(super) struct LastPerKey {
    pub(super) puts: Vec<Position>,
    pub(super) deletes: Vec<Position>,
    /// Rows replaced by a later one.
    pub(super) superseded: u64,
}

impl LastPerKey {
    /// `key` are the numbers of the key's columns.
    pub(super) fn of(staged: &[Staged], key: &[usize]) -> Result<Self> {
        let keys = keys(staged, key).map_err(misshapen)?;
        let mut last = Self { puts: Vec::new(), deletes: Vec::new(), superseded: 0 };
        let mut seen = HashSet::new();
        for (batch, (rows, keys)) in staged.iter().zip(&keys).enumerate().rev() {
            for row in (0..keys.num_rows()).rev() {
                if !seen.insert(keys.row(row)) {
                    last.superseded += 1;
                } else if rows.deletes.as_ref().is_some_and(|deletes| deletes.value(row)) {
                    last.deletes.push((batch, row));
                } else {
                    last.puts.push((batch, row));
                }
            }
        }
        last.puts.reverse();
        last.deletes.reverse();
        Ok(last)
    }
}

/// The keys of staged rows, as bytes that are equal where a server takes the keys for equal.
fn keys(staged: &[Staged], key: &[usize]) -> Result<Vec<Rows>, ArrowError> {
    let Some(first) = staged.first() else { return Ok(Vec::new()) };
    let fields = key.iter().map(|number| first.rows.column(*number).data_type().clone());
    let converter = RowConverter::new(fields.map(SortField::new).collect())?;
    let columns = |staged: &Staged| -> Vec<ArrayRef> {
        key.iter().map(|number| one_zero(staged.rows.column(*number))).collect()
    };
    staged.iter().map(|staged| converter.convert_columns(&columns(staged))).collect()
}

/// Servers know one zero and at most one NaN; Arrow's rows know several.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| {
                if value.is_nan() { f32::NAN } else { value + 0.0 }
            }))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| {
                if value.is_nan() { f64::NAN } else { value + 0.0 }
            }))
        }
        _ => Arc::clone(column),
    }
}

/// Positions of all rows, in order.
pub(super) fn positions(batches: &[RecordBatch]) -> impl Iterator<Item = Position> {
    let rows = batches.iter().map(RecordBatch::num_rows).enumerate();
    rows.flat_map(|(batch, rows)| (0..rows).map(move |row| (batch, row)))
}

/// Cuts the rows at some positions into batches of bounded size, none empty.
pub(super) struct Chunks<'a, I: Iterator<Item = Position>> {
    batches: Vec<&'a RecordBatch>,
    /// Per batch, the offsets of its columns of text and bytes.
    offsets: Vec<Vec<&'a [i32]>>,
    positions: Peekable<I>,
}

impl<'a, I: Iterator<Item = Position>> Chunks<'a, I> {
    pub(super) fn new(batches: &'a [RecordBatch], positions: I) -> Self {
        let offsets =
            |batch: &'a RecordBatch| batch.columns().iter().filter_map(value_offsets).collect();
        Self {
            batches: batches.iter().collect(),
            offsets: batches.iter().map(offsets).collect(),
            positions: positions.peekable(),
        }
    }
}

impl<I: Iterator<Item = Position>> Iterator for Chunks<'_, I> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.positions.peek()?;
        let mut bytes = 0;
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_ROWS_MAX && bytes < CHUNK_BYTES {
            let Some((batch, row)) = self.positions.next() else { break };
            let lengths = self.offsets[batch].iter().map(|offsets| offsets[row + 1] - offsets[row]);
            bytes += lengths.map(|length| length.unsigned_abs() as usize).sum::<usize>();
            chunk.push((batch, row));
        }
        Some(interleave_record_batch(&self.batches, &chunk).map_err(misshapen))
    }
}

fn value_offsets(column: &ArrayRef) -> Option<&[i32]> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value_offsets()),
        DataType::Binary => Some(column.as_binary::<i32>().value_offsets()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

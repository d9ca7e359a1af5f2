//! Rows between `write` and `commit`: from the pipeline's columns to the table's, the last row per
//! key, and chunks of bounded size.
//!
//! Rows stay in the batches they came in; only a chunk is copied, while it is sent.

use std::collections::HashSet;
use std::iter::Peekable;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use thalweg_core::sink::Epoch;
use thalweg_core::{Error, Result, problem};

use super::kind::Kind;
use super::target::{TargetColumn, name_problem};
use super::{EPOCH, Mode, OPERATION, OPERATION_DELETE, OPERATION_INSERT};

/// Most rows of one statement.
const CHUNK_ROWS_MAX: usize = 10_000;
/// Bytes of text and binary values after which a chunk takes no further row.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// A row: number of its batch, and of the row in it.
pub(super) type Position = (usize, usize);

/// How rows of the pipeline become rows of the table.
pub(super) struct Layout {
    input: SchemaRef,
    /// The table's columns, in order.
    pub(super) columns: Vec<TargetColumn>,
    /// Where the value of each column comes from.
    origins: Vec<Origin>,
    staged: SchemaRef,
    /// Numbers of the key's columns; none without a key.
    pub(super) key: Vec<usize>,
    /// Number of the input column that says which rows delete.
    operation: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Input(usize),
    Insert,
    Epoch,
}

impl Layout {
    /// Lays out rows of `input`; the error lists everything that stands against it.
    pub(super) fn new(input: SchemaRef, mode: &Mode) -> Result<Self> {
        let mut problems = Vec::new();
        let mut columns = Vec::new();
        let mut origins = Vec::new();
        let mut operation = None;
        for (number, field) in input.fields().iter().enumerate() {
            let name = field.name();
            if name == OPERATION {
                match mode {
                    Mode::Append => problems.push(format!(
                        "rows that may be revised or deleted (`{OPERATION}`) cannot be appended: \
                         use mode upsert or changelog"
                    )),
                    Mode::Upsert { .. } => {
                        operation = Some(number);
                        continue;
                    }
                    Mode::Changelog => {}
                }
            }
            if let Some(problem) = name_problem(name) {
                problems.push(format!("column name `{name}` {problem}"));
            }
            match Kind::of(field) {
                Some(kind) => {
                    columns.push(column(name, kind, field.is_nullable()));
                    origins.push(Origin::Input(number));
                }
                None => problems.push(format!(
                    "column `{name}`: PostgreSQL has no type for {}: cast it to text",
                    field.data_type()
                )),
            }
        }
        if *mode == Mode::Changelog {
            for (name, kind, origin) in
                [(OPERATION, Kind::Text, Origin::Insert), (EPOCH, Kind::Bigint, Origin::Epoch)]
            {
                if input.field_with_name(name).is_err() {
                    columns.push(column(name, kind, false));
                    origins.push(origin);
                }
            }
        }
        let mut seen = HashSet::new();
        for column in columns.iter().filter(|column| !seen.insert(&column.name)) {
            problems.push(format!("two columns are called `{}`", column.name));
        }
        let key = key_columns(mode, &columns, &mut problems);

        if !problems.is_empty() {
            return Err(Error::invalid("the rows do not fit PostgreSQL")
                .with_detail(format!("{}.", problems.join("; "))));
        }
        let staged = columns.iter().map(|c| Field::new(&c.name, c.kind.staged(), true));
        let staged = Arc::new(Schema::new(staged.collect::<Vec<_>>()));
        Ok(Self { input, columns, origins, staged, key, operation })
    }

    /// Turns rows of an epoch into rows of the table. Also returns how many values were changed
    /// because PostgreSQL has no place for them.
    pub(super) fn stage(&self, epoch: Epoch, rows: &RecordBatch) -> Result<(Staged, usize)> {
        let names = |schema: &SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        if rows.schema_ref() != &self.input && names(rows.schema_ref()) != names(&self.input) {
            return Err(Error::internal("rows have other columns than the sink was made for"));
        }
        let mut changed = 0;
        let mut staged = Vec::with_capacity(self.columns.len());
        for (column, origin) in self.columns.iter().zip(&self.origins) {
            staged.push(match *origin {
                Origin::Input(number) => {
                    let (values, count) =
                        column.kind.stage(rows.column(number)).map_err(|error| {
                            Error::invalid(format!("column `{}` cannot be written", column.name))
                                .with_source(error)
                        })?;
                    changed += count;
                    values
                }
                Origin::Insert => {
                    let inserts = std::iter::repeat_n(Some(OPERATION_INSERT), rows.num_rows());
                    Arc::new(inserts.collect::<StringArray>()) as ArrayRef
                }
                Origin::Epoch => {
                    let epoch = i64::try_from(epoch)
                        .map_err(|_| Error::internal(format!("epoch {epoch} is too large")))?;
                    Arc::new(Int64Array::from_value(epoch, rows.num_rows()))
                }
            });
        }
        for (number, column) in self.key.iter().map(|number| (*number, &self.columns[*number])) {
            if staged[number].null_count() > 0 {
                return Err(Error::invalid(format!(
                    "a row has no `{}`, which is part of its key",
                    column.name
                ))
                .with_hint(format!(
                    "Leave such rows out in the stream: WHERE {} IS NOT NULL.",
                    column.name
                )));
            }
        }
        let deletes = match self.operation {
            Some(number) => {
                let (operations, _) = Kind::Text.stage(rows.column(number)).map_err(misshapen)?;
                let operations = operations.as_string::<i32>();
                Some(operations.iter().map(|name| Some(name == Some(OPERATION_DELETE))).collect())
            }
            None => None,
        };
        let rows = RecordBatch::try_new(Arc::clone(&self.staged), staged).map_err(misshapen)?;
        Ok((Staged { rows, deletes }, changed))
    }
}

fn column(name: &str, kind: Kind, nullable: bool) -> TargetColumn {
    TargetColumn { name: name.to_owned(), kind, nullable }
}

/// Finds the columns of an upsert's key.
fn key_columns(mode: &Mode, columns: &[TargetColumn], problems: &mut Vec<String>) -> Vec<usize> {
    let Mode::Upsert { key } = mode else { return Vec::new() };
    if key.is_empty() {
        problems.push("mode upsert needs a key".to_owned());
    }
    let mut numbers = Vec::with_capacity(key.len());
    for name in key {
        match columns.iter().position(|column| column.name == *name) {
            None => {
                let names = columns.iter().map(|column| column.name.as_str());
                let meant = problem::nearest(name, names);
                let meant = meant.map(|name| format!(", did you mean `{name}`?"));
                problems.push(format!("no key column `{name}`{}", meant.unwrap_or_default()));
            }
            Some(number) if numbers.contains(&number) => {
                problems.push(format!("key column `{name}` is given twice"));
            }
            Some(number) if !columns[number].kind.is_key() => {
                problems.push(format!("column `{name}` is json and cannot be a key"));
            }
            Some(number) => numbers.push(number),
        }
    }
    numbers
}

fn misshapen(error: ArrowError) -> Error {
    Error::internal("rows could not be staged for PostgreSQL").with_source(error)
}

/// Rows of the table, in arrival order.
pub(super) struct Staged {
    /// In the Arrow types of [`Kind::staged`].
    pub(super) rows: RecordBatch,
    /// Which rows delete their key; none when no row can.
    deletes: Option<BooleanArray>,
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

/// The keys of staged rows, as bytes that are equal where PostgreSQL takes the keys for equal.
fn keys(staged: &[Staged], key: &[usize]) -> Result<Vec<Rows>, ArrowError> {
    let Some(first) = staged.first() else { return Ok(Vec::new()) };
    let fields = key.iter().map(|number| first.rows.column(*number).data_type().clone());
    let converter = RowConverter::new(fields.map(SortField::new).collect())?;
    let columns = |staged: &Staged| -> Vec<ArrayRef> {
        key.iter().map(|number| one_zero(staged.rows.column(*number))).collect()
    };
    staged.iter().map(|staged| converter.convert_columns(&columns(staged))).collect()
}

/// PostgreSQL knows one zero and one NaN; Arrow's rows know several.
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

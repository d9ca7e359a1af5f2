//! Column buffers that a decoder fills, row by row.
//!
//! Invariants: between rows every column of a row holds as many values as there are rows (columns
//! that JSON takes from the frame as a whole catch up at the end of the frame). A row or a frame
//! that turns out bad is taken back by truncation, so decoding can begin before the verdict is in.
//!
//! The memory of a batch goes to the batch; only its size is remembered, as the next one's estimate.
//!
//! Not here: how a value is read from text (`text`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array,
    Float32Array, Float64Array, Int32Array, Int64Array, NullBufferBuilder, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use thalweg_core::decode::Reject;
use thalweg_core::frame::{FRAME_BYTES_MAX, FrameSpan};
use thalweg_core::schema::{Column, ColumnType, meta, source_schema};
use thalweg_core::{Error, Result};

/// Most rows one frame may hold (S30).
pub(super) const FRAME_ROWS_MAX: u32 = 1_000_000;

/// Longest value that a reason repeats, in bytes.
pub(super) const SHOWN_MAX: usize = 60;

/// Why a frame of this length is refused; none when it is not (S30).
pub(super) fn too_long(bytes: &[u8]) -> Option<String> {
    let length = bytes.len();
    (length > FRAME_BYTES_MAX)
        .then(|| format!("{length} bytes, and a frame has {FRAME_BYTES_MAX} at most"))
}

/// Rows of one batch, and what was refused on the way.
pub(super) struct Rows {
    schema: SchemaRef,
    columns: Vec<ColumnBuffer>,
    offsets: Vec<i64>,
    numbers: Vec<i32>,
    received: Vec<i64>,
    rejects: Vec<Reject>,
    frame: Frame,
    rows_expected: usize,
}

/// The frame being decoded.
#[derive(Clone, Copy, Default)]
struct Frame {
    index: usize,
    offset: i64,
    received_at: i64,
    next_row: u32,
}

/// A state to come back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    rows: usize,
    rejects: usize,
    next_row: u32,
}

impl Rows {
    /// # Errors
    ///
    /// `Invalid` when two columns share a name, or one takes a name of [`meta::ALL`].
    pub(super) fn new(columns: &[Column]) -> Result<Self> {
        let mut names: HashSet<&str> = meta::ALL.into_iter().collect();
        if let Some(twice) = columns.iter().find(|column| !names.insert(&column.name)) {
            return Err(Error::invalid(format!("the column name `{}` is taken", twice.name)));
        }
        Ok(Self {
            schema: source_schema(columns),
            columns: columns.iter().cloned().map(ColumnBuffer::new).collect(),
            offsets: Vec::new(),
            numbers: Vec::new(),
            received: Vec::new(),
            rejects: Vec::new(),
            frame: Frame::default(),
            rows_expected: 0,
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn columns(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn declared(&self, index: usize) -> &Column {
        &self.columns[index].column
    }

    #[inline]
    pub(super) fn column(&mut self, index: usize) -> &mut ColumnBuffer {
        &mut self.columns[index]
    }

    /// Rows accepted so far in this batch.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Number the next row of the frame gets.
    #[inline]
    pub(super) fn next_row(&self) -> u32 {
        self.frame.next_row
    }

    /// Begins a frame and returns the state before it.
    pub(super) fn begin_frame(&mut self, index: usize, span: &FrameSpan) -> Mark {
        self.frame =
            Frame { index, offset: span.offset, received_at: span.received_at.0, next_row: 0 };
        self.mark()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { rows: self.len(), rejects: self.rejects.len(), next_row: self.frame.next_row }
    }

    /// Takes back every row and reject since `mark`.
    pub(super) fn rollback(&mut self, mark: Mark) {
        self.offsets.truncate(mark.rows);
        self.numbers.truncate(mark.rows);
        self.received.truncate(mark.rows);
        self.rejects.truncate(mark.rejects);
        self.frame.next_row = mark.next_row;
        self.undo_row();
    }

    /// Takes back the values of a row that was begun.
    pub(super) fn undo_row(&mut self) {
        let rows = self.len();
        for column in &mut self.columns {
            column.truncate(rows);
        }
    }

    /// Ends a row whose values have all been pushed.
    #[inline]
    pub(super) fn accept_row(&mut self) {
        self.offsets.push(self.frame.offset);
        self.numbers.push(self.frame.next_row.cast_signed());
        self.received.push(self.frame.received_at);
        self.frame.next_row += 1;
    }

    /// Ends a row that did not decode.
    pub(super) fn reject_row(&mut self, reason: String) {
        self.undo_row();
        self.push_reject(Some(self.frame.next_row), reason, None);
        self.frame.next_row += 1;
    }

    /// Ends a row that did not decode, with what the frame says of it alone.
    pub(super) fn reject_row_saying(&mut self, reason: String, excerpt: String) {
        self.undo_row();
        self.push_reject(Some(self.frame.next_row), reason, Some(excerpt.into()));
        self.frame.next_row += 1;
    }

    /// Refuses the frame as a whole.
    pub(super) fn reject_frame(&mut self, before: Mark, reason: String) {
        self.rollback(before);
        self.push_reject(None, reason, None);
    }

    fn push_reject(&mut self, row: Option<u32>, reason: String, excerpt: Option<Bytes>) {
        let Frame { index, offset, .. } = self.frame;
        self.rejects.push(Reject { frame: index, offset, row, reason, excerpt });
    }

    /// Begins a batch: drops what a batch that failed has left, and makes room for about as many
    /// rows as the last one had.
    pub(super) fn begin(&mut self) {
        self.rollback(Mark { rows: 0, rejects: 0, next_row: 0 });
        let rows = self.rows_expected;
        self.offsets.reserve(rows);
        self.numbers.reserve(rows);
        self.received.reserve(rows);
        for column in &mut self.columns {
            column.reserve(rows);
        }
    }

    /// The batch and the rejects; leaves the buffers empty.
    pub(super) fn finish(&mut self, partition: u32) -> Result<(RecordBatch, Vec<Reject>)> {
        let rows = self.len();
        self.rows_expected = rows;
        let partition = i32::try_from(partition)
            .map_err(|_| Error::internal(format!("partition {partition} is out of range")))?;
        let mut arrays = Vec::with_capacity(self.columns.len() + meta::ALL.len());
        for column in &mut self.columns {
            arrays.push(column.finish().map_err(broken)?);
        }
        let received = std::mem::take(&mut self.received);
        arrays.push(Arc::new(Int32Array::from_value(partition, rows)));
        arrays.push(Arc::new(Int64Array::from(std::mem::take(&mut self.offsets))));
        arrays.push(Arc::new(Int32Array::from(std::mem::take(&mut self.numbers))));
        arrays.push(Arc::new(TimestampMicrosecondArray::from(received).with_timezone("UTC")));
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(broken)?;
        Ok((batch, std::mem::take(&mut self.rejects)))
    }
}

fn broken(error: ArrowError) -> Error {
    Error::internal("decoded columns do not make a batch").with_source(error)
}

/// One value, ready for a column of its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Boolean(bool),
    /// `int`, and `date` as days.
    Int(i32),
    /// `bigint`, and `timestamp` as microseconds.
    Bigint(i64),
    Real(f32),
    Double(f64),
    Decimal(i128),
    /// `text`, `json` and `bytes`.
    Bytes(Cow<'a, [u8]>),
}

/// Why a value did not get into its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It is not written as the type is.
    Kind,
    /// It is out of the type's range, or would have to be rounded.
    Range,
    /// NaN or infinite in a column without `allow_nan`.
    NotFinite,
    /// Null in a column that is `not null`.
    Null,
    /// The batch's texts would pass Arrow's 2 GiB.
    Full,
}

/// One column of the batch under construction.
pub(super) struct ColumnBuffer {
    column: Column,
    values: Values,
    nulls: NullBufferBuilder,
    bytes_expected: usize,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Bigint(Vec<i64>),
    Real(Vec<f32>),
    Double(Vec<f64>),
    Decimal(Vec<i128>),
    /// `ends` begins with 0 and has one entry more than there are values.
    Bytes {
        ends: Vec<i32>,
        data: Vec<u8>,
    },
}

impl ColumnBuffer {
    pub(super) fn new(column: Column) -> Self {
        let values = match column.kind {
            ColumnType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            ColumnType::Int | ColumnType::Date => Values::Int(Vec::new()),
            ColumnType::Bigint | ColumnType::Timestamp => Values::Bigint(Vec::new()),
            ColumnType::Real => Values::Real(Vec::new()),
            ColumnType::Double => Values::Double(Vec::new()),
            ColumnType::Decimal(..) => Values::Decimal(Vec::new()),
            ColumnType::Text | ColumnType::Json | ColumnType::Bytes => {
                Values::Bytes { ends: vec![0], data: Vec::new() }
            }
        };
        Self { column, values, nulls: NullBufferBuilder::new(0), bytes_expected: 0 }
    }

    #[inline]
    pub(super) fn column(&self) -> &Column {
        &self.column
    }

    /// Appends a value of the column's own type.
    ///
    /// # Errors
    ///
    /// Only `Full`.
    #[inline]
    pub(super) fn push(&mut self, value: Value<'_>) -> Result<(), Mismatch> {
        match (&mut self.values, value) {
            (Values::Boolean(values), Value::Boolean(value)) => values.append(value),
            (Values::Int(values), Value::Int(value)) => values.push(value),
            (Values::Bigint(values), Value::Bigint(value)) => values.push(value),
            (Values::Real(values), Value::Real(value)) => values.push(value),
            (Values::Double(values), Value::Double(value)) => values.push(value),
            (Values::Decimal(values), Value::Decimal(value)) => values.push(value),
            (Values::Bytes { .. }, Value::Bytes(value)) => return self.push_bytes(&value),
            (_, value) => unreachable!("{value:?} was read for column `{}`", self.column.name),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends the bytes of a `text`, `json` or `bytes` value.
    #[inline]
    pub(super) fn push_bytes(&mut self, value: &[u8]) -> Result<(), Mismatch> {
        let Values::Bytes { ends, data } = &mut self.values else {
            unreachable!("bytes were read for column `{}`", self.column.name)
        };
        let end = i32::try_from(data.len() + value.len()).map_err(|_| Mismatch::Full)?;
        data.extend_from_slice(value);
        ends.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends NULL, if the column takes it.
    pub(super) fn push_null(&mut self) -> Result<(), Mismatch> {
        if !self.column.nullable {
            return Err(Mismatch::Null);
        }
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Bigint(values) => values.push(0),
            Values::Real(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Bytes { ends, .. } => ends.push(ends.last().copied().unwrap_or_default()),
        }
        self.nulls.append_null();
        Ok(())
    }

    /// Why the value written as `found` did not get in, for a person.
    pub(super) fn reason(&self, mismatch: Mismatch, found: &str) -> String {
        reason(&self.column, mismatch, found)
    }

    fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) => values.truncate(rows),
            Values::Bigint(values) => values.truncate(rows),
            Values::Real(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Bytes { ends, data } => {
                ends.truncate(rows + 1);
                data.truncate(ends.last().map_or(0, |end| end.cast_unsigned() as usize));
            }
        }
        self.nulls.truncate(rows);
    }

    fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.reserve(rows),
            Values::Int(values) => values.reserve(rows),
            Values::Bigint(values) => values.reserve(rows),
            Values::Real(values) => values.reserve(rows),
            Values::Double(values) => values.reserve(rows),
            Values::Decimal(values) => values.reserve(rows),
            Values::Bytes { ends, data } => {
                ends.reserve(rows);
                data.reserve(self.bytes_expected);
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                match self.column.kind {
                    ColumnType::Date => Arc::new(Date32Array::new(values, nulls)),
                    _ => Arc::new(Int32Array::new(values, nulls)),
                }
            }
            Values::Bigint(values) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                match self.column.kind {
                    ColumnType::Timestamp => {
                        Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
                    }
                    _ => Arc::new(Int64Array::new(values, nulls)),
                }
            }
            Values::Real(values) => {
                Arc::new(Float32Array::new(std::mem::take(values).into(), nulls))
            }
            Values::Double(values) => {
                Arc::new(Float64Array::new(std::mem::take(values).into(), nulls))
            }
            Values::Decimal(values) => {
                let array = Decimal128Array::new(std::mem::take(values).into(), nulls);
                match self.column.kind {
                    ColumnType::Decimal(precision, scale) => {
                        Arc::new(array.with_precision_and_scale(precision, scale)?)
                    }
                    _ => Arc::new(array),
                }
            }
            Values::Bytes { ends, data } => {
                self.bytes_expected = data.len();
                let ends = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                let data = Buffer::from_vec(std::mem::take(data));
                match self.column.kind {
                    ColumnType::Bytes => Arc::new(BinaryArray::try_new(ends, data, nulls)?),
                    _ => Arc::new(StringArray::try_new(ends, data, nulls)?),
                }
            }
        })
    }
}

/// Why the value written as `found` did not get into `column`, for a person.
pub(super) fn reason(column: &Column, mismatch: Mismatch, found: &str) -> String {
    let Column { name, kind, .. } = column;
    match mismatch {
        Mismatch::Kind => format!("{name}: expected {}, found {found}", expected(*kind)),
        Mismatch::Range => format!("{name}: {found} does not fit {kind}"),
        Mismatch::NotFinite => format!("{name}: {found} is not a finite number"),
        Mismatch::Null => format!("{name}: null in a column that is not null"),
        Mismatch::Full => format!("{name}: the batch holds 2 GiB of this column"),
    }
}

/// What a value of a type looks like, for messages.
fn expected(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "a string",
        ColumnType::Boolean => "true or false",
        ColumnType::Int | ColumnType::Bigint => "a whole number",
        ColumnType::Real | ColumnType::Double | ColumnType::Decimal(..) => "a number",
        ColumnType::Date => "a date such as 2023-12-22",
        ColumnType::Timestamp => "a time such as 2023-12-22T15:24:04Z, or a number",
        ColumnType::Json => "JSON",
        ColumnType::Bytes => "base64",
    }
}

//! Rows that come as columns (Parquet, Avro) to rows of the declared types.
//!
//! A column is found by its name (`select`, or its own), within structures by `a.b`. What is not
//! declared is left alone; what a file lacks is NULL, or refuses each row where the column is `not
//! null`; what has none of the columns is the wrong file, or message (S16).
//!
//! # What each type accepts
//!
//! | declared | carried |
//! |---|---|
//! | `text` | text; bytes that are UTF-8; times of day, intervals and durations as they are written |
//! | `boolean` | boolean |
//! | `int`, `bigint` | whole numbers, floats and decimals without a fraction, in range |
//! | `real`, `double` | whole numbers that a float holds exactly, floats, decimals |
//! | `decimal(p,s)` | whole numbers, decimals, floats by their shortest text; never rounded |
//! | `date` | date |
//! | `timestamp` | instants of any unit, cut to microseconds; without a zone they are UTC; dates; whole numbers in the column's unit |
//! | `json` | text that is JSON; structures, lists and maps |
//! | `bytes` | bytes |
//!
//! Text is accepted by every other type as a CSV field is. A value that is refused refuses its row.
//! With no columns declared, [`carried_columns`] says which ones a file brings.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, make_array, new_null_array,
};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use thalweg_core::decode::{Decoded, Decoder, FrameCounts, Reject};
use thalweg_core::frame::{FRAME_BYTES_MAX, Frames};
use thalweg_core::schema::{Column, ColumnType, EpochUnit, source_schema};
use thalweg_core::{Error, Result};

use super::rows::{ColumnBuffer, Mismatch, Rows, SHOWN_MAX, reason};
use super::text;

/// Decodes rows that come as columns.
pub struct ColumnsDecoder {
    columns: Vec<Column>,
    schema: SchemaRef,
}

/// A column of the declared type, and the rows that could not become one, each with its reason.
struct Converted {
    array: ArrayRef,
    refused: Vec<(usize, String)>,
}

impl ColumnsDecoder {
    /// # Errors
    ///
    /// `Invalid` when a column's name is taken.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        // The buffers' own check of names.
        Rows::new(&columns)?;
        Ok(Self { schema: source_schema(&columns), columns })
    }

    fn batch(&self, rows: &RecordBatch, frames: &Frames) -> Result<(RecordBatch, Vec<Reject>)> {
        let count = rows.num_rows();
        let found: Vec<Option<ArrayRef>> =
            self.columns.iter().map(|column| find(rows, column.path())).collect();
        let mut reasons: Vec<Option<String>> = vec![None; count];
        if !found.is_empty() && found.iter().all(Option::is_none) {
            reasons.fill(Some("none of the columns is there".to_owned()));
        }
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for (column, found) in self.columns.iter().zip(found) {
            let converted = match found {
                Some(array) => convert(column, &array).map_err(broken)?,
                None => Converted {
                    array: new_null_array(&column.kind.arrow(), count),
                    refused: Vec::new(),
                },
            };
            for (row, reason) in converted.refused {
                reasons[row].get_or_insert(reason);
            }
            if !column.nullable && converted.array.null_count() > 0 {
                let nulls = is_null(&converted.array).map_err(broken)?;
                for row in (0..count).filter(|row| nulls.value(*row)) {
                    let reason = format!("{}: null in a column that is not null", column.name);
                    reasons[row].get_or_insert(reason);
                }
            }
            arrays.push(converted.array);
        }
        let spans = &frames.spans;
        let partition = i32::try_from(frames.partition).map_err(|_| {
            Error::internal(format!("partition {} is out of range", frames.partition))
        })?;
        arrays.push(Arc::new(Int32Array::from_value(partition, count)));
        arrays.push(Arc::new(Int64Array::from_iter_values(spans.iter().map(|it| it.offset))));
        arrays.push(Arc::new(Int32Array::from_value(0, count)));
        let received = spans.iter().map(|span| span.received_at.0);
        let received = TimestampMicrosecondArray::from_iter_values(received).with_timezone("UTC");
        arrays.push(Arc::new(received));
        let rejects: Vec<Reject> = reasons
            .iter()
            .enumerate()
            .filter_map(|(frame, reason)| {
                let reason = reason.clone()?;
                Some(Reject {
                    frame,
                    offset: spans[frame].offset,
                    row: Some(0),
                    reason,
                    excerpt: None,
                })
            })
            .collect();
        let lenient =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let lenient = Arc::new(Schema::new(lenient.collect::<Vec<_>>()));
        let mut batch = RecordBatch::try_new(lenient, arrays).map_err(broken)?;
        if !rejects.is_empty() {
            let valid: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
            batch = filter_record_batch(&batch, &valid).map_err(broken)?;
        }
        // What is not null has no nulls left.
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec());
        Ok((batch.map_err(broken)?, rejects))
    }
}

impl Decoder for ColumnsDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, frames: &Frames) -> Result<Decoded> {
        let (rows, rejects) = match &frames.rows {
            Some(rows) if rows.num_rows() == frames.len() => self.batch(rows, frames)?,
            None if frames.is_empty() => {
                (RecordBatch::new_empty(Arc::clone(&self.schema)), Vec::new())
            }
            _ => return Err(Error::internal("frames that come as columns have none")),
        };
        let frames = FrameCounts { decoded: frames.len() as u64, ..FrameCounts::default() };
        Ok(Decoded { rows, rejects, frames, notices: Vec::new() })
    }
}

fn broken(error: ArrowError) -> Error {
    Error::internal("columns of a file do not make a batch").with_source(error)
}

/// The column behind a path; names that hold a dot are found whole first.
fn find(rows: &RecordBatch, path: &str) -> Option<ArrayRef> {
    if let Some(column) = rows.column_by_name(path) {
        return Some(Arc::clone(column));
    }
    let mut parts = path.split('.');
    let mut found = Arc::clone(rows.column_by_name(parts.next()?)?);
    for part in parts {
        let structure = found.as_struct_opt()?;
        let inner = structure.column_by_name(part)?;
        // A structure that is NULL has no members.
        let nulls = arrow::buffer::NullBuffer::union(structure.nulls(), inner.nulls());
        let data = inner.to_data().into_builder().nulls(nulls).build().ok()?;
        found = make_array(data);
    }
    Some(found)
}

/// Makes a column of the declared type.
fn convert(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let array = plain(array)?;
    let target = column.kind.arrow();
    let mut converted = match (array.data_type(), column.kind) {
        (DataType::Null, _) => all(new_null_array(&target, array.len())),
        (DataType::Utf8, ColumnType::Text) => within_bounds(column, array),
        (DataType::Utf8, _) => from_text(column, array.as_string::<i32>())?,
        (DataType::Binary, ColumnType::Bytes) => within_bounds(column, array),
        (DataType::Binary, ColumnType::Text) => text_of_bytes(column, &array)?,
        (
            DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Interval(_)
            | DataType::Duration(_),
            ColumnType::Text,
        ) => all(shown_as_text(&array)?),
        (kind, ColumnType::Json) if kind.is_nested() => json_of(column, &array)?,
        (DataType::Boolean, ColumnType::Boolean) | (DataType::Date32, ColumnType::Date) => {
            all(array)
        }
        (DataType::Date64, ColumnType::Date)
        | (DataType::Date32 | DataType::Date64, ColumnType::Timestamp) => {
            cast_strictly(column, &array, &target, false)?
        }
        (DataType::Timestamp(..), ColumnType::Timestamp) => instants(column, &array)?,
        (kind, ColumnType::Timestamp) if kind.is_integer() => counted(column, &array)?,
        (kind, ColumnType::Decimal(..)) if kind.is_floating() => {
            from_text(column, shown_as_text(&array)?.as_string::<i32>())?
        }
        (kind, wanted) if kind.is_numeric() && is_number(wanted) => {
            // A decimal becomes the float next to it, as its text would.
            let to_float = matches!(wanted, ColumnType::Real | ColumnType::Double);
            let is_exact = !to_float || kind.is_integer();
            cast_strictly(column, &array, &target, is_exact)?
        }
        _ => refuse_all(column, &array)?,
    };
    if !column.allow_nan {
        refuse_not_finite(column, &mut converted);
    }
    Ok(converted)
}

fn is_number(kind: ColumnType) -> bool {
    use ColumnType::{Bigint, Decimal, Double, Int, Real};
    matches!(kind, Int | Bigint | Real | Double | Decimal(..))
}

fn all(array: ArrayRef) -> Converted {
    Converted { array, refused: Vec::new() }
}

/// The same values without views, dictionaries and large or fixed layouts.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let target = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, values) => {
            let unpacked = cast_with_options(array, values, &CastOptions::default())?;
            return plain(&unpacked);
        }
        DataType::Float16 => DataType::Float32,
        _ => return Ok(Arc::clone(array)),
    };
    cast_with_options(array, &target, &CastOptions::default())
}

/// Casts; a value that does not survive is refused. With `is_exact` it must come back the same.
fn cast_strictly(
    column: &Column,
    array: &ArrayRef,
    target: &DataType,
    is_exact: bool,
) -> Result<Converted, ArrowError> {
    if array.data_type() == target {
        return Ok(all(Arc::clone(array)));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let Ok(cast) = cast_with_options(array, target, &options) else {
        return refuse_all(column, array);
    };
    let mut survives = arrow::compute::or(&is_null(array)?, &is_not_null(&cast)?)?;
    if is_exact {
        let back = cast_with_options(&cast, array.data_type(), &options)?;
        survives = arrow::compute::and(&survives, &not_distinct(&back, array)?)?;
    }
    let refused = (0..array.len()).filter(|row| !survives.value(*row));
    let why = |row| (row, reason(column, Mismatch::Range, &shown(array, row)));
    Ok(Converted { refused: refused.map(why).collect(), array: cast })
}

/// Instants of any unit, cut to microseconds, not rounded towards 1970.
fn instants(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let target = column.kind.arrow();
    let DataType::Timestamp(TimeUnit::Nanosecond, _) = array.data_type() else {
        return cast_strictly(column, array, &target, false);
    };
    let nanos = array.as_primitive::<TimestampNanosecondType>();
    let micros: TimestampMicrosecondArray = nanos.unary(|nanos| nanos.div_euclid(1000));
    Ok(all(Arc::new(micros.with_timezone("UTC"))))
}

/// Instants given as whole numbers in the column's unit.
fn counted(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let numbers = cast_with_options(array, &DataType::Int64, &options)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let in_micros = |number: i64| match column.unit.unwrap_or(EpochUnit::Millis) {
        EpochUnit::Seconds => number.checked_mul(1_000_000),
        EpochUnit::Millis => number.checked_mul(1000),
        EpochUnit::Micros => Some(number),
        EpochUnit::Nanos => Some(number.div_euclid(1000)),
    };
    let micros: TimestampMicrosecondArray =
        numbers.iter().map(|it| it.and_then(in_micros)).collect();
    let lost = (0..array.len()).filter(|row| !array.is_null(*row) && micros.is_null(*row));
    let why = |row| (row, reason(column, Mismatch::Range, &shown(array, row)));
    let refused = lost.map(why).collect();
    Ok(Converted { array: Arc::new(micros.with_timezone("UTC")), refused })
}

/// Reads each value from its text.
fn from_text(column: &Column, texts: &StringArray) -> Result<Converted, ArrowError> {
    // Every value is taken here, so that rows stay where they are; NULL is judged later.
    let lenient = Column { nullable: true, ..column.clone() };
    let mut buffer = ColumnBuffer::new(lenient);
    let mut refused = Vec::new();
    for (row, value) in texts.iter().enumerate() {
        let pushed = match value {
            Some(value) => text::parse(column, value).and_then(|value| buffer.push(value)),
            None => buffer.push_null(),
        };
        if let Err(mismatch) = pushed {
            refused.push((row, reason(column, mismatch, &short(value.unwrap_or_default()))));
            buffer.push_null().map_err(|_| ArrowError::ComputeError("a full column".to_owned()))?;
        }
    }
    Ok(Converted { array: buffer.finish()?, refused })
}

/// Bytes as text where they are UTF-8.
fn text_of_bytes(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let bytes = array.as_binary::<i32>();
    let texts: StringArray =
        bytes.iter().map(|value| value.and_then(|value| std::str::from_utf8(value).ok())).collect();
    let lost = (0..array.len()).filter(|row| !array.is_null(*row) && texts.is_null(*row));
    let refused = lost.map(|row| (row, format!("{}: bytes that are not UTF-8", column.name)));
    let refused: Vec<_> = refused.collect();
    let mut converted = within_bounds(column, Arc::new(texts));
    converted.refused.extend(refused);
    Ok(converted)
}

/// Refuses values longer than a frame may be (S30).
fn within_bounds(column: &Column, array: ArrayRef) -> Converted {
    let lengths: Vec<usize> = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().offsets().lengths().collect(),
        _ => array.as_binary::<i32>().offsets().lengths().collect(),
    };
    let long = lengths.iter().enumerate().filter(|(_, length)| **length > FRAME_BYTES_MAX);
    let why = |(row, length): (usize, &usize)| {
        (row, format!("{}: {length} bytes, and {FRAME_BYTES_MAX} are the most", column.name))
    };
    Converted { refused: long.map(why).collect(), array }
}

/// Structures, lists and maps as JSON.
fn json_of(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let keyed = with_text_keys(array.data_type());
    let cast = cast_with_options(array, &keyed, &CastOptions::default());
    let array = &cast.unwrap_or_else(|_| Arc::clone(array));
    let field = Arc::new(Field::new("v", array.data_type().clone(), true));
    let options = arrow::json::EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = match arrow::json::writer::make_encoder(&field, array, &options) {
        Ok(encoder) => encoder,
        // A type that JSON has no word for.
        Err(_) => return refuse_all(column, array),
    };
    let mut texts = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(None);
            continue;
        }
        let mut text = Vec::new();
        encoder.encode(row, &mut text);
        texts.push(String::from_utf8(text).ok());
    }
    let texts: StringArray = texts.into_iter().collect();
    Ok(within_bounds(column, Arc::new(texts)))
}

/// The same type with keys of maps as text, as JSON wants them.
fn with_text_keys(kind: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| {
        let kind = with_text_keys(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(kind))
    };
    match kind {
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, is_sorted) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let key = fields[0].as_ref().clone().with_data_type(DataType::Utf8);
                let both = vec![Arc::new(key), inner(&fields[1])];
                let entry = entries.as_ref().clone().with_data_type(DataType::Struct(both.into()));
                DataType::Map(Arc::new(entry), *is_sorted)
            }
            _ => kind.clone(),
        },
        _ => kind.clone(),
    }
}

/// Values as they are shown.
fn shown_as_text(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if array.data_type().is_floating() {
        // The shortest text that reads back as the same number.
        let wide = cast_with_options(array, &DataType::Float64, &CastOptions::default())?;
        let texts: StringArray = match array.data_type() {
            DataType::Float32 => {
                let numbers = array.as_primitive::<Float32Type>().iter();
                numbers.map(|number| number.map(|number| number.to_string())).collect()
            }
            _ => {
                let numbers = wide.as_primitive::<Float64Type>().iter();
                numbers.map(|number| number.map(|number| number.to_string())).collect()
            }
        };
        return Ok(Arc::new(texts));
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = |row| (!array.is_null(row)).then(|| formatter.value(row).to_string());
    let texts: StringArray = (0..array.len()).map(text).collect();
    Ok(Arc::new(texts))
}

fn refuse_all(column: &Column, array: &ArrayRef) -> Result<Converted, ArrowError> {
    let there = (0..array.len()).filter(|row| !array.is_null(*row));
    let why = |row| (row, reason(column, Mismatch::Kind, &shown(array, row)));
    let refused = there.map(why).collect();
    Ok(Converted { array: new_null_array(&column.kind.arrow(), array.len()), refused })
}

fn refuse_not_finite(column: &Column, converted: &mut Converted) {
    let array = &converted.array;
    let is_finite: Box<dyn Fn(usize) -> bool> = match column.kind {
        ColumnType::Real => {
            let values = array.as_primitive::<Float32Type>().clone();
            Box::new(move |row| values.value(row).is_finite())
        }
        ColumnType::Double => {
            let values = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row| values.value(row).is_finite())
        }
        _ => return,
    };
    let wrong = (0..array.len()).filter(|row| !array.is_null(*row) && !is_finite(*row));
    let why = |row| (row, reason(column, Mismatch::NotFinite, &shown(array, row)));
    converted.refused.extend(wrong.map(why));
}

/// A value as a reason shows it.
fn shown(array: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    let value =
        ArrayFormatter::try_new(array, &options).map(|formatter| formatter.value(row).to_string());
    let value = value.unwrap_or_else(|_| "a value".to_owned());
    let cut = value.floor_char_boundary(SHOWN_MAX);
    if cut < value.len() { format!("{}…", &value[..cut]) } else { value }
}

fn short(text: &str) -> String {
    let cut = text.floor_char_boundary(SHOWN_MAX);
    if cut < text.len() { format!("{:?}…", &text[..cut]) } else { format!("{text:?}") }
}

/// The columns that a file brings, as they would be declared. Names that begin with `_`, which are
/// thalweg's own, lose it.
pub fn carried_columns(schema: &Schema) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name().trim_start_matches('_');
        if name.is_empty() || columns.iter().any(|column| column.name == name) {
            continue;
        }
        columns.push(Column {
            name: name.to_owned(),
            kind: carried_type(field.data_type()),
            nullable: field.is_nullable(),
            select: (name != field.name()).then(|| field.name().clone()),
            unit: None,
            allow_nan: false,
        });
    }
    columns
}

fn carried_type(kind: &DataType) -> ColumnType {
    match kind {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            ColumnType::Int
        }
        DataType::Int64 | DataType::UInt32 => ColumnType::Bigint,
        DataType::UInt64 => ColumnType::Decimal(20, 0),
        DataType::Float16 | DataType::Float32 => ColumnType::Real,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 && *precision <= 38 =>
        {
            ColumnType::Decimal(*precision, *scale)
        }
        DataType::Decimal256(..) => ColumnType::Decimal(38, 10),
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => ColumnType::Bytes,
        DataType::Dictionary(_, values) => carried_type(values),
        kind if kind.is_nested() => ColumnType::Json,
        _ => ColumnType::Text,
    }
}

#[cfg(test)]
mod tests;

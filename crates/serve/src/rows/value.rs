//! One cell of an Arrow column, as JSON and as CSV (`docs/reference/http.md`, "Values").
//!
//! Exact: what JavaScript's numbers cannot hold, and decimals, are strings. A column is looked into
//! once per batch ([`Column::new`]), then read row by row.

use std::borrow::Cow;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, ArrowTimestampType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use thalweg_core::time::Day;

/// The largest integer up to which JavaScript's numbers are exact: 2^53 − 1.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// One cell.
pub(crate) enum Value<'a> {
    /// NULL.
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Real(f32),
    Double(f64),
    /// Text, and all that is written as text.
    Text(Cow<'a, str>),
    /// A list, struct or map, as JSON.
    Nested(Vec<u8>),
}

impl Value<'_> {
    /// Appends the cell as JSON.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(value) => json(out, value),
            Self::Integer(value) if value.unsigned_abs() <= SAFE_INTEGER_MAX => json(out, value),
            Self::Integer(value) => json(out, &value.to_string()),
            Self::Unsigned(value) if *value <= SAFE_INTEGER_MAX => json(out, value),
            Self::Unsigned(value) => json(out, &value.to_string()),
            Self::Real(value) if value.is_finite() => json(out, value),
            Self::Real(value) => json(out, not_finite(f64::from(*value))),
            Self::Double(value) if value.is_finite() => json(out, value),
            Self::Double(value) => json(out, not_finite(*value)),
            Self::Text(text) => json(out, text.as_ref()),
            Self::Nested(value) => out.extend_from_slice(value),
        }
    }

    /// Appends the cell as a field of CSV.
    pub(crate) fn write_csv(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Unsigned(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Real(value) if !value.is_finite() => {
                out.extend_from_slice(not_finite(f64::from(*value)).as_bytes());
            }
            Self::Double(value) if !value.is_finite() => {
                out.extend_from_slice(not_finite(*value).as_bytes());
            }
            Self::Boolean(_) | Self::Real(_) | Self::Double(_) => self.write_json(out),
            Self::Text(text) => write_csv_text(text.as_bytes(), out),
            Self::Nested(value) => write_csv_text(value, out),
        }
    }
}

/// Appends a text as a field of CSV; an empty one is `""`, to tell it from NULL.
pub(crate) fn write_csv_text(text: &[u8], out: &mut Vec<u8>) {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\n' | b'\r');
    if !edge(text.first()) && !edge(text.last()) && !text.iter().any(special) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Appends anything as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("text and numbers are written to memory");
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// One column of a batch, ready to be read.
pub(crate) struct Column<'a> {
    array: &'a dyn Array,
    read: Read<'a>,
}

type Read<'a> = Box<dyn Fn(usize) -> Value<'a> + 'a>;

impl<'a> Column<'a> {
    /// Looks into a column.
    pub(crate) fn new(array: &'a ArrayRef) -> Self {
        Self { array: array.as_ref(), read: reader(array.as_ref()) }
    }

    /// The cell of a row.
    pub(crate) fn value(&self, row: usize) -> Value<'a> {
        if self.array.is_null(row) { Value::Null } else { (self.read)(row) }
    }
}

fn reader(array: &dyn Array) -> Read<'_> {
    match array.data_type() {
        DataType::Null => Box::new(|_| Value::Null),
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(move |row| Value::Boolean(array.value(row)))
        }
        DataType::Int8 => primitive::<Int8Type>(array, |value| Value::Integer(value.into())),
        DataType::Int16 => primitive::<Int16Type>(array, |value| Value::Integer(value.into())),
        DataType::Int32 => primitive::<Int32Type>(array, |value| Value::Integer(value.into())),
        DataType::Int64 => primitive::<Int64Type>(array, Value::Integer),
        DataType::UInt8 => primitive::<UInt8Type>(array, |value| Value::Unsigned(value.into())),
        DataType::UInt16 => primitive::<UInt16Type>(array, |value| Value::Unsigned(value.into())),
        DataType::UInt32 => primitive::<UInt32Type>(array, |value| Value::Unsigned(value.into())),
        DataType::UInt64 => primitive::<UInt64Type>(array, Value::Unsigned),
        DataType::Float16 => primitive::<Float16Type>(array, |value| Value::Real(value.to_f32())),
        DataType::Float32 => primitive::<Float32Type>(array, Value::Real),
        DataType::Float64 => primitive::<Float64Type>(array, Value::Double),
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array),
        DataType::Utf8 => text(array.as_string::<i32>()),
        DataType::LargeUtf8 => text(array.as_string::<i64>()),
        DataType::Utf8View => text(array.as_string_view()),
        DataType::Binary => bytes(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>()),
        DataType::BinaryView => bytes(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary()),
        DataType::Date32 => primitive::<Date32Type>(array, |days| owned(Day(days))),
        DataType::Date64 => primitive::<Date64Type>(array, |millis| {
            let days = millis.div_euclid(86_400_000);
            i32::try_from(days).map_or_else(|_| owned(days), |days| owned(Day(days)))
        }),
        DataType::Timestamp(TimeUnit::Second, _) => instant::<TimestampSecondType>(array, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            instant::<TimestampMillisecondType>(array, 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            instant::<TimestampMicrosecondType>(array, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            instant::<TimestampNanosecondType>(array, 1_000_000_000)
        }
        DataType::Dictionary(..) => dictionary(array),
        DataType::List(_) => list(move |row| array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(move |row| array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(move |row| array.as_fixed_size_list().value(row)),
        DataType::Struct(_) => structure(array),
        DataType::Map(..) => map(array),
        _ => formatted(array),
    }
}

fn primitive<'a, T: ArrowPrimitiveType>(
    array: &'a dyn Array,
    value: impl Fn(T::Native) -> Value<'a> + 'a,
) -> Read<'a> {
    let array = array.as_primitive::<T>();
    Box::new(move |row| value(array.value(row)))
}

fn decimal<T: DecimalType>(array: &dyn Array) -> Read<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |row| Value::Text(array.value_as_string(row).into()))
}

fn instant<T: ArrowTimestampType<Native = i64>>(array: &dyn Array, per_second: i64) -> Read<'_> {
    primitive::<T>(array, move |value| {
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        let nanos = u32::try_from(nanos).expect("less than a second");
        match DateTime::from_timestamp(value.div_euclid(per_second), nanos) {
            Some(time) => owned(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => owned(format!("{value}/{per_second} s")),
        }
    })
}

fn owned<'a>(value: impl ToString) -> Value<'a> {
    Value::Text(Cow::Owned(value.to_string()))
}

fn text<'a, A>(array: A) -> Read<'a>
where
    A: arrow_array::ArrayAccessor<Item = &'a str> + 'a,
{
    Box::new(move |row| Value::Text(Cow::Borrowed(array.value(row))))
}

fn bytes<'a, A>(array: A) -> Read<'a>
where
    A: arrow_array::ArrayAccessor<Item = &'a [u8]> + 'a,
{
    Box::new(move |row| owned(STANDARD.encode(array.value(row))))
}

fn dictionary(array: &dyn Array) -> Read<'_> {
    let dictionary = array.as_any_dictionary();
    if dictionary.values().is_empty() {
        return Box::new(|_| Value::Null);
    }
    let keys = dictionary.normalized_keys();
    let values = Column::new(dictionary.values());
    Box::new(move |row| values.value(keys[row]))
}

fn list<'a>(elements: impl Fn(usize) -> ArrayRef + 'a) -> Read<'a> {
    Box::new(move |row| {
        let elements = elements(row);
        let column = Column::new(&elements);
        let mut out = vec![b'['];
        for element in 0..elements.len() {
            separate(element, &mut out);
            column.value(element).write_json(&mut out);
        }
        out.push(b']');
        Value::Nested(out)
    })
}

fn structure(array: &dyn Array) -> Read<'_> {
    let array = array.as_struct();
    let fields: Vec<_> =
        array.fields().iter().zip(array.columns().iter().map(Column::new)).collect();
    Box::new(move |row| {
        let mut out = vec![b'{'];
        for (index, (field, column)) in fields.iter().enumerate() {
            separate(index, &mut out);
            json(&mut out, field.name());
            out.push(b':');
            column.value(row).write_json(&mut out);
        }
        out.push(b'}');
        Value::Nested(out)
    })
}

fn map(array: &dyn Array) -> Read<'_> {
    let array = array.as_map();
    Box::new(move |row| {
        let entries = array.value(row);
        let keys = Column::new(entries.column(0));
        let values = Column::new(entries.column(1));
        let mut out = vec![b'['];
        for entry in 0..entries.len() {
            separate(entry, &mut out);
            out.push(b'[');
            keys.value(entry).write_json(&mut out);
            out.push(b',');
            values.value(entry).write_json(&mut out);
            out.push(b']');
        }
        out.push(b']');
        Value::Nested(out)
    })
}

/// Times, durations, intervals and what is rarer, as Arrow writes them.
fn formatted(array: &dyn Array) -> Read<'_> {
    let options = FormatOptions::new();
    match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => Box::new(move |row| match formatter.value(row).try_to_string() {
            Ok(text) => owned(text),
            Err(_) => Value::Null,
        }),
        Err(_) => Box::new(move |_| owned(array.data_type())),
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

/// The name of a type in answers: that of the project file, where it has one.
pub(crate) fn type_name(kind: &DataType) -> String {
    let name = match kind {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "int"
        }
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytes",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "list",
        DataType::Struct(_) => "struct",
        DataType::Map(..) => "map",
        DataType::Null => "null",
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return format!("decimal({precision},{scale})"),
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;

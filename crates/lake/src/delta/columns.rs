//! The columns of a table: what Arrow types become in it, how rows are made to fit, and the day
//! column that Delta keeps in folder names instead of files.
//!
//! | Arrow | Delta |
//! |---|---|
//! | `Utf8`, `LargeUtf8`, `Utf8View`, a dictionary of these | `string` |
//! | `Boolean` | `boolean` |
//! | `Int8`, `Int16`, `UInt8` | `byte`, `short`, `short` |
//! | `Int32`, `UInt16` | `integer` |
//! | `Int64`, `UInt32`, `UInt64` (above 2^63−1 it is an error) | `long` |
//! | `Float16`, `Float32`, `Float64` | `float`, `float`, `double` |
//! | `Decimal32/64/128(p,s)` | `decimal(p,s)` |
//! | `Date32`, `Date64` | `date` |
//! | `Timestamp(_, _)`; without a zone it is UTC | `timestamp`: microseconds UTC |
//! | `Binary`, `LargeBinary`, `BinaryView`, `FixedSizeBinary` | `binary` |
//! | lists, structs of these | `array`, `struct` |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, max, min, take_record_batch};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Fields, Schema, SchemaRef, TimestampMicrosecondType,
};
use deltalake_core::kernel::StructType;
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow as _, TryIntoKernel as _};
use thalweg_core::schema::timestamp_type;
use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, Result};

use super::DayPartition;

/// Days that Delta can name: years 1 to 9999. A row of any other day is kept without one.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// The columns of one table.
#[derive(Debug)]
pub(crate) struct Columns {
    /// All columns; the day column is the last.
    pub(crate) table: StructType,
    /// Those a data file holds: all but the day column.
    pub(crate) file: SchemaRef,
    /// The day column, if the table has one.
    pub(crate) partition: Option<DayPartition>,
}

impl Columns {
    /// Takes over the columns of rows, with a day column added to them if asked for.
    ///
    /// # Errors
    ///
    /// `Invalid` when a column has a name or a type that Delta cannot hold, or the day cannot be
    /// told.
    pub(crate) fn new(schema: &Schema, partition: Option<&DayPartition>) -> Result<Self> {
        let mut fields = Vec::new();
        for field in schema.fields() {
            check_name(field.name(), &fields)?;
            fields.push(storable_field(field)?);
        }
        let file = Arc::new(Schema::new(fields.clone()));
        if let Some(partition) = partition {
            check_name(&partition.column, &fields)?;
            if !partition.column.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(Error::invalid(format!(
                    "the day column cannot be named `{}`",
                    partition.column
                ))
                .with_detail("It names folders: letters, digits and `_` only."));
            }
            let source = file.field_with_name(&partition.source).map_err(|_| {
                Error::invalid(format!("there is no column `{}` to tell the day", partition.source))
            })?;
            if !tells_day(source.data_type()) {
                return Err(Error::invalid(format!(
                    "column `{}` of type {} does not tell a day",
                    partition.source,
                    source.data_type()
                )));
            }
            fields.push(Arc::new(Field::new(&partition.column, DataType::Date32, true)));
        }
        let table: StructType = (&Schema::new(fields)).try_into_kernel().map_err(unstorable)?;
        Ok(Self { file: as_read(&file)?, table, partition: partition.cloned() })
    }

    /// Compares with the columns of a table that exists; each difference in words.
    pub(crate) fn differences(&self, found: &StructType, partitioned_by: &[String]) -> Vec<String> {
        let mut differences = Vec::new();
        for ours in self.table.fields() {
            let name = ours.name();
            match found.field(name) {
                None => differences.push(format!("`{name}` {} is not there", ours.data_type())),
                Some(theirs) if theirs.data_type() != ours.data_type() => differences.push(
                    format!("`{name}` is {}, expected {}", theirs.data_type(), ours.data_type()),
                ),
                Some(theirs) if ours.is_nullable() && !theirs.is_nullable() => {
                    differences.push(format!("`{name}` refuses null, expected to accept it"));
                }
                Some(_) => {}
            }
        }
        for theirs in found.fields().filter(|theirs| self.table.field(theirs.name()).is_none()) {
            differences.push(format!("`{}` {} is too many", theirs.name(), theirs.data_type()));
        }
        let expected: Vec<&String> = self.partition.iter().map(|day| &day.column).collect();
        if !partitioned_by.iter().eq(expected.iter().copied()) {
            differences.push(format!(
                "it is partitioned by ({}), expected ({})",
                partitioned_by.join(", "),
                expected.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            ));
        }
        differences
    }

    /// Brings rows into the shape of a data file: columns by name, types as stored. Text that is
    /// dictionary-encoded stays so: it is written faster. The day column, if given, is dropped.
    pub(crate) fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if rows.schema_ref() == &self.file {
            return Ok(rows.clone());
        }
        let given = rows.schema_ref();
        let is_day = |name: &str| self.partition.as_ref().is_some_and(|day| day.column == name);
        if let Some(stray) = given.fields().iter().find(|field| {
            self.file.column_with_name(field.name()).is_none() && !is_day(field.name())
        }) {
            return Err(Error::internal(format!("the table has no column `{}`", stray.name())));
        }
        let mut fields = Vec::with_capacity(self.file.fields().len());
        let mut columns = Vec::with_capacity(fields.capacity());
        for field in self.file.fields() {
            let column = match rows.column_by_name(field.name()) {
                Some(column) if encodes(column.data_type(), field.data_type()) => column.clone(),
                Some(column) => cast(column, field)?,
                None => new_null_array(field.data_type(), rows.num_rows()),
            };
            fields.push(retyped(field, column.data_type()));
            columns.push(column);
        }
        assemble(Arc::new(Schema::new(fields)), columns)
    }

    /// Splits rows in the shape of a data file by the day they belong to, each part in the order
    /// given. Without a day column there is one part, of no day.
    pub(crate) fn split(&self, rows: RecordBatch) -> Result<Vec<(Option<Day>, RecordBatch)>> {
        let Some(partition) = &self.partition else { return Ok(vec![(None, rows)]) };
        let column = rows.column_by_name(&partition.source).ok_or_else(|| {
            Error::internal(format!("the rows lack column `{}`", partition.source))
        })?;
        if let Some(day) = only_day(column) {
            return Ok(vec![(Some(day), rows)]);
        }
        let mut parts: BTreeMap<Option<Day>, Vec<u32>> = BTreeMap::new();
        for (index, day) in (0..).zip(days(column)) {
            parts.entry(day).or_default().push(index);
        }
        let take = |(day, indices)| {
            let part = take_record_batch(&rows, &UInt32Array::from(indices))
                .map_err(|error| Error::internal("cannot split rows by day").with_source(error))?;
            Ok((day, part))
        };
        parts.into_iter().map(take).collect()
    }
}

/// Gives rows the very types of `schema`, whose columns they have.
pub(crate) fn align(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows);
    }
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field)).collect::<Result<_>>()?;
    assemble(schema.clone(), columns)
}

/// The day of each row of a column of dates or instants; none where it is null or has no name.
pub(crate) fn days(column: &dyn Array) -> impl Iterator<Item = Option<Day>> {
    let dates = column.as_primitive_opt::<Date32Type>();
    let instants = column.as_primitive_opt::<TimestampMicrosecondType>();
    (0..column.len()).map(move |row| {
        if column.is_null(row) {
            return None;
        }
        let date = dates.map(|dates| Day(dates.value(row)));
        let day = date.or_else(|| instants.map(|times| Timestamp(times.value(row)).day()));
        day.filter(named)
    })
}

/// The day all rows are of, if that can be told at a glance.
fn only_day(column: &dyn Array) -> Option<Day> {
    if column.null_count() > 0 {
        return None;
    }
    let (first, last) = match column.as_primitive_opt::<Date32Type>() {
        Some(dates) => (Day(min(dates)?), Day(max(dates)?)),
        None => {
            let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
            (Timestamp(min(times)?).day(), Timestamp(max(times)?).day())
        }
    };
    (first == last).then_some(first).filter(named)
}

fn named(day: &Day) -> bool {
    DAYS.contains(&day.0)
}

/// Whether a stored column of this type tells the day of its rows.
pub(crate) fn tells_day(data_type: &DataType) -> bool {
    data_type == &DataType::Date32 || data_type == &timestamp_type()
}

fn check_name(name: &str, taken: &[FieldRef]) -> Result<()> {
    if name.is_empty() || name.contains([' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=']) {
        return Err(Error::invalid(format!("a table cannot have a column named `{name}`"))
            .with_detail("Its names hold no space and none of `,;{}()=`.")
            .with_hint("Give the column another name with AS."));
    }
    match taken.iter().find(|field| field.name().eq_ignore_ascii_case(name)) {
        None => Ok(()),
        Some(field) => Err(Error::invalid(format!(
            "columns `{}` and `{name}` are one to a Delta table, which ignores case",
            field.name()
        ))),
    }
}

/// A column as tables store it.
///
/// # Errors
///
/// `Invalid` when they cannot.
pub(crate) fn storable_field(field: &FieldRef) -> Result<FieldRef> {
    let data_type = storable(field.data_type()).ok_or_else(|| {
        let (name, data_type) = (field.name(), field.data_type());
        Error::invalid(format!("a table cannot hold column `{name}` of type {data_type}"))
            .with_hint("Cast it to a type that tables know, such as text or bigint.")
    })?;
    Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable())))
}

/// The type a column is stored as.
fn storable(data_type: &DataType) -> Option<DataType> {
    let inner =
        |field: &FieldRef| storable(field.data_type()).map(|data_type| retyped(field, &data_type));
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::Binary => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Timestamp(_, _) => timestamp_type(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => storable(values)?,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            DataType::List(inner(field)?)
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(inner).collect::<Option<Fields>>()?)
        }
        _ => return None,
    })
}

/// The schema as a reader of the table sees it, down to the names inside lists.
fn as_read(schema: &Schema) -> Result<SchemaRef> {
    let delta: StructType = schema.try_into_kernel().map_err(unstorable)?;
    let schema: Schema = (&delta).try_into_arrow().map_err(unstorable)?;
    Ok(Arc::new(schema))
}

fn unstorable(error: arrow::error::ArrowError) -> Error {
    Error::invalid("the columns do not fit a Delta table").with_source(error)
}

/// Whether a column of this type is written as `stored` without a cast.
fn encodes(given: &DataType, stored: &DataType) -> bool {
    match given {
        DataType::Dictionary(_, values) => {
            stored == &DataType::Utf8 && values.as_ref() == &DataType::Utf8
        }
        _ => given == stored,
    }
}

fn retyped(field: &FieldRef, data_type: &DataType) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type.clone(), field.is_nullable()))
}

/// A column as the type of a stored one; a value that does not fit is an error.
pub(crate) fn cast(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &strict).map_err(|error| {
        let message = format!("column `{}` does not fit {}", field.name(), field.data_type());
        Error::internal(message).with_source(error)
    })
}

fn assemble(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Error::internal("the rows do not fit the table").with_source(error))
}

#[cfg(test)]
mod tests;

//! Values as parameters of MySQL's binary protocol.
//!
//! Whole numbers, floats, texts and bytes go as they are. A decimal, a day and an instant go as the
//! text that SQL has for them, which the server reads exactly; where one is compared rather than
//! stored, [`parameter`] has the server read it first, because it compares a decimal with a text as
//! doubles.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::temporal_conversions::{date32_to_datetime, timestamp_us_to_datetime};
use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::mysql::MySqlArguments;

use super::types::sql;
use crate::sinks::database::kind::Kind;
use crate::sinks::database::server::TargetColumn;

/// A parameter for a value of this kind that is compared with a column of it.
pub(super) fn parameter(kind: Kind) -> String {
    match kind {
        Kind::Numeric(..) | Kind::Date | Kind::Timestamp => {
            format!("CAST(? AS {})", sql(kind, None))
        }
        _ => "?".to_owned(),
    }
}

/// The values of some rows, row by row; the columns of `rows` are in [`Kind::staged`].
pub(super) fn arguments(
    columns: &[TargetColumn],
    rows: &RecordBatch,
) -> Result<MySqlArguments, BoxDynError> {
    let mut arguments = MySqlArguments::default();
    arguments.reserve(columns.len() * rows.num_rows(), rows.get_array_memory_size());
    for row in 0..rows.num_rows() {
        for (column, values) in columns.iter().zip(rows.columns()) {
            add(&mut arguments, column.kind, values, row)?;
        }
    }
    Ok(arguments)
}

fn add(
    arguments: &mut MySqlArguments,
    kind: Kind,
    values: &ArrayRef,
    row: usize,
) -> Result<(), BoxDynError> {
    if values.is_null(row) {
        return arguments.add(Option::<&str>::None);
    }
    match kind {
        Kind::Boolean => arguments.add(values.as_boolean().value(row)),
        Kind::Integer => arguments.add(values.as_primitive::<Int32Type>().value(row)),
        Kind::Bigint => arguments.add(values.as_primitive::<Int64Type>().value(row)),
        Kind::Real => arguments.add(values.as_primitive::<Float32Type>().value(row)),
        Kind::Double => arguments.add(values.as_primitive::<Float64Type>().value(row)),
        Kind::Numeric(..) => {
            arguments.add(values.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        Kind::Date => {
            let day = date32_to_datetime(values.as_primitive::<Date32Type>().value(row));
            arguments.add(written(day, "%Y-%m-%d")?)
        }
        Kind::Timestamp => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            let time = timestamp_us_to_datetime(times.value(row));
            arguments.add(written(time, "%Y-%m-%d %H:%M:%S%.6f")?)
        }
        Kind::Text | Kind::Json => arguments.add(values.as_string::<i32>().value(row)),
        Kind::Bytes => arguments.add(values.as_binary::<i32>().value(row)),
    }
}

fn written(time: Option<chrono::NaiveDateTime>, format: &str) -> Result<String, BoxDynError> {
    let time = time.ok_or("a time beyond the calendar")?;
    Ok(time.format(format).to_string())
}

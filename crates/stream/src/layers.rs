//! The layers of a merged view, held against each other: live and batch of a finished day (S18).
//!
//! Both say the same or there is something to find: a late correction, a bug, a history that was
//! changed. Floats are equal within 1e-9 of each other.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{cast, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow_json::WriterBuilder;
use arrow_json::writer::JsonArray;
use serde_json::{Map, Value};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::operators::expressions::engine_error;
use crate::operators::keys::nullable;
use crate::program::visible;

/// Floats closer than this, relative to the larger, are equal.
const TOLERANCE: f64 = 1e-9;

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The key of the row, as a JSON object.
    pub key: Value,
    /// The column that differs; none when a layer lacks the whole row.
    pub column: Option<String>,
    /// What live says: a value, or the whole row; null when it lacks the row.
    pub live: Value,
    /// What the batch says.
    pub batch: Value,
}

/// Every difference between `live` and `batch`, whose rows `key` tells apart: values in the order of the
/// live rows, then whole rows that one of them lacks.
pub fn differences(
    key: &[String],
    live: &RecordBatch,
    batch: &[RecordBatch],
) -> Result<Vec<Difference>> {
    // A layer may hold nulls where the other promises none: that is a difference, no error.
    let schema = nullable(&visible(live.schema_ref()));
    let live = project(live, &schema)?;
    let batches: Result<Vec<RecordBatch>> =
        batch.iter().map(|rows| project(rows, &schema)).collect();
    let batch = concat_batches(&schema, &batches?).map_err(engine_error)?;
    let keys = |rows: &RecordBatch| -> Result<RecordBatch> {
        let columns: Result<Vec<usize>, _> = key.iter().map(|name| schema.index_of(name)).collect();
        rows.project(&columns.map_err(engine_error)?).map_err(engine_error)
    };
    let (live_keys, batch_keys) = (keys(&live)?, keys(&batch)?);
    let fields = live_keys.columns().iter().map(|it| SortField::new(it.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(engine_error)?;
    let in_rows = |keys: &RecordBatch| -> Result<Vec<OwnedRow>> {
        let rows = converter.convert_columns(keys.columns()).map_err(engine_error)?;
        Ok(rows.iter().map(|row| row.owned()).collect())
    };
    let mut only_batch: HashMap<OwnedRow, u32> =
        in_rows(&batch_keys)?.into_iter().zip(0..).collect();
    let (mut pairs, mut only_live) = ((Vec::new(), Vec::new()), Vec::new());
    for (row, key) in (0_u32..).zip(in_rows(&live_keys)?) {
        match only_batch.remove(&key) {
            Some(other) => {
                pairs.0.push(row);
                pairs.1.push(other);
            }
            None => only_live.push(row),
        }
    }
    let mut found = of_pairs(key, &taken(&live, pairs.0)?, &taken(&batch, pairs.1)?)?;
    for (row, key) in objects(&taken(&live, only_live.clone())?)?
        .into_iter()
        .zip(objects(&taken(&live_keys, only_live)?)?)
    {
        found.push(Difference { key, column: None, live: row, batch: Value::Null });
    }
    let mut only_batch: Vec<u32> = only_batch.into_values().collect();
    only_batch.sort_unstable();
    for (row, key) in objects(&taken(&batch, only_batch.clone())?)?
        .into_iter()
        .zip(objects(&taken(&batch_keys, only_batch)?)?)
    {
        found.push(Difference { key, column: None, live: Value::Null, batch: row });
    }
    Ok(found)
}

/// What differs between rows of the same keys, side by side.
fn of_pairs(key: &[String], live: &RecordBatch, batch: &RecordBatch) -> Result<Vec<Difference>> {
    let mut by_row: Vec<(u32, String)> = Vec::new();
    for (field, (left, right)) in
        live.schema_ref().fields().iter().zip(live.columns().iter().zip(batch.columns()))
    {
        if key.contains(field.name()) {
            continue;
        }
        let differs = differs(left, right)?;
        let rows = (0_u32..).zip(differs.iter()).filter(|(_, it)| it.unwrap_or(false));
        by_row.extend(rows.map(|(row, _)| (row, field.name().clone())));
    }
    by_row.sort_by_key(|(row, _)| *row);
    let rows: Vec<u32> = by_row.iter().map(|(row, _)| *row).collect();
    let lives = objects(&taken(live, rows.clone())?)?;
    let batches = objects(&taken(batch, rows)?)?;
    let found = by_row.into_iter().zip(lives.into_iter().zip(batches));
    Ok(found
        .map(|((_, column), (live, batch))| {
            let names = key.iter().map(|name| (name.clone(), live[name].clone()));
            Difference {
                key: Value::Object(names.collect::<Map<_, _>>()),
                live: live[&column].clone(),
                batch: batch[&column].clone(),
                column: Some(column),
            }
        })
        .collect())
}

fn differs(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    if left.data_type().is_nested() {
        let is_other = |row: usize| left.slice(row, 1).to_data() != right.slice(row, 1).to_data();
        return Ok((0..left.len()).map(|row| Some(is_other(row))).collect());
    }
    if !left.data_type().is_floating() {
        return distinct(left, right).map_err(engine_error);
    }
    let wide = |column: &ArrayRef| cast(column, &DataType::Float64).map_err(engine_error);
    let (left, right) = (wide(left)?, wide(right)?);
    let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
    let is_close = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
    };
    Ok(left
        .iter()
        .zip(right)
        .map(|pair| {
            Some(match pair {
                (Some(left), Some(right)) => !is_close(left, right),
                (None, None) => false,
                _ => true,
            })
        })
        .collect())
}

/// The rows whose instant in the column `on` is in `from .. to`.
pub fn of_time(
    rows: &RecordBatch,
    on: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<RecordBatch> {
    let times = rows
        .column_by_name(on)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| Error::internal(format!("a layer has no instants in `{on}`")))?;
    let within = |time: i64| time >= from.0 && time < to.0;
    let kept: BooleanArray = times.iter().map(|time| Some(time.is_some_and(within))).collect();
    filter_record_batch(rows, &kept).map_err(engine_error)
}

/// The columns of `schema`, in its order and of its types.
fn project(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Result<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| {
            let column = rows.column_by_name(field.name()).ok_or_else(|| {
                Error::internal(format!("a layer has no column `{}`", field.name()))
            })?;
            cast(column, field.data_type()).map_err(engine_error)
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns?).map_err(engine_error)
}

fn taken(rows: &RecordBatch, at: Vec<u32>) -> Result<RecordBatch> {
    take_record_batch(rows, &UInt32Array::from(at)).map_err(engine_error)
}

/// Rows as JSON objects, nulls written out.
fn objects(rows: &RecordBatch) -> Result<Vec<Value>> {
    let mut writer =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write(rows).map_err(engine_error)?;
    writer.finish().map_err(engine_error)?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(engine_error)
}

#[cfg(test)]
mod tests;

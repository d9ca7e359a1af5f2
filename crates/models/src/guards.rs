//! Features that see the future are refused (S21): the two tests that need data.
//!
//! Both run the features' SQL, handed over as a function, over rows up to an instant and over rows
//! beyond it, and ask for the same features up to that instant. The *truncation* test takes the
//! later rows away; the *poison* test keeps them and makes their numbers huge. A feature that looks
//! ahead, by a frame, a join or a global mean, differs in one of them. The parse guard, which finds
//! `lead` and frames with FOLLOWING before anything runs, is the engine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, new_null_array,
};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::series::SeriesSet;
use crate::spec::ModelSpec;

/// Rows needed for a test.
const ROWS_MIN: usize = 10;

/// Instants at which the tests cut, as shares of the rows.
const CUTS: [f64; 3] = [0.3, 0.6, 0.9];

/// What two runs of the same SQL may differ by, relative (S11).
const TOLERANCE: f64 = 1e-9;

/// Larger than any feed's numbers, smaller than what overflows when squared.
const POISON: f64 = 1e100;

/// Rows of a relation that features are computed from.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its rows.
    pub rows: RecordBatch,
    /// Their column of the instant each was known at.
    pub time: String,
}

/// Runs both tests over `inputs`, by name; `features` is the SQL of the features over such rows.
///
/// # Errors
///
/// `Invalid`: a feature differs; the message names it, its time and the test. `Data`: fewer than
/// ten rows to test on. Else what `features` returns.
pub async fn sees_no_future<F>(
    spec: &ModelSpec,
    inputs: &BTreeMap<String, Input>,
    features: impl Fn(BTreeMap<String, RecordBatch>) -> F,
) -> Result<()>
where
    F: Future<Output = Result<Vec<RecordBatch>>>,
{
    let mut sorted = Vec::new();
    for input in inputs.values() {
        sorted.extend(times_of(&input.rows, &input.time)?);
    }
    sorted.sort_unstable();
    if sorted.len() < ROWS_MIN {
        return Err(Error::data("too few rows to test whether features see the future")
            .with_detail(format!("There are {}, {ROWS_MIN} are needed.", sorted.len())));
    }
    let all = inputs.iter().map(|(name, input)| (name.clone(), input.rows.clone())).collect();
    let found = features(all).await?;
    let Some(schema) = found.first().map(RecordBatch::schema) else { return Ok(()) };
    let read = |mut found: Vec<RecordBatch>| {
        found.push(RecordBatch::new_empty(schema.clone()));
        SeriesSet::read(spec, &found)
    };
    let whole = read(found)?;
    for share in CUTS {
        let cut = sorted[(sorted.len() as f64 * share) as usize];
        let (mut truncated, mut poisoned) = (BTreeMap::new(), BTreeMap::new());
        for (name, Input { rows, time }) in inputs {
            let times = times_of(rows, time)?;
            let past: BooleanArray = times.iter().map(|time| Some(*time <= cut)).collect();
            let rest = filter_record_batch(rows, &past).map_err(failed)?;
            truncated.insert(name.clone(), rest);
            poisoned.insert(name.clone(), poison(rows, time, &past)?);
        }
        let without = read(features(truncated).await?)?;
        same_until(&whole, &without, cut, "without the rows after it")?;
        // Such numbers may be beyond what the SQL can compute with; that says nothing.
        if let Ok(found) = features(poisoned).await {
            same_until(&whole, &read(found)?, cut, "with other rows after it")?;
        }
    }
    Ok(())
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::internal("rows could not be cut").with_source(error)
}

fn times_of(rows: &RecordBatch, time: &str) -> Result<Vec<Timestamp>> {
    let column = rows
        .column_by_name(time)
        .ok_or_else(|| Error::invalid(format!("the rows have no column `{time}`")))?;
    let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))
        .map_err(|error| Error::invalid(format!("`{time}` is no time")).with_source(error))?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    // A row without a time is in no window; it stays among the past.
    Ok(micros.iter().map(|time| time.map_or(Timestamp::MIN, Timestamp)).collect())
}

/// The rows, with the numbers of those not in `past` replaced: every second one NULL where the
/// column takes it, else huge.
fn poison(rows: &RecordBatch, time: &str, past: &BooleanArray) -> Result<RecordBatch> {
    let future: BooleanArray = past.iter().map(|past| past.map(|past| !past)).collect();
    let before = filter_record_batch(rows, past).map_err(failed)?;
    let after = filter_record_batch(rows, &future).map_err(failed)?;
    let schema = rows.schema();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .zip(after.columns())
        .map(|(field, column)| {
            // Whole numbers count and name things: others would order and join the rows otherwise.
            let kind = field.data_type();
            let is_kept = field.name() == time || !kind.is_numeric() || kind.is_integer();
            if is_kept { Ok(column.clone()) } else { poisoned(column, field.is_nullable()) }
        })
        .collect::<Result<_>>()?;
    let after = RecordBatch::try_new(schema.clone(), columns).map_err(failed)?;
    concat_batches(&schema, [&before, &after]).map_err(failed)
}

fn poisoned(column: &ArrayRef, is_nullable: bool) -> Result<ArrayRef> {
    let huge: Float64Array = (0..column.len())
        .map(|row| if is_nullable && row % 2 == 1 { None } else { Some(POISON) })
        .collect();
    let huge: ArrayRef = Arc::new(huge);
    // Decimals cannot hold it: NULL then, or a constant.
    let fitted = cast(&huge, column.data_type()).map_err(failed)?;
    if is_nullable || fitted.null_count() == 0 {
        return Ok(fitted);
    }
    let constant: ArrayRef = Arc::new(Float64Array::from(vec![77.0; column.len()]));
    let constant = cast(&constant, column.data_type()).map_err(failed)?;
    let fits = constant.null_count() == 0;
    Ok(if fits { constant } else { new_null_array(column.data_type(), column.len()) })
}

fn same_until(whole: &SeriesSet, other: &SeriesSet, cut: Timestamp, how: &str) -> Result<()> {
    let width = whole.layout.features.len();
    let refuse = |feature: &str, time: Timestamp, key: &str, detail: String| {
        let of = if key.is_empty() { String::new() } else { format!(" of `{key}`") };
        Err(Error::invalid(format!("feature `{feature}`{of} at {time} sees the future"))
            .with_detail(detail)
            .with_hint("Frames must end at CURRENT ROW, and joins must not reach past the row."))
    };
    for series in &whole.series {
        let past = series.times.partition_point(|time| *time <= cut);
        let twin = other.series.iter().find(|twin| twin.key == series.key);
        let twin_times = twin.map_or(&[][..], |twin| &twin.times);
        let twin_past = twin_times.partition_point(|time| *time <= cut);
        // Features may show the newest rows alone: with fewer rows they reach further back.
        let both = series.times.first().max(twin_times.first()).copied().unwrap_or(cut);
        let from = series.times.partition_point(|time| *time < both);
        let twin_from = twin_times.partition_point(|time| *time < both);
        if let Some(row) = (0..past.saturating_sub(from).max(twin_past.saturating_sub(twin_from)))
            .find(|&row| {
                series.times[..past].get(from + row) != twin_times[..twin_past].get(twin_from + row)
            })
        {
            let time = series.times[..past].get(from + row).or(twin_times.get(twin_from + row));
            let time = time.copied();
            let time = time.unwrap_or(cut);
            let detail = format!("Up to {cut} the rows themselves are others {how}.");
            return refuse(&whole.layout.time, time, &series.key, detail);
        }
        let Some(twin) = twin else { continue };
        for row in from..past {
            let twin_row = twin_from + row - from;
            let pairs = series.row(row, width).iter().zip(twin.row(twin_row, width));
            for (feature, (&one, &two)) in pairs.enumerate() {
                if !agree(one, two) {
                    let detail = format!("It is {one}; cut at {cut} and {how} it is {two}.");
                    let name = &whole.layout.features[feature];
                    return refuse(name, series.times[row], &series.key, detail);
                }
            }
        }
    }
    Ok(())
}

fn agree(one: f64, two: f64) -> bool {
    (one.is_nan() && two.is_nan()) || (one - two).abs() <= TOLERANCE * one.abs().max(two.abs())
}

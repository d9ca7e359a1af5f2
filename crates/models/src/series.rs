//! Rows of the features' SQL, as one series a key.
//!
//! A row without a time is left out and counted; of rows with the same key and time the last one
//! counts. NULL, NaN and infinities in a feature are *missing*, held as NaN; what a missing value
//! does is decided where it is used: a candidate does not learn from the row, a forecast falls
//! back to `strong_naive`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::spec::ModelSpec;

/// Stands between the values of a key of several columns.
const KEY_SEPARATOR: char = '\u{1f}';

/// Which columns are what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns that tell series apart.
    pub key: Vec<String>,
    /// The column of a row's time.
    pub time: String,
    /// Numeric columns, in the order in which rows hold them; the target is one of them.
    pub features: Vec<String>,
    /// Where among the features the target is.
    pub target: usize,
}

impl Layout {
    /// The layout of what `schema` offers: every numeric column beside key and time is a feature.
    ///
    /// # Errors
    ///
    /// `Invalid`: a column that the model names is missing or has the wrong type.
    pub fn of(spec: &ModelSpec, schema: &Schema) -> Result<Self> {
        let features: Vec<String> = schema
            .fields()
            .iter()
            .filter(|field| field.data_type().is_numeric())
            .map(|field| field.name().clone())
            .filter(|name| *name != spec.time && !spec.key.contains(name))
            .collect();
        let Some(target) = features.iter().position(|name| *name == spec.target) else {
            let message = format!("no numeric column `{}` for model `{}`", spec.target, spec.name);
            return Err(Error::invalid(message)
                .with_detail(format!("The features have {}.", names(schema))));
        };
        Ok(Self { key: spec.key.clone(), time: spec.time.clone(), features, target })
    }
}

fn names(schema: &Schema) -> String {
    let all: Vec<_> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    all.join(", ")
}

/// One batch, ready to be read row by row.
pub struct Rows {
    times: ArrayRef,
    keys: Vec<ArrayRef>,
    features: Vec<Float64Array>,
    count: usize,
}

impl Rows {
    /// Finds the columns of `layout` by name.
    ///
    /// # Errors
    ///
    /// `Invalid`: a column is missing, the time is no timestamp, or a feature no number.
    pub fn of(layout: &Layout, batch: &RecordBatch) -> Result<Self> {
        let column = |name: &String| {
            batch.column_by_name(name).ok_or_else(|| {
                Error::invalid(format!("the features have no column `{name}`"))
                    .with_detail(format!("They have {}.", names(&batch.schema())))
            })
        };
        let time = column(&layout.time)?;
        if !matches!(time.data_type(), DataType::Timestamp(..)) {
            let message = format!("column `{}` is no timestamp", layout.time);
            return Err(Error::invalid(message).with_hint("A row's time says when it was known."));
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let times = cast(time, &micros).map_err(|error| unreadable(&layout.time, error))?;
        let keys = layout.key.iter().map(|name| column(name).cloned()).collect::<Result<_>>()?;
        let features = layout
            .features
            .iter()
            .map(|name| {
                let column = column(name)?;
                if !column.data_type().is_numeric() {
                    return Err(Error::invalid(format!("feature `{name}` is not a number")));
                }
                let numbers =
                    cast(column, &DataType::Float64).map_err(|error| unreadable(name, error))?;
                Ok(numbers.as_primitive::<Float64Type>().clone())
            })
            .collect::<Result<_>>()?;
        Ok(Self { times, keys, features, count: batch.num_rows() })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The time of a row, if it has one.
    pub fn time(&self, row: usize) -> Option<Timestamp> {
        let times = self.times.as_primitive::<TimestampMicrosecondType>();
        (!times.is_null(row)).then(|| Timestamp(times.value(row)))
    }

    /// Appends the row's features to `values`, missing ones as NaN.
    pub fn read(&self, row: usize, values: &mut Vec<f64>) {
        values.extend(self.features.iter().map(|column| {
            let value = if column.is_null(row) { f64::NAN } else { column.value(row) };
            if value.is_finite() { value } else { f64::NAN }
        }));
    }

    /// Calls `visit` with the key of each row, in order.
    ///
    /// # Errors
    ///
    /// `Invalid`: a key column cannot be shown as text; else what `visit` returns.
    pub fn for_each_key(&self, mut visit: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
        let options = FormatOptions::default();
        let columns = self
            .keys
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable("key", error))?;
        let mut key = String::new();
        for row in 0..self.count {
            key.clear();
            for (place, column) in columns.iter().enumerate() {
                if place > 0 {
                    key.push(KEY_SEPARATOR);
                }
                column.value(row).write(&mut key).map_err(|error| unreadable("key", error))?;
            }
            visit(row, &key)?;
        }
        Ok(())
    }
}

fn unreadable(column: &str, error: arrow::error::ArrowError) -> Error {
    Error::invalid(format!("column `{column}` cannot be read")).with_source(error)
}

/// One series: rows in order of time, no time twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its key.
    pub key: Arc<str>,
    /// Time of each row.
    pub times: Vec<Timestamp>,
    /// Row-major, as many values a row as there are features.
    pub rows: Vec<f64>,
}

impl Series {
    /// The features of one row; `width` is their number.
    pub fn row(&self, row: usize, width: usize) -> &[f64] {
        &self.rows[row * width..(row + 1) * width]
    }
}

/// All series of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSet {
    /// What the rows hold.
    pub layout: Layout,
    /// The series, by key.
    pub series: Vec<Series>,
    /// Rows left out because they had no time.
    pub rows_without_time: usize,
}

impl SeriesSet {
    /// Sorts batches into series. All batches have the schema of the first.
    ///
    /// # Errors
    ///
    /// `Data`: there is no batch at all, not even an empty one. `Invalid`: as [`Layout::of`].
    pub fn read(spec: &ModelSpec, batches: &[RecordBatch]) -> Result<Self> {
        let Some(first) = batches.first() else {
            return Err(Error::data(format!("model `{}` was given no rows", spec.name)));
        };
        let layout = Layout::of(spec, &first.schema())?;
        let width = layout.features.len();
        let mut unsorted: BTreeMap<Arc<str>, Series> = BTreeMap::new();
        let mut rows_without_time = 0;
        for batch in batches {
            let rows = Rows::of(&layout, batch)?;
            rows.for_each_key(|row, key| {
                let Some(time) = rows.time(row) else {
                    rows_without_time += 1;
                    return Ok(());
                };
                let series = match unsorted.get_mut(key) {
                    Some(series) => series,
                    None => {
                        let key: Arc<str> = key.into();
                        let empty = Series { key: key.clone(), ..Series::default() };
                        unsorted.entry(key).or_insert(empty)
                    }
                };
                series.times.push(time);
                rows.read(row, &mut series.rows);
                Ok(())
            })?;
        }
        let series = unsorted.into_values().map(|series| in_order(series, width)).collect();
        Ok(Self { layout, series, rows_without_time })
    }

    /// The usual distance between rows: the median, zero without two rows.
    pub fn step_micros(&self) -> i64 {
        let pairs = self.series.iter().flat_map(|series| series.times.windows(2));
        let mut steps: Vec<i64> = pairs.map(|pair| pair[1].0 - pair[0].0).collect();
        if steps.is_empty() {
            return 0;
        }
        let middle = steps.len() / 2;
        *steps.select_nth_unstable(middle).1
    }
}

fn in_order(series: Series, width: usize) -> Series {
    if series.times.windows(2).all(|pair| pair[0] < pair[1]) {
        return series;
    }
    let mut order: Vec<usize> = (0..series.times.len()).collect();
    // Stable, so that of equal times the last one given stays last, and wins.
    order.sort_by_key(|&row| series.times[row]);
    let mut sorted = Series { key: series.key.clone(), ..Series::default() };
    for (place, &row) in order.iter().enumerate() {
        let repeated =
            order.get(place + 1).is_some_and(|&next| series.times[next] == series.times[row]);
        if !repeated {
            sorted.times.push(series.times[row]);
            sorted.rows.extend_from_slice(series.row(row, width));
        }
    }
    sorted
}

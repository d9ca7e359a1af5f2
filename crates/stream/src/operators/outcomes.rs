//! `FROM <model>`: forecasts by key and the instant they are for, and what came of them.
//!
//! Each forecast row becomes a row of [`schema`]; when a later row of its key has just that instant
//! for its time, and a target, the same row is given again with `actual`. As for the forecaster
//! itself, times of a key only grow: a row that is not later than the last changes nothing, and a
//! forecast whose instant has passed without a row stays without `actual`.
//!
//! At most [`PENDING_MAX`] forecasts wait at a time; what is given beyond them keeps no `actual`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use serde_json::json;
use thalweg_core::ledger::OperatorLedger;
use thalweg_core::model::ForecastColumns;
use thalweg_core::schema::timestamp_type;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use super::expressions::{engine_error, ledger_from};
use super::{Operator, Outputs, Snapshot};

/// Most forecasts that wait for their instant, over all series.
pub const PENDING_MAX: usize = 20_000;

/// Columns of what a model has predicted: its key as text, then `made_at`, `for_time`, `prediction`,
/// `lower`, `upper`, `actual`, `model_version`.
pub fn schema(key: &[String]) -> SchemaRef {
    let keys = key.iter().map(|name| Field::new(name, DataType::Utf8, true));
    let rest = [
        Field::new("made_at", timestamp_type(), true),
        Field::new("for_time", timestamp_type(), true),
        Field::new("prediction", DataType::Float64, true),
        Field::new("lower", DataType::Float64, true),
        Field::new("upper", DataType::Float64, true),
        Field::new("actual", DataType::Float64, true),
        Field::new("model_version", DataType::Utf8, true),
    ];
    Arc::new(Schema::new(keys.chain(rest).collect::<Vec<_>>()))
}

/// The columns of [`schema`] that tell its rows apart.
pub fn row_key(key: &[String]) -> Vec<String> {
    key.iter().cloned().chain(["for_time".to_owned()]).collect()
}

type Key = Vec<Option<String>>;

/// A forecast whose instant has not come.
#[derive(Clone)]
struct Made {
    at: Timestamp,
    for_time: Timestamp,
    prediction: f64,
    lower: Option<f64>,
    upper: Option<f64>,
    version: Option<String>,
}

/// A series: the time of its last row, and what waits, the earliest first.
struct Series {
    last: Timestamp,
    waiting: VecDeque<Made>,
}

/// Turns forecast rows into rows of [`schema`].
pub struct Outcomes {
    columns: ForecastColumns,
    schema: SchemaRef,
    series: BTreeMap<Key, Series>,
    waiting: usize,
    ledger: OperatorLedger,
}

impl Outcomes {
    /// Of rows that have `columns` and what `predict()` adds.
    pub fn new(columns: ForecastColumns) -> Self {
        let schema = schema(&columns.key);
        Self {
            columns,
            schema,
            series: BTreeMap::new(),
            waiting: 0,
            ledger: OperatorLedger::default(),
        }
    }

    /// A batch of rows: key, forecast, actual.
    fn rows<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Key, &'a Made, Option<f64>)> + Clone,
    ) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = (0..self.columns.key.len())
            .map(|at| -> ArrayRef {
                let values = rows.clone().map(|(key, ..)| key.get(at)?.as_deref());
                Arc::new(values.collect::<StringArray>())
            })
            .collect();
        let times = |of: fn(&Made) -> Timestamp| -> ArrayRef {
            let times = rows.clone().map(|(_, made, _)| Some(of(made).0));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let floats = |of: fn(&Made, Option<f64>) -> Option<f64>| -> ArrayRef {
            let floats = rows.clone().map(|(_, made, actual)| of(made, actual));
            Arc::new(floats.collect::<Float64Array>())
        };
        let versions = rows.clone().map(|(_, made, _)| made.version.as_deref());
        columns.extend([
            times(|made| made.at),
            times(|made| made.for_time),
            floats(|made, _| Some(made.prediction)),
            floats(|made, _| made.lower),
            floats(|made, _| made.upper),
            floats(|_, actual| actual),
            Arc::new(versions.collect::<StringArray>()),
        ]);
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(engine_error)
    }
}

/// The columns of a batch of forecasts, ready to be read row by row.
struct Inputs {
    keys: Vec<StringArray>,
    times: TimestampMicrosecondArray,
    targets: Float64Array,
    forecasts: [Float64Array; 3],
    versions: StringArray,
}

impl Inputs {
    fn of(columns: &ForecastColumns, rows: &RecordBatch) -> Result<Self> {
        let column = |name: &str, data_type: &DataType| {
            let column = rows
                .column_by_name(name)
                .ok_or_else(|| Error::internal(format!("forecast rows have no column `{name}`")))?;
            cast(column, data_type).map_err(engine_error)
        };
        let text = |name: &str| Ok(column(name, &DataType::Utf8)?.as_string::<i32>().clone());
        let double = |name: &str| {
            Ok::<_, Error>(column(name, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        let times = column(&columns.time, &timestamp_type())?;
        Ok(Self {
            keys: columns.key.iter().map(|name| text(name)).collect::<Result<_>>()?,
            times: times.as_primitive::<TimestampMicrosecondType>().clone(),
            targets: double(&columns.target)?,
            forecasts: [double("prediction")?, double("lower")?, double("upper")?],
            versions: text("model_version")?,
        })
    }

    fn key(&self, row: usize) -> Key {
        let value = |key: &StringArray| key.is_valid(row).then(|| key.value(row).to_owned());
        self.keys.iter().map(value).collect()
    }

    fn made(&self, row: usize, at: Timestamp, columns: &ForecastColumns) -> Option<Made> {
        let [prediction, lower, upper] = &self.forecasts;
        Some(Made {
            at,
            for_time: at.plus(columns.horizon),
            prediction: valid(prediction, row)?,
            lower: valid(lower, row),
            upper: valid(upper, row),
            version: self.versions.is_valid(row).then(|| self.versions.value(row).to_owned()),
        })
    }
}

fn valid(values: &Float64Array, row: usize) -> Option<f64> {
    values.is_valid(row).then(|| values.value(row))
}

impl Operator for Outcomes {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn process(&mut self, rows: RecordBatch, _: Timestamp, out: &mut Outputs) -> Result<()> {
        self.ledger.rows_in += rows.num_rows() as u64;
        let inputs = Inputs::of(&self.columns, &rows)?;
        let mut given: Vec<(Key, Made, Option<f64>)> = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let key = inputs.key(row);
            let time = inputs.times.is_valid(row).then(|| Timestamp(inputs.times.value(row)));
            let known = self.series.get(&key).map(|series| series.last);
            let Some(time) = time.filter(|time| known.is_none_or(|last| last < *time)) else {
                self.ledger.rows_filtered += 1;
                continue;
            };
            let empty = || Series { last: time, waiting: VecDeque::new() };
            let series = self.series.entry(key.clone()).or_insert_with(empty);
            series.last = time;
            let target = valid(&inputs.targets, row).filter(|target| target.is_finite());
            while let Some(due) = series.waiting.pop_front_if(|made| made.for_time <= time) {
                self.waiting -= 1;
                if due.for_time == time && target.is_some() {
                    given.push((key.clone(), due, target));
                }
            }
            let Some(made) = inputs.made(row, time, &self.columns) else {
                self.ledger.rows_filtered += 1;
                continue;
            };
            self.ledger.rows_emitted += 1;
            if self.waiting < PENDING_MAX {
                self.waiting += 1;
                series.waiting.push_back(made.clone());
            }
            given.push((key, made, None));
        }
        if !given.is_empty() {
            let given = given.iter().map(|(key, made, actual)| (key, made, *actual));
            out.rows.push(self.rows(given)?);
        }
        Ok(())
    }

    fn ledger(&self) -> OperatorLedger {
        self.ledger
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let waiting = self
            .series
            .iter()
            .flat_map(|(key, series)| series.waiting.iter().map(move |made| (key, made, None)));
        // The last row of a series has the columns of a forecast that was made then.
        let last: Vec<(&Key, Made)> =
            self.series.iter().map(|(key, series)| (key, mark(series.last))).collect();
        let last = last.iter().map(|(key, made)| (*key, made, None));
        let batches = vec![
            ("series".to_owned(), self.rows(last)?),
            ("waiting".to_owned(), self.rows(waiting)?),
        ];
        Ok(Snapshot { facts: json!({ "ledger": self.ledger }), batches })
    }

    fn restore(&mut self, mut snapshot: Snapshot) -> Result<()> {
        self.ledger = ledger_from(&snapshot)?;
        let made_at = ForecastColumns {
            time: "made_at".to_owned(),
            target: "actual".to_owned(),
            ..self.columns.clone()
        };
        let read = |batch: RecordBatch| -> Result<Vec<(Key, Option<Made>, Timestamp)>> {
            let inputs = Inputs::of(&made_at, &batch)?;
            let row = |row| {
                let at = Timestamp(inputs.times.value(row));
                (inputs.key(row), inputs.made(row, at, &made_at), at)
            };
            Ok((0..batch.num_rows()).map(row).collect())
        };
        self.series.clear();
        for (key, _, last) in read(snapshot.take("series")?)? {
            self.series.insert(key, Series { last, waiting: VecDeque::new() });
        }
        self.waiting = 0;
        for (key, made, _) in read(snapshot.take("waiting")?)? {
            let series = self.series.get_mut(&key);
            let (Some(series), Some(made)) = (series, made) else {
                return Err(Error::internal("a snapshot's forecast belongs to no series"));
            };
            series.waiting.push_back(made);
            self.waiting += 1;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.series.len() * size_of::<(Key, Series)>() + self.waiting * size_of::<Made>()
    }
}

fn mark(last: Timestamp) -> Made {
    Made { at: last, for_time: last, prediction: 0.0, lower: None, upper: None, version: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn outcomes() -> Outcomes {
        Outcomes::new(ForecastColumns {
            key: vec!["k".to_owned()],
            time: "t".to_owned(),
            features: vec!["y".to_owned()],
            target: "y".to_owned(),
            horizon: Duration::from_secs(120),
        })
    }

    /// Rows of (key, minute, target); each forecasts its target plus a half.
    fn rows(rows: &[(&str, i64, Option<f64>)]) -> RecordBatch {
        let times = rows.iter().map(|row| Some(row.1 * MINUTE));
        let times: TimestampMicrosecondArray = times.collect();
        let prediction: Float64Array = rows.iter().map(|row| Some(row.2? + 0.5)).collect();
        let none: Float64Array = rows.iter().map(|_| None).collect();
        let named: Vec<(&str, ArrayRef)> = vec![
            ("k", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>())),
            ("t", Arc::new(times.with_timezone("UTC"))),
            ("y", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
            ("prediction", Arc::new(prediction)),
            ("lower", Arc::new(none.clone())),
            ("upper", Arc::new(none)),
            ("model_version", Arc::new(rows.iter().map(|_| Some("m/1")).collect::<StringArray>())),
        ];
        RecordBatch::try_from_iter(named).expect("columns of one length")
    }

    /// What is given, as (key, minute it is for, prediction, actual).
    fn give(
        outcomes: &mut Outcomes,
        batch: &[(&str, i64, Option<f64>)],
    ) -> Vec<(String, i64, f64, Option<f64>)> {
        let mut out = Outputs::default();
        outcomes.process(rows(batch), Timestamp::MIN, &mut out).expect("it takes rows");
        assert_eq!(outcomes.ledger().broken(), Vec::<String>::new(), "S12");
        let mut given = Vec::new();
        for batch in &out.rows {
            let (keys, times) = (batch.column(0).as_string::<i32>(), batch.column(2));
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let double = |at: usize| batch.column(at).as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let minute = times.value(row) / MINUTE;
                let key = keys.value(row).to_owned();
                given.push((key, minute, double(3).value(row), valid(double(6), row)));
            }
        }
        given
    }

    #[test]
    fn a_forecast_is_given_again_when_its_instant_has_a_row() {
        let mut outcomes = outcomes();
        let k = || "a".to_owned();
        let first = give(&mut outcomes, &[("a", 0, Some(1.0)), ("a", 1, Some(2.0))]);
        assert_eq!(first, [(k(), 2, 1.5, None), (k(), 3, 2.5, None)]);
        // Minute 2 has no target, minute 3 has one; what is not later than the last is nothing.
        assert_eq!(give(&mut outcomes, &[("a", 2, None), ("a", 1, Some(9.0))]), []);
        let second = give(&mut outcomes, &[("a", 3, Some(4.0)), ("b", 3, Some(7.0))]);
        let b = ("b".to_owned(), 5, 7.5, None);
        assert_eq!(second, [(k(), 3, 2.5, Some(4.0)), (k(), 5, 4.5, None), b]);
        // Nobody knows what minute 5 was, once 6 is there.
        assert_eq!(give(&mut outcomes, &[("a", 6, Some(1.0))]), [(k(), 8, 1.5, None)]);
        assert_eq!(outcomes.waiting, 2);
    }

    #[test]
    fn a_restart_changes_nothing() {
        let all: Vec<(&str, i64, Option<f64>)> = (0..40)
            .map(|row| (["a", "b"][row % 2], row as i64 / 3, (row % 7 > 0).then_some(row as f64)))
            .collect();
        let mut whole = outcomes();
        give(&mut whole, &all[..20]);
        let mut cut = outcomes();
        give(&mut cut, &all[..20]);
        let mut back = outcomes();
        back.restore(cut.snapshot().expect("a snapshot")).expect("its own");
        assert_eq!(give(&mut back, &all[20..]), give(&mut whole, &all[20..]));
        let text = |outcomes: &mut Outcomes| {
            let snapshot = outcomes.snapshot().expect("a snapshot");
            let batches: Vec<_> = snapshot.batches.into_iter().map(|(_, batch)| batch).collect();
            pretty_format_batches(&batches).expect("columns print").to_string()
        };
        assert_eq!(text(&mut back), text(&mut whole));
    }
}

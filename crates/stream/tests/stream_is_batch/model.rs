//! A model whose every number tells whether it saw the rows of its series in order, once each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thalweg_core::model::{Forecast, ForecastColumns, Forecaster, Forecasts, Served, Serving};
use thalweg_core::{Error, Result};
use thalweg_stream::operators::{Answering, Answers};
use thalweg_stream::sql::Names;
use thalweg_stream::sql::predict::NamedModel;

/// Answers with the fading sum of a series' targets, and the error of the one before.
pub(crate) struct Fading {
    columns: ForecastColumns,
}

impl Fading {
    /// Over rows with these columns; the first feature is the target.
    pub(crate) fn new(key: &[&str], time: &str, features: &[&str]) -> Self {
        let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let columns = ForecastColumns {
            key: all(key),
            time: time.to_owned(),
            features: all(features),
            target: features[0].to_owned(),
            horizon: Duration::from_secs(5),
        };
        Self { columns }
    }

    /// This model, with version `version` in service.
    pub(crate) fn answering(&self, version: u64) -> Answering {
        let (serving, columns) = (Serving::from(version), self.columns.clone());
        Answering { serving, served: Arc::new(Version { number: version, columns }) }
    }
}

/// Names with the models, version `version` in service.
pub(crate) fn insert(names: &mut Names, models: &BTreeMap<&'static str, Fading>, version: u64) {
    for (name, model) in models {
        let served = Some(model.answering(version).served);
        names.insert_model(*name, NamedModel { columns: model.columns.clone(), served });
    }
}

/// What an epoch's record says of the models.
pub(crate) fn answers(models: &BTreeMap<&'static str, Fading>, version: u64) -> Answers {
    models.iter().map(|(name, model)| ((*name).to_owned(), model.answering(version))).collect()
}

#[async_trait]
impl Forecasts for Fading {
    fn columns(&self) -> &ForecastColumns {
        &self.columns
    }

    async fn serving(&self) -> Result<Serving> {
        Ok(Serving::from(1))
    }

    async fn load(&self, serving: &Serving) -> Result<Arc<dyn Served>> {
        let version = serving.as_u64().ok_or_else(|| Error::data("no version"))?;
        Ok(self.answering(version).served)
    }
}

#[derive(Clone)]
struct Version {
    number: u64,
    columns: ForecastColumns,
}

impl Served for Version {
    fn start(&self) -> Box<dyn Forecaster> {
        Box::new(Running { version: self.clone(), series: BTreeMap::new() })
    }

    fn resume(&self, state: &[u8]) -> Result<Box<dyn Forecaster>> {
        let series = serde_json::from_slice(state)
            .map_err(|error| Error::data("no state").with_source(error))?;
        Ok(Box::new(Running { version: self.clone(), series }))
    }

    fn take_over(&self, state: &[u8]) -> Result<Box<dyn Forecaster>> {
        let mut series: BTreeMap<String, Series> = serde_json::from_slice(state)
            .map_err(|error| Error::data("no state").with_source(error))?;
        // A swap leaves a mark, so that it can be told from a restart.
        series.values_mut().for_each(|series| series.swaps += 1);
        Ok(Box::new(Running { version: self.clone(), series }))
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Series {
    last: Option<i64>,
    sum: f64,
    error: Option<f64>,
    swaps: u32,
}

struct Running {
    version: Version,
    series: BTreeMap<String, Series>,
}

impl Forecaster for Running {
    fn forecast(&mut self, rows: &RecordBatch) -> Result<Vec<Option<Forecast>>> {
        let columns = &self.version.columns;
        let column = |name: &str| rows.column_by_name(name).expect("the columns of the model");
        let times = column(&columns.time).as_primitive::<TimestampMicrosecondType>();
        let features: Vec<_> =
            columns.features.iter().map(|it| column(it).as_primitive::<Float64Type>()).collect();
        let mut forecasts = Vec::new();
        for row in 0..rows.num_rows() {
            let keys = columns.key.iter().map(|key| column(key).as_string::<i32>().value(row));
            let series = self.series.entry(keys.collect()).or_default();
            let value = |at: usize| features[at].is_valid(row).then(|| features[at].value(row));
            let (time, target) = (times.value(row), value(0).unwrap_or(0.0));
            if series.last.is_none_or(|last| last < time) {
                series.error = series.last.map(|_| (target - series.sum).abs());
                series.last = Some(time);
                series.sum = series.sum / 2.0 + target;
            }
            // Nothing can be said without the second feature.
            let all_there = (1..features.len()).all(|at| value(at).is_some());
            let (prediction, error) = (series.sum + f64::from(series.swaps), series.error);
            forecasts.push(all_there.then(|| Forecast {
                prediction,
                lower: error.map(|error| prediction - error),
                upper: error.map(|error| prediction + error),
                version: format!("fading/{}", self.version.number).into(),
            }));
        }
        Ok(forecasts)
    }

    fn state(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.series).expect("it writes"))
    }
}

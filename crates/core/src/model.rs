//! Models: what a feed can be forecast with.
//!
//! A [`Model`] is a value: trained once, named by its content, never changed. Learning is a
//! [`Trainer`]'s work and makes a new one, so a champion can serve while its challenger is scored.
//!
//! SQL and streams see no model but a [`Forecasts`]: one `[model.X]` of the project, whatever answers
//! for it. Which versions answer now is its [`Serving`]; loaded they are a [`Served`], and what each
//! pipeline learns as its rows pass (means, errors, the state of intervals) is a [`Forecaster`].

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use crate::error::Result;

/// A trained model that predicts one number a row.
///
/// # Contract
///
/// The same features give the same predictions, bit for bit, on the same machine. Predicting does
/// no I/O, so it may run inside a stream.
pub trait Model: Send + Sync {
    /// Names of the features, in the order in which rows give them.
    fn features(&self) -> &[String];

    /// Predicts one value per row; `rows` is row-major with `features().len()` values a row. A
    /// missing feature is NaN, and gives NaN.
    fn predict(&self, rows: &[f64]) -> Vec<f64>;

    /// The bytes the registry stores, which a later version of this code can load.
    fn export(&self) -> Result<Bytes>;
}

/// Learns a model from examples.
pub trait Trainer: Send + Sync {
    /// Name of the candidate, such as `ridge`.
    fn name(&self) -> &str;

    /// Learns from `examples` in event-time order. The order and `seed` fix the result. Holding out
    /// rows for evaluation is the caller's work.
    fn fit(&self, examples: &Examples, seed: u64) -> Result<Box<dyn Model>>;
}

/// Features and labels, in event-time order.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// Names of the features.
    pub features: Vec<String>,
    /// Row-major, `features.len()` values a row.
    pub rows: Vec<f64>,
    /// One label a row.
    pub labels: Vec<f64>,
}

/// A forecast of the project, as SQL and streams see it: `predict(X, …)`.
///
/// # Contract
///
/// A pipeline asks [`serving`](Self::serving) at the start of each epoch, so it must cost next to
/// nothing while nothing changes; what it answers is in the epoch's record, and
/// [`load`](Self::load) takes it back, in this process and in later ones. Both may be dropped
/// half-way.
#[async_trait]
pub trait Forecasts: Send + Sync {
    /// The columns of a row that matter.
    fn columns(&self) -> &ForecastColumns;

    /// Which versions answer now.
    async fn serving(&self) -> Result<Serving>;

    /// Loads versions. Versions that were made for another target or horizon are left out, so a
    /// changed model goes on with what fits it.
    ///
    /// # Errors
    ///
    /// `Data`: what was trained is missing or changed. `Unavailable`: try again.
    async fn load(&self, serving: &Serving) -> Result<Arc<dyn Served>>;
}

/// Which versions answer: opaque to all but the [`Forecasts`] it came from. Equal ones answer alike.
pub type Serving = Value;

/// The columns of a row that a forecast is made from, and how far ahead it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastColumns {
    /// Columns that tell series apart, of any type; empty for one series.
    pub key: Vec<String>,
    /// The row's time: a timestamp, when all of the row was known.
    pub time: String,
    /// Numbers; the target is one of them.
    pub features: Vec<String>,
    /// The column that is forecast.
    pub target: String,
    /// How far ahead of the row's time.
    pub horizon: Duration,
}

impl ForecastColumns {
    /// Every column once, in the order in which a [`Forecaster`] is given them: key, time, features.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let key = self.key.iter();
        key.chain([&self.time]).chain(&self.features).map(String::as_str)
    }
}

/// Versions that are loaded. Cheap to share; what is learnt from rows is not here.
pub trait Served: Send + Sync {
    /// A forecaster that has seen no row.
    fn start(&self) -> Box<dyn Forecaster>;

    /// The forecaster whose [`Forecaster::state`] this is, under these same versions.
    ///
    /// # Errors
    ///
    /// `Data`: these bytes are no state, or one of another horizon.
    fn resume(&self, state: &[u8]) -> Result<Box<dyn Forecaster>>;

    /// Goes on, from the next row, where other versions stopped. No row is lost in between.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    fn take_over(&self, state: &[u8]) -> Result<Box<dyn Forecaster>>;
}

/// Forecasts rows one after the other.
///
/// # Contract
///
/// Forecasts and state are a function of the rows given and of the versions, to the bit. Rows of a
/// key come in order; a row that is not later than the last of its key is forecast, and changes
/// nothing. Series do not influence each other.
pub trait Forecaster: Send {
    /// One forecast a row: `None` where the time is missing or nothing can be said. `rows` has the
    /// columns of [`ForecastColumns::all`].
    fn forecast(&mut self, rows: &RecordBatch) -> Result<Vec<Option<Forecast>>>;

    /// What a restart needs, in bytes of its own format.
    fn state(&self) -> Result<Vec<u8>>;
}

/// The forecast of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The number.
    pub prediction: f64,
    /// Lower end of the interval, once errors are known (S24).
    pub lower: Option<f64>,
    /// Upper end of the interval.
    pub upper: Option<f64>,
    /// Which version answered, such as `ridge/3`.
    pub version: Arc<str>,
}

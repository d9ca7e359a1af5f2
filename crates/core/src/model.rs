//! Models: what a feed can be forecast with.
//!
//! A [`Model`] is a value: trained once, named by its content, never changed. Learning is a
//! [`Trainer`]'s work and makes a new one, so a champion can serve while its challenger is scored.

use bytes::Bytes;

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

//! `naive`: what was seen last.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use crate::linear::Linear;

/// Forecasts the last value; has nothing to learn.
pub struct Naive {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for Naive {
    fn name(&self) -> &str {
        "naive"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        Ok(Box::new(Linear::feature(&examples.features[self.context.target])))
    }
}

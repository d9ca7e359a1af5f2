//! `drift`: the last value, and how far the target has moved over a horizon on average.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::{Context, labelled};
use crate::linear::Linear;

/// Learns the mean change.
pub struct Drift {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for Drift {
    fn name(&self) -> &str {
        "drift"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let target = self.context.target;
        let changes: Vec<f64> = labelled(examples)
            .map(|(row, label)| label - row[target])
            .filter(|change| change.is_finite())
            .collect();
        let mean = changes.iter().sum::<f64>() / changes.len().max(1) as f64;
        Ok(Box::new(Linear::fitted(&examples.features, Some(target), mean, &[])))
    }
}

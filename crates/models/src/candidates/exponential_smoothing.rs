//! `exponential_smoothing`: an exponentially weighted mean of the target's past.
//!
//! Its span is the one that errs least at the horizon; the last value and the mean of all are among
//! the choices, as the shortest and the longest span. It is also the strong baseline of a level.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::{Context, labelled};
use crate::history::SPANS;
use crate::linear::Linear;

/// Chooses a span.
pub struct ExponentialSmoothing {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for ExponentialSmoothing {
    fn name(&self) -> &str {
        "exponential_smoothing"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { target, own_features, .. } = self.context;
        let usable = || labelled(examples).filter(|(row, _)| row[target].is_finite());
        let error = |column: usize| -> f64 {
            usable().map(|(row, label)| (label - row[column]).powi(2)).sum()
        };
        let mut best = (error(target), target);
        for column in own_features..own_features + SPANS {
            let error = error(column);
            if error < best.0 {
                best = (error, column);
            }
        }
        let mean = usable().map(|(_, label)| label).sum::<f64>() / usable().count().max(1) as f64;
        let error_of_mean: f64 = usable().map(|(_, label)| (label - mean).powi(2)).sum();
        Ok(Box::new(if error_of_mean < best.0 {
            Linear::constant(mean)
        } else {
            Linear::feature(&examples.features[best.1])
        }))
    }
}

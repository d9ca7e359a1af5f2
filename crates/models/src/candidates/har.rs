//! `har`: a regression on the target's last value and its means over about 1, 5 and 22 horizons
//! (Corsi 2009; the means are exponential: see `history`).
//!
//! Made for volatility, whose strong baseline it is.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::{Context, labelled};
use crate::history::HAR_SPANS;
use crate::least_squares::Moments;
use crate::linear::Linear;

/// Fits the four weights.
pub struct Har {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for Har {
    fn name(&self) -> &str {
        "har"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { target, own_features, .. } = self.context;
        let usable = labelled(examples).filter(|(row, _)| row[target].is_finite());
        let means = HAR_SPANS.map(|span| own_features + span);
        let columns = [&[target], means.as_slice()].concat();
        let (intercept, weights) = Moments::of(usable, &columns).solve(0.0);
        Ok(Box::new(Linear::fitted(&examples.features, None, intercept, &weights)))
    }
}

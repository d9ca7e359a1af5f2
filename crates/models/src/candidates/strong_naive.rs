//! `strong_naive`: the simple forecast that is hard to beat, by kind of target.
//!
//! - price: no change; return: zero;
//! - level: simple exponential smoothing, its span chosen by squared error at the horizon; the last
//!   value and the mean of all are among the choices, as the shortest and the longest span;
//! - volatility: HAR, a regression on the last value and on means over about 1, 5 and 22 horizons
//!   (Corsi 2009; the means are exponential: see `history`).
//!
//! With fewer than [`ROWS_MIN`] usable rows nothing is fitted: the last value.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::{Context, labelled};
use crate::history::{HAR_SPANS, SPANS};
use crate::least_squares::Moments;
use crate::linear::Linear;
use crate::spec::TargetKind;

/// Fewest rows for which a span or a regression is fitted.
pub const ROWS_MIN: usize = 100;

/// Fits the strong baseline of the target's kind.
pub struct StrongNaive {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for StrongNaive {
    fn name(&self) -> &str {
        "strong_naive"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { kind, target, own_features, .. } = self.context;
        let usable = || labelled(examples).filter(|(row, _)| row[target].is_finite());
        let last_value = || Linear::feature(&examples.features[target]);
        let enough = usable().count() >= ROWS_MIN;
        let model = match kind {
            TargetKind::Return => Linear::constant(0.0),
            TargetKind::Level if enough => {
                let mut best = (squared_error(usable(), target), target);
                for column in own_features..own_features + SPANS {
                    let error = squared_error(usable(), column);
                    if error < best.0 {
                        best = (error, column);
                    }
                }
                let mean = usable().map(|(_, label)| label).sum::<f64>() / usable().count() as f64;
                let error_of_mean: f64 = usable().map(|(_, label)| (label - mean).powi(2)).sum();
                if error_of_mean < best.0 {
                    Linear::constant(mean)
                } else {
                    Linear::feature(&examples.features[best.1])
                }
            }
            TargetKind::Volatility if enough => {
                let means = HAR_SPANS.map(|span| own_features + span);
                let columns = [&[target], means.as_slice()].concat();
                let (intercept, weights) = Moments::of(usable(), &columns).solve(0.0);
                Linear::fitted(&examples.features, None, intercept, &weights)
            }
            TargetKind::Price | TargetKind::Level | TargetKind::Volatility => last_value(),
        };
        Ok(Box::new(model))
    }
}

fn squared_error<'a>(rows: impl Iterator<Item = (&'a [f64], f64)>, column: usize) -> f64 {
    rows.map(|(row, label)| (label - row[column]).powi(2)).sum()
}

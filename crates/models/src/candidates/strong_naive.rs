//! `strong_naive`: the simple forecast that is hard to beat, by kind of target.
//!
//! - price: no change; return: zero;
//! - level: [exponential smoothing](super::exponential_smoothing);
//! - volatility: [HAR](super::har).
//!
//! With fewer than [`ROWS_MIN`] usable rows nothing is fitted: the last value.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::exponential_smoothing::ExponentialSmoothing;
use super::har::Har;
use super::naive::Naive;
use super::{Context, labelled};
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

    fn fit(&self, examples: &Examples, seed: u64) -> Result<Box<dyn Model>> {
        let context = self.context;
        let usable = labelled(examples).filter(|(row, _)| row[context.target].is_finite());
        let is_enough = usable.count() >= ROWS_MIN;
        match context.kind {
            TargetKind::Return => Ok(Box::new(Linear::constant(0.0))),
            TargetKind::Level if is_enough => ExponentialSmoothing { context }.fit(examples, seed),
            TargetKind::Volatility if is_enough => Har { context }.fit(examples, seed),
            TargetKind::Price | TargetKind::Level | TargetKind::Volatility => {
                Naive { context }.fit(examples, seed)
            }
        }
    }
}

//! `elastic_net`: linear regression that leaves out features which say little.
//!
//! Half of the penalty is on the size of the weights and half on their squares (Zou, Hastie 2005).
//! Of a price the *change* is learnt, as by `ridge`. How strong the penalty is, as a share of the
//! one that leaves no feature in, is chosen on the newest rows.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use super::lesson::Lesson;
use crate::least_squares::Weight;

/// Shares tried of the penalty that leaves no feature in, the strongest first.
pub const STRENGTHS: [f64; 10] = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001, 0.0001];

/// Share of the penalty that is on the size of the weights.
pub const SIZE_SHARE: f64 = 0.5;

/// Fits a line that selects its features.
pub struct ElasticNet {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for ElasticNet {
    fn name(&self) -> &str {
        "elastic_net"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { own_features, horizon_rows, .. } = self.context;
        let lesson = Lesson::of(examples, own_features, self.context.price());
        let (intercept, weights) = fit(&lesson, horizon_rows);
        Ok(Box::new(lesson.line(intercept, &weights)))
    }
}

/// The line's intercept and weights.
pub(super) fn fit(lesson: &Lesson<'_>, horizon_rows: usize) -> (f64, Vec<Weight>) {
    lesson.fit_best(horizon_rows, &STRENGTHS, |moments, strength| {
        moments.select(strength * moments.strongest(SIZE_SHARE), SIZE_SHARE)
    })
}

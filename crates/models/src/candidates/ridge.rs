//! `ridge`: linear regression on all features, with a penalty on their weights.
//!
//! Of a price the *change* is learnt, so that the line does not have to know its level. The penalty
//! is the one of [`PENALTIES`] with the least squared error on the newest rows.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use super::lesson::Lesson;

/// Penalties tried, per row learnt from, the strongest first: of equals the simplest line wins.
pub const PENALTIES: [f64; 8] = [1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

/// Fits a line with a penalty.
pub struct Ridge {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for Ridge {
    fn name(&self) -> &str {
        "ridge"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { own_features, horizon_rows, .. } = self.context;
        let lesson = Lesson::of(examples, own_features, self.context.price());
        let (intercept, weights) = lesson.fit_best(horizon_rows, &PENALTIES, |moments, penalty| {
            moments.solve(penalty * moments.rows() as f64)
        });
        Ok(Box::new(lesson.line(intercept, &weights)))
    }
}

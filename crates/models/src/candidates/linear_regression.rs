//! `linear`: linear regression on all features, without a penalty.
//!
//! Of a price the *change* is learnt, as by `ridge`.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use super::lesson::Lesson;

/// Fits a line.
pub struct LinearRegression {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for LinearRegression {
    fn name(&self) -> &str {
        "linear"
    }

    fn fit(&self, examples: &Examples, _seed: u64) -> Result<Box<dyn Model>> {
        let Context { own_features, horizon_rows, .. } = self.context;
        let lesson = Lesson::of(examples, own_features, self.context.price());
        let (intercept, weights) =
            lesson.fit_best(horizon_rows, &[0.0], |moments, penalty| moments.solve(penalty));
        Ok(Box::new(lesson.line(intercept, &weights)))
    }
}

//! `hybrid`: an elastic net, and small boosted trees on what it leaves over.
//!
//! The line follows levels that drift, which trees cannot; the trees bend where the line does not.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::gradient_boosting::{Boosting, boost};
use super::lesson::{Lesson, said};
use super::{Context, elastic_net};

/// Smaller trees than boosting alone: most is said already.
pub const ON_A_LINE: Boosting =
    Boosting { rounds: 100, leaves: 15, leaf_rows_min: 300, rate: 0.03 };

/// Fits a line, then trees.
pub struct Hybrid {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for Hybrid {
    fn name(&self) -> &str {
        "hybrid"
    }

    fn fit(&self, examples: &Examples, seed: u64) -> Result<Box<dyn Model>> {
        let Context { own_features, horizon_rows, .. } = self.context;
        let lesson = Lesson::of(examples, own_features, self.context.price());
        let (intercept, weights) = elastic_net::fit(&lesson, horizon_rows);
        let left = lesson
            .rows
            .iter()
            .zip(&lesson.labels)
            .map(|(row, label)| label - said(row, intercept, &weights))
            .collect();
        let line = lesson.line(intercept, &weights);
        Ok(Box::new(boost(&lesson.relabelled(left), line, ON_A_LINE, seed)))
    }
}

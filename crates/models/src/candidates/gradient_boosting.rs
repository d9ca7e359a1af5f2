//! `gradient_boosting`: trees, each grown on what those before it left over (Friedman 2001).
//!
//! What is learnt is the change from the last value, but of a return the return itself: a tree
//! cannot say a level it has not seen.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use super::lesson::Lesson;
use crate::linear::Linear;
use crate::trees::{Binned, Growth, Trees, grow};

/// How boosting goes.
#[derive(Clone, Copy, Debug)]
pub struct Boosting {
    /// How many trees.
    pub rounds: usize,
    /// Most leaves of a tree.
    pub leaves: usize,
    /// Fewest rows in a leaf.
    pub leaf_rows_min: usize,
    /// Share of what a tree says that is added.
    pub rate: f64,
}

/// As `LightGBM` boosts by default, with smaller steps and fuller leaves: the data are noisy.
pub const ALONE: Boosting = Boosting { rounds: 150, leaves: 31, leaf_rows_min: 100, rate: 0.05 };

/// Grows trees on what is left over.
pub struct GradientBoosting {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for GradientBoosting {
    fn name(&self) -> &str {
        "gradient_boosting"
    }

    fn fit(&self, examples: &Examples, seed: u64) -> Result<Box<dyn Model>> {
        let lesson = Lesson::of(examples, self.context.own_features, self.context.level());
        let mean = lesson.labels.iter().sum::<f64>() / lesson.labels.len().max(1) as f64;
        let line = lesson.line(mean, &[]);
        let left = lesson.labels.iter().map(|label| label - mean).collect();
        Ok(Box::new(boost(&lesson.relabelled(left), line, ALONE, seed)))
    }
}

/// Boosts on the labels of `lesson`, which are what `line` leaves over.
pub(super) fn boost(lesson: &Lesson<'_>, line: Linear, boosting: Boosting, seed: u64) -> Trees {
    let binned = Binned::of(&lesson.rows, &lesson.columns);
    let growth = Growth {
        leaves: boosting.leaves,
        depth: usize::MAX,
        leaf_weight_min: boosting.leaf_rows_min as f64,
        penalty: 1.0,
        features_tried: usize::MAX,
    };
    let mut left = lesson.labels.clone();
    let mut rows: Vec<u32> = (0..left.len() as u32).collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut trees = Vec::with_capacity(boosting.rounds);
    for _ in 0..boosting.rounds {
        let grown = grow(&binned, &mut rows, &left, None, growth, &mut rng);
        for (range, value) in grown.leaves {
            for &row in &rows[range] {
                left[row as usize] -= boosting.rate * value;
            }
        }
        trees.push(grown.tree);
    }
    Trees::new(&lesson.features(), line, boosting.rate, trees)
}

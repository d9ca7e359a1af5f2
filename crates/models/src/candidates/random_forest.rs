//! `random_forest`: the mean of trees, each grown on rows drawn anew (Breiman 2001).
//!
//! What is learnt is the change from the last value, but of a return the return itself: a tree
//! cannot say a level it has not seen.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::Context;
use super::lesson::Lesson;
use crate::trees::{Binned, Growth, Trees, grow};

/// How many trees are averaged.
pub const TREES: usize = 100;

/// Grows a forest.
pub struct RandomForest {
    /// Which series this is.
    pub context: Context,
}

impl Trainer for RandomForest {
    fn name(&self) -> &str {
        "random_forest"
    }

    fn fit(&self, examples: &Examples, seed: u64) -> Result<Box<dyn Model>> {
        let lesson = Lesson::of(examples, self.context.own_features, self.context.level());
        let binned = Binned::of(&lesson.rows, &lesson.columns);
        let growth = Growth {
            leaves: usize::MAX,
            depth: 12,
            leaf_weight_min: 10.0,
            penalty: 0.0,
            features_tried: binned.width.div_ceil(3),
        };
        let mean = lesson.labels.iter().sum::<f64>() / lesson.labels.len().max(1) as f64;
        let left: Vec<f64> = lesson.labels.iter().map(|label| label - mean).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut trees = Vec::with_capacity(TREES);
        for _ in 0..TREES {
            let mut weights = vec![0.0; left.len()];
            for _ in 0..left.len() {
                weights[rng.random_range(0..left.len())] += 1.0;
            }
            let mut rows: Vec<u32> =
                (0..left.len() as u32).filter(|&row| weights[row as usize] > 0.0).collect();
            trees.push(grow(&binned, &mut rows, &left, Some(&weights), growth, &mut rng).tree);
        }
        let line = lesson.line(mean, &[]);
        Ok(Box::new(Trees::new(&lesson.features(), line, 1.0 / TREES as f64, trees)))
    }
}

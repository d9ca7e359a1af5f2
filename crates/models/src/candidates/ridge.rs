//! `ridge`: linear regression on all features, with a penalty on their weights.
//!
//! Of a price the *change* is learnt, so that the line does not have to know its level. Rows with a
//! missing feature are not learnt from; a feature that is missing in more than half of the rows is
//! left out instead. The penalty is the one of [`PENALTIES`] with the least squared error on the
//! newest [`TAIL_SHARE`] of the rows, the rows before it learnt from without those whose label
//! reaches into it; then all rows are learnt from.

use thalweg_core::Result;
use thalweg_core::model::{Examples, Model, Trainer};

use super::{Context, labelled};
use crate::least_squares::{Moments, Weight};
use crate::linear::Linear;
use crate::spec::TargetKind;

/// Penalties tried, per row learnt from, the strongest first: of equals the simplest line wins.
pub const PENALTIES: [f64; 8] = [1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

/// Share of the rows the penalty is chosen on.
pub const TAIL_SHARE: f64 = 0.2;

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
        let Context { kind, target, own_features, horizon_rows } = self.context;
        let base = (kind == TargetKind::Price).then_some(target);
        let columns = columns_present(examples, own_features);
        let usable: Vec<(&[f64], f64)> = labelled(examples)
            .filter(|(row, _)| columns.iter().all(|&column| row[column].is_finite()))
            .map(|(row, label)| (row, label - base.map_or(0.0, |base| row[base])))
            .filter(|(_, label)| label.is_finite())
            .collect();
        let tail_start = usable.len() - (usable.len() as f64 * TAIL_SHARE).ceil() as usize;
        let head = &usable[..tail_start.saturating_sub(horizon_rows)];
        let moments = Moments::of(head.iter().copied(), &columns);
        let mut best = (f64::INFINITY, PENALTIES[0]);
        for penalty in PENALTIES {
            let (intercept, weights) = moments.solve(penalty * head.len() as f64);
            let error = squared_error(&usable[tail_start..], intercept, &weights);
            if error < best.0 {
                best = (error, penalty);
            }
        }
        let all = Moments::of(usable.iter().copied(), &columns);
        let (intercept, weights) = all.solve(best.1 * usable.len() as f64);
        Ok(Box::new(Linear::fitted(&examples.features, base, intercept, &weights)))
    }
}

/// The columns that most rows have.
fn columns_present(examples: &Examples, own_features: usize) -> Vec<usize> {
    let present = |column: &usize| {
        let missing = labelled(examples).filter(|(row, _)| !row[*column].is_finite()).count();
        2 * missing <= examples.labels.len()
    };
    (0..own_features).filter(present).collect()
}

fn squared_error(rows: &[(&[f64], f64)], intercept: f64, weights: &[Weight]) -> f64 {
    rows.iter()
        .map(|(row, label)| {
            let add = |sum, weight: &Weight| {
                sum + weight.weight * ((row[weight.column] - weight.mean) / weight.scale)
            };
            (label - weights.iter().fold(intercept, add)).powi(2)
        })
        .sum()
}

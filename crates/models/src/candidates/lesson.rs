//! What a regression learns from: rows that have all of its features, and what is left to say.
//!
//! Rows with a missing feature are not learnt from; a feature that is missing in more than half of
//! the rows is left out instead.

use thalweg_core::model::Examples;

use super::labelled;
use crate::least_squares::{Moments, Weight};
use crate::linear::Linear;

/// Share of the rows a penalty is chosen on.
const TAIL_SHARE: f64 = 0.2;

/// Rows with their labels, in event-time order.
pub(super) struct Lesson<'a> {
    names: &'a [String],
    base: Option<usize>,
    /// The features used, as columns of a row.
    pub(super) columns: Vec<usize>,
    /// Whole rows.
    pub(super) rows: Vec<&'a [f64]>,
    /// The label of each row, less its `base`.
    pub(super) labels: Vec<f64>,
}

impl<'a> Lesson<'a> {
    /// The lesson in the first `own_features` columns. With a `base` what is learnt is the change
    /// from that column, which may be at any level then.
    pub(super) fn of(examples: &'a Examples, own_features: usize, base: Option<usize>) -> Self {
        let missing =
            |column: usize| labelled(examples).filter(|(row, _)| !row[column].is_finite()).count();
        let columns: Vec<usize> = (0..own_features)
            .filter(|&column| base == Some(column) || 2 * missing(column) <= examples.labels.len())
            .collect();
        let (rows, labels) = labelled(examples)
            .filter(|(row, _)| columns.iter().all(|&column| row[column].is_finite()))
            .map(|(row, label)| (row, label - base.map_or(0.0, |base| row[base])))
            .filter(|(_, label)| label.is_finite())
            .unzip();
        Self { names: &examples.features, base, columns, rows, labels }
    }

    /// Names of the features used.
    pub(super) fn features(&self) -> Vec<String> {
        self.columns.iter().map(|&column| self.names[column].clone()).collect()
    }

    /// A line over whole rows that adds what was learnt to the base.
    pub(super) fn line(&self, intercept: f64, weights: &[Weight]) -> Linear {
        Linear::fitted(self.names, self.base, intercept, weights)
    }

    /// The same rows with other labels.
    pub(super) fn relabelled(&self, labels: Vec<f64>) -> Self {
        Self { columns: self.columns.clone(), rows: self.rows.clone(), labels, ..*self }
    }

    /// Fits with each of `strengths` to the older rows, and then with the one that errs least on the
    /// newest [`TAIL_SHARE`] to all of them. Rows whose label reaches into the tail are left out
    /// before the choice (S21). Of equals the first wins.
    pub(super) fn fit_best(
        &self,
        horizon_rows: usize,
        strengths: &[f64],
        fit: impl Fn(&Moments, f64) -> (f64, Vec<Weight>),
    ) -> (f64, Vec<Weight>) {
        let tail = self.rows.len() - (self.rows.len() as f64 * TAIL_SHARE).ceil() as usize;
        let head = self.moments(0..tail.saturating_sub(horizon_rows));
        let mut best = (f64::INFINITY, strengths[0]);
        for &strength in strengths {
            let (intercept, weights) = fit(&head, strength);
            let error: f64 = (tail..self.rows.len())
                .map(|row| (self.labels[row] - said(self.rows[row], intercept, &weights)).powi(2))
                .sum();
            if error < best.0 {
                best = (error, strength);
            }
        }
        fit(&self.moments(0..self.rows.len()), best.1)
    }

    fn moments(&self, range: std::ops::Range<usize>) -> Moments {
        let labels = self.labels[range.clone()].iter().copied();
        Moments::of(self.rows[range].iter().copied().zip(labels), &self.columns)
    }
}

/// What a line without its base says of a whole row.
pub(super) fn said(row: &[f64], intercept: f64, weights: &[Weight]) -> f64 {
    let add = |sum, weight: &Weight| {
        sum + weight.weight * ((row[weight.column] - weight.mean) / weight.scale)
    };
    weights.iter().fold(intercept, add)
}

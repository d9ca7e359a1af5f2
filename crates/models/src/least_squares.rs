//! Linear least squares with a penalty: ridge in closed form, the elastic net by descent.
//!
//! Ridge minimises `Σ (y − b − Σ w·z)² + λ Σ w²` over standardised features `z = (x − mean) / scale`, the
//! intercept free: scikit-learn's `StandardScaler` and `Ridge(alpha = λ)`. The normal equations are
//! summed in the order of the rows and solved by Cholesky, so the result is the same to the bit.

use nalgebra::{Cholesky, DMatrix, DVector};

/// Rounds of coordinate descent at most; columns that repeat each other converge slowly.
const SWEEPS_MAX: usize = 2_000;

/// What the rows say about their columns, enough to fit with any penalty.
pub struct Moments {
    columns: Vec<usize>,
    means: Vec<f64>,
    scales: Vec<f64>,
    target_mean: f64,
    gram: DMatrix<f64>,
    cross: DVector<f64>,
    rows: usize,
}

/// A fitted feature: adds `weight · (x − mean) / scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// Which column of a row.
    pub column: usize,
    /// Its mean over the rows learnt from.
    pub mean: f64,
    /// Its standard deviation over them.
    pub scale: f64,
    /// What one standard deviation adds.
    pub weight: f64,
}

impl Moments {
    /// Sums over `rows` (each with its target) of the given columns. A column that does not vary
    /// says nothing and is left out. All values are finite.
    pub fn of<'a>(rows: impl Iterator<Item = (&'a [f64], f64)> + Clone, columns: &[usize]) -> Self {
        let mut count = 0_usize;
        let mut means = vec![0.0; columns.len()];
        let mut target_mean = 0.0;
        for (row, target) in rows.clone() {
            count += 1;
            target_mean += target;
            for (mean, &column) in means.iter_mut().zip(columns) {
                *mean += row[column];
            }
        }
        let n = count.max(1) as f64;
        target_mean /= n;
        means.iter_mut().for_each(|mean| *mean /= n);
        let mut scales = vec![0.0; columns.len()];
        for (row, _) in rows.clone() {
            for ((scale, mean), &column) in scales.iter_mut().zip(&means).zip(columns) {
                *scale += (row[column] - mean).powi(2);
            }
        }
        scales.iter_mut().for_each(|scale| *scale = (*scale / n).sqrt());
        // Below this a column is constant but for rounding.
        let varies: Vec<usize> = (0..columns.len())
            .filter(|&i| scales[i] > 1e-10 * means[i].abs().max(1e-200))
            .collect();
        let pick = |all: &[f64]| -> Vec<f64> { varies.iter().map(|&i| all[i]).collect() };
        let (means, scales) = (pick(&means), pick(&scales));
        let columns: Vec<usize> = varies.iter().map(|&i| columns[i]).collect();
        let width = columns.len();
        let mut gram = DMatrix::zeros(width, width);
        let mut cross = DVector::zeros(width);
        let mut z = vec![0.0; width];
        for (row, target) in rows {
            for i in 0..width {
                z[i] = (row[columns[i]] - means[i]) / scales[i];
            }
            for i in 0..width {
                cross[i] += z[i] * (target - target_mean);
                for j in 0..=i {
                    gram[(i, j)] += z[i] * z[j];
                }
            }
        }
        gram.fill_upper_triangle_with_lower_triangle();
        Self { columns, means, scales, target_mean, gram, cross, rows: count }
    }

    /// How many rows were summed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Intercept and weights for a penalty λ ≥ 0.
    pub fn solve(&self, penalty: f64) -> (f64, Vec<Weight>) {
        let mut matrix = self.gram.clone();
        // Columns that repeat each other make the matrix singular; a trace of a penalty, far below
        // what a float of the data holds, splits the weight between them.
        let ridge = penalty.max(1e-12 * self.rows as f64);
        for i in 0..self.columns.len() {
            matrix[(i, i)] += ridge;
        }
        let weights = match Cholesky::new(matrix) {
            Some(factor) => factor.solve(&self.cross),
            // Not positive definite to rounding: stronger, until it is. The diagonal is `rows`, so
            // this ends before the penalty has reached it.
            None if penalty < self.rows as f64 => return self.solve(ridge * 100.0),
            None => DVector::zeros(self.columns.len()),
        };
        (self.target_mean, self.weights(weights.as_slice()))
    }

    /// Intercept and weights that minimise `1/2n Σ (y − b − Σ w·z)² + λ·(s·Σ|w| + (1−s)/2·Σ w²)`,
    /// for λ ≥ 0 and a share 0 < s ≤ 1: scikit-learn's `ElasticNet(alpha = λ, l1_ratio = s)`. Features
    /// whose weight is zero are left out. By coordinate descent (Friedman, Hastie, Tibshirani 2010).
    pub fn select(&self, penalty: f64, size_share: f64) -> (f64, Vec<Weight>) {
        let n = self.rows.max(1) as f64;
        let width = self.columns.len();
        let mut weights = vec![0.0_f64; width];
        // What the data say of each weight, beyond what the others have said already.
        let mut said: Vec<f64> = (0..width).map(|i| self.cross[i] / n).collect();
        let tolerance = 1e-9 * self.strongest(1.0);
        for _ in 0..SWEEPS_MAX {
            let mut moved = 0.0_f64;
            for i in 0..width {
                let alone = said[i] + weights[i];
                let size = (alone.abs() - penalty * size_share).max(0.0);
                let weight = size.copysign(alone) / (1.0 + penalty * (1.0 - size_share));
                let step = weight - weights[i];
                if step != 0.0 {
                    weights[i] = weight;
                    for (j, said) in said.iter_mut().enumerate() {
                        *said -= step * self.gram[(j, i)] / n;
                    }
                    moved = moved.max(step.abs());
                }
            }
            if moved <= tolerance {
                break;
            }
        }
        let mut kept = self.weights(&weights);
        kept.retain(|weight| weight.weight != 0.0);
        (self.target_mean, kept)
    }

    /// The least λ at which [`Moments::select`] leaves no feature in.
    pub fn strongest(&self, size_share: f64) -> f64 {
        let n = self.rows.max(1) as f64;
        self.cross.iter().fold(0.0_f64, |most, cross| most.max(cross.abs())) / n / size_share
    }

    fn weights(&self, weights: &[f64]) -> Vec<Weight> {
        weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| Weight {
                column: self.columns[i],
                mean: self.means[i],
                scale: self.scales[i],
                weight,
            })
            .collect()
    }
}

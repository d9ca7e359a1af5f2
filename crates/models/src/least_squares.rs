//! Linear least squares with a penalty, in closed form.
//!
//! Minimises `Σ (y − b − Σ w·z)² + λ Σ w²` over standardised features `z = (x − mean) / scale`, the
//! intercept free: scikit-learn's `StandardScaler` and `Ridge(alpha = λ)`. The normal equations are
//! summed in the order of the rows and solved by Cholesky, so the result is the same to the bit.

use nalgebra::{Cholesky, DMatrix, DVector};

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
        let weights = (0..self.columns.len())
            .map(|i| Weight {
                column: self.columns[i],
                mean: self.means[i],
                scale: self.scales[i],
                weight: weights[i],
            })
            .collect();
        (self.target_mean, weights)
    }
}

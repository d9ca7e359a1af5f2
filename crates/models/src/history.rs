//! The past of a target, remembered in constant space: exponentially weighted means.
//!
//! For each span τ of a fixed grid, `mean += (1 − exp(−Δt/τ)) · (value − mean)`, where Δt is the
//! time since the last value: so a gap in the rows fades the past as much as rows would. The grid
//! is half-octaves of the horizon, from 1/64 to 32 horizons. It carries both strong baselines:
//! simple exponential smoothing is the one mean that forecasts best, HAR a regression on three
//! (with exponential in place of flat windows: Bollerslev, Hood, Huss, Pedersen 2018, "HExp").

use serde::{Deserialize, Serialize};
use thalweg_core::time::Timestamp;

/// Half-octaves below and above one horizon.
const LOWEST: i32 = -12;
const HIGHEST: i32 = 10;

/// How many means are kept.
pub(crate) const SPANS: usize = (HIGHEST - LOWEST + 1) as usize;

/// Spans of HAR: flat windows of 1, 5 and 22 horizons have mean ages of half that, and so have
/// exponential ones of 0.5, 2.8 and 11.3 horizons.
pub(crate) const HAR_SPANS: [usize; 3] = [span(-2), span(3), span(7)];

const fn span(half_octaves: i32) -> usize {
    (half_octaves - LOWEST) as usize
}

/// Names of the means as features, in the order of [`History::means`].
pub(crate) fn names(target: &str) -> Vec<String> {
    (0..SPANS).map(|span| format!("mean({target}, {:.3} horizons)", horizons(span))).collect()
}

/// A span in horizons.
fn horizons(span: usize) -> f64 {
    (f64::from(LOWEST + span as i32) * 0.5).exp2()
}

/// The means of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    horizon_micros: i64,
    last: Option<Timestamp>,
    // Empty before the first value.
    means: Vec<f64>,
    // Weights of the last Δt: rows mostly come at one distance.
    #[serde(skip)]
    weights: (i64, Vec<f64>),
}

impl History {
    /// Remembers nothing yet.
    pub(crate) fn new(horizon_micros: i64) -> Self {
        Self { horizon_micros, last: None, means: Vec::new(), weights: (0, Vec::new()) }
    }

    /// Whether this, read from foreign bytes, can go on as the history of such a series.
    pub(crate) fn is_of(&self, horizon_micros: i64) -> bool {
        let filled = self.means.len() == SPANS && self.last.is_some();
        let empty = self.means.is_empty() && self.last.is_none();
        self.horizon_micros == horizon_micros && (filled || empty)
    }

    /// Takes a value in; a missing one changes nothing.
    pub(crate) fn push(&mut self, time: Timestamp, value: f64) {
        if !value.is_finite() {
            return;
        }
        let Some(last) = self.last.replace(time) else {
            self.means = vec![value; SPANS];
            return;
        };
        let elapsed = time.0.saturating_sub(last.0).max(0);
        if self.weights.0 != elapsed || self.weights.1.is_empty() {
            let unit = elapsed as f64 / self.horizon_micros as f64;
            let weights = (0..SPANS).map(|span| -(-unit / horizons(span)).exp_m1()).collect();
            self.weights = (elapsed, weights);
        }
        for (mean, weight) in self.means.iter_mut().zip(&self.weights.1) {
            *mean += weight * (value - *mean);
        }
    }

    /// Appends the means to a row; NaN before the first value.
    pub(crate) fn extend(&self, row: &mut Vec<f64>) {
        if self.means.is_empty() {
            row.extend([f64::NAN; SPANS]);
        } else {
            row.extend_from_slice(&self.means);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mean_is_simple_exponential_smoothing_at_even_steps() {
        let mut history = History::new(1_000_000);
        let values = [3.0, 5.0, 4.0, 8.0, 1.0];
        for (step, value) in values.into_iter().enumerate() {
            history.push(Timestamp(step as i64 * 1_000_000), value);
        }
        let mut row = Vec::new();
        history.extend(&mut row);
        // One horizon: alpha = 1 − 1/e.
        let alpha = 1.0 - (-1.0_f64).exp();
        let mut level = values[0];
        for value in &values[1..] {
            level += alpha * (value - level);
        }
        assert!((row[span(0)] - level).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn means_stay_within_what_was_seen(values in prop::collection::vec(-1e3..1e3_f64, 1..50)) {
            let mut history = History::new(60);
            let mut time = 0;
            for value in &values {
                history.push(Timestamp(time), *value);
                time += 7;
            }
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut row = Vec::new();
            history.extend(&mut row);
            prop_assert!(row.iter().all(|mean| (low - 1e-9..=high + 1e-9).contains(mean)));
        }
    }
}

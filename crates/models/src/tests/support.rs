//! Batches, settings and noise for the tests.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::champion::ChampionRule;
use crate::spec::{Candidate, ModelSpec};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const MINUTE_MICROS: i64 = 60_000_000;

/// A model of `target` one minute ahead that learns from and is scored on everything.
pub(super) fn spec(target: &str) -> ModelSpec {
    ModelSpec {
        name: "m".into(),
        key: vec!["symbol".into()],
        time: "at".into(),
        target: target.into(),
        horizon: MINUTE,
        kind: None,
        candidates: vec![Candidate::Ridge],
        train_window: Duration::from_secs(86_400 * 365),
        train_rows_min: 500,
        evaluate_window: Duration::from_secs(86_400 * 365),
        gap: MINUTE,
        champion: ChampionRule { rows_min: 1_000, ..ChampionRule::default() },
    }
}

/// Rows of one symbol, a minute apart from minute `first`.
pub(super) fn batch(symbol: &str, first: i64, columns: &[(&str, Vec<f64>)]) -> RecordBatch {
    let count = columns[0].1.len();
    let times = (0..count as i64).map(|row| (first + row) * MINUTE_MICROS);
    let mut named: Vec<(&str, ArrayRef)> = vec![
        ("symbol", Arc::new(StringArray::from(vec![symbol; count]))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
    ];
    for (name, values) in columns {
        named.push((name, Arc::new(Float64Array::from(values.clone()))));
    }
    RecordBatch::try_from_iter(named).expect("columns of one length")
}

/// Normal noise from a seed.
pub(super) struct Noise(SmallRng);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(super) fn next(&mut self) -> f64 {
        let (radius, angle): (f64, f64) = (self.0.random(), self.0.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub(super) fn shuffle(&mut self, values: &mut [f64]) {
        for place in (1..values.len()).rev() {
            values.swap(place, self.below(place + 1));
        }
    }
}

//! Intervals round a forecast that keep their coverage while the world changes.
//!
//! Adaptive conformal inference (Gibbs and Candès 2021): the width at level 1 − α is the (1 − αₜ)
//! quantile of the newest absolute errors, and after each label αₜ moves by γ (α − missed), so that
//! misses average α over time whatever the errors do. A label comes a horizon after its forecast,
//! and only then is anything learnt from it (S24).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How fast αₜ moves.
pub const GAMMA: f64 = 0.002;

/// Newest errors remembered.
pub const ERRORS_MAX: usize = 1_000;

/// Fewest errors from which an interval is drawn.
pub const ERRORS_MIN: usize = 20;

/// The levels, in the order in which bands come.
pub const LEVELS: [f64; 3] = [0.80, 0.90, 0.95];

/// Which of [`LEVELS`] is `lower` and `upper` of a forecast: 90 %.
pub const SHOWN: usize = 1;

/// Half the width of the interval at each level.
pub type Widths = [f64; LEVELS.len()];

/// The interval of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Intervals {
    levels: [Level; LEVELS.len()],
    errors: VecDeque<f64>,
    // The same errors in order, so that a quantile is a look-up.
    sorted: Vec<f64>,
}

/// One level: where its quantile stands, and how often it held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    miss_rate: f64,
    /// Labels that came.
    pub labels: u64,
    /// Labels that were within.
    pub hits: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    levels: [Level; LEVELS.len()],
    errors: VecDeque<f64>,
}

impl From<Stored> for Intervals {
    fn from(stored: Stored) -> Self {
        let mut intervals = Self::new(&[]);
        intervals.levels = stored.levels;
        intervals.remember(stored.errors);
        intervals
    }
}

impl From<Intervals> for Stored {
    fn from(intervals: Intervals) -> Self {
        Self { levels: intervals.levels, errors: intervals.errors }
    }
}

impl Intervals {
    /// Starts from absolute errors on rows that were held out, oldest first.
    pub fn new(errors: &[f64]) -> Self {
        let level = |level: f64| Level { miss_rate: 1.0 - level, labels: 0, hits: 0 };
        let mut intervals =
            Self { levels: LEVELS.map(level), errors: VecDeque::new(), sorted: Vec::new() };
        intervals.remember(errors.iter().copied());
        intervals
    }

    /// Starts over from the errors of another model, with the rates and counts reached so far.
    pub fn restart(&mut self, errors: &[f64]) {
        self.errors.clear();
        self.sorted.clear();
        self.remember(errors.iter().copied());
    }

    /// Half the widths now; `None` before [`ERRORS_MIN`] errors are known.
    pub fn widths(&self) -> Option<Widths> {
        let count = self.sorted.len();
        if count < ERRORS_MIN {
            return None;
        }
        Some(self.levels.map(|level| {
            // The ⌈(n + 1)(1 − α)⌉-th smallest; beyond the largest there is none to take.
            let rank = ((count + 1) as f64 * (1.0 - level.miss_rate)).ceil();
            self.sorted[(rank.max(1.0) as usize).min(count) - 1]
        }))
    }

    /// Learns how far off a forecast with these widths was.
    pub fn observe(&mut self, widths: Option<&Widths>, absolute_error: f64) {
        if !absolute_error.is_finite() {
            return;
        }
        if let Some(widths) = widths {
            for ((level, nominal), width) in self.levels.iter_mut().zip(LEVELS).zip(widths) {
                let missed = absolute_error > *width;
                level.labels += 1;
                level.hits += u64::from(!missed);
                level.miss_rate += GAMMA * (1.0 - nominal - f64::from(u8::from(missed)));
            }
        }
        self.remember([absolute_error]);
    }

    /// Counts of each level of [`LEVELS`], since the state began.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    fn remember(&mut self, errors: impl IntoIterator<Item = f64>) {
        for error in errors.into_iter().filter(|error| error.is_finite()) {
            if self.errors.len() == ERRORS_MAX
                && let Some(oldest) = self.errors.pop_front()
            {
                let place = self.sorted.partition_point(|known| *known < oldest);
                self.sorted.remove(place);
            }
            let place = self.sorted.partition_point(|known| *known < error);
            self.sorted.insert(place, error);
            self.errors.push_back(error);
        }
    }
}

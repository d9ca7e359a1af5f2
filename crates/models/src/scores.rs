//! How well versions forecast, measured on identical rows.
//!
//! Every version answers every row through the loop that also serves. A row counts when its label
//! is known and every version and both baselines had an answer. Errors of several series are
//! weighed by the naive forecast's: a price of 60,000 and one of 1.1 count the same, and of one
//! series nothing changes.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_core::time::Timestamp;

use crate::examples::label_rows;
use crate::intervals::{LEVELS, SHOWN, Widths};
use crate::predict::{Predictor, Served};
use crate::series::SeriesSet;
use crate::significance::{Comparison, diebold_mariano, share_interval};
use crate::spec::TargetKind;

/// What the versions said of the same rows, and what came.
pub struct Outcomes {
    kind: TargetKind,
    horizon_rows: usize,
    rows: Vec<Row>,
    // By version, then row.
    predictions: Vec<Vec<f64>>,
    widths: Vec<Vec<Option<Widths>>>,
    fallbacks: Vec<u64>,
    // One over the naive forecast's mean squared error, by series.
    weights: Vec<f64>,
}

struct Row {
    time: Timestamp,
    series: usize,
    current: f64,
    actual: f64,
}

/// The measures of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Rows scored.
    pub rows: usize,
    /// Root of the mean squared error, in the target's unit.
    pub rmse: f64,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Mean absolute error over that of `naive` on the same rows, weighed by series.
    pub mase: f64,
    /// Root of the mean squared error with each series weighed by its naive error: `naive` has 1.
    pub relative_rmse: f64,
    /// 1 − squared error over that of `naive`.
    pub skill_naive: f64,
    /// 1 − squared error over that of `strong_naive`.
    pub skill_strong_naive: f64,
    /// How often the direction was right.
    pub direction: Direction,
    /// Share of labels within the interval, by level of [`LEVELS`]; `None` before there were any.
    pub coverage: [Option<f64>; LEVELS.len()],
    /// Mean width of the 90 % interval, in the target's unit.
    pub width: Option<f64>,
    /// Mean gain a row in basis points of following the direction, before costs; prices and returns.
    pub gross_edge_bp: Option<f64>,
    /// Rows on which it had no answer and `strong_naive` spoke for it.
    pub rows_fallen_back: u64,
}

/// How often a direction was right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// Rows on which both forecast and outcome moved.
    pub rows: u64,
    /// Share of them in which they moved the same way.
    pub accuracy: Option<f64>,
    /// Lower end of the share's 95 % interval.
    pub low: f64,
    /// Upper end of the share's 95 % interval.
    pub high: f64,
}

impl Outcomes {
    /// Lets `versions` answer the rows of `set`. Scored are those at `range`; earlier ones warm
    /// up. The first two versions are `naive` and `strong_naive`.
    pub fn of(
        set: &SeriesSet,
        kind: TargetKind,
        versions: &[Arc<Served>],
        range: Range<Timestamp>,
    ) -> Self {
        let horizon = versions.first().map_or(std::time::Duration::ZERO, |v| v.horizon);
        let width = set.layout.features.len();
        let target = set.layout.target;
        let step = set.step_micros().max(1);
        let horizon_micros = thalweg_core::time::micros(horizon);
        let horizon_rows = usize::try_from((horizon_micros + step / 2) / step).unwrap_or(1).max(1);
        let mut predictors: Vec<_> = versions
            .iter()
            .map(|served| Predictor::new(served.clone(), set.layout.clone()))
            .collect();
        let mut outcomes = Self {
            kind,
            horizon_rows,
            rows: Vec::new(),
            predictions: vec![Vec::new(); versions.len()],
            widths: vec![Vec::new(); versions.len()],
            fallbacks: vec![0; versions.len()],
            weights: vec![0.0; set.series.len()],
        };
        for (place, series) in set.series.iter().enumerate() {
            let labels = label_rows(&series.times, horizon);
            for (row, &time) in series.times.iter().enumerate() {
                if time >= range.end {
                    break;
                }
                let features = series.row(row, width);
                if time < range.start {
                    for predictor in &mut predictors {
                        predictor.warm_up(&series.key, time, features);
                    }
                    continue;
                }
                let answers: Vec<_> = predictors
                    .iter_mut()
                    .map(|predictor| predictor.predict_row(&series.key, time, features))
                    .collect();
                let actual = labels[row].map(|label| series.row(label, width)[target]);
                let (Some(actual), Some(answers)) =
                    (actual.filter(|value| value.is_finite()), all_of(answers))
                else {
                    continue;
                };
                let current = features[target];
                if !current.is_finite() {
                    continue;
                }
                outcomes.rows.push(Row { time, series: place, current, actual });
                for (version, answer) in answers.into_iter().enumerate() {
                    outcomes.predictions[version].push(answer.prediction);
                    outcomes.widths[version].push(answer.widths);
                    let champion = versions[version].champion.as_ref();
                    let fell_back = champion.is_some_and(|own| *own.label() != answer.version);
                    outcomes.fallbacks[version] += u64::from(fell_back);
                }
            }
        }
        outcomes.weigh();
        outcomes
    }

    /// Adds the rows of later windows, scored by other trainings of the same candidates.
    pub fn append(&mut self, mut later: Self) {
        self.rows.append(&mut later.rows);
        for (mine, theirs) in self.predictions.iter_mut().zip(&mut later.predictions) {
            mine.append(theirs);
        }
        for (mine, theirs) in self.widths.iter_mut().zip(&mut later.widths) {
            mine.append(theirs);
        }
        for (mine, theirs) in self.fallbacks.iter_mut().zip(later.fallbacks) {
            *mine += theirs;
        }
        self.weigh();
    }

    fn weigh(&mut self) {
        let mut sums = vec![(0.0, 0.0); self.weights.len()];
        for (row, prediction) in self.rows.iter().zip(&self.predictions[0]) {
            sums[row.series].0 += (row.actual - prediction).powi(2);
            sums[row.series].1 += 1.0;
        }
        for (weight, (sum, count)) in self.weights.iter_mut().zip(sums) {
            // A series that stood still says nothing about who forecasts better.
            *weight = if sum > 0.0 { count / sum } else { 0.0 };
        }
    }

    /// What the target measures.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Rows scored.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn squared_loss(&self, version: usize) -> f64 {
        let loss = |(row, prediction): (&Row, &f64)| {
            self.weights[row.series] * (row.actual - prediction).powi(2)
        };
        self.rows.iter().zip(&self.predictions[version]).map(loss).sum()
    }

    /// The measures of one version.
    pub fn scores(&self, version: usize) -> Scores {
        let n = self.rows.len().max(1) as f64;
        let errors = || {
            self.rows.iter().zip(&self.predictions[version]).map(|(row, p)| (row, row.actual - p))
        };
        let absolute = |version: usize| -> f64 {
            let pairs = self.rows.iter().zip(&self.predictions[version]);
            pairs.map(|(row, p)| self.weights[row.series].sqrt() * (row.actual - p).abs()).sum()
        };
        let (loss, naive, strong) =
            (self.squared_loss(version), self.squared_loss(0), self.squared_loss(1));
        let (coverage, width) = self.interval_scores(version);
        Scores {
            rows: self.rows.len(),
            rmse: (errors().map(|(_, error)| error * error).sum::<f64>() / n).sqrt(),
            mae: errors().map(|(_, error)| error.abs()).sum::<f64>() / n,
            mase: ratio(absolute(version), absolute(0)),
            relative_rmse: ratio(loss, naive).sqrt(),
            skill_naive: 1.0 - ratio(loss, naive),
            skill_strong_naive: 1.0 - ratio(loss, strong),
            direction: self.direction(version),
            coverage,
            width,
            gross_edge_bp: self.gross_edge_bp(version),
            rows_fallen_back: self.fallbacks[version],
        }
    }

    /// Tests whether `second` has the smaller squared errors.
    pub fn compare(&self, first: usize, second: usize) -> Comparison {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&row| self.rows[row].time);
        let mut differences: Vec<f64> = Vec::new();
        let mut last = None;
        for place in order {
            let row = &self.rows[place];
            let loss = |version: usize| (row.actual - self.predictions[version][place]).powi(2);
            let difference = self.weights[row.series] * (loss(first) - loss(second));
            // Series at one instant err together: their sum is one observation.
            match differences.last_mut() {
                Some(sum) if last == Some(row.time) => *sum += difference,
                _ => differences.push(difference),
            }
            last = Some(row.time);
        }
        diebold_mariano(&differences, self.horizon_rows)
    }

    /// What the forecast and the outcome did, as changes from the row's own value.
    fn moves(&self, version: usize) -> impl Iterator<Item = (&Row, f64, f64)> {
        self.rows.iter().zip(&self.predictions[version]).map(|(row, prediction)| {
            let from = if self.kind == TargetKind::Return { 0.0 } else { row.current };
            (row, prediction - from, row.actual - from)
        })
    }

    fn direction(&self, version: usize) -> Direction {
        let (mut rows, mut right) = (0, 0);
        for (_, forecast, outcome) in self.moves(version) {
            if forecast != 0.0 && outcome != 0.0 {
                rows += 1;
                right += u64::from((forecast > 0.0) == (outcome > 0.0));
            }
        }
        let (low, high) = share_interval(right, rows);
        let accuracy = (rows > 0).then(|| right as f64 / rows as f64);
        Direction { rows, accuracy, low, high }
    }

    fn gross_edge_bp(&self, version: usize) -> Option<f64> {
        if !self.kind.is_traded() {
            return None;
        }
        let gain = |(row, forecast, outcome): (&Row, f64, f64)| {
            let fraction = match self.kind {
                TargetKind::Return => outcome,
                _ => outcome / row.current.abs().max(f64::MIN_POSITIVE),
            };
            if forecast == 0.0 { 0.0 } else { forecast.signum() * fraction * 1e4 }
        };
        Some(self.moves(version).map(gain).sum::<f64>() / self.rows.len().max(1) as f64)
    }

    fn interval_scores(&self, version: usize) -> ([Option<f64>; LEVELS.len()], Option<f64>) {
        let mut hits = [0_u64; LEVELS.len()];
        let (mut count, mut total) = (0_u64, 0.0);
        let rows = self.rows.iter().zip(&self.predictions[version]).zip(&self.widths[version]);
        for ((row, prediction), widths) in rows {
            let Some(widths) = widths else { continue };
            count += 1;
            total += 2.0 * widths[SHOWN];
            for (hits, width) in hits.iter_mut().zip(widths) {
                *hits += u64::from((row.actual - prediction).abs() <= *width);
            }
        }
        let share = |value: f64| (count > 0).then(|| value / count as f64);
        (hits.map(|hits| share(hits as f64)), share(total))
    }
}

fn all_of<T>(answers: Vec<Option<T>>) -> Option<Vec<T>> {
    answers.into_iter().collect()
}

fn ratio(value: f64, yardstick: f64) -> f64 {
    // Against a perfect yardstick the perfect are equal, and the others at a loss that JSON holds.
    if yardstick > 0.0 {
        value / yardstick
    } else if value > 0.0 {
        f64::MAX
    } else {
        1.0
    }
}

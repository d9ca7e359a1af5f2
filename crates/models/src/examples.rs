//! Features with labels, and which of them may be learnt from.
//!
//! The label of a row at t is the target of the row whose time *is* t + horizon; without that row,
//! or with its target missing, there is no label. Features are those of the row at t, and means of
//! the target up to t (S21).

use std::ops::Range;
use std::time::Duration;

use thalweg_core::model::Examples;
use thalweg_core::time::Timestamp;

use crate::history::{self, History};
use crate::series::{Layout, Series};

/// The labelled rows of one series, in order of time.
#[derive(Clone, Debug, Default)]
pub struct SeriesExamples {
    /// Features (those of the layout, then the means of the target's past) and labels.
    pub examples: Examples,
    /// Time of each row: when its features were known.
    pub times: Vec<Timestamp>,
}

/// Names of all that a candidate sees of a row: the project's features, then the means.
pub fn feature_names(layout: &Layout) -> Vec<String> {
    let mut names = layout.features.clone();
    names.extend(history::names(&layout.features[layout.target]));
    names
}

/// The row that each row's label is in.
pub fn label_rows(times: &[Timestamp], horizon: Duration) -> Vec<Option<usize>> {
    let mut label = 0;
    let find = |time: &Timestamp| {
        let due = time.plus(horizon);
        while times.get(label).is_some_and(|time| *time < due) {
            label += 1;
        }
        (times.get(label) == Some(&due)).then_some(label)
    };
    times.iter().map(find).collect()
}

impl SeriesExamples {
    /// The labelled rows of `series` whose features and label lie within `range`: a row at t with
    /// its label at t + horizon has `range.start ≤ t` and `t + horizon < range.end`. Rows before
    /// the range warm the means up.
    pub fn of(
        layout: &Layout,
        series: &Series,
        horizon: Duration,
        range: Range<Timestamp>,
    ) -> Self {
        let width = layout.features.len();
        let mut history = History::new(thalweg_core::time::micros(horizon));
        let mut built = Self {
            examples: Examples { features: feature_names(layout), ..Examples::default() },
            times: Vec::new(),
        };
        let labels = label_rows(&series.times, horizon);
        for (row, (&time, label)) in series.times.iter().zip(labels).enumerate() {
            let features = series.row(row, width);
            history.push(time, features[layout.target]);
            let Some(label) = label else { continue };
            let value = series.row(label, width)[layout.target];
            let within = time >= range.start && series.times[label] < range.end;
            if within && value.is_finite() {
                built.examples.rows.extend_from_slice(features);
                history.extend(&mut built.examples.rows);
                built.examples.labels.push(value);
                built.times.push(time);
            }
        }
        built
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The examples of some rows.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let width = self.examples.features.len();
        Self {
            examples: Examples {
                features: self.examples.features.clone(),
                rows: self.examples.rows[rows.start * width..rows.end * width].to_vec(),
                labels: self.examples.labels[rows.clone()].to_vec(),
            },
            times: self.times[rows].to_vec(),
        }
    }

    /// Splits off the newest `share` of the rows; from the older ones those are purged whose label
    /// reaches into it (S21).
    pub fn hold_out(&self, share: f64, horizon: Duration) -> (Self, Self) {
        let held = (self.len() as f64 * share).ceil() as usize;
        let start = self.len().saturating_sub(held);
        let Some(&first_held) = self.times.get(start) else {
            return (self.clone(), Self::default());
        };
        let learnt = learnable(&self.times, horizon, first_held, Duration::ZERO);
        (self.slice(0..learnt), self.slice(start..self.len()))
    }
}

/// How many of the oldest rows may be learnt from when rows from `window_start` are scored: those
/// with `t + horizon ≤ window_start − gap` (S21).
pub fn learnable(
    times: &[Timestamp],
    horizon: Duration,
    window_start: Timestamp,
    gap: Duration,
) -> usize {
    let limit = window_start.minus(gap);
    times.partition_point(|time| time.plus(horizon) <= limit)
}

/// One step of a walk forward: learn from one range of times, score on the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Times learnt from: no label in it or after its end is seen.
    pub train: Range<Timestamp>,
    /// Times scored.
    pub test: Range<Timestamp>,
}

/// Cuts the newest `tested_share` of a span of time into `count` equal windows; each is scored by
/// what was learnt from at most `window` before it, less `gap`.
pub fn walk_forward(
    span: Range<Timestamp>,
    count: u32,
    tested_share: f64,
    window: Duration,
    gap: Duration,
) -> Vec<Fold> {
    let length = span.end.since(span.start);
    let tested = length.mul_f64(tested_share.clamp(0.0, 1.0));
    let start = span.end.minus(tested);
    let edge = |fold: u32| {
        if fold == count { span.end } else { start.plus(tested * fold / count) }
    };
    (0..count)
        .map(|fold| {
            let test = edge(fold)..edge(fold + 1);
            let end = test.start.minus(gap);
            Fold { train: end.minus(window).max(span.start)..end, test }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(times: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
        times.into_iter().map(|second| Timestamp(second * 1_000_000)).collect()
    }

    #[test]
    fn a_label_is_at_the_horizon_exactly_or_missing() {
        let times = seconds([0, 1, 2, 4, 5, 7]);
        let labels = label_rows(&times, 2 * SECOND);
        assert_eq!(labels, [Some(2), None, Some(3), None, Some(5), None]);
    }

    #[test]
    fn features_are_known_and_labels_lie_within_the_range() {
        let layout = Layout {
            key: Vec::new(),
            time: "time".into(),
            features: vec!["value".into()],
            target: 0,
        };
        let series = Series {
            key: "".into(),
            times: seconds(0..10),
            rows: (0..10).map(f64::from).collect(),
        };
        let range = Timestamp(3_000_000)..Timestamp(8_000_000);
        let built = SeriesExamples::of(&layout, &series, 2 * SECOND, range);
        assert_eq!(built.times, seconds([3, 4, 5]), "the label at 8 s is not within");
        assert_eq!(built.examples.labels, [5.0, 6.0, 7.0]);
        assert_eq!(built.examples.rows[0], 3.0);
    }

    proptest! {
        #[test]
        fn a_purge_leaves_no_label_in_the_window(
            steps in prop::collection::vec(1_i64..5, 2..80),
            horizon in 1_u64..9,
            gap in 0_u64..9,
            start in 0_i64..200,
        ) {
            let times = seconds(steps.iter().scan(0, |time, step| { *time += step; Some(*time) }));
            let (horizon, gap) = (Duration::from_secs(horizon), Duration::from_secs(gap));
            let start = Timestamp(start * 1_000_000);
            let kept = learnable(&times, horizon, start, gap);
            let safe = |time: &Timestamp| time.plus(horizon).plus(gap) <= start;
            prop_assert!(times[..kept].iter().all(safe));
            prop_assert!(!times[kept..].iter().any(safe));
        }

        #[test]
        fn folds_cover_the_tested_span_once(count in 1_u32..9, share in 0.05..0.95_f64) {
            let span = Timestamp(0)..Timestamp(1_000_000_000);
            let folds = walk_forward(span.clone(), count, share, 100 * SECOND, 3 * SECOND);
            prop_assert_eq!(folds.last().map(|fold| fold.test.end), Some(span.end));
            for pair in folds.windows(2) {
                prop_assert_eq!(pair[0].test.end, pair[1].test.start);
            }
            for fold in &folds {
                prop_assert!(fold.train.end.plus(3 * SECOND) <= fold.test.start);
            }
        }
    }
}

//! Data whose truth is known: who must win, and that nobody wins on noise.

use std::time::Duration;

use arrow::array::RecordBatch;
use thalweg_core::time::Timestamp;

use super::support::{MINUTE, MINUTE_MICROS, Noise, batch, spec};
use crate::backtest::{Backtest, backtest};
use crate::champion::{Action, Round, Verdict, decide};
use crate::examples::walk_forward;
use crate::scores::Scores;
use crate::spec::{Candidate, ModelSpec, TargetKind};

fn walk(spec: &ModelSpec, batches: &[RecordBatch], rows: usize) -> Backtest {
    let span = Timestamp(0)..Timestamp(rows as i64 * MINUTE_MICROS);
    let folds = walk_forward(span, 2, 0.5, Duration::from_secs(86_400 * 30), MINUTE);
    backtest(spec, batches, &folds, 0).expect("a backtest")
}

fn verdict(spec: &ModelSpec, walked: &Backtest) -> Verdict {
    let versions: Vec<(u64, Candidate)> =
        walked.candidates.iter().enumerate().map(|(i, c)| (i as u64 + 1, *c)).collect();
    decide(&Round::of(&walked.outcomes, &versions, None, &[]), &spec.champion)
}

fn scores(walked: &Backtest, candidate: Candidate) -> Scores {
    let place = walked.candidates.iter().position(|known| *known == candidate);
    walked.outcomes.scores(place.expect("it took part"))
}

/// A series with memory, and what a person would compute from it.
fn with_features(values: &[f64]) -> Vec<(&'static str, Vec<f64>)> {
    let lagged = |lag: usize| -> Vec<f64> {
        (0..values.len()).map(|i| if i < lag { f64::NAN } else { values[i - lag] }).collect()
    };
    vec![("y", values.to_vec()), ("lag_1", lagged(1)), ("lag_2", lagged(2)), ("lag_5", lagged(5))]
}

fn autoregressive(seed: u64, rows: usize) -> Vec<f64> {
    let mut noise = Noise::new(seed);
    let (mut one, mut two) = (0.0, 0.0);
    (0..rows)
        .map(|_| {
            let next = 0.5 * one + 0.35 * two + noise.next();
            (two, one) = (one, next);
            10.0 + next
        })
        .collect()
}

#[test]
fn s23_nothing_is_promoted_on_shuffled_targets() {
    for seed in 0..10 {
        let mut values = autoregressive(seed, 4_000);
        Noise::new(seed + 1_000).shuffle(&mut values);
        for kind in [TargetKind::Level, TargetKind::Volatility] {
            let spec = ModelSpec { kind: Some(kind), ..spec("y") };
            let walked = walk(&spec, &[batch("A", 0, &with_features(&values))], values.len());
            let verdict = verdict(&spec, &walked);
            assert_eq!(verdict.action, Action::Kept, "{kind:?} {seed}: {:?}", verdict.reasons);
            assert!(scores(&walked, Candidate::Ridge).skill_strong_naive < 0.005);
        }
    }
}

#[test]
fn s23_nothing_is_promoted_on_a_random_walk() {
    for seed in 0..6 {
        let mut noise = Noise::new(seed);
        let mut log_price = 0.0;
        let prices: Vec<f64> = (0..4_000)
            .map(|_| {
                log_price += 0.001 * noise.next();
                100.0 * f64::exp(log_price)
            })
            .collect();
        let spec = ModelSpec { kind: Some(TargetKind::Price), ..spec("y") };
        let walked = walk(&spec, &[batch("A", 0, &with_features(&prices))], prices.len());
        let verdict = verdict(&spec, &walked);
        assert_eq!(verdict.action, Action::Kept, "seed {seed}: {:?}", verdict.reasons);
        assert_eq!(scores(&walked, Candidate::StrongNaive).skill_naive, 0.0, "no change twice");
    }
}

#[test]
fn ridge_wins_where_lags_tell_more_than_a_level() {
    for seed in 0..4 {
        let values = autoregressive(seed, 5_000);
        let spec = ModelSpec { kind: Some(TargetKind::Level), ..spec("y") };
        let walked = walk(&spec, &[batch("A", 0, &with_features(&values))], values.len());
        let verdict = verdict(&spec, &walked);
        assert_eq!(verdict.action, Action::Promoted, "seed {seed}: {:?}", verdict.reasons);
        // The noise has variance 1, and nothing forecasts better than that.
        let ridge = scores(&walked, Candidate::Ridge);
        assert!((ridge.rmse - 1.0).abs() < 0.05, "{}", ridge.rmse);
        let [_, ninety, _] = ridge.coverage;
        assert!((ninety.expect("labels came") - 0.9).abs() < 0.03);
    }
}

#[test]
fn har_beats_the_last_value_where_volatility_has_a_long_memory() {
    let mut noise = Noise::new(5);
    let rows = 6_000;
    // Slow, medium and fast components under noise, as HAR supposes.
    let (mut slow, mut medium) = (0.0, 0.0);
    let values: Vec<f64> = (0..rows)
        .map(|_| {
            slow += 0.05 * (noise.next() - 0.2 * slow);
            medium += 0.2 * (noise.next() - medium);
            slow + medium + 0.5 * noise.next()
        })
        .collect();
    let spec = ModelSpec { kind: Some(TargetKind::Volatility), candidates: vec![], ..spec("y") };
    let walked = walk(&spec, &[batch("A", 0, &[("y", values)])], rows);
    let har = scores(&walked, Candidate::StrongNaive);
    assert!(har.skill_naive > 0.2, "{}", har.skill_naive);
}

#[test]
fn each_series_counts_the_same_whatever_its_unit() {
    let values = autoregressive(1, 3_000);
    let large: Vec<f64> = values.iter().map(|value| value * 60_000.0).collect();
    let spec = ModelSpec { kind: Some(TargetKind::Level), ..spec("y") };
    let alone = walk(&spec, &[batch("A", 0, &with_features(&values))], values.len());
    let both = [batch("A", 0, &with_features(&values)), batch("B", 0, &with_features(&large))];
    let both = walk(&spec, &both, values.len());
    let (alone, both) = (scores(&alone, Candidate::Ridge), scores(&both, Candidate::Ridge));
    assert_eq!(both.rows, 2 * alone.rows);
    assert!((alone.skill_naive - both.skill_naive).abs() < 1e-6);
    assert!((alone.mase - both.mase).abs() < 1e-6);
}

#[test]
fn a_missing_feature_falls_back_and_is_counted() {
    let values = autoregressive(2, 3_000);
    let mut columns = with_features(&values);
    for row in (0..3_000).step_by(10) {
        columns[1].1[row] = f64::INFINITY;
    }
    let spec = ModelSpec { kind: Some(TargetKind::Level), ..spec("y") };
    let walked = walk(&spec, &[batch("A", 0, &columns)], values.len());
    let ridge = scores(&walked, Candidate::Ridge);
    assert_eq!(ridge.rows_fallen_back, ridge.rows.div_ceil(10) as u64);
    assert_eq!(scores(&walked, Candidate::Naive).rows_fallen_back, 0);
}

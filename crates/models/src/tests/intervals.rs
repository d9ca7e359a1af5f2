//! Coverage is what is promised, through shifts and delays; state survives a restart (S24).

use std::sync::Arc;

use proptest::prelude::*;
use thalweg_core::time::Timestamp;

use super::support::{MINUTE, MINUTE_MICROS, Noise};
use crate::intervals::{ERRORS_MAX, Intervals, LEVELS};
use crate::predict::{Predictor, Served, Version};
use crate::series::Layout;
use crate::spec::{Candidate, TargetKind};

fn served(horizon_rows: u32) -> Arc<Served> {
    let strong = Version::untrained(Candidate::StrongNaive, TargetKind::Level, "y");
    Arc::new(Served {
        champion: None,
        strong_naive: Arc::new(strong),
        horizon: MINUTE * horizon_rows,
    })
}

fn layout() -> Layout {
    Layout { key: vec![], time: "at".into(), features: vec!["y".into()], target: 0 }
}

fn minute(row: usize) -> Timestamp {
    Timestamp(row as i64 * MINUTE_MICROS)
}

/// The shares of labels within the bands over 20,000 steps of noise whose size `scale` gives.
fn coverage(seed: u64, horizon_rows: u32, scale: impl Fn(usize) -> f64) -> [f64; LEVELS.len()] {
    let mut noise = Noise::new(seed);
    let mut predictor = Predictor::new(served(horizon_rows), layout());
    let mut level = 0.0;
    for row in 0..20_000 {
        level = 0.9 * level + scale(row) * noise.next();
        predictor.predict_row("", minute(row), &[level]);
    }
    let levels = predictor.coverage("").expect("the series was seen");
    std::array::from_fn(|i| levels[i].hits as f64 / levels[i].labels as f64)
}

#[test]
fn s24_coverage_is_nominal_through_shifts_and_delays() {
    let calm_and_wild = |row: usize| if (row / 1_500).is_multiple_of(2) { 1.0 } else { 3.0 };
    let growing = |row: usize| (row as f64 / 8_000.0).exp();
    for seed in 0..3 {
        for (what, horizon, measured) in [
            ("steady", 1, coverage(seed, 1, |_| 1.0)),
            ("calm and wild", 5, coverage(seed, 5, calm_and_wild)),
            ("growing", 30, coverage(seed, 30, growing)),
        ] {
            for (nominal, measured) in LEVELS.into_iter().zip(measured) {
                assert!(
                    (measured - nominal).abs() < 0.015,
                    "{what}, {horizon} ahead, seed {seed}: {measured} at {nominal}"
                );
            }
        }
    }
}

#[test]
fn without_errors_there_is_no_interval() {
    let mut predictor = Predictor::new(served(1), layout());
    let forecast = predictor.predict_row("", minute(0), &[4.0]).expect("the last value");
    assert_eq!((forecast.prediction, forecast.lower(), forecast.upper()), (4.0, None, None));
    assert_eq!(forecast.for_time, minute(1));
    assert_eq!(&*forecast.version, "strong_naive");
}

#[test]
fn a_missing_label_teaches_nothing() {
    let mut predictor = Predictor::new(served(2), layout());
    for row in [0, 1, 3, 4, 6, 7, 9] {
        predictor.predict_row("", minute(row), &[row as f64]);
    }
    // Of the forecasts for 2, 3, 5, 6, 8, 9 only 3, 6 and 9 have a row; 20 errors make a band.
    assert_eq!(predictor.coverage("").map(|levels| levels[0].labels), Some(0));
    let state = String::from_utf8(predictor.state().expect("it writes")[12..].to_vec());
    assert!(state.expect("JSON").contains("\"errors\":[2.0,2.0,2.0]"));
}

#[test]
fn a_row_again_changes_nothing() {
    let mut predictor = Predictor::new(served(1), layout());
    for row in 0..40 {
        predictor.predict_row("", minute(row), &[(row % 7) as f64]);
    }
    let before = predictor.state().expect("it writes");
    let again = predictor.predict_row("", minute(38), &[11.0]).expect("an answer");
    assert_eq!(again.prediction, 11.0);
    assert_eq!(predictor.state().expect("it writes"), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_restart_changes_no_forecast(seed in 0_u64..1_000, cut in 1_usize..150, horizon in 1_u32..6) {
        let mut noise = Noise::new(seed);
        let rows: Vec<(usize, &str, f64)> = (0..200)
            .map(|row| (row, ["a", "b"][noise.below(2)], noise.next()))
            .map(|(row, key, value)| (row, key, if value > 2.0 { f64::NAN } else { value }))
            .collect();
        let mut whole = Predictor::new(served(horizon), layout());
        let mut first = Predictor::new(served(horizon), layout());
        for &(row, key, value) in &rows[..cut] {
            whole.predict_row(key, minute(row), &[value]);
            first.predict_row(key, minute(row), &[value]);
        }
        let state = first.state().expect("it writes");
        let mut second = Predictor::restore(served(horizon), layout(), &state).expect("a state");
        for &(row, key, value) in &rows[cut..] {
            prop_assert_eq!(
                whole.predict_row(key, minute(row), &[value]),
                second.predict_row(key, minute(row), &[value])
            );
        }
        prop_assert_eq!(whole.state().ok(), second.state().ok());
    }

    #[test]
    fn widths_are_errors_seen_and_grow_with_the_level(
        errors in prop::collection::vec(0.0..1e6_f64, 20..200),
    ) {
        let widths = Intervals::new(&errors).widths().expect("enough errors");
        prop_assert!(widths.windows(2).all(|pair| pair[0] <= pair[1]));
        prop_assert!(widths.iter().all(|width| errors.contains(width)));
    }

    #[test]
    fn only_the_newest_errors_count(old in 0_usize..50) {
        let mut errors = vec![1e9; old];
        errors.extend((0..ERRORS_MAX).map(|error| error as f64));
        let newest = Intervals::new(&errors[old..]);
        prop_assert_eq!(Intervals::new(&errors).widths(), newest.widths());
    }
}

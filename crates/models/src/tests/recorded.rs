//! Recorded bars of BTC/USDT: what the reference study measured must come out here.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use thalweg_core::time::Timestamp;

use super::support::{MINUTE, MINUTE_MICROS, batch, spec};
use crate::backtest::{Backtest, backtest};
use crate::champion::{Action, Round, decide};
use crate::examples::walk_forward;
use crate::scores::Scores;
use crate::spec::{Candidate, ModelSpec, TargetKind};

struct Bars {
    first_minute: i64,
    close: Vec<f64>,
    volume: Vec<f64>,
}

fn bars() -> Option<Bars> {
    let root = std::env::var_os("THALWEG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join("bars/btc_1m.parquet");
    let Ok(file) = File::open(&path) else {
        println!("skipped: no recorded bars at {} (set THALWEG_DATA)", path.display());
        return None;
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let mut bars = Bars { first_minute: 0, close: Vec::new(), volume: Vec::new() };
    for rows in reader.expect("a Parquet file") {
        let rows = rows.expect("rows");
        let column = |name: &str| rows.column_by_name(name).expect("a column of bars");
        if bars.close.is_empty() {
            let millis = column("ts").as_primitive::<Int64Type>().value(0);
            // A bar is known when its minute is over.
            bars.first_minute = millis / 60_000 + 1;
        }
        bars.close.extend(column("close").as_primitive::<Float64Type>().values());
        bars.volume.extend(column("volume").as_primitive::<Float64Type>().values());
    }
    Some(bars)
}

impl Bars {
    fn returns(&self) -> Vec<f64> {
        let mut returns = vec![f64::NAN];
        returns.extend(self.close.windows(2).map(|pair| (pair[1] / pair[0]).ln()));
        returns
    }

    /// Log of the realised volatility of the last `count` bars.
    fn log_volatility(&self, count: usize) -> Vec<f64> {
        let returns = self.returns();
        let mut sum = 0.0;
        (0..returns.len())
            .map(|row| {
                sum += if row == 0 { 0.0 } else { returns[row].powi(2) };
                if row > count {
                    sum -= returns[row - count].powi(2);
                }
                if row < count { f64::NAN } else { 0.5 * sum.max(1e-18).ln() }
            })
            .collect()
    }

    fn columns(&self) -> Vec<(&'static str, Vec<f64>)> {
        let of_day = |row: usize| {
            let minute = (self.first_minute + row as i64).rem_euclid(1440) as f64;
            minute / 1440.0 * std::f64::consts::TAU
        };
        let each = |feature: &dyn Fn(usize) -> f64| (0..self.close.len()).map(feature).collect();
        vec![
            ("log_return", self.returns()),
            ("lrv_5", self.log_volatility(5)),
            ("lrv_30", self.log_volatility(30)),
            ("lrv_120", self.log_volatility(120)),
            ("lrv_660", self.log_volatility(660)),
            ("log_volume", each(&|row| (1.0 + self.volume[row]).ln())),
            ("sin_of_day", each(&|row| of_day(row).sin())),
            ("cos_of_day", each(&|row| of_day(row).cos())),
            ("sin_of_half_day", each(&|row| (2.0 * of_day(row)).sin())),
            ("cos_of_half_day", each(&|row| (2.0 * of_day(row)).cos())),
        ]
    }

    fn batch(&self) -> RecordBatch {
        batch("BTC", self.first_minute, &self.columns())
    }

    /// The protocol of the study: the last 40 % in four folds, 30,000 rows to learn from.
    fn walk(&self, spec: &ModelSpec) -> Backtest {
        let start = Timestamp(self.first_minute * MINUTE_MICROS);
        let span = start..start.plus(MINUTE * self.close.len() as u32);
        let folds = walk_forward(span, 4, 0.4, MINUTE * 30_000, spec.gap);
        backtest(spec, &[self.batch()], &folds, 0).expect("a backtest")
    }
}

fn show(what: &str, walked: &Backtest) -> Vec<Scores> {
    let scores: Vec<Scores> =
        (0..walked.candidates.len()).map(|place| walked.outcomes.scores(place)).collect();
    for (place, (candidate, scores)) in walked.candidates.iter().zip(&scores).enumerate() {
        println!(
            "{what} {candidate}: rmse {:.6}, skill {:+.4} (naive) {:+.4} (strong), z {:+.1}, \
             direction {:?}, edge {:?} bp, coverage {:?}, {} rows",
            scores.rmse,
            scores.skill_naive,
            scores.skill_strong_naive,
            walked.outcomes.compare(1, place).z,
            scores.direction.accuracy,
            scores.gross_edge_bp,
            scores.coverage,
            scores.rows
        );
    }
    scores
}

fn verdict(spec: &ModelSpec, walked: &Backtest) -> (Action, Vec<String>) {
    let numbered = walked.candidates.iter().enumerate();
    let versions: Vec<(u64, Candidate)> = numbered.map(|(i, c)| (i as u64 + 1, *c)).collect();
    let round = Round::of(&walked.outcomes, &versions, None, &[]);
    let verdict = decide(&round, &spec.champion);
    (verdict.action, verdict.reasons)
}

#[test]
fn volatility_half_an_hour_ahead_can_be_forecast() {
    let Some(bars) = bars() else { return };
    let horizon = Duration::from_secs(1_800);
    let candidates = vec![
        Candidate::Ridge,
        Candidate::ElasticNet,
        Candidate::RandomForest,
        Candidate::GradientBoosting,
        Candidate::Hybrid,
    ];
    let spec = ModelSpec { horizon, gap: horizon, candidates, ..spec("lrv_30") };
    let walked = bars.walk(&spec);
    let scores = show("volatility", &walked);
    // The study: HAR +0.144, elastic net +0.212 against persistence.
    assert!((0.10..0.25).contains(&scores[1].skill_naive), "HAR {}", scores[1].skill_naive);
    assert!(scores[2].skill_naive > 0.15, "ridge {}", scores[2].skill_naive);
    // Elastic net +0.212, forest +0.246, boosting +0.262, hybrid +0.294, with three times our features.
    for (place, skill) in [(3, 0.20), (4, 0.23), (5, 0.23), (6, 0.28)] {
        assert!(scores[place].skill_naive > skill, "{} {skill}", scores[place].skill_naive);
    }
    for scores in &scores {
        let [eighty, ninety, ninety_five] = scores.coverage.map(|share| share.expect("labels"));
        assert!((eighty - 0.80).abs() < 0.02, "{eighty}");
        assert!((ninety - 0.90).abs() < 0.02, "{ninety}");
        assert!((ninety_five - 0.95).abs() < 0.02, "{ninety_five}");
    }
    let (action, reasons) = verdict(&spec, &walked);
    assert_eq!(action, Action::Promoted, "{reasons:?}");
}

#[test]
fn volume_a_minute_ahead_can_be_forecast() {
    let Some(bars) = bars() else { return };
    let spec = spec("log_volume");
    let scores = show("volume", &bars.walk(&spec));
    // The study: smoothing +0.319 with its span fitted.
    assert!((scores[1].skill_naive - 0.319).abs() < 0.03, "SES {}", scores[1].skill_naive);
}

#[test]
fn s23_no_return_or_price_model_is_promoted() {
    let Some(bars) = bars() else { return };
    let spec = spec("log_return");
    let walked = bars.walk(&spec);
    let scores = show("return", &walked);
    assert_eq!(walked.outcomes.kind(), TargetKind::Return);
    assert!(scores[2].skill_strong_naive < 0.005);
    let (action, reasons) = verdict(&spec, &walked);
    assert_eq!(action, Action::Kept, "{reasons:?}");
    assert!(reasons[0].contains("does not pay the cost"), "{reasons:?}");
}

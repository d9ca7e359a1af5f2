//! What is forecast, from what, and by which candidates: `[model.X]` as this crate needs it.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};

use crate::champion::ChampionRule;

/// How many horizons of the target's past the baselines look back on; rows before a window that
/// are read, never scored.
pub const WARM_UP_HORIZONS: u32 = 128;

/// One forecast, of one or many series.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Its name in SQL.
    pub name: String,
    /// Columns that tell series apart; empty for one series. Each series has parameters of its own.
    pub key: Vec<String>,
    /// The column of a row's time: the instant when all of the row was known.
    pub time: String,
    /// The column to forecast; it is a feature too.
    pub target: String,
    /// How far ahead of a row's time.
    pub horizon: Duration,
    /// What the target measures; without it, the training rows decide.
    pub kind: Option<TargetKind>,
    /// What competes with the baselines; baselines that are listed here change nothing.
    pub candidates: Vec<Candidate>,
    /// How much of the past to learn from.
    pub train_window: Duration,
    /// Fewest examples of a series that a candidate learns from; below it `strong_naive` serves.
    pub train_rows_min: usize,
    /// How much of the past to score on.
    pub evaluate_window: Duration,
    /// Time left out between the last label learnt from and the first row scored.
    pub gap: Duration,
    /// When a challenger becomes champion.
    pub champion: ChampionRule,
}

impl ModelSpec {
    /// All candidates in the order of the leaderboard: the baselines, then those listed.
    pub fn contestants(&self) -> Vec<Candidate> {
        let mut all = vec![Candidate::Naive, Candidate::StrongNaive];
        for &candidate in &self.candidates {
            if !all.contains(&candidate) {
                all.push(candidate);
            }
        }
        all
    }

    /// Times of the rows that training up to `through` (excluded) wants.
    pub fn training_range(&self, through: Timestamp) -> Range<Timestamp> {
        through.minus(self.train_window)..through
    }

    /// Times of the rows that an evaluation up to `through` (excluded) wants: the window, and
    /// before it what warms the baselines up.
    pub fn evaluation_range(&self, through: Timestamp) -> Range<Timestamp> {
        through.minus(self.evaluate_window).minus(self.horizon * WARM_UP_HORIZONS)..through
    }

    /// Refuses what no run could make sense of.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.name;
        if name.is_empty() || name.contains('/') {
            return Err(Error::invalid(format!("`{name}` cannot name a model")));
        }
        if self.horizon.is_zero() {
            return Err(Error::invalid(format!("the horizon of model `{name}` is zero")));
        }
        Ok(())
    }
}

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// The last value.
    Naive,
    /// The best simple forecast for the kind of target: see [`TargetKind`].
    StrongNaive,
    /// The last value plus the mean change.
    Drift,
    /// A weighted mean of the target's past.
    ExponentialSmoothing,
    /// A regression on means of the target's past over several spans.
    Har,
    /// Linear regression.
    Linear,
    /// Linear regression with a penalty.
    Ridge,
    /// Linear regression that selects features.
    ElasticNet,
    /// The mean of many trees.
    RandomForest,
    /// Boosted trees.
    GradientBoosting,
    /// An elastic net, and boosted trees on what it leaves over.
    Hybrid,
}

impl Candidate {
    /// Every candidate there is.
    pub const ALL: [Self; 11] = [
        Self::Naive,
        Self::StrongNaive,
        Self::Drift,
        Self::ExponentialSmoothing,
        Self::Har,
        Self::Linear,
        Self::Ridge,
        Self::ElasticNet,
        Self::RandomForest,
        Self::GradientBoosting,
        Self::Hybrid,
    ];

    /// Its name in the project file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::StrongNaive => "strong_naive",
            Self::Drift => "drift",
            Self::ExponentialSmoothing => "exponential_smoothing",
            Self::Har => "har",
            Self::Linear => "linear",
            Self::Ridge => "ridge",
            Self::ElasticNet => "elastic_net",
            Self::RandomForest => "random_forest",
            Self::GradientBoosting => "gradient_boosting",
            Self::Hybrid => "hybrid",
        }
    }

    /// The candidate of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == name)
    }

    /// Whether it is a yardstick: always scored, never champion (S23).
    pub fn is_baseline(self) -> bool {
        matches!(self, Self::Naive | Self::StrongNaive)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a target measures. It decides what `strong_naive` is, how a direction is told, and whether
/// a gain must pay for trading costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A price: the strong forecast is no change.
    Price,
    /// A return, as a fraction or a log: the strong forecast is zero.
    Return,
    /// A volatility, or its log: the strong forecast is HAR.
    Volatility,
    /// Anything else that has a level, such as log volume: simple exponential smoothing.
    Level,
}

impl TargetKind {
    /// Whether money would follow the forecast, so that it must beat the cost of trading (S23).
    pub fn is_traded(self) -> bool {
        matches!(self, Self::Price | Self::Return)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Price, Self::Return, Self::Volatility, Self::Level];
        let names = ["price", "return", "volatility", "level"];
        all.into_iter().zip(names).find_map(|(kind, known)| (known == name).then_some(kind))
    }

    /// Guesses the kind from a column's name, read from its last word.
    ///
    /// `log_volume` is a level, `close` a price, `log_return_1m` a return, `rv_30m` a volatility.
    pub fn from_name(column: &str) -> Option<Self> {
        let lower = column.to_lowercase();
        lower.split(|c: char| !c.is_alphabetic()).rev().find_map(|word| match word {
            "return" | "returns" | "ret" | "change" | "diff" | "delta" => Some(Self::Return),
            "volatility" | "rv" | "lrv" | "variance" | "var" | "std" | "stddev" | "sigma"
            | "range" => Some(Self::Volatility),
            "volume" | "trades" | "count" | "amount" | "quantity" | "qty" | "turnover" => {
                Some(Self::Level)
            }
            "price" | "close" | "open" | "high" | "low" | "bid" | "ask" | "mid" | "vwap"
            | "rate" => Some(Self::Price),
            _ => None,
        })
    }

    /// Guesses the kind from values at times one horizon apart.
    ///
    /// A return changes sign and does not remember; a price stays positive and hardly moves
    /// compared with how far it has wandered. The rest is a level.
    pub fn from_pairs(pairs: &[(f64, f64)]) -> Self {
        let n = pairs.len() as f64;
        if pairs.len() < 30 {
            return Self::Level;
        }
        let mean = pairs.iter().map(|(now, _)| now).sum::<f64>() / n;
        let variance = pairs.iter().map(|(now, _)| (now - mean).powi(2)).sum::<f64>() / n;
        let step = pairs.iter().map(|(now, then)| (then - now).powi(2)).sum::<f64>() / n;
        // For a stationary series the mean squared change is 2 · variance · (1 − autocorrelation).
        let correlation = 1.0 - step / (2.0 * variance.max(f64::MIN_POSITIVE));
        let positive = pairs.iter().all(|(now, _)| *now > 0.0);
        if !positive && correlation < 0.3 && mean * mean < 0.04 * variance {
            Self::Return
        } else if positive && correlation > 0.98 {
            Self::Price
        } else {
            Self::Level
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_kind() {
        for (name, kind) in [
            ("log_volume", Some(TargetKind::Level)),
            ("close", Some(TargetKind::Price)),
            ("Close_Price", Some(TargetKind::Price)),
            ("log_return_1m", Some(TargetKind::Return)),
            ("volume_change", Some(TargetKind::Return)),
            ("lrv30", Some(TargetKind::Volatility)),
            ("log_range", Some(TargetKind::Volatility)),
            ("claims", None),
        ] {
            assert_eq!(TargetKind::from_name(name), kind, "{name}");
        }
    }

    #[test]
    fn data_tells_the_kind_when_the_name_does_not() {
        let noise: Vec<f64> = (0..400).map(|i| f64::from((i * 7919) % 401) / 401.0 - 0.5).collect();
        let pairs = |values: &[f64]| -> Vec<(f64, f64)> {
            values.windows(2).map(|pair| (pair[0], pair[1])).collect()
        };
        assert_eq!(TargetKind::from_pairs(&pairs(&noise)), TargetKind::Return);
        let walk: Vec<f64> = (0..400).map(|i| 100.0 + f64::from(i) * 0.1).collect();
        assert_eq!(TargetKind::from_pairs(&pairs(&walk)), TargetKind::Price);
        let level: Vec<f64> = noise.iter().map(|x| 5.0 + x).collect();
        assert_eq!(TargetKind::from_pairs(&pairs(&level)), TargetKind::Level);
    }
}

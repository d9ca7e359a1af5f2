//! Models: what is forecast, from what, and how a champion is chosen.

use std::time::Duration;

use crate::entry::{Entry, Percent, from_text};
use crate::spanned::Spanned;

/// One forecast.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name in SQL.
    pub name: Spanned<String>,
    /// The relation with a row per key and time.
    pub features: Spanned<String>,
    /// The column to forecast.
    pub target: Spanned<String>,
    /// What the target measures, if it is said: `price`, `return`, `volatility` or `level`.
    pub target_kind: Option<Spanned<String>>,
    /// How far ahead of a row's time.
    pub horizon: Duration,
    /// The column of a row's time.
    pub time: Spanned<String>,
    /// Columns that tell series apart; empty for one series.
    pub key: Vec<Spanned<String>>,
    /// What competes with the naive forecasts, in the order of the file. Default ridge.
    pub candidates: Vec<Candidate>,
    /// Its own training job; none: a task or a person trains it.
    pub train: Option<Training>,
    /// Its own evaluation job; none: a task or a person evaluates it.
    pub evaluate: Option<Evaluation>,
    /// When a challenger becomes champion.
    pub champion: ChampionRule,
}

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The last value; always evaluated, whether it is listed or not (S23).
    Naive,
    /// The best simple forecast; always evaluated, whether it is listed or not (S23).
    StrongNaive,
    /// The last value plus the mean change.
    Drift,
    /// A weighted mean of the target's past.
    ExponentialSmoothing,
    /// A regression on means of the target's past.
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
    const ALL: [Self; 11] = [
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
}

from_text! {
    Candidate: |text| Self::ALL.into_iter().find(|candidate| candidate.name() == text);
}

/// When and on what a model is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// As [`Job::schedule`](super::Job::schedule).
    pub schedule: Spanned<String>,
    /// How much of the past to learn from. Default 90 d.
    pub window: Duration,
    /// Fewest rows to learn from. Default 2,000.
    pub min_rows: usize,
}

/// When and on what a model is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// As [`Job::schedule`](super::Job::schedule).
    pub schedule: Spanned<String>,
    /// How much of the past to score on. Default 7 d.
    pub window: Duration,
    /// Time left out between learning and scoring. Default the horizon.
    pub gap: Duration,
}

/// When a challenger becomes champion (S23).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChampionRule {
    /// By how much its RMSE must be lower, in percent. Default 1.
    pub min_gain_percent: f64,
    /// Fewest rows on which it is compared. Default 2,000.
    pub min_rows: usize,
    /// What a trade costs, there and back, in percent; matters for prices and returns. Default 0.1.
    pub cost_percent: f64,
}

pub(crate) fn lower(name: &Spanned<String>, entry: Entry<'_>) -> Option<Model> {
    let horizon: Option<Duration> = entry.get("horizon");
    let (features, target, time) =
        (entry.spanned("features"), entry.spanned("target"), entry.spanned("time"));
    let train = entry.child("train");
    let (train_schedule, train_window, min_rows) =
        (train.spanned("schedule"), train.value("window"), train.value("min_rows"));
    let evaluate = entry.child("evaluate");
    let (evaluate_schedule, evaluate_window, gap) =
        (evaluate.spanned("schedule"), evaluate.value("window"), evaluate.get("gap"));
    let champion = entry.child("champion");
    // RMSE is the only metric there is.
    let _: String = champion.value("metric");
    let candidates: Vec<Candidate> = entry.value("candidates");
    let key = entry.list("key");
    let target_kind = entry.spanned("target_kind");
    let horizon = horizon?;
    Some(Model {
        name: name.clone(),
        features: features?,
        target: target?,
        target_kind,
        horizon,
        time: time?,
        key,
        candidates,
        train: train_schedule.map(|schedule| Training { schedule, window: train_window, min_rows }),
        evaluate: evaluate_schedule.map(|schedule| Evaluation {
            schedule,
            window: evaluate_window,
            gap: gap.unwrap_or(horizon),
        }),
        champion: ChampionRule {
            min_gain_percent: champion.value::<Percent>("min_gain").0,
            min_rows: champion.value("min_rows"),
            cost_percent: champion.value::<Percent>("cost").0,
        },
    })
}

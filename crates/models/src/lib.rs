//! Forecasts: features in, a champion that has earned its place, intervals that hold.
//!
//! In the order of the flow: [`spec`] says what is forecast; [`series`] turns the rows of the
//! features' SQL into one series a key, and [`examples`] into features and labels; each of the
//! [`candidates`] learns from them, what it learnt is an [`artifact`]; [`mod@backtest`] and the
//! evaluation of [`registry`] let versions predict the same rows, [`scores`] and [`significance`]
//! compare them, [`champion`] decides; [`predict`] serves, with [`intervals`] round each number, to
//! SQL and streams as [`live`].
//! [`guards`] refuse features that see the future (S21).
//!
//! Invariants: a version is a function of rows, settings and seed, to the byte (S22). `naive` and
//! `strong_naive` are always scored and never champion (S23). What is served is what was scored:
//! evaluation and serving share one loop over a series ([`predict::Predictor`]).
//!
//! Not here: the SQL of the features and its parse guard (`stream`), schedules (`jobs`), and
//! the project file (`project`); the binary puts them together.

pub mod artifact;
pub mod backtest;
pub mod candidates;
pub mod champion;
pub mod examples;
mod format;
pub mod guards;
mod history;
pub mod intervals;
pub mod least_squares;
pub mod linear;
pub mod live;
pub mod predict;
pub mod registry;
pub mod scores;
pub mod series;
pub mod significance;
pub mod spec;
pub mod trees;

#[cfg(test)]
mod tests;

pub use champion::ChampionRule;
pub use live::LiveModel;
pub use predict::{Forecast, Predictor, Served};
pub use registry::Registry;
pub use spec::{Candidate, ModelSpec, TargetKind};

//! What the registry stores and lists; each is a row of a system table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_core::time::{Timestamp, micros};

use crate::champion::Action;
use crate::scores::Scores;
use crate::significance::Comparison;
use crate::spec::{Candidate, ModelSpec, TargetKind};

/// A row of `system.models`: how a model stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelRow {
    /// Its name.
    pub model: String,
    /// The column it forecasts.
    pub target: String,
    /// How far ahead, in microseconds.
    pub horizon_micros: i64,
    /// The champion's version; `None`: *no champion*, `strong_naive` serves.
    pub champion: Option<u64>,
    /// How the champion was learnt.
    pub champion_candidate: Option<Candidate>,
    /// What answers, such as `ridge/3` or `strong_naive/2`.
    pub serving: String,
    /// How many versions there are.
    pub versions: usize,
    /// Fewest examples of a series to learn from.
    pub rows_min: usize,
    /// What the last training found.
    pub training: Option<TrainingRow>,
}

/// What the last training of a model found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRow {
    /// The run.
    pub run: String,
    /// When it ran.
    pub at: Timestamp,
    /// Examples of the longest series; below `rows_min` of the model only baselines are learnt.
    pub rows: usize,
    /// How many series there are.
    pub series: usize,
}

/// A row of `system.model_versions`: everything a version was made from (S22).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    /// The model.
    pub model: String,
    /// Its number, from 1, shared by all candidates of the model.
    pub version: u64,
    /// How it was learnt.
    pub candidate: Candidate,
    /// The run that made it.
    pub run: String,
    /// When it was made.
    pub at: Timestamp,
    /// Start of the rows it was learnt from.
    pub from: Timestamp,
    /// End of them: no feature or label at or after it was seen.
    pub through: Timestamp,
    /// Examples learnt from, over all series.
    pub rows: usize,
    /// Examples held out, for the intervals.
    pub rows_held_out: usize,
    /// Series learnt.
    pub series: usize,
    /// The column it forecasts.
    pub target: String,
    /// What the target measures.
    pub kind: TargetKind,
    /// How far ahead, in microseconds.
    pub horizon_micros: i64,
    /// The features it was shown.
    pub features: Vec<String>,
    /// SHA-256 of the SQL that made them.
    pub sql_sha256: String,
    /// The versions of the tables they were read from, as the engine names them.
    pub snapshot: Value,
    /// Settings of the training.
    pub parameters: BTreeMap<String, Value>,
    /// The seed of all randomness.
    pub seed: u64,
    /// Versions of the code that computed it.
    pub libraries: BTreeMap<String, String>,
    /// Errors on the rows held out.
    pub metrics: BTreeMap<String, f64>,
    /// The file, relative to the registry's folder.
    pub artifact: String,
    /// SHA-256 of its bytes.
    pub artifact_sha256: String,
    /// Its length.
    pub artifact_bytes: usize,
}

impl VersionRow {
    /// Whether it forecasts what the model asks for today.
    pub(crate) fn fits(&self, spec: &ModelSpec) -> bool {
        self.target == spec.target && self.horizon_micros == micros(spec.horizon)
    }
}

/// A row of `system.evaluations`: one version in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// The model.
    pub model: String,
    /// The run that scored it.
    pub run: String,
    /// When it ran.
    pub at: Timestamp,
    /// Start of the rows scored.
    pub from: Timestamp,
    /// End of them.
    pub through: Timestamp,
    /// The version.
    pub version: u64,
    /// How it was learnt.
    pub candidate: Candidate,
    /// Whether it was champion when it was scored.
    pub was_champion: bool,
    /// Its measures.
    #[serde(flatten)]
    pub scores: Scores,
    /// Is it better than `strong_naive`?
    #[serde(with = "ComparisonRow")]
    pub against_strong_naive: Comparison,
    /// `p_second_better` of it against the champion, before Holm's correction.
    pub p_better_than_champion: Option<f64>,
}

/// [`Comparison`] as stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Comparison")]
struct ComparisonRow {
    z: f64,
    #[serde(rename = "p_better")]
    p_second_better: f64,
    #[serde(rename = "p_worse")]
    p_second_worse: f64,
}

/// A decision about who serves, with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// The model.
    pub model: String,
    /// The run that decided, or an id of the person's request.
    pub run: String,
    /// Who decided: `the rule`, or a person.
    pub by: String,
    /// When; of an evaluation, the end of the rows it scored.
    pub at: Timestamp,
    /// What was decided.
    pub action: Action,
    /// The champion before.
    pub before: Option<u64>,
    /// The champion after.
    pub after: Option<u64>,
    /// Why, in words.
    pub reasons: Vec<String>,
}

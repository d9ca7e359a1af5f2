//! Training: every candidate learns from the same rows, and what it learnt becomes a version.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use arrow::array::RecordBatch;
use serde_json::{Value, json};
use thalweg_core::model::{Examples, Model};
use thalweg_core::store::Expected;
use thalweg_core::time::{Timestamp, micros};
use thalweg_core::{Error, ErrorKind, Result};

use super::{
    Registry, TRAINING, TrainingRow, VERSION, VERSIONS_MAX, VersionRow, blocking, sha256, to_json,
    version_id,
};
use crate::artifact::{Artifact, Learned};
use crate::candidates::{self, Context};
use crate::examples::{SeriesExamples, label_rows};
use crate::intervals::ERRORS_MAX;
use crate::series::{Series, SeriesSet};
use crate::spec::{Candidate, ModelSpec, TargetKind};

/// Share of the examples, the newest, that are not learnt from: intervals start from their errors.
pub const HOLD_OUT_SHARE: f64 = 0.15;

/// Kept crates whose code decides what is learnt; a test holds their versions to the lock file.
pub(crate) const LIBRARIES: [(&str, &str); 3] =
    [("nalgebra", "0.35.0"), ("libm", "0.2.16"), ("rand", "0.9.5")];

/// How often the number of a version is asked for anew when others train the same model.
const NUMBER_TRIES: u32 = 16;

/// What a training is told beside the rows.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// The run, the same on every attempt.
    pub run: String,
    /// When it runs.
    pub at: Timestamp,
    /// End of the rows: the end of the period it covers.
    pub through: Timestamp,
    /// The SQL that made the features.
    pub sql: String,
    /// The versions of the tables it read.
    pub snapshot: Value,
    /// Seed of all randomness.
    pub seed: u64,
}

/// What a training made. Its text is the line a task returns.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// The versions, in the order of the candidates.
    pub versions: Vec<VersionRow>,
    /// Candidates that found no series with enough rows.
    pub waiting: Vec<Candidate>,
    /// Examples of the longest series.
    pub rows: usize,
    /// Examples it takes.
    pub rows_min: usize,
}

impl fmt::Display for TrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made: Vec<String> =
            self.versions.iter().map(|row| format!("{}/{}", row.candidate, row.version)).collect();
        let made = if made.is_empty() { "nothing".to_owned() } else { made.join(", ") };
        write!(f, "trained {made}")?;
        for candidate in &self.waiting {
            write!(f, "; {candidate} waits for rows: {} of {}", self.rows, self.rows_min)?;
        }
        Ok(())
    }
}

/// A candidate's work.
pub(crate) struct Fitted {
    pub(crate) artifact: Artifact,
    rows: usize,
    rows_held_out: usize,
    squared_error: f64,
    absolute_error: f64,
}

/// What the target measures: as declared, by its name, else by the longest series.
pub(crate) fn kind_of(spec: &ModelSpec, set: &SeriesSet, range: Range<Timestamp>) -> TargetKind {
    spec.kind.or_else(|| TargetKind::from_name(&spec.target)).unwrap_or_else(|| {
        let longest = set.series.iter().max_by_key(|series| series.times.len());
        let Some(series) = longest else { return TargetKind::Level };
        let (width, target) = (set.layout.features.len(), set.layout.target);
        let value = |row: usize| series.row(row, width)[target];
        let pairs: Vec<(f64, f64)> = label_rows(&series.times, spec.horizon)
            .into_iter()
            .enumerate()
            .filter_map(|(row, label)| Some((row, label?)))
            .filter(|&(row, label)| {
                series.times[row] >= range.start && series.times[label] < range.end
            })
            .map(|(row, label)| (value(row), value(label)))
            .filter(|(now, then)| now.is_finite() && then.is_finite())
            .collect();
        TargetKind::from_pairs(&pairs)
    })
}

/// Lets a candidate learn each series from the examples within `range`.
pub(crate) fn fit(
    spec: &ModelSpec,
    set: &SeriesSet,
    candidate: Candidate,
    kind: TargetKind,
    range: Range<Timestamp>,
    seed: u64,
) -> Result<Fitted> {
    let layout = &set.layout;
    let mut fitted = Fitted {
        artifact: Artifact::new(
            candidate,
            &spec.target,
            kind,
            spec.horizon,
            layout.features.clone(),
        ),
        rows: 0,
        rows_held_out: 0,
        squared_error: 0.0,
        absolute_error: 0.0,
    };
    for series in &set.series {
        let examples = SeriesExamples::of(layout, series, spec.horizon, range.clone());
        let is_enough = candidate.is_baseline() || examples.len() >= spec.train_rows_min;
        let (learnt, held_out) = examples.hold_out(HOLD_OUT_SHARE, spec.horizon);
        if !is_enough || learnt.is_empty() {
            continue;
        }
        let context = Context {
            kind,
            target: layout.target,
            own_features: layout.features.len(),
            horizon_rows: horizon_rows(series, spec),
        };
        let model = candidates::trainer(candidate, context).fit(&learnt.examples, seed)?;
        let mut errors = errors_of(model.as_ref(), &held_out.examples);
        fitted.rows += learnt.len();
        fitted.rows_held_out += errors.len();
        fitted.squared_error += errors.iter().map(|error| error * error).sum::<f64>();
        fitted.absolute_error += errors.iter().sum::<f64>();
        errors.drain(..errors.len().saturating_sub(ERRORS_MAX));
        let learned = Learned::new(model.as_ref(), errors)?;
        fitted.artifact.series.insert(series.key.to_string(), learned);
    }
    Ok(fitted)
}

fn horizon_rows(series: &Series, spec: &ModelSpec) -> usize {
    let mut steps: Vec<i64> = series.times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    if steps.is_empty() {
        return 1;
    }
    let middle = steps.len() / 2;
    let step = (*steps.select_nth_unstable(middle).1).max(1);
    usize::try_from((micros(spec.horizon) + step / 2) / step).unwrap_or(1).max(1)
}

/// Absolute errors of a model, where it had an answer.
fn errors_of(model: &dyn Model, examples: &Examples) -> Vec<f64> {
    let place = |name: &String| examples.features.iter().position(|known| known == name);
    let inputs: Vec<Option<usize>> = model.features().iter().map(place).collect();
    let mut row_inputs = Vec::new();
    let rows = examples.rows.chunks_exact(examples.features.len().max(1));
    rows.zip(&examples.labels)
        .filter_map(|(row, label)| {
            row_inputs.clear();
            row_inputs.extend(inputs.iter().map(|place| place.map_or(f64::NAN, |at| row[at])));
            let prediction = model.predict(&row_inputs).first().copied()?;
            Some((label - prediction).abs()).filter(|error| error.is_finite())
        })
        .collect()
}

impl Registry {
    /// Trains every candidate on `batches`: the features' rows of [`ModelSpec::training_range`],
    /// whose other rows are ignored. A run that is tried again finds its versions and makes no
    /// others (S22). Dropping the future stops it between two candidates.
    ///
    /// # Errors
    ///
    /// `Invalid`: the columns do not fit the model. `Data`: no batch. Else those of the store and
    /// the disk; a retry goes on where it stopped.
    pub async fn train(
        &self,
        spec: &ModelSpec,
        request: TrainRequest,
        batches: Vec<RecordBatch>,
    ) -> Result<TrainReport> {
        spec.check()?;
        let range = spec.training_range(request.through);
        let (set, kind, rows) = {
            let (spec, range) = (spec.clone(), range.clone());
            blocking(move || -> Result<_> {
                let set = SeriesSet::read(&spec, &batches)?;
                let kind = kind_of(&spec, &set, range.clone());
                let of = |series| {
                    SeriesExamples::of(&set.layout, series, spec.horizon, range.clone()).len()
                };
                let rows = set.series.iter().map(of).max().unwrap_or(0);
                Ok((std::sync::Arc::new(set), kind, rows))
            })
            .await??
        };
        let mut report = TrainReport {
            versions: Vec::new(),
            waiting: Vec::new(),
            rows,
            rows_min: spec.train_rows_min,
        };
        for candidate in spec.contestants() {
            let fitted = {
                let (spec, set, range) = (spec.clone(), set.clone(), range.clone());
                let seed = request.seed;
                blocking(move || fit(&spec, &set, candidate, kind, range, seed)).await??
            };
            if fitted.artifact.series.is_empty() {
                report.waiting.push(candidate);
                continue;
            }
            report.versions.push(self.keep(spec, &request, range.clone(), fitted).await?);
        }
        let training = TrainingRow {
            run: request.run.clone(),
            at: request.at,
            rows,
            series: set.series.len(),
        };
        self.store.put(TRAINING, &spec.name, Expected::Any, &to_json(&training)?).await?;
        Ok(report)
    }

    /// Writes the artifact, then the row that names it.
    async fn keep(
        &self,
        spec: &ModelSpec,
        request: &TrainRequest,
        range: Range<Timestamp>,
        fitted: Fitted,
    ) -> Result<VersionRow> {
        let bytes = fitted.artifact.write()?;
        let hash = sha256(&bytes);
        let name = format!("{}-{}.model", spec.name, &hash[..16]);
        let artifact_bytes = bytes.len();
        let (disk, path) = (self.disk.clone(), self.folder.join(&name));
        blocking(move || disk.write_whole(&path, &bytes)).await?.map_err(|error| {
            Error::unavailable(format!("cannot write the artifact {name}")).with_source(error)
        })?;
        let held_out = fitted.rows_held_out.max(1) as f64;
        let mut row = VersionRow {
            model: spec.name.clone(),
            version: 0,
            candidate: fitted.artifact.candidate,
            run: request.run.clone(),
            at: request.at,
            from: range.start,
            through: range.end,
            rows: fitted.rows,
            rows_held_out: fitted.rows_held_out,
            series: fitted.artifact.series.len(),
            target: spec.target.clone(),
            kind: fitted.artifact.kind,
            horizon_micros: micros(spec.horizon),
            features: fitted.artifact.features.clone(),
            sql_sha256: sha256(request.sql.as_bytes()),
            snapshot: request.snapshot.clone(),
            parameters: BTreeMap::from([
                ("hold_out_share".to_owned(), json!(HOLD_OUT_SHARE)),
                ("rows_min".to_owned(), json!(spec.train_rows_min)),
                ("window_micros".to_owned(), json!(micros(spec.train_window))),
            ]),
            seed: request.seed,
            libraries: libraries(),
            metrics: BTreeMap::from([
                ("held_out_mae".to_owned(), fitted.absolute_error / held_out),
                ("held_out_rmse".to_owned(), (fitted.squared_error / held_out).sqrt()),
            ]),
            artifact: name,
            artifact_sha256: hash,
            artifact_bytes,
        };
        for _ in 0..NUMBER_TRIES {
            let known = self.versions(Some(&spec.name), VERSIONS_MAX).await?;
            let same =
                |known: &&VersionRow| known.run == row.run && known.candidate == row.candidate;
            if let Some(made_before) = known.iter().find(same) {
                return Ok(made_before.clone());
            }
            row.version = known.iter().map(|known| known.version).max().unwrap_or(0) + 1;
            let id = version_id(&spec.name, row.version);
            match self.store.put(VERSION, &id, Expected::Absent, &to_json(&row)?).await {
                Ok(_) => {
                    self.changed();
                    return Ok(row);
                }
                Err(error) if error.kind == ErrorKind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable(format!("others keep training model `{}`", spec.name)))
    }
}

fn libraries() -> BTreeMap<String, String> {
    let own = ("thalweg", env!("CARGO_PKG_VERSION"));
    LIBRARIES
        .iter()
        .chain([&own])
        .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
        .collect()
}

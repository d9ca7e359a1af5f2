//! Evaluation: versions forecast the same rows, and the rule of S23 decides.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use thalweg_core::Result;
use thalweg_core::store::Expected;
use thalweg_core::time::Timestamp;

use super::{
    DecisionRow, EVALUATION, EvaluationRow, Registry, VERSIONS_MAX, VersionRow, blocking, to_json,
};
use crate::champion::{Action, Round, decide};
use crate::examples::label_rows;
use crate::predict::Served;
use crate::scores::Outcomes;
use crate::series::SeriesSet;
use crate::spec::ModelSpec;

/// What an evaluation is told beside the rows.
#[derive(Clone, Debug)]
pub struct EvaluateRequest {
    /// The run, the same on every attempt.
    pub run: String,
    /// When it runs.
    pub at: Timestamp,
    /// End of the rows: the end of the period it covers.
    pub through: Timestamp,
}

/// What an evaluation found. Its text is the line a task returns.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateReport {
    /// The leaderboard: `naive`, `strong_naive`, then the others; empty before anything was
    /// trained, or when no row came after it.
    pub evaluations: Vec<EvaluationRow>,
    /// What was decided, if anything was scored.
    pub decision: Option<DecisionRow>,
}

impl fmt::Display for EvaluateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(decision) = &self.decision else {
            return f.write_str("nothing to score: no row came after a training");
        };
        let rows = self.evaluations.first().map_or(0, |row| row.scores.rows);
        let champion = decision.after.map_or("no champion".to_owned(), |version| {
            let row = self.evaluations.iter().find(|row| row.version == version);
            let name = row.map_or("version", |row| row.candidate.name());
            format!("champion {name}/{version}")
        });
        write!(f, "scored {} versions on {rows} rows; {champion}: ", self.evaluations.len())?;
        f.write_str(&decision.reasons.join(" | "))
    }
}

impl Registry {
    /// Scores versions on `batches`, the features' rows of [`ModelSpec::evaluation_range`], and
    /// applies the rule. Scored are rows that came after every one of the versions was trained: of
    /// each candidate the newest that leaves enough rows, and the champion. A run that is tried
    /// again finds its decision and makes no other.
    ///
    /// # Errors
    ///
    /// `Invalid`: the columns do not fit the model. `Data`: no batch, or an artifact that is
    /// missing or changed. `Unavailable`: a person decided meanwhile, or store and disk fail.
    pub async fn evaluate(
        &self,
        spec: &ModelSpec,
        request: EvaluateRequest,
        batches: Vec<RecordBatch>,
    ) -> Result<EvaluateReport> {
        spec.check()?;
        let (expected, alias) = self.alias(&spec.name).await?;
        if let Some(decision) = self.decided(&spec.name, request.through, &request.run).await? {
            let mut evaluations = self.evaluations_of(spec, &request).await?;
            evaluations.sort_by_key(|row| (row.candidate, row.version));
            return Ok(EvaluateReport { evaluations, decision: Some(decision) });
        }
        let set = {
            let spec = spec.clone();
            blocking(move || SeriesSet::read(&spec, &batches)).await??
        };
        let known = self.versions(Some(&spec.name), VERSIONS_MAX).await?;
        let contestants = pick(spec, &set, &known, alias.champion, request.through);
        let Some(contestants) = contestants else {
            return Ok(EvaluateReport { evaluations: Vec::new(), decision: None });
        };
        let champion = alias
            .champion
            .filter(|champion| contestants.iter().any(|row| row.version == *champion));
        let trained = contestants.iter().map(|row| row.through.plus(spec.gap)).max();
        let window = request.through.minus(spec.evaluate_window);
        let from = trained.map_or(window, |trained| trained.max(window));
        let kind = contestants[1].kind;

        let mut versions = Vec::new();
        for row in &contestants {
            versions.push(self.load_version(&spec.name, row.version).await?);
        }
        let served: Vec<Arc<Served>> = versions
            .iter()
            .map(|version| {
                Arc::new(Served {
                    champion: Some(version.clone()),
                    strong_naive: versions[1].clone(),
                    horizon: spec.horizon,
                })
            })
            .collect();
        let range = from..request.through;
        let outcomes = blocking(move || Outcomes::of(&set, kind, &served, range)).await?;
        if outcomes.is_empty() {
            return Ok(EvaluateReport { evaluations: Vec::new(), decision: None });
        }

        let numbered: Vec<_> = contestants.iter().map(|row| (row.version, row.candidate)).collect();
        let round = Round::of(&outcomes, &numbered, champion, &alias.barred);
        let mut evaluations = Vec::new();
        for contender in &round.contenders {
            let row = EvaluationRow {
                model: spec.name.clone(),
                run: request.run.clone(),
                at: request.at,
                from,
                through: request.through,
                version: contender.version,
                candidate: contender.candidate,
                was_champion: champion == Some(contender.version),
                scores: contender.scores.clone(),
                against_strong_naive: contender.against_strong_naive,
                p_better_than_champion: contender.against_champion.map(|c| c.p_second_better),
            };
            let id = format!("{}{:010}", round_prefix(spec, &request), row.version);
            self.store.put(EVALUATION, &id, Expected::Any, &to_json(&row)?).await?;
            evaluations.push(row);
        }
        evaluations.sort_by_key(|row| (row.candidate, row.version));
        let mut verdict = decide(&round, &spec.champion);
        if let (Some(left), None) = (alias.champion, champion) {
            let reason = format!("version {left} was champion of another target or horizon");
            verdict.reasons.insert(0, reason);
            if verdict.action == Action::Kept {
                verdict.action = Action::Demoted;
            }
        }
        let decision = DecisionRow {
            model: spec.name.clone(),
            run: request.run,
            by: "the rule".to_owned(),
            at: request.through,
            action: verdict.action,
            before: alias.champion,
            after: verdict.champion,
            reasons: verdict.reasons,
        };
        let decision = self.apply(expected, alias, decision).await?;
        Ok(EvaluateReport { evaluations, decision: Some(decision) })
    }

    async fn evaluations_of(
        &self,
        spec: &ModelSpec,
        request: &EvaluateRequest,
    ) -> Result<Vec<EvaluationRow>> {
        let prefix = round_prefix(spec, request);
        let rows = self.store.list(EVALUATION, &prefix, false, VERSIONS_MAX).await?;
        rows.into_iter().map(|row| super::parse(EVALUATION, &row.id, row.value)).collect()
    }
}

fn round_prefix(spec: &ModelSpec, request: &EvaluateRequest) -> String {
    format!("{}/{:020}/{}/", spec.name, request.through.0, request.run)
}

/// Which versions are scored: of each candidate the newest with enough rows after its training,
/// else the newest with any; and the champion. `naive` and `strong_naive` come first. `None` where
/// one of these three has no row to be scored on.
fn pick(
    spec: &ModelSpec,
    set: &SeriesSet,
    known: &[VersionRow],
    champion: Option<u64>,
    through: Timestamp,
) -> Option<Vec<VersionRow>> {
    let mut label_times: Vec<Timestamp> = set
        .series
        .iter()
        .flat_map(|series| {
            let labels = label_rows(&series.times, spec.horizon);
            let labelled = labels.into_iter().zip(&series.times);
            labelled.filter_map(|(label, time)| label.map(|_| *time))
        })
        .filter(|time| *time < through)
        .collect();
    label_times.sort_unstable();
    let rows_after = |row: &VersionRow| {
        let first = row.through.plus(spec.gap);
        label_times.len() - label_times.partition_point(|time| *time < first)
    };
    let champion = known.iter().find(|row| row.fits(spec) && Some(row.version) == champion);
    // Newest first, as listed.
    let usable: Vec<&VersionRow> =
        known.iter().filter(|row| row.fits(spec) && rows_after(row) > 0).collect();
    let mut picked: Vec<VersionRow> = Vec::new();
    for candidate in spec.contestants() {
        let mut own = usable.iter().copied().filter(|row| row.candidate == candidate);
        let enough = own.clone().find(|row| rows_after(row) >= spec.champion.rows_min);
        let row = enough.or_else(|| own.next());
        if row.is_none() && candidate.is_baseline() {
            return None;
        }
        picked.extend(row.cloned());
    }
    if let Some(row) = champion
        && !picked.iter().any(|known| known.version == row.version)
    {
        if rows_after(row) == 0 {
            return None;
        }
        picked.push(row.clone());
    }
    Some(picked)
}

//! Models of a project: training, evaluation, and who answers for each.
//!
//! A model's features are a relation of the project; its `train` and `evaluate` schedules become the
//! jobs `model.<name>.train` and `model.<name>.evaluate`. What it predicts as rows come is the work of
//! a pipeline ([`super::pipelines`]) and of queries; both see it as a [`LiveModel`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use thalweg_core::env::Env;
use thalweg_core::model::Forecasts;
use thalweg_core::query::Query;
use thalweg_core::schema::meta;
use thalweg_core::task::{Task, TaskContext};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_jobs::{JobDefinition, Schedule, TaskDefinition};
use thalweg_models::guards::{self, Input};
use thalweg_models::registry::{EvaluateRequest, TrainRequest};
use thalweg_models::{Candidate, ChampionRule, LiveModel, ModelSpec, Registry, TargetKind};
use thalweg_project::{Model, Project};
use thalweg_stream::engine::Engine;
use thalweg_stream::pipeline::Models;
use thalweg_stream::program::visible;

use crate::check::Checked;

/// Models, their registry, and who answers for each.
#[derive(Clone)]
pub(super) struct Forecasting {
    pub registry: Registry,
    env: Env,
    pub specs: Vec<ModelSpec>,
    // Relation of the features, by model.
    features: BTreeMap<String, String>,
    // Columns of event time of the sources.
    event_times: Vec<String>,
    pub models: Models,
}

impl Forecasting {
    pub(super) fn new(
        project: &Project,
        checked: &Checked,
        registry: Registry,
        env: &Env,
    ) -> Result<Self> {
        let features = project
            .models
            .iter()
            .map(|model| (model.name.value.clone(), model.features.value.clone()))
            .collect();
        let specs: Vec<ModelSpec> = project.models.iter().map(spec).collect();
        let mut models: BTreeMap<String, Arc<dyn Forecasts>> = BTreeMap::new();
        for spec in &specs {
            let columns = &checked.models[&spec.name].columns;
            let model = LiveModel::new(registry.clone(), spec.clone(), columns.features.clone())?;
            models.insert(spec.name.clone(), Arc::new(model));
        }
        let event_times = project.sources.iter().map(|it| it.event_time.clone()).collect();
        let (env, models) = (env.clone(), Arc::new(models));
        Ok(Self { registry, env, specs, features, event_times, models })
    }

    /// Jobs that the models' own schedules make, with their tasks.
    pub(super) fn jobs(
        &self,
        project: &Project,
        engine: &Arc<Engine>,
    ) -> Result<Vec<(JobDefinition, Arc<dyn Task>)>> {
        let mut jobs = Vec::new();
        for (model, spec) in project.models.iter().zip(&self.specs) {
            let schedules = [
                (Work::Train, model.train.as_ref().map(|it| &it.schedule)),
                (Work::Evaluate, model.evaluate.as_ref().map(|it| &it.schedule)),
            ];
            for (work, schedule) in schedules {
                let Some(schedule) = schedule else { continue };
                let word = if work == Work::Train { "train" } else { "evaluate" };
                let mut job = JobDefinition::new(format!("model.{}.{word}", spec.name));
                job.schedule = Some(Schedule::parse(schedule.as_str(), project.timezone_name())?);
                let mut task = TaskDefinition::new(word);
                task.does = format!("{word} {}", spec.name);
                job.tasks.push(task);
                jobs.push((job, self.task(&spec.name, work, engine)?));
            }
        }
        Ok(jobs)
    }

    /// The task that trains or evaluates a model.
    pub(super) fn task(
        &self,
        model: &str,
        work: Work,
        engine: &Arc<Engine>,
    ) -> Result<Arc<dyn Task>> {
        let spec = self.specs.iter().find(|spec| spec.name == model);
        let spec = spec.ok_or_else(|| Error::invalid(format!("no model `{model}`")))?;
        let known_at = [spec.time.as_str(), "window_end"].into_iter();
        let known_at = known_at.chain(self.event_times.iter().map(String::as_str));
        let known_at = known_at.chain([meta::RECEIVED_AT]).map(str::to_owned).collect();
        Ok(Arc::new(ModelTask {
            work,
            spec: spec.clone(),
            features: self.features[model].clone(),
            known_at,
            registry: self.registry.clone(),
            engine: Arc::clone(engine),
            env: self.env.clone(),
        }))
    }
}

/// Newest rows of an input by which it is tested whether features see the future.
const ROWS_TESTED: usize = 10_000;
/// With fewer, there is nothing to learn from either.
const ROWS_TESTED_MIN: usize = 100;

/// What a model's task does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Trains every candidate.
    Train,
    /// Scores the versions and applies the champion rule.
    Evaluate,
}

fn spec(model: &Model) -> ModelSpec {
    let day = Duration::from_secs(86_400);
    let train = model.train.as_ref();
    let evaluate = model.evaluate.as_ref();
    ModelSpec {
        name: model.name.value.clone(),
        key: model.key.iter().map(|key| key.value.clone()).collect(),
        time: model.time.value.clone(),
        target: model.target.value.clone(),
        horizon: model.horizon,
        kind: match &model.target_kind {
            Some(kind) => TargetKind::named(kind.as_str()),
            None => TargetKind::from_name(model.target.as_str()),
        },
        candidates: model
            .candidates
            .iter()
            .filter_map(|candidate| Candidate::from_name(candidate.name()))
            .collect(),
        train_window: train.map_or(90 * day, |it| it.window),
        train_rows_min: train.map_or(2_000, |it| it.min_rows),
        evaluate_window: evaluate.map_or(7 * day, |it| it.window),
        gap: evaluate.map_or(model.horizon, |it| it.gap),
        champion: ChampionRule {
            min_gain: model.champion.min_gain_percent / 100.0,
            rows_min: model.champion.min_rows,
            cost_bp: model.champion.cost_percent * 100.0,
        },
    }
}

/// The features' rows with times in `from .. to`, in order of time.
async fn rows(
    engine: &Engine,
    features: &str,
    spec: &ModelSpec,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<RecordBatch>> {
    let time = format!("arrow_cast(\"{}\", 'Int64')", spec.time);
    let sql = format!(
        "SELECT * FROM \"{features}\" WHERE {time} >= {} AND {time} < {} {}",
        from.0,
        to.0,
        in_order(spec)
    );
    engine.collect(Query::new(sql)).await
}

fn in_order(spec: &ModelSpec) -> String {
    let order: Vec<String> =
        std::iter::once(&spec.time).chain(&spec.key).map(|it| format!("\"{it}\"")).collect();
    format!("ORDER BY {}", order.join(", "))
}

struct ModelTask {
    work: Work,
    spec: ModelSpec,
    features: String,
    // Columns that say when a row of an input was known, the best first.
    known_at: Vec<String>,
    registry: Registry,
    engine: Arc<Engine>,
    env: Env,
}

impl ModelTask {
    /// Refuses features of a view that change when later rows do (S21); the rows of other relations
    /// were made as theirs came.
    async fn sees_no_future(&self, context: &TaskContext) -> Result<()> {
        let names_hidden = self.engine.names_hidden(&self.features);
        let mut inputs = BTreeMap::new();
        for name in self.engine.inputs(&self.features) {
            let Some(entry) = self.engine.entry(&name) else { continue };
            // Hidden columns may have to be computed anew, over a whole history.
            let columns = match names_hidden {
                true => Arc::clone(&entry.columns),
                false => visible(&entry.columns),
            };
            let is_instant = |column: &&String| {
                columns
                    .field_with_name(column)
                    .is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(..)))
            };
            // What has no time is the same at any time.
            let Some(time) =
                self.known_at.iter().find(is_instant).filter(|_| name != self.features)
            else {
                continue;
            };
            let listed: Vec<String> =
                columns.fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
            let sql = format!(
                "SELECT {} FROM \"{name}\" ORDER BY \"{time}\" DESC LIMIT {ROWS_TESTED}",
                listed.join(", ")
            );
            let rows = self.engine.collect(Query::new(sql)).await?;
            let Some(schema) = rows.first().map(RecordBatch::schema) else { continue };
            let rows = concat_batches(&schema, &rows).map_err(|error| {
                Error::internal("rows of a relation do not fit together").with_source(error)
            })?;
            inputs.insert(name, Input { rows, time: time.clone() });
        }
        let rows: usize = inputs.values().map(|input| input.rows.num_rows()).sum();
        if rows < ROWS_TESTED_MIN {
            return Ok(());
        }
        let sql = format!("SELECT * FROM \"{}\" {}", self.features, in_order(&self.spec));
        let (engine, sql) = (&self.engine, sql.as_str());
        let now = self.env.clock.now();
        let features = |given| async move { engine.collect_over(sql, &given, now).await };
        guards::sees_no_future(&self.spec, &inputs, features).await?;
        context.log.line(&format!("no feature sees the future, by {rows} rows"));
        Ok(())
    }
}

#[async_trait]
impl Task for ModelTask {
    async fn run(&self, context: &TaskContext) -> Result<String> {
        // Asked for by hand: of everything there is by now.
        let through = if context.is_manual { self.env.clock.now() } else { context.period_end };
        let range = match self.work {
            Work::Train => self.spec.training_range(through),
            Work::Evaluate => self.spec.evaluation_range(through),
        };
        let batches =
            rows(&self.engine, &self.features, &self.spec, range.start, range.end).await?;
        let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        context.log.line(&format!("{count} rows of `{}` before {through}", self.features));
        if count == 0 {
            return Ok(format!("`{}` has no rows yet", self.features));
        }
        match self.work {
            Work::Train => {
                self.sees_no_future(context).await?;
                let request = TrainRequest {
                    run: context.run.clone(),
                    at: through,
                    through,
                    sql: format!("SELECT * FROM {}", self.features),
                    snapshot: serde_json::json!({ "features": self.features, "through": through }),
                    seed: 0,
                };
                let report = self.registry.train(&self.spec, request, batches).await?;
                for row in &report.versions {
                    context.log.line(&format!(
                        "{}/{}: learnt from {} rows of {} series, {} more held out",
                        row.candidate, row.version, row.rows, row.series, row.rows_held_out
                    ));
                }
                Ok(report.to_string())
            }
            Work::Evaluate => {
                let request = EvaluateRequest { run: context.run.clone(), at: through, through };
                let report = self.registry.evaluate(&self.spec, request, batches).await?;
                for row in &report.evaluations {
                    context.log.line(&format!(
                        "{}/{}: rmse {:.6}, mase {:.4} on {} rows",
                        row.candidate,
                        row.version,
                        row.scores.rmse,
                        row.scores.mase,
                        row.scores.rows
                    ));
                }
                Ok(report.to_string())
            }
        }
    }
}

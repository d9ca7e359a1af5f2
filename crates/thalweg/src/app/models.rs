//! Models of a project: training, evaluation, and what they predict as rows come.
//!
//! A model's features are a relation of the project; its `train` and `evaluate` schedules become the
//! jobs `model.<name>.train` and `model.<name>.evaluate`. A forecaster follows the features and keeps
//! the model's own relation up: one row a key and time, `actual` filled in when it is known. What it
//! keeps is made again from the features at each start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use async_trait::async_trait;
use thalweg_core::env::Env;
use thalweg_core::query::{Query, QueryEngine as _};
use thalweg_core::task::{Task, TaskContext};
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, Result};
use thalweg_jobs::{JobDefinition, Schedule, TaskDefinition};
use thalweg_models::registry::{EvaluateRequest, TrainRequest};
use thalweg_models::series::Layout;
use thalweg_models::spec::WARM_UP_HORIZONS;
use thalweg_models::{Candidate, ChampionRule, ModelSpec, Predictor, Registry, TargetKind};
use thalweg_project::{Model, Project};
use thalweg_stream::engine::Engine;
use thalweg_stream::results::Results;

use crate::check::model_schema;

/// Forecasts shown at most, of each model.
const SHOWN_ROWS_MAX: usize = 20_000;

/// Models, their registry, and what they have predicted.
#[derive(Clone)]
pub(super) struct Forecasting {
    pub registry: Registry,
    env: Env,
    pub specs: Vec<ModelSpec>,
    // Relation of the features, by model.
    features: BTreeMap<String, String>,
    pub predicted: BTreeMap<String, Arc<Results>>,
}

impl Forecasting {
    pub(super) fn new(project: &Project, registry: Registry, env: &Env) -> Result<Self> {
        let mut predicted = BTreeMap::new();
        for model in &project.models {
            let schema = model_schema(model.key.iter().map(|key| key.as_str()));
            let mut key: Vec<String> = model.key.iter().map(|key| key.value.clone()).collect();
            key.push("for_time".to_owned());
            predicted.insert(model.name.value.clone(), Arc::new(Results::new(schema, &key)?));
        }
        let features = project
            .models
            .iter()
            .map(|model| (model.name.value.clone(), model.features.value.clone()))
            .collect();
        let specs = project.models.iter().map(spec).collect();
        Ok(Self { registry, env: env.clone(), specs, features, predicted })
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
        Ok(Arc::new(ModelTask {
            work,
            spec: spec.clone(),
            features: self.features[model].clone(),
            registry: self.registry.clone(),
            engine: Arc::clone(engine),
            env: self.env.clone(),
        }))
    }

    /// Follows the features of every model until the process stops.
    pub(super) fn follow(&self, engine: &Arc<Engine>) {
        for spec in &self.specs {
            let forecaster = Forecaster {
                spec: spec.clone(),
                features: self.features[&spec.name].clone(),
                registry: self.registry.clone(),
                engine: Arc::clone(engine),
                results: Arc::clone(&self.predicted[&spec.name]),
                env: self.env.clone(),
            };
            self.env.spawn(forecaster.run());
        }
    }
}

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
    let order: Vec<String> =
        std::iter::once(&spec.time).chain(&spec.key).map(|it| format!("\"{it}\"")).collect();
    let sql = format!(
        "SELECT * FROM \"{features}\" WHERE {time} >= {} AND {time} < {} ORDER BY {}",
        from.0,
        to.0,
        order.join(", ")
    );
    engine.collect(Query::new(sql)).await
}

struct ModelTask {
    work: Work,
    spec: ModelSpec,
    features: String,
    registry: Registry,
    engine: Arc<Engine>,
    env: Env,
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
                let request = TrainRequest {
                    run: context.run.clone(),
                    at: through,
                    through,
                    sql: format!("SELECT * FROM {}", self.features),
                    snapshot: serde_json::json!({ "features": self.features, "through": through }),
                    seed: 0,
                };
                Ok(self.registry.train(&self.spec, request, batches).await?.to_string())
            }
            Work::Evaluate => {
                let request = EvaluateRequest { run: context.run.clone(), at: through, through };
                Ok(self.registry.evaluate(&self.spec, request, batches).await?.to_string())
            }
        }
    }
}

/// Predicts each new row of the features.
struct Forecaster {
    spec: ModelSpec,
    features: String,
    registry: Registry,
    engine: Arc<Engine>,
    results: Arc<Results>,
    env: Env,
}

/// A prediction that is shown.
#[derive(Clone)]
struct Shown {
    key: Vec<String>,
    made_at: Timestamp,
    prediction: f64,
    lower: Option<f64>,
    upper: Option<f64>,
    actual: Option<f64>,
    version: String,
}

impl Forecaster {
    async fn run(self) {
        let mut wait = Duration::from_secs(1);
        while !self.env.shutdown.is_cancelled() {
            if let Err(error) = self.follow().await {
                tracing::warn!(model = self.spec.name, error = error.chain(), "forecasts stopped");
            }
            if !self.env.sleep(wait).await {
                return;
            }
            wait = (wait * 2).min(Duration::from_secs(60));
        }
    }

    async fn follow(&self) -> Result<()> {
        let sql = format!("SELECT * FROM \"{}\"", self.features);
        let mut changes = self.engine.changes(&sql).await?;
        let mut serving = self.registry.serving(&self.spec).await?;
        let mut served = self.registry.load(&self.spec, serving).await?;
        let mut predictor: Option<Predictor> = None;
        let mut shown: BTreeMap<(Timestamp, Vec<String>), Shown> = BTreeMap::new();
        // Enough of the past to warm the baselines up and to fill a chart.
        let now = self.env.clock.now();
        let mut from = now.minus(self.spec.horizon * (WARM_UP_HORIZONS + 512));
        loop {
            let newest = self.registry.serving(&self.spec).await?;
            if newest != serving {
                serving = newest;
                served = self.registry.load(&self.spec, serving).await?;
                if let Some(predictor) = &mut predictor {
                    predictor.swap(Arc::clone(&served));
                }
            }
            let batches =
                rows(&self.engine, &self.features, &self.spec, from, Timestamp::MAX).await?;
            for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
                let predictor = match &mut predictor {
                    Some(predictor) => predictor,
                    None => {
                        let layout = Layout::of(&self.spec, batch.schema_ref())?;
                        predictor.insert(Predictor::new(Arc::clone(&served), layout))
                    }
                };
                let newest = self.take(predictor, batch, &mut shown)?;
                from = from.max(Timestamp(newest.0 + 1));
            }
            if !batches.is_empty() {
                while shown.len() > SHOWN_ROWS_MAX {
                    shown.pop_first();
                }
                self.results.restore(&self.batch(&shown)?)?;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = self.env.shutdown.cancelled() => return Ok(()),
            }
            // Features come by the minute; more often than this nobody looks.
            if !self.env.doze(Duration::from_secs(1)).await {
                return Ok(());
            }
        }
    }

    /// Predicts the rows of a batch, and fills in what earlier ones were about.
    fn take(
        &self,
        predictor: &mut Predictor,
        batch: &RecordBatch,
        shown: &mut BTreeMap<(Timestamp, Vec<String>), Shown>,
    ) -> Result<Timestamp> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| {
                Error::invalid(format!("`{}` has no column `{name}`", self.features))
            })
        };
        let broken = |error: arrow::error::ArrowError| {
            Error::invalid("the features have another type").with_source(error)
        };
        let times = column(&self.spec.time)?;
        let times = times
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| Error::invalid(format!("`{}` is no timestamp", self.spec.time)))?;
        let targets = cast(column(&self.spec.target)?, &DataType::Float64).map_err(broken)?;
        let targets = targets.as_primitive::<Float64Type>();
        let keys: Result<Vec<ArrayRef>> = self
            .spec
            .key
            .iter()
            .map(|name| cast(column(name)?, &DataType::Utf8).map_err(broken))
            .collect();
        let keys = keys?;
        let mut newest = Timestamp::MIN;
        let forecasts = predictor.predict(batch)?;
        for (row, forecast) in forecasts.into_iter().enumerate() {
            let key: Vec<String> =
                keys.iter().map(|key| key.as_string::<i32>().value(row).to_owned()).collect();
            let made_at = Timestamp(times.value(row));
            newest = newest.max(made_at);
            if targets.is_valid(row)
                && let Some(earlier) = shown.get_mut(&(made_at, key.clone()))
            {
                earlier.actual = Some(targets.value(row));
            }
            if let Some(forecast) = forecast {
                let row = Shown {
                    key: key.clone(),
                    made_at,
                    prediction: forecast.prediction,
                    lower: forecast.lower(),
                    upper: forecast.upper(),
                    actual: None,
                    version: forecast.version.to_string(),
                };
                shown.insert((forecast.for_time, key), row);
            }
        }
        Ok(newest)
    }

    fn batch(&self, shown: &BTreeMap<(Timestamp, Vec<String>), Shown>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = (0..self.spec.key.len())
            .map(|at| -> ArrayRef {
                Arc::new(shown.values().map(|row| row.key.get(at)).collect::<StringArray>())
            })
            .collect();
        let times = |times: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
        };
        let floats = |pick: fn(&Shown) -> Option<f64>| -> ArrayRef {
            Arc::new(shown.values().map(pick).collect::<Float64Array>())
        };
        columns.push(times(shown.values().map(|row| row.made_at.0).collect()));
        columns.push(times(shown.keys().map(|(for_time, _)| for_time.0).collect()));
        columns.push(floats(|row| Some(row.prediction)));
        columns.push(floats(|row| row.lower));
        columns.push(floats(|row| row.upper));
        columns.push(floats(|row| row.actual));
        columns
            .push(Arc::new(shown.values().map(|row| Some(&row.version)).collect::<StringArray>()));
        RecordBatch::try_new(self.results.schema(), columns)
            .map_err(|error| Error::internal("predictions do not fit").with_source(error))
    }
}
